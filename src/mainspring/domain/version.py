"""What the registry holds: models, their versions with the evidence, gate results, approvals and moves of aliases."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mainspring.domain.ids import Digest
from mainspring.domain.policy import Approval
from mainspring.errors import Invalid, Refused

__all__ = [
    "STAGES",
    "AliasMove",
    "AliasRule",
    "ApprovalGiven",
    "Comment",
    "GateResult",
    "ModelVersion",
    "RegisteredModel",
    "Stage",
    "VersionStatus",
    "check_alias",
    "check_model_name",
    "check_served_name",
    "parse_model",
]

#: candidate: submitted to its gates; refused: a gate said no; ready: its gates passed; archived: kept, not used;
#: registered: taken in from outside, as it came, with no gate asked.
VersionStatus = Literal["candidate", "refused", "ready", "archived", "registered"]
#: MLflow's older word for where a version stands. `Production` is moved under the rules of the alias champion.
Stage = Literal["None", "Staging", "Production", "Archived"]
STAGES: tuple[Stage, ...] = ("None", "Staging", "Production", "Archived")


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A name under which versions are kept, with what people say of it and who answers for it."""

    name: str
    description: str
    owner: str
    created_at: str
    created_by: str
    updated_at: str
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One version of a model: which bundle, from which run, and what is known of it.

    A version that was registered from outside has a `source` instead of a bundle that was made here; where the files
    of the source are kept here too, `bundle` is the digest of their folder. `location` is where its files are read
    from, when that is not the source itself; `logged_model` the id of the logged model it was made of.
    """

    model: str
    version: int
    bundle: Digest | None
    run_id: str | None
    status: VersionStatus
    created_at: str
    created_by: str
    evidence: dict[str, object] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    source: str = ""
    location: str = ""
    run_link: str = ""
    logged_model: str = ""
    description: str = ""
    stage: Stage = "None"
    updated_at: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        """How people write it: ``late-flights/3``."""
        return f"{self.model}/{self.version}"

    @property
    def is_made_here(self) -> bool:
        """Whether it is a bundle that was submitted here, and not one that was registered from outside."""
        return self.bundle is not None and self.status != "registered"

    @property
    def kept_bundle(self) -> Digest:
        """The bundle, for who needs its files.

        Raises:
            Refused: the version has none; it can be looked up, not served.
        """
        if self.bundle is None:
            raise Refused(
                f"{self.reference} has no files here: it was registered from `{self.source}`",
                next_step="register it again from artifacts that this workspace keeps, or submit it as a candidate",
            )
        return self.bundle


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


@dataclass(frozen=True, slots=True)
class AliasRule:
    """What the move of an alias asks for: one of `roles` (empty: anybody's), passed gates, and an approval.

    `origin` says who made the rule: the model's loop, or a person. Where both did, both hold.
    """

    model: str
    alias: str
    origin: Literal["loop", "person"]
    roles: tuple[str, ...] = ()
    gates: bool = False
    approval: Approval = field(default=Approval())


@dataclass(frozen=True, slots=True)
class Comment:
    """What somebody said of a version."""

    author: str
    text: str
    at: str


#: An alias, as MLflow has it.
_ALIAS = r"[\w-]{1,255}"


def check_model_name(name: str) -> str:
    """Return `name` if a model can be registered under it: MLflow's rule, and nothing that is not printed.

    Raises:
        Invalid: it is empty, holds a slash or a colon, or names a folder.
    """
    if not name.strip() or len(name) > 500 or not name.isprintable() or re.search(r"[/:]", name) or name in (".", ".."):
        raise Invalid(
            f"`{name[:80]}` is not a model name",
            where="name",
            next_step="use up to 500 printed characters without / and :",
        )
    return name


def check_served_name(name: str) -> str:
    """Return `name` if a model can be served under it: it stands in paths, URLs and metric labels alike.

    Raises:
        Invalid: it could not stand there.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise Invalid(f"`{name[:80]}` cannot be served under that name", next_step="use letters, digits, dots, dashes")
    return name


def check_alias(alias: str) -> str:
    """Return `alias` if it can be one: MLflow's rule.

    Raises:
        Invalid: it is no word, or stands for something else already (`latest`, `v3`).
    """
    if not re.fullmatch(_ALIAS, alias):
        raise Invalid(f"`{alias[:80]}` is not an alias", next_step="use letters, digits, underscores and dashes")
    if alias.lower() == "latest" or re.fullmatch(r"[vV]\d+", alias):
        raise Invalid(f"`{alias}` is reserved and cannot be an alias", next_step="choose another word")
    return alias


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
        if not (number.isascii() and number.isdigit()) or len(number) > 18:
            raise Invalid(f"`{reference}` is not a model version", next_step="write name/3 or name@champion")
        return check_model_name(name), int(number), None
    name, at, alias = reference.rpartition("@")
    if not at:
        return check_model_name(reference), None, None
    if not re.fullmatch(_ALIAS, alias):
        raise Invalid(f"`{alias}` is not an alias", next_step="write name@champion")
    return check_model_name(name), None, alias
