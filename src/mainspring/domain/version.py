"""What the registry holds: model versions with their evidence, gate results, approvals and the moves of aliases."""

import re
from dataclasses import dataclass, field
from typing import Literal

from mainspring.domain.ids import Digest
from mainspring.errors import Invalid

__all__ = [
    "AliasMove",
    "ApprovalGiven",
    "GateResult",
    "ModelVersion",
    "VersionStatus",
    "check_model_name",
    "parse_model",
]

#: candidate: registered; refused: a gate said no; ready: gates and approvals are there; archived: kept, not used.
VersionStatus = Literal["candidate", "refused", "ready", "archived"]


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One version of a model: which bundle, from which run, and what is known of it."""

    model: str
    version: int
    bundle: Digest
    run_id: str | None
    status: VersionStatus
    created_at: str
    created_by: str
    evidence: dict[str, object] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()

    @property
    def reference(self) -> str:
        """How people write it: ``late-flights/3``."""
        return f"{self.model}/{self.version}"


@dataclass(frozen=True, slots=True)
class GateResult:
    """What one gate said of one version, why, and the figures it looked at."""

    gate: str
    passed: bool
    reason: str
    evidence: dict[str, object] = field(default_factory=dict)
    at: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalGiven:
    """Who agreed, in which role, when and with which words."""

    approver: str
    role: str
    comment: str
    at: str


@dataclass(frozen=True, slots=True)
class AliasMove:
    """One move of an alias; `version` None means that it was taken away."""

    model: str
    alias: str
    version: int | None
    at: str
    actor: str
    reason: str


def check_model_name(name: str) -> str:
    """Return `name` if it can name a model.

    Raises:
        Invalid: it could not stand in a path, a URL and a metric label alike.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise Invalid(f"`{name}` is not a model name", next_step="use letters, digits, dots and dashes")
    return name


def parse_model(reference: str) -> tuple[str, int | None, str | None]:
    """Split ``name``, ``name/3`` or ``name@alias`` into name, version and alias.

    >>> parse_model("late-flights@champion")
    ('late-flights', None, 'champion')
    >>> parse_model("late-flights/3")
    ('late-flights', 3, None)

    Raises:
        Invalid: the text is none of the three.
    """
    name, slash, number = reference.partition("/")
    if slash:
        if not (number.isascii() and number.isdigit()):
            raise Invalid(f"`{reference}` is not a model version", next_step="write name/3 or name@champion")
        return check_model_name(name), int(number), None
    name, at, alias = reference.partition("@")
    if at and not re.fullmatch(r"[a-z][a-z0-9_-]*", alias):
        raise Invalid(f"`{alias}` is not an alias", next_step="write name@champion")
    return check_model_name(name), None, alias or None
