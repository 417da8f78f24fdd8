"""What a run keeps so that it can be made again: its code as it is on disk, its arguments, its inputs, its environment.

Owner of the table `run_provenance`. Code and inputs are artifacts, so equal files of a thousand runs are kept once; a
large input is kept where a dataset version holds it, and else known by its digest and place. Nothing here runs
anything again: that is `govern.reproduce`. A commit alone would not do: most runs are made from changed files.
"""

import contextlib
import json
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mainspring.artifacts.collect import digests_in
from mainspring.artifacts.protocol import ArtifactStore
from mainspring.domain.ids import Digest, RunId
from mainspring.errors import Invalid, MainspringError, NotFound
from mainspring.pipeline._environment import Installed, distributions, lock_files, machine, own_code
from mainspring.pipeline._modules import Source, imported_by, source_of
from mainspring.pipeline._origin import origin_of_file
from mainspring.pipeline._portable import Address, NotPortable, address_of, thing_at
from mainspring.pipeline.reads import ABSENT, Read, StampCache, files_below
from mainspring.pipeline.values import encode
from mainspring.store.protocol import Store, Transaction

if TYPE_CHECKING:
    from mainspring.pipeline.step import Pipeline

__all__ = [
    "Address",
    "Input",
    "Provenance",
    "ProvenanceRecorder",
    "artifact_roots",
    "forget_provenance",
    "pipeline_at",
    "provenance_of",
]

_FORMAT = 1
# Larger files, and more than this together, are kept as dataset versions or not at all.
_MOST_FILE_BYTES = 16 << 20
_MOST_BYTES = 64 << 20
_MOST_FILES = 1_000


@dataclass(frozen=True, slots=True, order=True)
class Input:
    """A file that a step of the run read, as the step named it."""

    path: str
    digest: Digest
    modified_ns: int = 0


@dataclass(frozen=True, slots=True)
class Provenance:
    """What was kept of a run.

    `entry` says where its pipeline is defined; None when that is no file, and `not_again` says why. `code` and `locks`
    map absolute paths to digests, `folder` is where relative paths start, `path` the project's own folders on the
    import path. `arguments` hold a path as text and anything else as a document of `values`; `lost` names arguments
    that could not be kept.
    """

    entry: Address | None
    not_again: str
    folder: str
    path: tuple[str, ...]
    code: Mapping[str, Digest]
    arguments: Mapping[str, Any]  # JSON documents
    lost: Mapping[str, str]
    installed: tuple[Installed, ...]
    locks: Mapping[str, Digest]
    machine: Mapping[str, Any]  # plain JSON
    inputs: tuple[Input, ...] = ()
    libraries: tuple[str, ...] = ()


