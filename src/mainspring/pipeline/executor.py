"""Where steps run. The cache, the tries, the artifacts and the records stay outside, so an executor stays small.

An executor takes a task and promises its `Done`; it calls `runner.perform` somewhere: here, in a worker process, on a
cluster. Only the in-process one is built in; the others are extras.
"""

from concurrent.futures import Future
from typing import Protocol

from mainspring.pipeline.runner import Done, Task, perform

__all__ = ["Executor", "InProcessExecutor"]


class Executor(Protocol):
    """Runs tasks. May run several at once; the engine hands in a task only when its arguments are there."""

    def submit(self, task: Task) -> "Future[Done]":
        """Begin a task. The future fails with `StepError` when the step does, and with any other error when the
        executor does."""


class InProcessExecutor:
    """Runs each task at once, in the thread that asks: no start-up, no copies, and a debugger stops where it should."""

    def submit(self, task: Task) -> "Future[Done]":
        """Run the task and return its finished future; an interruption from the keyboard is not held back."""
        future: Future[Done] = Future()
        try:
            future.set_result(perform(task))
        except Exception as error:  # handed to whoever asks the future, as any executor does
            future.set_exception(error)
        return future
