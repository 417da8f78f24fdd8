"""One try of a step: within its limits, watched for the files it reads, its result kept.

`attempt` does this wherever the step runs; `perform` does it for a task that came from another process. The result is
durable in the artifact store when either returns, so whoever asked for it may write down that the step is done. Trying
again, the cache and the records are the engine's.
"""

import inspect
import os
import pickle
import sys
import tempfile
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from mainspring.artifacts.protocol import ArtifactStore
from mainspring.domain.sizes import format_size
from mainspring.errors import Invalid, MainspringError, Unavailable
from mainspring.pipeline._environment import libraries
from mainspring.pipeline._origin import origin_of_file
from mainspring.pipeline._portable import Address, NotPortable, function_at, seal_of, unpack
from mainspring.pipeline._seeds import seeded
from mainspring.pipeline._timeout import TookTooLong, TookTooMuch, memory_limit, time_limit
from mainspring.pipeline.documents import Document, Stored
from mainspring.pipeline.graph import suspended
from mainspring.pipeline.options import StepOptions
from mainspring.pipeline.reads import Read, Stamp, StampCache
from mainspring.pipeline.step_logs import LogLine, StepLog, captured
from mainspring.pipeline.tracing import tracing
from mainspring.pipeline.values import decode, encode

if sys.platform != "win32":
    import resource

__all__ = [
    "Answer",
    "Declined",
    "Done",
    "ErrorElsewhere",
    "Failed",
    "Task",
    "Work",
    "attempt",
    "perform",
    "place_in_project",
    "running",
    "took_too_long",
    "took_too_much",
]


class Work(NamedTuple):
    """A step as the runner sees it: its function, what it is called, where it stands, how it is to be run, its seed.

    `run_id` is the run that the call belongs to, for what the step logs.
    """

    function: Callable[..., Any]  # of any signature
    name: str
    where: str
    options: StepOptions
    seed: int = 0
    run_id: str = ""


#: The run whose step is at work in this thread, empty outside of steps.
running: ContextVar[str] = ContextVar("mainspring_running", default="")


