"""The steps of a run that really have to run: where each one runs, when it is tried again, and what came of it.

A job goes to the crew when the crew wants it and its code and arguments can travel; else it runs here, in the thread of
the pipeline. While one runs here nothing new is sent out, which is why only what is short, alone, or cannot leave does.
"""

import os
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mainspring.domain.ids import RunId
from mainspring.errors import Invalid, Refused, Unavailable
from mainspring.pipeline._portable import NotPortable, address_of, pack, seal_of
from mainspring.pipeline._seeds import seed_for
from mainspring.pipeline._shelf import UNSET, Shelf
from mainspring.pipeline.documents import Document, objects_in
from mainspring.pipeline.executor import WorkerLost
from mainspring.pipeline.fingerprint import Fingerprint
from mainspring.pipeline.graph import Call
from mainspring.pipeline.lazy import Lazy, Reference, with_lazies
from mainspring.pipeline.reads import StampCache
from mainspring.pipeline.runner import Answer, Declined, Done, Failed, Task, Work, attempt, place_in_project
from mainspring.pipeline.step_logs import StepLog, show

if TYPE_CHECKING:
    from mainspring.pipeline.context import PipelineContext

__all__ = ["Ended", "Job", "Jobs"]

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
# How many ready steps are looked at to tell whether together they are worth workers.
_MOST_CONSIDERED = 64


