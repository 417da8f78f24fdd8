"""Incidents: something is wrong with a model in production. States, severities and the moves that are allowed."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mainspring.domain.ids import IncidentId
from mainspring.errors import Conflict

__all__ = ["DATA_RULE", "MOVES", "Incident", "IncidentEntry", "IncidentStatus", "Severity", "check_move", "digest_of"]

#: triggered: nobody looked yet; acknowledged: somebody (or the loop) is on it; mitigated: users no longer suffer;
#: resolved: done, with the timeline closed.
IncidentStatus = Literal["triggered", "acknowledged", "mitigated", "resolved"]
#: page: wake somebody; ticket: this week; info: for the record.
Severity = Literal["page", "ticket", "info"]

#: The rule of incidents of broken input.
DATA_RULE = "data"

MOVES: dict[IncidentStatus, tuple[IncidentStatus, ...]] = {
    "triggered": ("acknowledged", "mitigated", "resolved"),
    "acknowledged": ("mitigated", "resolved"),
    "mitigated": ("acknowledged", "resolved"),
    "resolved": (),
}


@dataclass(frozen=True, slots=True)
class IncidentEntry:
    """One line of an incident's timeline: who did or saw what, and the evidence."""

    at: str
    actor: str
    what: str
    text: str
    evidence: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident; `rule` is what found it, `diagnosis` what is thought to be the cause.

    `quiet` says why nobody is told of it: ``data:ID``, the incident of broken input that it may follow from, or
    ``silence``; empty once people are told.
    """

    incident_id: IncidentId
    dedup_key: str
    model: str
    version: int | None
    rule: str
    severity: Severity
    status: IncidentStatus
    title: str
    owner: str
    opened_at: str
    closed_at: str | None
    diagnosis: dict[str, object] = field(default_factory=dict)
    timeline: tuple[IncidentEntry, ...] = ()
    quiet: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it still wants something."""
        return self.status != "resolved"


def digest_of(evidence: Mapping[str, object]) -> str:
    """Return the SHA-256 of evidence as the JSON text that the timeline stores; of no evidence the empty text.

    The audit chain holds the digest of what the timeline holds, so evidence that was altered later can be told.

    Raises:
        ValueError: the evidence holds a number that JSON cannot (NaN, infinity).
    """
    if not evidence:
        return ""
    # keys stay in their order: sorting those of a nested object that are no text would change once they are read back
    return hashlib.sha256(json.dumps(dict(evidence), allow_nan=False).encode()).hexdigest()


def check_move(now: IncidentStatus, wanted: IncidentStatus) -> None:
    """Let an allowed move pass.

    Raises:
        Conflict: an incident in state `now` cannot go to `wanted`.
    """
    if wanted not in MOVES[now]:
        allowed = " or ".join(f"`{each}`" for each in MOVES[now]) or "nothing: it is closed"
        raise Conflict(f"An incident that is {now} cannot become {wanted}", next_step=f"allowed from here: {allowed}")
