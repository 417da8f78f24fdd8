"""What a watcher found: all that an incident needs, and nothing that acts."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mainspring.domain.incident import Severity
from mainspring.monitor.diagnosis import Suspect

__all__ = ["Finding"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong now. `suspect` and `reason` are its diagnosis; `text` the first line of the timeline."""

    title: str
    text: str
    suspect: Suspect
    reason: str
    advice: str
    severity: Severity = "ticket"
    evidence: Mapping[str, object] = field(default_factory=dict)

    @property
    def diagnosis(self) -> dict[str, object]:
        """The diagnosis as an incident keeps it."""
        return {"suspect": self.suspect, "reason": self.reason, "advice": self.advice}
