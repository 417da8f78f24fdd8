"""Local processes: the steps that can run at the same time run on as many cores as there are.

A worker starts when the first step wants one, stays warm until the run ends, and is this interpreter with nothing but
what the steps import. When is a step worth a process? When another could run beside it and together they take longer
than workers need to start; when it has a time limit (ending a process ends native code too) or a memory limit. A chain
of steps, a step known to be short, and one that is not cached run in the pipeline's own process, at the cost of a call.
"""

import contextlib
import os
import pickle
import queue
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from mainspring.errors import Unavailable
from mainspring.pipeline._timeout import POLL_SECONDS, memory_of
from mainspring.pipeline.executor import Crew, WorkerLost
from mainspring.pipeline.options import StepOptions
from mainspring.pipeline.runner import Answer, Failed, Task, perform, took_too_long, took_too_much
from mainspring.pipeline.tracing import unwatched

__all__ = ["ProcessExecutor", "perform_elsewhere"]

# CPU time that the ready steps must take together to be worth starting workers, and to be worth handing to warm ones.
# A worker starts in 0.1 s; what costs is that it imports the libraries of the step again.
_WORTH_COLD_SECONDS = 1.0
_WORTH_WARM_SECONDS = 0.1
# How long a worker that should have ended its step itself is waited for.
_GRACE_SECONDS = 1.0
_CLOSE_SECONDS = 5.0
_LENGTH = struct.Struct("!Q")


class ProcessExecutor:
    """Runs steps in processes of this machine, at most `width` at once (default: the cores this process may use)."""

    def __init__(self, width: int | str | None = None) -> None:
        self._width = int(width) if width is not None else _cores()

    def crew(self) -> Crew:
        """Return the workers for one run; none is started before the first task."""
        # A step that itself runs a pipeline shares the cores with its neighbours, so its steps get no processes.
        nested = "mainspring.pipeline._worker" in sys.modules
        return _ProcessCrew(1 if nested or sys.platform == "win32" else max(self._width, 1))


def perform_elsewhere(task: Task, paths: Sequence[str]) -> Answer:
    """Perform a task in a worker of a cluster, with `paths` to import from: what an executor hands to its engine.

    A step with a limit gets a process of its own, so that the limit ends the step and not the engine's worker. Two
    threads of one worker take turns: seeds, streams and the files that are opened belong to the process.
    """
    with _one_at_a_time:
        sys.path.extend(each for each in paths if each not in sys.path)
        if task.options.timeout is None and task.options.memory_bytes is None:
            return perform(task)
        worker = _Worker()
        try:
            return worker.perform(task)
        except _Ended as ended:
            return ended.answer or Failed.of(Unavailable(f"The process of the step `{task.name}` died: {ended}"))
        finally:
            worker.kill()


_one_at_a_time = threading.Lock()


class _ProcessCrew:
    def __init__(self, width: int) -> None:
        self.width = width
        self._tasks: queue.SimpleQueue[tuple[Task, Future[Answer]] | None] = queue.SimpleQueue()
        self._lanes: list[_Lane] = []
        self._waiting = 0
        self._lock = threading.Lock()

    def wants(self, options: StepOptions, ready: int, seconds: float | None) -> bool:
        if sys.platform == "win32" or "mainspring.pipeline._worker" in sys.modules:
            return False
        if options.memory_bytes is not None or options.timeout is not None:
            return True
        if not options.cache or self.width < 2 or ready < 2:
            return False
        return seconds is None or seconds >= (_WORTH_WARM_SECONDS if self._lanes else _WORTH_COLD_SECONDS)

    def submit(self, task: Task) -> "Future[Answer]":
        future: Future[Answer] = Future()
        with self._lock:
            self._waiting += 1
            if self._waiting > len(self._lanes):
                self._lanes.append(_Lane(self._tasks, self._one_less))
        self._tasks.put((task, future))
        return future

    def close(self) -> None:
        for _ in self._lanes:
            self._tasks.put(None)
        for lane in self._lanes:
            lane.end()
        self._lanes.clear()

    def _one_less(self) -> None:
        with self._lock:
            self._waiting -= 1


