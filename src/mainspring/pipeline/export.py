"""A pipeline as what another scheduler runs: the commands, which wait for which, and where they run.

`outline` says it in words that no scheduler owns; an exporter, found by its entry point, writes it down as manifests.
Each command is one process of `mainspring run --step`, so the cache, the tries, the artifacts and the lineage stay what
they are here; the last command makes the whole run of what the others kept (`apart`).
"""

import re
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol

from mainspring.artifacts.digests import digest_of_bytes
from mainspring.errors import Invalid, Unavailable, nearest
from mainspring.pipeline.apart import parts_of

if TYPE_CHECKING:
    from mainspring.pipeline.step import Pipeline

__all__ = ["Command", "Exporter", "Outline", "Placement", "exporter_named", "outline"]

_GROUP = "mainspring.exporter"
_LONGEST_NAME = 63  # of a DNS label, which is what names are in Kubernetes
_LONGEST_WAIT = "1d"
_SECRET = re.compile(r"TOKEN|PASSWORD|SECRET|_KEY$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the commands run: an image that holds the project in `folder`, and what they share.

    `claim` is a volume for the workspace; else `environment` or `secret` (a Secret of environment variables) must name
    a store and artifacts that every process reaches.

    Raises:
        Invalid: the processes would share nothing, or a secret would stand in a manifest.
    """

    image: str
    folder: str = "/app"
    claim: str = ""
    secret: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shares_home = bool(self.claim) or "MAINSPRING_HOME" in self.environment
        shares_both = {"MAINSPRING_STORE", "MAINSPRING_ARTIFACTS"} <= self.environment.keys()
        if not (shares_home or shares_both or self.secret):
            raise Invalid(
                "The steps would share no store and no artifacts",
                next_step="give --claim NAME (a volume for the workspace), or --env MAINSPRING_STORE=... and "
                "--env MAINSPRING_ARTIFACTS=..., or --secret NAME that holds them",
            )
        for name, value in self.environment.items():
            if _SECRET.search(name) or urllib.parse.urlsplit(value).password:
                raise Invalid(
                    f"`{name}` looks like a secret, and manifests are read by many",
                    where=f"--env {name}",
                    next_step=f"kubectl create secret generic NAME --from-literal={name}=... and give --secret NAME",
                )


@dataclass(frozen=True, slots=True)
class Command:
    """One process: `name` is unique in the outline, `after` are the names of those it needs."""

    name: str
    step: str
    words: tuple[str, ...]
    after: tuple[str, ...] = ()
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Outline:
    """A pipeline as commands, in an order in which they can run. The last one is the run itself.

    `name` is the pipeline's as a DNS label, `tag` what tells exports with other parameters apart.
    """

    name: str
    tag: str
    commands: tuple[Command, ...]


class Exporter(Protocol):
    """Writes an outline as manifests; registered in the group ``mainspring.exporter``."""

    def __call__(self, outline: Outline, placement: Placement) -> list[dict[str, Any]]:
        """Return the documents, which are plain data that YAML and JSON hold."""


def outline(
    pipeline: "Pipeline[..., Any]", target: str, arguments: Mapping[str, object], words: Sequence[str]
) -> Outline:
    """Return the commands that run `pipeline` step by step.

    `target` is the file and name that `mainspring run` is given, relative to the project's folder; `words` are the
    parameters as ``name=value``, and `arguments` what they come to.

    Raises:
        Invalid: the body of the pipeline fails.
    """
    given = tuple(word for each in words for word in ("-p", each))
    run = ("python", "-m", "mainspring", "run", target, *given)
    name = _label(pipeline.name)
    parts = parts_of(pipeline, arguments)
    names = {part.number: f"{part.number:02d}-{_label(part.name)}" for part in parts}
    commands = [
        Command(
            names[part.number],
            part.name,
            (*run, "--step", str(part.number), "--wait", _LONGEST_WAIT),
            tuple(names[each] for each in part.needs),
            part.options.memory_bytes,
        )
        for part in parts
    ]
    last = Command("run", pipeline.name, (*run, "--wait", _LONGEST_WAIT), tuple(names.values()))
    return Outline(name, digest_of_bytes("\0".join(run).encode())[:8], (*commands, last))


def exporter_named(name: str) -> Exporter:
    """Return an exporter by its name: ``k8s``, ``argo``, or one that a plug-in registers.

    Raises:
        Invalid: there is none of that name.
        Unavailable: it is registered and cannot be loaded.
    """
    known = {each.name: each for each in entry_points(group=_GROUP)}
    if name not in known:
        raise Invalid(f"There is no exporter `{name}`", where="--to", next_step=nearest(name, known))
    try:
        exporter: Exporter = known[name].load()
    except ImportError as error:
        raise Unavailable(f"The exporter `{name}` cannot be loaded: {error}") from error
    return exporter


def _label(name: str) -> str:
    """Return a name as a part of a DNS label; three of them with a tag stay within its 63 characters."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[: _LONGEST_NAME // 3].strip("-") or "step"