@dataclass(slots=True)
class ProvenanceRecorder:
    """Keeps the provenance of one run: `begin` before its first step, because code may be edited meanwhile."""

    store: Store
    artifacts: ArtifactStore
    run_id: RunId
    _code: dict[str, Digest] = field(default_factory=dict)
    _files: set[str] = field(default_factory=set)
    _reads: dict[Read, None] = field(default_factory=dict)
    _libraries: dict[str, None] = field(default_factory=dict)
    _document: dict[str, Any] = field(default_factory=dict)

    def begin(self, pipeline: "Pipeline[..., Any]", arguments: Mapping[str, object]) -> None:
        """Keep the pipeline's code with all it imports of the project, the arguments and the environment."""
        entry, why_not = _entry_of(pipeline)
        folder = Path.cwd()
        if entry is not None:
            self._keep_code(_sources_from(pipeline.__module__))
        kept, lost = self._keep_arguments(arguments)
        found = distributions()
        installed = json.dumps([[each.name, each.version, each.is_local] for each in found]).encode()
        is_local = any(each.name == "mainspring" and each.is_local for each in found)
        locks = {
            str(each): self.artifacts.put_bytes(each.read_bytes())
            for each in lock_files(folder)
            if os.access(each, os.R_OK)
        }
        self._document = {
            "format": _FORMAT,
            "entry": asdict(entry) if entry is not None else None,
            "not_again": why_not,
            "folder": str(folder),
            "path": _project_path(),
            "arguments": kept,
            "lost": lost,
            "installed": self.artifacts.put_bytes(installed),
            "locks": locks,
            "machine": machine() | ({"own_code": own_code()} if is_local else {}),
        }
        self._write()

    def saw(self, *, files: Iterable[str] = (), reads: Iterable[Read] = (), libraries: Iterable[str] = ()) -> None:
        """Take note of what a step turned out to reach: files of code, files it read, libraries it loaded."""
        self._files.update(files)
        self._reads |= dict.fromkeys(reads)
        self._libraries |= dict.fromkeys(libraries)

    def end(self, stamps: StampCache) -> None:
        """Keep what the steps reached beyond the pipeline's own code, and the files they read."""
        if not self._document:
            return
        self._keep_code(each for each in sorted(self._files) if origin_of_file(each) == "project")
        inputs = list(_Inputs(self.artifacts, stamps).keep(self._reads))
        self._document["inputs"] = [[each.path, each.digest, each.modified_ns] for each in inputs]
        self._document["libraries"] = list(self._libraries)
        self._write()

    def _keep_code(self, files: Iterable[str]) -> None:
        for file in files:
            if file not in self._code and file.endswith(".py"):
                try:
                    self._code[file] = self.artifacts.put_bytes(Path(file).read_bytes())
                except OSError:  # gone since it was imported: what is left of it is in the fingerprints
                    continue

    def _keep_arguments(self, arguments: Mapping[str, object]) -> tuple[dict[str, Any], dict[str, str]]:
        kept, lost = {}, {}
        for name, value in arguments.items():
            try:
                kept[name] = _kept(value, self.artifacts, name)
            except MainspringError as error:
                lost[name] = error.what
        return kept, lost

    def _write(self) -> None:
        text = json.dumps({**self._document, "code": self._code})

        def write(transaction: Transaction) -> None:
            transaction.execute(
                "INSERT INTO run_provenance (run_id, document) VALUES (?, ?)"
                " ON CONFLICT (run_id) DO UPDATE SET document = excluded.document",
                (self.run_id, text),
            )

        self.store.record(write)


def artifact_roots(snapshot: Transaction) -> Iterator[Digest]:
    """Yield the objects that runs need to be made again: code, arguments, inputs, the list of packages."""
    for (document,) in snapshot.execute("SELECT document FROM run_provenance"):
        yield from digests_in(document)


def forget_provenance(transaction: Transaction, run_id: str) -> None:
    """Drop what was kept of a run that is erased."""
    transaction.execute("DELETE FROM run_provenance WHERE run_id = ?", (run_id,))


def provenance_of(store: Store, artifacts: ArtifactStore, run_id: RunId) -> Provenance:
    """Return what was kept of a run.

    Raises:
        NotFound: nothing was kept, or the list of its packages is gone.
    """
    rows = store.read("SELECT document FROM run_provenance WHERE run_id = ?", (run_id,))
    if not rows:
        raise NotFound(
            f"Nothing was kept of the run `{run_id[-8:]}`",
            next_step="it is older than provenance, or no pipeline made it: run the pipeline again",
        )
    found = json.loads(rows[0][0])
    if found["format"] > _FORMAT:
        raise Invalid("A newer Mainspring kept this run", where=f"run {run_id}", next_step="upgrade mainspring")
    return Provenance(
        entry=Address(**found["entry"]) if found["entry"] else None,
        not_again=found["not_again"],
        folder=found["folder"],
        path=tuple(found["path"]),
        code=found["code"],
        arguments=found["arguments"],
        lost=found["lost"],
        installed=tuple(Installed(*each) for each in json.loads(artifacts.read_bytes(found["installed"]))),
        locks=found["locks"],
        machine=found["machine"],
        inputs=tuple(Input(*each) for each in found.get("inputs", ())),
        libraries=tuple(found.get("libraries", ())),
    )