@dataclass(slots=True, eq=False)
class Job:
    """A call that has to run. `reason` says why; `here_because` why it does not leave this process, if it might."""

    call: Call
    key: Fingerprint | None
    reason: str
    here_because: str = ""
    tries: int = 1
    started: float = 0.0
    due: float = 0.0
    task: Task | None = None
    log: StepLog = field(default_factory=StepLog)

    @property
    def seed_key(self) -> str:
        """The key as text; empty for a call that has none."""
        return self.key.key if self.key is not None else ""

    @property
    def said(self) -> str:
        """The reason as it is shown."""
        return f"{self.reason} (in this process: {self.here_because})" if self.here_because else self.reason


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of a job: `done` with the value where it is at hand, or the `error` of its last try and its place."""

    job: Job
    done: Done | None = None
    value: object = UNSET
    error: BaseException | None = None
    place: str = ""


class Jobs:
    """The jobs of one run. `on_start` is told before the first try of each, `on_retry` of each try that failed."""

    def __init__(
        self,
        context: "PipelineContext",
        run_id: RunId,
        shelf: Shelf,
        stamps: StampCache,
        seconds_of: Callable[[str], float | None],
        on_start: Callable[[Job], None],
        on_retry: Callable[[Job, str], None],
    ) -> None:
        self._context = context
        self._run_id = run_id
        self._shelf = shelf
        self._stamps = stamps
        self._seconds_of = seconds_of
        self._on_start = on_start
        self._on_retry = on_retry
        self._crew = context.executor.crew()
        self._waiting: deque[Job] = deque()
        self._paused: list[Job] = []
        self._running: dict[Future[Answer], Job] = {}
        self._seconds: dict[str, float | None] = {}
        self._declined: dict[int, str] = {}  # why workers do not run a step, by the identity of the step

    @property
    def is_hungry(self) -> bool:
        """Whether another job could be of use now: a crew of one takes the calls in their order, one by one."""
        if self._crew.width == 1:
            return not (self._waiting or self._paused or self._running)
        return len(self._waiting) <= self._crew.width - len(self._running)

    @property
    def is_busy(self) -> bool:
        """Whether there is a job that has not ended."""
        return bool(self._waiting or self._paused or self._running)

    def add(self, job: Job) -> None:
        """Take a job."""
        self._waiting.append(job)

    def number_with(self, key: Fingerprint) -> int | None:
        """Return the number of the call that is being made and has this key: its result will do for another."""
        jobs = (*self._waiting, *self._paused, *self._running.values())
        return next((job.call.index for job in jobs if job.key is not None and job.key.key == key.key), None)

    def cancel(self) -> None:
        """Leave what has not started, or waits to be tried again."""
        self._waiting.clear()
        self._paused.clear()

    def advance(self, ready: Sequence[str]) -> list[Ended]:
        """Start what can start, wait until something ends, and return what did.

        `ready` are the steps that could run too and have not been looked up yet.
        """
        self._wake()
        for job in list(self._waiting):
            if self._leaves(job, ready) and len(self._running) < self._crew.width:
                self._waiting.remove(job)
                self._send(job)
        # Those that wait for room in the crew are left; the first that does not leave runs here.
        here = next((job for job in self._waiting if job.task is None), None)
        if here is not None:
            self._waiting.remove(here)
            ended = self._run_here(here)
            return ([] if ended is None else [ended]) + self._collect(0)
        if self._running:
            due = min((job.due for job in self._paused), default=None)
            return self._collect(None if due is None else max(due - time.monotonic(), 0))
        if self._paused:
            self._context.sleep(max(min(job.due for job in self._paused) - time.monotonic(), 0))
            self._wake(at_least_one=True)
        return []

    def run_now(self, job: Job) -> Ended:
        """Run a job here to its end, whatever else is going on."""
        while True:
            ended = self._run_here(job)
            if ended is not None:
                return ended
            self._waiting.remove(job)

    def close(self) -> None:
        """End the crew with what still runs in it."""
        self._crew.close()

    def _leaves(self, job: Job, ready: Sequence[str]) -> bool:
        """Whether a job goes to the crew; then its task is ready."""
        if job.task is not None:
            return True
        company = len(self._waiting) + len(self._running) + len(ready)
        options = job.call.step.options
        seconds = self._seconds_together(ready) if company > 1 and self._crew.width > 1 else None
        if job.here_because or not self._crew.wants(options, company, seconds):
            return False
        if id(job.call.step) in self._declined:
            job.here_because = self._declined[id(job.call.step)]
            return False
        try:
            job.task = self._task_of(job)
        except NotPortable as problem:
            job.here_because = str(problem)
        return job.task is not None

    def _seconds_together(self, ready: Sequence[str]) -> float | None:
        names = [job.call.step.name for job in self._waiting] + list(ready[:_MOST_CONSIDERED])
        total = 0.0
        for name in names:
            if name not in self._seconds:
                self._seconds[name] = self._seconds_of(name)
            seconds = self._seconds[name]
            if seconds is None:
                return None
            total += seconds
        return total

    def _task_of(self, job: Job) -> Task:
        step = job.call.step
        return Task(
            address_of(step),
            step.name,
            step.where,
            step.options,
            pack(job.call.arguments, self._document_of),
            self._context.artifacts,
            os.getcwd(),
            seal_of(step.function),
            self.seed_of(job),
            self._run_id,
        )

    def seed_of(self, job: Job) -> int:
        """Return what the random numbers of a job begin from."""
        call = job.call
        given = self._context.seeds.get(call.index)
        return seed_for(job.seed_key, call.step.name, call.index) if given is None else given

    def _document_of(self, lazy: Lazy) -> Document:
        if self._shelf.stored_of(Reference.of(lazy).call) is None:
            raise NotPortable("it takes a result that is not kept")
        return self._shelf.document_of(lazy)

    def _send(self, job: Job) -> None:
        assert job.task is not None, "whoever sends has made the task"
        self._begin(job)
        self._running[self._crew.submit(job.task)] = job

    def _begin(self, job: Job) -> None:
        if not job.started:
            job.started = time.monotonic()
            self._on_start(job)

    def _run_here(self, job: Job) -> Ended | None:
        """Run one try in this thread; None when it failed and is to be tried again."""
        step = job.call.step
        self._begin(job)
        try:
            arguments = {name: with_lazies(value, self._shelf.value_of) for name, value in job.call.arguments.items()}
        except Exception as error:  # a kept value that does not come back is no fault of the step's: no more tries
            return Ended(job, error=error)
        work = Work(step.function, step.name, step.where, step.options, self.seed_of(job), self._run_id)
        try:
            value, done = attempt(work, arguments, self._context.artifacts, self._stamps, job.log)
        except Exception as error:  # the edge of the step: any error of the author's code ends here
            return self._failed(job, error, place_in_project(error))
        return self._done(job, done, value)

    def _collect(self, timeout: float | None) -> list[Ended]:
        """Return what ended within `timeout` seconds (None: wait until something does)."""
        found = []
        for future in wait(self._running, timeout, FIRST_COMPLETED).done if self._running else ():
            ended = self._ended(self._running.pop(future), future)
            if ended is not None:
                found.append(ended)
        return sorted(found, key=lambda each: each.job.call.index)

    def _ended(self, job: Job, future: "Future[Answer]") -> Ended | None:
        try:
            answer = future.result()
        except WorkerLost as lost:
            error = Unavailable(
                f"The worker of the step `{job.call.step.name}` died twice: {lost}",
                where=job.call.step.where,
                next_step="a system that runs out of memory ends processes: let the step hold less at once",
            )
            return self._failed(job, error, "")
        except Exception as error:  # the executor itself is in trouble: trying again is no cure
            return Ended(job, error=error)
        if isinstance(answer, Done) and not self._is_kept(answer):
            answer = Declined("its result is not in the artifact store, which workers must share")
        if isinstance(answer, Declined):
            job.here_because, job.task = answer.reason, None
            self._declined[id(job.call.step)] = answer.reason
            self._waiting.appendleft(job)
            return None
        job.log.extend(answer.log)
        if sys.stderr.isatty():
            show(answer.log)
        if isinstance(answer, Failed):
            return self._failed(job, answer.error(), answer.place)
        self._stamps.learned.update(answer.stamps)
        return self._done(job, answer, UNSET)

    def _is_kept(self, done: Done) -> bool:
        """Whether what a worker kept can be read here: a folder of the same name on another machine is another one."""
        if done.stored is None:
            return True
        return all(self._context.artifacts.claim(each) for each in objects_in(done.stored.document))

    def _done(self, job: Job, done: Done, value: object) -> Ended:
        self._seconds[job.call.step.name] = done.cpu_seconds
        return Ended(job, done, value)

    def _failed(self, job: Job, error: BaseException, place: str) -> Ended | None:
        """Say that a job failed; None when it is to be tried again."""
        job.log.write("error", "".join(traceback.format_exception(error)))
        # Words that were wrong and work that said no stay so.
        final = isinstance(error, Invalid | Refused) or not isinstance(error, Exception)
        if job.tries > job.call.step.options.retries or final:
            return Ended(job, error=error, place=place)
        text = str(error).partition("\n")[0]
        self._on_retry(job, f"try {job.tries} failed: {type(error).__name__}: {text}")
        pause = min(_FIRST_PAUSE_SECONDS * 2 ** (job.tries - 1), _LONGEST_PAUSE_SECONDS)
        job.tries += 1
        if self._crew.width > 1 and (self._running or self._waiting):
            job.due = time.monotonic() + pause
            self._paused.append(job)
        else:
            self._context.sleep(pause)
            self._waiting.appendleft(job)
        return None

    def _wake(self, *, at_least_one: bool = False) -> None:
        """Bring back what has paused long enough."""
        now = time.monotonic()
        due = [job for job in self._paused if job.due <= now]
        if at_least_one and not due:
            due = [min(self._paused, key=lambda job: job.due)]
        for job in due:
            self._paused.remove(job)
            self._waiting.append(job)
