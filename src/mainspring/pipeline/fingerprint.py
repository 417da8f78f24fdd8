"""The cache key of a step call, and the parts it is made of, so that a run can say why it did not find its result.

The key covers the code the step can reach in the project, the values that code names, the version of every installed
package it uses, the version of Python, and the content of every argument. What it cannot cover is named (`opaque`).
Files that the step reads while it runs come on top: see `reads`.
"""

import glob
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mainspring.artifacts.digests import digest_of_bytes
from mainspring.domain.ids import Digest
from mainspring.errors import Invalid
from mainspring.pipeline._blind import reads_in_native_code
from mainspring.pipeline._modules import class_named, source_of
from mainspring.pipeline._origin import packages_of
from mainspring.pipeline._preview import Span, preview_of
from mainspring.pipeline._reach import Walk
from mainspring.pipeline.content import Unhashable, content_digest
from mainspring.pipeline.reads import ABSENT, StampCache, digest_of_path

__all__ = ["ArgumentPart", "Fingerprint", "Part", "fingerprint"]


class Part(NamedTuple):
    """One thing the key covers: its kind, its name, the digest of its content, and where it stands.

    Kinds: ``code``, ``value`` (of a global name or closure), ``wrapper`` (installed code around the project's),
    ``module`` (taken as a whole), ``argument``, ``file``, ``package``, ``python``. `where` is the version of a package,
    and the file and line of code. `preview` is a short value as it is written.
    """

    kind: str
    name: str
    digest: str
    where: str = ""
    preview: str = ""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The cache key of a call; `opaque` names what the key does not cover.

    `spans` are the lines that its functions stand on, by the digest of their part: how a change can be shown later.
    """

    key: Digest
    parts: tuple[Part, ...]
    opaque: tuple[str, ...] = ()
    spans: Mapping[str, Span] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class ArgumentPart:
    """The content of a value that another step made: known by its digest, so that it need not be loaded.

    `classes` are the dataclasses in it, as ``module:Name``: their code is part of what the step does with the value.
    """

    digest: Digest
    classes: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


def fingerprint(
    function: Callable[..., Any],
    arguments: Mapping[str, object],
    stamps: StampCache,
    *,
    held: Iterable[ArgumentPart] = (),
    step_name: str = "",
) -> Fingerprint:
    """Return the fingerprint of a call of `function`.

    An `ArgumentPart` in `arguments` stands for another step's result, and `held` lists all of them. Linear in the code
    reached and in the size of the arguments.

    Raises:
        Invalid: the content of an argument cannot be told.
    """
    walk = Walk()
    walk.visit_root(function)
    code_key = walk.finish()
    parts = [Part(*each) for each in walk.reached()]
    # Arguments get walks of their own, so that a change of the step's code does not look like a change of them.
    others = [_walk_classes(held)]
    for name in sorted(arguments):
        others.append(Walk())
        digest = _argument_digest(name, arguments[name], others[-1], stamps, step_name or function.__name__)
        parts.append(Part("argument", name, digest, "", preview_of(arguments[name])))
    argument_keys = [each.finish() for each in others]
    parts += [part for each in others for part in map(Part._make, each.reached()) if part not in parts]
    packages = walk.packages.union(*(each.packages for each in others))
    blind = walk.blind | {what: None for each in others for what in each.blind}
    for each in packages_of(packages):
        parts.append(Part("package", each.name, digest_of_bytes(f"{each.version} {each.seal}".encode()), each.version))
    for library in reads_in_native_code(walk.imports):
        parts += [part for part in _files_named(walk.texts, stamps) if part not in parts]
        blind[f"files that {library} opens by a name put together at run time"] = None
    version = f"{sys.implementation.name} {sys.version_info[0]}.{sys.version_info[1]}"
    parts.append(Part("python", "python", digest_of_bytes(version.encode()), version))
    # What code and values are called is for people; the walk's digest says what they are and how they hang together.
    named = [(part.kind, part.name, part.digest) for part in parts if part.kind in _NAMED_KINDS]
    key = digest_of_bytes(repr((code_key, argument_keys, named)).encode())
    spans = walk.spans().items() | {pair for each in others for pair in each.spans().items()}
    return Fingerprint(key, tuple(parts), tuple(blind), dict(spans))


_NAMED_KINDS = frozenset({"argument", "file", "package", "python"})


def _argument_digest(name: str, value: object, walk: Walk, stamps: StampCache, step_name: str) -> Digest:
    def read_path(path: str) -> bytes | None:
        content = digest_of_path(path, stamps)
        return None if content == ABSENT else content.encode()

    try:
        return content_digest(value, identify=walk.visit, read_path=read_path)
    except Unhashable as error:
        raise Invalid(
            f"The content of the argument `{name}` cannot be told: {error}",
            where=f"step {step_name}",
            next_step="pass plain values, tables, arrays, paths, dataclasses or estimators, and build the rest inside"
            " the step",
        ) from error


def _walk_classes(held: Iterable[ArgumentPart]) -> Walk:
    """Walk the classes of values that come from other steps; only the project's own are imported for it."""
    walk = Walk()
    for name in sorted({name for each in held for name in each.classes}):
        source = source_of(name.partition(":")[0])
        if source is None or source.origin.kind == "project":
            walk.visit(class_named(name))
        else:
            walk.packages.update(source.origin.distributions)
    for each in held:
        walk.packages.update(each.packages)
    return walk


_QUOTED = re.compile(r"'([^'\n]{1,1000})'")


def _files_named(texts: Mapping[str, None], stamps: StampCache) -> list[Part]:
    """Return the files that texts of the code name, whole or in quotes: what SQL reads is nowhere else to see."""
    found: dict[str, Part] = {}
    for text in texts:
        for candidate in (text, *_QUOTED.findall(text)):
            if not candidate or len(candidate) > 1000 or "\n" in candidate or "\0" in candidate:
                continue
            paths = sorted(glob.glob(candidate)) if glob.has_magic(candidate) else [candidate]
            for path in paths:
                if os.path.isfile(path) and path not in found:
                    found[path] = Part("file", path, digest_of_path(path, stamps))
    return list(found.values())