class _Lane:
    """A thread that takes tasks, one after the other, and has a worker process do them."""

    def __init__(self, tasks: "queue.SimpleQueue[tuple[Task, Future[Answer]] | None]", after: Any) -> None:
        self._tasks = tasks
        self._after = after
        self._worker: _Worker | None = None
        self._closing = False
        self._busy = False
        self._thread = threading.Thread(target=self._work, name="lane of a run", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """End the worker: at once when it is in a step, else by telling it that there is nothing more to do."""
        self._closing = True
        worker = self._worker
        if worker is not None and self._busy:
            worker.end_process()
        self._thread.join(_CLOSE_SECONDS)
        if self._thread.is_alive() and worker is not None:
            worker.end_process()
            self._thread.join()

    def _work(self) -> None:
        # What this thread opens is no input of the step that the main thread may be running.
        with unwatched():
            while (taken := self._tasks.get()) is not None:
                task, future = taken
                self._busy = True
                try:
                    answer = self._answer(task)
                except BaseException as error:  # the edge of the thread: handed to whoever asks the future
                    self._busy = False
                    self._after()
                    future.set_exception(error)
                else:
                    self._busy = False
                    self._after()
                    future.set_result(answer)
            if self._worker is not None:
                self._worker.close()

    def _answer(self, task: Task) -> Answer:
        ends = []
        for _ in range(2):
            if self._closing:
                break
            try:
                if self._worker is None:
                    self._worker = _Worker()
                return self._worker.perform(task)
            except _Ended as ended:
                if self._worker is not None:
                    self._worker.kill()
                self._worker = None
                if ended.answer is not None:
                    return ended.answer
                ends.append(str(ended))
        raise WorkerLost(" and ".join(ends) or "the run was ended")


class _Ended(Exception):
    """The worker is no more. `answer` is set where we ended it ourselves, for a limit of the step."""

    def __init__(self, how: str, answer: Answer | None = None) -> None:
        self.answer = answer
        super().__init__(how)


class _Worker:
    """A worker process and the two pipes to it: orders in, answers out. It ends when its orders end."""

    def __init__(self) -> None:
        orders_in, self._orders = os.pipe()
        self._answers, answers_out = os.pipe()
        os.set_blocking(self._answers, False)
        source = str(Path(__file__).parents[2])
        program = f"import sys; sys.path.insert(0, {source!r}); from mainspring.pipeline._worker import main; main()"
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", program, str(orders_in), str(answers_out), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                pass_fds=(orders_in, answers_out),
                # A group of its own, so that what the step started can be ended with it.
                start_new_session=True,
            )
        except BaseException:
            os.close(self._orders)
            os.close(self._answers)
            raise
        finally:
            os.close(orders_in)
            os.close(answers_out)
        self._buffer = bytearray()
        try:
            self._send(list(sys.path))
        except _Ended:
            self.kill()
            raise

    def perform(self, task: Task) -> Answer:
        """Have a task done. Raises `_Ended` when the process is no more, or had to be ended."""
        self._send(task)
        # The clock and the memory of the step count from where its own code begins: loading the arguments is ours.
        declined: Answer | None = self._receive(None, None, task)
        if declined is not None:
            return declined
        limit = task.options.timeout
        deadline = time.monotonic() + limit.total_seconds() + _GRACE_SECONDS if limit is not None else None
        most = task.options.memory_bytes
        answer: Answer = self._receive(deadline, memory_of(self._process.pid) + most if most else None, task)
        return answer

    def close(self) -> None:
        """Let the process end by itself, and wait until it has."""
        os.close(self._orders)
        os.close(self._answers)
        try:
            self._process.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self.end_process()

    def kill(self) -> None:
        """End the process and all that it started, now, and let go of the pipes."""
        self.end_process()
        for handle in (self._orders, self._answers):
            with contextlib.suppress(OSError):
                os.close(handle)

    def end_process(self) -> None:
        """End the process and all that it started; any thread may, because the pipes stay with who reads them."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _send(self, message: object) -> None:
        data = pickle.dumps(message)
        view = memoryview(_LENGTH.pack(len(data)) + data)
        try:
            while view:
                view = view[os.write(self._orders, view) :]
        except OSError as error:
            raise _Ended(self._how()) from error

    def _receive(self, deadline: float | None, most_bytes: int | None, task: Task) -> Any:  # whatever was sent
        while True:
            if len(self._buffer) >= _LENGTH.size:
                size = _LENGTH.unpack(self._buffer[: _LENGTH.size])[0]
                if len(self._buffer) >= _LENGTH.size + size:
                    data = bytes(self._buffer[_LENGTH.size : _LENGTH.size + size])
                    del self._buffer[: _LENGTH.size + size]
                    return pickle.loads(data)  # noqa: S301  # our own worker's words
            wait = None if deadline is None else max(deadline - time.monotonic(), 0)
            if most_bytes is not None:
                wait = POLL_SECONDS if wait is None else min(wait, POLL_SECONDS)
            if select.select([self._answers], [], [], wait)[0]:
                got = os.read(self._answers, 1 << 20)
                if not got:
                    raise _Ended(self._how())
                self._buffer += got
            elif deadline is not None and time.monotonic() >= deadline:
                raise _Ended("it took too long", Failed.of(took_too_long(task)))
            elif most_bytes is not None and memory_of(self._process.pid) > most_bytes:
                raise _Ended("it took too much memory", Failed.of(took_too_much(task)))

    def _how(self) -> str:
        """Say how the process ended. Its pipes may close a moment before it is gone."""
        try:
            code = self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            return "its process closed its pipes"
        return f"its process was ended by signal {-code}" if code < 0 else f"its process ended with code {code}"


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
