"""What a run came to: its steps, its value, and the error that ended it; and the events told while it goes on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Literal, Protocol, TypeVar

from mainspring.domain.ids import RunId
from mainspring.errors import MainspringError
from mainspring.pipeline.ledger import StepRow

__all__ = ["Progress", "RunFailed", "RunOutcome", "RunStatus", "StepEvent"]

R = TypeVar("R")

RunStatus = Literal["finished", "failed", "killed"]


@dataclass(frozen=True, slots=True)
class StepEvent:
    """News of one step: it was found in the cache, has started, is tried again, has finished or failed.

    `reason` says why it runs or where its result comes from, or what went wrong; `seconds` is set at the end.
    """

    run_id: RunId
    number: int
    name: str
    status: Literal["cached", "running", "retrying", "finished", "failed"]
    reason: str
    seconds: float = 0.0


class Progress(Protocol):
    """Is told of every step while a run goes on."""

    def on_step(self, event: StepEvent) -> None:
        """Take notice of `event`; must return soon, because the run waits for it."""


@dataclass(frozen=True, slots=True)
class RunOutcome(Generic[R]):
    """What a run came to. `steps` are in the order of their calls."""

    run_id: RunId
    pipeline: str
    status: RunStatus
    steps: tuple[StepRow, ...]
    _value: Callable[[], R] = field(repr=False)
    _summary: Callable[[], object] = field(repr=False)

    @property
    def value(self) -> R:
        """What the pipeline returned; results that were found in the cache are loaded now."""
        return self._value()

    @property
    def result(self) -> object:
        """What JSON can show of the value, without loading it: records as objects, tables by their size."""
        return self._summary()


class RunFailed(MainspringError):
    """A run ended with an error. `outcome` tells how far it came; ``__cause__`` is the error itself.

    The code is the cause's where that is an error of ours, so that a failed check still leaves as a failed check.
    """

    code = "refused"

    def __init__(
        self, what: str, *, where: str = "", next_step: str = "", outcome: RunOutcome[object] | None = None
    ) -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.outcome = outcome