@dataclass(frozen=True, slots=True)
class Task:
    """A call that any process with access to the artifact store can make.

    `arguments` come from `_portable.pack`. `folder` is where relative paths start. `seal` is what the step's code must
    come to in the process that runs it.
    """

    address: Address
    name: str
    where: str
    options: StepOptions
    arguments: bytes
    artifacts: ArtifactStore
    folder: str
    seal: str
    seed: int = 0
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """A call that was made. `stored` is None for a result that cannot be kept, and need not be.

    `unsteady` are files that changed while the step read them: its result fits no state of them and must not be found.
    `stamps` are the files that were hashed for it, `libraries` the numerical ones that were loaded, `log` what it said.
    """

    stored: Stored | None
    reads: tuple[Read, ...]
    notes: tuple[str, ...]
    unsteady: tuple[str, ...]
    cpu_seconds: float
    peak_memory_bytes: int | None
    stamps: Mapping[str, tuple[Stamp, str]] = field(default_factory=dict)
    libraries: tuple[str, ...] = ()
    log: tuple[LogLine, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """A try that ended with an error: the error itself where it can travel, else its text; and where it came from."""

    text: str
    place: str
    trace: str
    pickled: bytes | None
    log: tuple[LogLine, ...] = ()

    @classmethod
    def of(cls, error: BaseException) -> "Failed":
        """Describe an error for another process."""
        pickled = None
        try:
            pickled = pickle.dumps(error)
            pickle.loads(pickled)  # noqa: S301  # our own bytes: some errors can be written and not read
        except Exception:  # an error of any class may refuse in any way; its text must do then
            pickled = None
        text = "".join(traceback.format_exception_only(error)).strip()
        return cls(text, place_in_project(error), "".join(traceback.format_exception(error)), pickled)

    def error(self) -> BaseException:
        """Return the error, or one with its text where this process does not know its class."""
        made: BaseException | None = None
        if self.pickled is not None:
            try:
                made = pickle.loads(self.pickled)  # noqa: S301  # written by `of` in a worker of ours
            except Exception:  # its class is not there, or refuses
                made = None
        made = made or ErrorElsewhere(self.text)
        made.add_note(f"\nIn the process that ran the step:\n{self.trace}")
        return made


class ErrorElsewhere(Exception):
    """An error of a step that could not travel as it was; the text is all of it."""


@dataclass(frozen=True, slots=True)
class Declined:
    """The step was not begun, because this process cannot: the code is not there, or an argument is not readable."""

    reason: str


#: What a process says to a task.
Answer = Done | Failed | Declined


def perform(task: Task, stamps: StampCache | None = None, begun: Callable[[], None] | None = None) -> Answer:
    """Make the call of a task in this process, and keep its result.

    `begun` is told right before the step's own code runs. With it the caller watches the memory itself.
    """
    cache = stamps or StampCache(lambda path: None, time.time_ns)
    with tempfile.TemporaryDirectory(prefix="mainspring-") as scratch:

        def value_of(document: Document) -> object:
            return decode(Stored(document), task.artifacts, lambda: Path(tempfile.mkdtemp(dir=scratch)))

        try:
            if os.getcwd() != task.folder and os.path.isdir(task.folder):
                os.chdir(task.folder)
            function = function_at(task.address)
            if seal_of(function) != task.seal:
                raise NotPortable(f"the code of `{task.name}` is not the same in a worker")
            arguments = unpack(task.arguments, value_of)
        except (NotPortable, OSError) as error:
            return Declined(str(error))
        except MainspringError as error:  # a kept value is damaged or gone: the engine knows what to do
            return Declined(f"an argument cannot be loaded in a worker: {error.what}")
        options = task.options
        if begun is not None:
            options = StepOptions(options.retries, options.timeout, options.cache)
            begun()
        work = Work(function, task.name, task.where, options, task.seed, task.run_id)
        log = StepLog(is_shown=not sys.stderr.isatty())
        try:
            done = attempt(work, arguments, task.artifacts, cache, log)[1]
            return replace(done, stamps=dict(cache.learned), log=log.lines)
        except BaseException as error:  # the edge of the step: any error of the author's code ends here
            return replace(Failed.of(error), log=log.lines)


def attempt(
    work: Work, arguments: Mapping[str, object], artifacts: ArtifactStore, stamps: StampCache, log: StepLog
) -> tuple[object, Done]:
    """Run a step once and keep its result; return the value and what became of it. `log` gets what it says.

    Raises:
        Unavailable: it took longer, or more memory, than its options allow. What the step raises goes through.
    """
    options = work.options
    call = inspect.BoundArguments(inspect.signature(work.function), OrderedDict(arguments))
    started = time.process_time()
    token = running.set(work.run_id)
    try:
        with (
            suspended(),
            captured(log),
            seeded(work.seed),
            tracing() as trace,
            memory_limit(options.memory_bytes),
            time_limit(options.timeout),
        ):
            value = work.function(*call.args, **call.kwargs)
    except TookTooLong:
        raise took_too_long(work) from None
    except TookTooMuch:
        raise took_too_much(work) from None
    finally:
        running.reset(token)
    cpu_seconds = time.process_time() - started
    try:
        stored = encode(value, artifacts, f"result of {work.name}", allow_pickle=work.options.pickle)
    except Invalid:
        if options.cache:
            raise
        stored = None
    return value, Done(
        stored,
        trace.reads(stamps),
        tuple(trace.notes),
        tuple(trace.changed_meanwhile()),
        cpu_seconds,
        _peak_memory_bytes(),
        libraries=libraries(),
    )


def took_too_long(work: "Work | Task") -> Unavailable:
    """Return the error of a step that was ended for its time."""
    return Unavailable(
        f"The step `{work.name}` took longer than {work.options.timeout}",
        where=work.where,
        next_step="raise `timeout` in @step, or make the step do less at once",
    )


def took_too_much(work: "Work | Task") -> Unavailable:
    """Return the error of a step that was ended for its memory."""
    limit = format_size(work.options.memory_bytes or 0)
    return Unavailable(
        f"The step `{work.name}` took more memory than its limit of {limit}",
        where=work.where,
        next_step="raise `memory` in @step, or make the step hold less at once",
    )


def place_in_project(error: BaseException) -> str:
    """Return the innermost line of the project's own code that an error went through."""
    place = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if origin_of_file(frame.filename) == "project" and not frame.filename.startswith("<"):
            place = f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}"
    return place


def _peak_memory_bytes() -> int | None:
    """Return the most memory this process has used so far; None where the system does not say."""
    if sys.platform == "win32":
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return peak if sys.platform == "darwin" else peak * 1024