def pipeline_at(entry: Address) -> "Pipeline[..., Any]":
    """Import the module of a pipeline and return the pipeline.

    Raises:
        Invalid: it cannot be imported, or holds no such pipeline.
    """
    try:
        found: Any = thing_at(replace(entry, is_main=False))
    except Exception as error:  # the author's module may raise anything while it is imported
        raise Invalid(
            f"`{entry.module}` cannot be imported: {type(error).__name__}: {error}", where=entry.file
        ) from error
    # Asked by shape: the room's `step` imports the engine, which imports this.
    if not callable(getattr(found, "run", None)):
        raise Invalid(f"`{entry.module}` holds no pipeline `{entry.qualname}`", where=entry.file)
    pipeline: Pipeline[..., Any] = found
    return pipeline


@dataclass(slots=True)
class _Inputs:
    """Keeps input files, as far as they are not large."""

    artifacts: ArtifactStore
    stamps: StampCache
    _bytes: int = 0
    _count: int = 0

    def keep(self, reads: Iterable[Read]) -> Iterator[Input]:
        for read in sorted(reads):
            if read.kind == "file" and read.digest != ABSENT:
                yield self._keep(read.path, Digest(read.digest))
            elif read.kind == "folder":
                for path in files_below(read.path):
                    yield self._keep(path, Digest(self.stamps.digest_of(path)))

    def _keep(self, path: str, digest: Digest) -> Input:
        try:
            stat = os.stat(path)
        except OSError:
            return Input(path, digest)
        has_room = self._bytes + stat.st_size <= _MOST_BYTES and self._count < _MOST_FILES
        if has_room and stat.st_size <= _MOST_FILE_BYTES and not self.artifacts.claim(digest):
            with contextlib.suppress(MainspringError):  # gone or closed to us meanwhile: its digest is known
                self.artifacts.put_file(Path(path))
            self._bytes, self._count = self._bytes + stat.st_size, self._count + 1
        return Input(path, digest, stat.st_mtime_ns)


def _entry_of(pipeline: "Pipeline[..., Any]") -> tuple[Address | None, str]:
    thing: Any = pipeline  # it has what a step has: a module, a name, a function
    try:
        address = address_of(thing)
    except NotPortable as problem:
        return None, str(problem)
    file = os.path.abspath(address.file) if address.file else ""
    return Address(address.module, file, address.qualname, address.is_main), ""


def _sources_from(module: str) -> Iterator[str]:
    """Yield the project's files that a module imports, directly or not, at its top or inside functions."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        source = source_of(name)
        if source is None or source.origin.kind != "project" or source.file is None:
            continue
        yield os.path.abspath(source.file)
        waiting += [each for each in _imports_of(source) if each not in seen]
        waiting += [name.rpartition(".")[0]] if "." in name else []


def _imports_of(source: Source) -> Iterator[str]:
    form = source.form()
    for statement in form.imports if form is not None else ():
        yield from imported_by(statement, source.package)


def _project_path() -> list[str]:
    """Return the folders of the import path that hold the project's own code."""
    found = []
    for entry in sys.path:
        whole = os.path.abspath(entry or ".")
        probe = os.path.join(whole, "probe.py")
        # A command puts the folder of its own script first.
        is_scripts = whole == os.path.abspath(sysconfig.get_path("scripts"))
        is_project = not is_scripts and origin_of_file(probe) == "project" and not _holds_mainspring(whole)
        if is_project and os.path.isdir(whole):
            found.append(whole)
    return list(dict.fromkeys(found))


def _holds_mainspring(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, "mainspring", "pipeline", "provenance.py"))


def _kept(value: object, artifacts: ArtifactStore, where: str) -> Any:  # a JSON document
    """Return an argument as JSON: a path as its text, because its content is an input; collections item by item."""
    if isinstance(value, Path):
        return {"path": str(value)}
    if type(value) in (list, tuple):
        items: Any = value
        return {type(value).__name__: [_kept(each, artifacts, f"{where}[{n}]") for n, each in enumerate(items)]}
    if isinstance(value, dict) and all(type(key) is str for key in value):
        return {"dict": {key: _kept(each, artifacts, f"{where}[{key!r}]") for key, each in value.items()}}
    return {"value": encode(value, artifacts, where).document}
