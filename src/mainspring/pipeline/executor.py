"""Where steps run. The cache, the tries, the artifacts and the records stay outside, so an executor stays small.

An executor is a setting; for each run it gives a crew, which takes tasks and promises their answers. Whatever a crew
is, it calls `runner.perform` somewhere: in this process, in a worker process, on a cluster. The engine runs a step
itself, in the process of the pipeline, when the crew does not want it or its code cannot travel.
"""

from concurrent.futures import Future
from importlib.metadata import entry_points
from typing import Protocol

from mainspring.errors import Invalid, Unavailable, nearest
from mainspring.pipeline.options import StepOptions
from mainspring.pipeline.runner import Answer, Task, perform

__all__ = ["Crew", "Executor", "InProcessExecutor", "WorkerLost", "executor_named"]

_GROUP = "mainspring.executor"


class WorkerLost(Exception):
    """A worker died in the middle of a step, and so did the one that tried again. The text says how."""


class Crew(Protocol):
    """The workers of one run. Used by one thread; the futures may be finished by any.

    `width` is how many tasks the crew works on at once; it is never handed more. With a width of one the engine keeps
    to the order of the calls.
    """

    width: int

    def wants(self, options: StepOptions, ready: int, seconds: float | None) -> bool:
        """Whether it is worth sending a step with these options to a worker.

        `ready` is how many steps could run at this moment, this one counted; `seconds` is the CPU time that they took
        when they last ran, None when that is not known of all of them.
        """

    def submit(self, task: Task) -> "Future[Answer]":
        """Begin a task. A step that fails is an answer; the future itself fails only when the crew does.

        A task whose worker dies is begun once more on another; then the future fails with `WorkerLost`.
        """

    def close(self) -> None:
        """End what was started for the run, and what still runs with it. Leaves no process behind."""


class Executor(Protocol):
    """Says where steps run. Starts nothing by itself."""

    def crew(self) -> Crew:
        """Return the workers for one run; none is started before the first task."""


class InProcessExecutor:
    """Runs each step in the process and the thread of the pipeline, one at a time, in the order of the calls.

    No start-up, no copies, and a debugger stops where it should. A time or memory limit interrupts Python code; a long
    call into native code ends first.
    """

    width = 1

    def crew(self) -> Crew:
        """Return the crew, which is this object."""
        return self

    def wants(self, options: StepOptions, ready: int, seconds: float | None) -> bool:
        """Say no: the engine runs the step where it is, with the values at hand."""
        return False

    def submit(self, task: Task) -> "Future[Answer]":
        """Run the task and return its finished future."""
        future: Future[Answer] = Future()
        future.set_result(perform(task))
        return future

    def close(self) -> None:
        """Do nothing: nothing was started."""


def executor_named(name: str) -> Executor:
    """Return a new executor by its name: ``in-process``, ``processes``, or one that a plug-in registers.

    What follows a colon is handed to it: ``ray:auto``, ``dask:tcp://scheduler:8786``, ``processes:4``.

    Raises:
        Invalid: there is no executor of that name.
        Unavailable: it is registered and cannot be loaded; the message says why.
    """
    kind, _, argument = name.partition(":")
    known = {each.name: each for each in entry_points(group=_GROUP)}
    if kind not in known:
        raise Invalid(f"There is no executor `{kind}`", next_step=nearest(kind, known))
    try:
        make = known[kind].load()
    except ImportError as error:
        raise Unavailable(f"The executor `{kind}` cannot be loaded: {error}") from error
    made: Executor = make(argument) if argument else make()
    return made
