"""One step, run: tries with a time limit and growing pauses, watched for the files it reads, its result kept.

The same function does this wherever the step runs; an executor only decides where. The result is durable in the
artifact store when `perform` returns, so whoever asked for it may write down that the step is done.
"""

import inspect
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mainspring.artifacts.protocol import ArtifactStore
from mainspring.errors import Invalid, Refused, Unavailable
from mainspring.pipeline._timeout import TookTooLong, time_limit
from mainspring.pipeline.documents import Stored
from mainspring.pipeline.graph import suspended
from mainspring.pipeline.reads import Read, StampCache, tracing
from mainspring.pipeline.values import encode

if sys.platform != "win32":
    import resource

if TYPE_CHECKING:
    from mainspring.pipeline.step import Step

__all__ = ["Done", "StepError", "Task", "perform"]

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Task:
    """A call to be made: the step, its arguments ready to use, and what the runner needs beside them."""

    step: "Step[..., Any]"  # a task can be of any step
    arguments: Mapping[str, object]
    artifacts: ArtifactStore
    stamps: StampCache
    sleep: Callable[[float], None]
    on_retry: Callable[[int, str], None]


@dataclass(frozen=True, slots=True)
class Done:
    """A call that was made. `stored` is None for a result that is only passed along and not kept.

    `unsteady` are files that changed while the step read them: its result fits no state of them and must not be found.
    """

    value: object
    stored: Stored | None
    reads: tuple[Read, ...]
    notes: tuple[str, ...]
    unsteady: tuple[str, ...]
    attempts: int
    cpu_seconds: float
    peak_memory_bytes: int | None


class StepError(Exception):
    """The last try of a step failed; ``__cause__`` is its error. For the engine alone, never shown."""

    def __init__(self, attempts: int) -> None:
        self.attempts = attempts
        super().__init__(f"failed after {attempts} tries")


def perform(task: Task) -> Done:
    """Run a step and keep its result.

    Raises:
        StepError: the step failed, each time it was tried.
    """
    options = task.step.options
    pause = _FIRST_PAUSE_SECONDS
    attempt = 1
    while True:
        try:
            return _try(task, attempt)
        except (Exception, TookTooLong) as error:  # the edge of the step: any error of the author's code ends here
            failure: BaseException = _took_too_long(task) if isinstance(error, TookTooLong) else error
            # Words that were wrong and work that said no stay so.
            if attempt > options.retries or isinstance(failure, Invalid | Refused):
                raise StepError(attempt) from failure
            task.on_retry(attempt, f"{type(failure).__name__}: {failure}")
        task.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        attempt += 1


def _try(task: Task, attempt: int) -> Done:
    call = inspect.BoundArguments(task.step.signature, OrderedDict(task.arguments))
    started = time.process_time()
    with suspended(), tracing() as trace, time_limit(task.step.options.timeout):
        value = task.step.function(*call.args, **call.kwargs)
    cpu_seconds = time.process_time() - started
    try:
        stored = encode(value, task.artifacts, f"result of {task.step.name}")
    except Invalid:
        if task.step.options.cache:
            raise
        stored = None
    return Done(
        value,
        stored,
        trace.reads(task.stamps),
        tuple(trace.notes),
        tuple(trace.changed_meanwhile()),
        attempt,
        cpu_seconds,
        _peak_memory_bytes(),
    )


def _took_too_long(task: Task) -> Unavailable:
    return Unavailable(
        f"The step `{task.step.name}` took longer than {task.step.options.timeout}",
        where=task.step.where,
        next_step="raise `timeout` in @step, or make the step do less at once",
    )


def _peak_memory_bytes() -> int | None:
    """Return the most memory this process has used so far; None where the system does not say."""
    if sys.platform == "win32":
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return peak if sys.platform == "darwin" else peak * 1024
