"""What the steps of a run took, and what the cache saved: the time that each found result took when it was made."""

from collections.abc import Sequence
from dataclasses import dataclass

from mainspring.pipeline.ledger import Ledger, StepRow

__all__ = ["RunCost", "StepCost", "cost_of"]


@dataclass(frozen=True, slots=True)
class StepCost:
    """One step: its row, and for one that was found the row of the run that made it, where that is known."""

    row: StepRow
    made_by: StepRow | None = None

    @property
    def saved_seconds(self) -> float | None:
        """How long the step took when its result was made; None for one that ran, or where nobody knows."""
        return self.made_by.seconds if self.made_by is not None else None


@dataclass(frozen=True, slots=True)
class RunCost:
    """The steps of a run and their sums. Steps that ran side by side take less of the wall's time than their sum."""

    steps: tuple[StepCost, ...]

    @property
    def seconds(self) -> float:
        """The seconds of the steps that ran."""
        return sum(each.row.seconds or 0.0 for each in self.steps)

    @property
    def cpu_seconds(self) -> float:
        """The CPU seconds of the steps that ran."""
        return sum(each.row.cpu_seconds or 0.0 for each in self.steps if not each.row.cached)

    @property
    def peak_memory_bytes(self) -> int:
        """The most memory that a process of the run had when one of its steps ended."""
        return max((each.row.peak_memory_bytes or 0 for each in self.steps), default=0)

    @property
    def saved_seconds(self) -> float:
        """The seconds that the found results took when they were made."""
        return sum(each.saved_seconds or 0.0 for each in self.steps)


def cost_of(rows: Sequence[StepRow], ledger: Ledger) -> RunCost:
    """Return what the steps of a run took and what was saved."""
    return RunCost(tuple(StepCost(row, ledger.first_made(row) if row.cached else None) for row in rows))
