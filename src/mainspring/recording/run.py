"""`start_run` and `log`: one call, one line in the log journal, and on with the training.

A call returns when its line is in the file (some ten microseconds); a background thread brings it to the workspace, or
to the server that MAINSPRING_URL names. A process that is killed leaves its journal, and the next run that starts, or
the next server over the workspace, sends the rest and ends the run as killed.
"""

import atexit
import math
import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from mainspring import config
from mainspring.domain.ids import RunId, new_id
from mainspring.errors import Conflict, Invalid, MainspringError, Unavailable
from mainspring.pipeline.runner import running
from mainspring.pipeline.tracing import unwatched
from mainspring.recording.console import Console
from mainspring.recording.content import Figure, content_of
from mainspring.recording.destination import Destination, destination_of
from mainspring.recording.journal import Header, LogJournal, left_behind
from mainspring.recording.sender import Sender, send_rest
from mainspring.recording.surroundings import Usage, files_at_start, git_tags, script_name
from mainspring.tracking.batches import Begin, End, File, Log
from mainspring.tracking.runs import RunStatus

__all__ = ["ActiveRun", "log", "log_journals", "send_left_behind", "start_run"]

#: How long the end of a run waits for its destination; what is not kept by then is in the journal.
_END_SECONDS = 10.0
#: The runs that are under way in this process, the innermost last.
_active: list["ActiveRun"] = []


class ActiveRun:
    """A run that is under way; `start_run` makes it, the end of its `with` block ends it."""

    def __init__(
        self,
        journal: LogJournal,
        destination: Destination,
        begin: Begin | None = None,
        *,
        watches_machine: bool = False,
    ) -> None:
        self.run_id = RunId(journal.header.run_id)
        self._journal = journal
        self._destination = destination
        self._parameters = dict(begin.parameters) if begin is not None else {}
        #: The run of the pipeline in whose step this one was begun.
        self.within = running.get()
        self._steps = 0
        self._ended = False
        self._pid = os.getpid()
        if begin is not None:
            journal.append(begin)
        self._sender = Sender(journal, destination)
        self._usage = Usage(lambda values, step: self._append(values, step)) if watches_machine else None
        self._console = Console(self._keep) if begin is not None else None
        _active.append(self)

    @property
    def is_guest(self) -> bool:
        """Whether it only adds to the run of a pipeline, and neither begins nor ends it."""
        return self._journal.header.is_guest

    def log(
        self,
        metrics: Mapping[str, float] | None = None,
        /,
        *,
        step: int | None = None,
        parameters: Mapping[str, object] | None = None,
        tags: Mapping[str, object] | None = None,
        files: Mapping[str, "Path | str | bytes | Figure"] | None = None,
        **more: float,
    ) -> None:
        """Log metrics, by a mapping or by name, with parameters, tags and files; kept when this returns.

        Without `step` the calls that log metrics are counted. A metric may be NaN or infinite. `files` maps paths among
        the run's artifacts to a file's place, bytes, or a figure of matplotlib, of at most 16 MB each.

        Raises:
            Invalid: a metric is no number, or the run has ended.
            Conflict: a parameter was logged before, with another value.
            NotFound: there is no such file.
            Unavailable: the disk is full.
        """
        contents = {path: content_of(path, each) for path, each in (files or {}).items()}
        if self._ended:
            raise Invalid(f"The run {self.run_id} has ended", next_step="log inside its `with` block")
        values = {**(metrics or {}), **more}
        if step is None and values:
            step = self._steps
            self._steps += 1
        if values or parameters or tags:
            self._append(values, step or 0, _texts(parameters), _texts(tags))
        for path, data in contents.items():
            self._keep(path, data)

    def flush(self, seconds: float = _END_SECONDS) -> bool:
        """Wait until what was logged can be read by others; return whether it can be now."""
        return self._sender.flush(seconds)

    def end(self, status: RunStatus = "finished") -> None:
        """End the run; what the destination has not kept in ten seconds is kept for the next start."""
        if self._ended or os.getpid() != self._pid:  # a forked child has its parent's run and does not end it
            return
        with unwatched():
            self._finish(status)

    def _finish(self, status: RunStatus) -> None:
        if self._usage is not None:
            self._usage.finish()
        if self._console is not None:
            self._console.finish()
        self._ended = True
        _active.remove(self)
        if not self.is_guest:
            self._journal.append(End(status, _now_ms()))
        if self._sender.finish(_END_SECONDS):
            self._journal.remove()
            self._destination.close()
        else:
            sys.stderr.write(
                f"mainspring: the end of run {self.run_id} is kept in {self._journal.path} and sent at the next start"
                f" ({self._sender.trouble or 'the server cannot be reached'})\n"
            )

    def _keep(self, path: str, data: bytes) -> None:
        self._journal.append(File(path, data, _now_ms()))

    def _append(
        self,
        values: Mapping[str, float],
        step: int,
        parameters: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        for key, value in (parameters or {}).items():
            if self._parameters.setdefault(key, value) != value:
                raise Conflict(
                    f"The parameter `{key}` is {self._parameters[key]!r} and cannot become {value!r}",
                    where=f"parameters.{key}",
                    next_step="parameters never change; begin another run, or use a tag",
                )
        numbers = {str(key): _number(key, value) for key, value in values.items()}
        self._journal.append(Log(_now_ms(), int(step), numbers, dict(parameters or {}), dict(tags or {})))

    def __enter__(self) -> "ActiveRun":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.end()
        else:
            self.end("failed" if issubclass(kind, Exception) else "killed")


def start_run(
    experiment: str = "",
    *,
    name: str = "",
    parameters: Mapping[str, object] | None = None,
    tags: Mapping[str, object] | None = None,
    watch_machine: bool = True,
) -> ActiveRun:
    """Begin a run and return it, for a ``with`` block. Without `experiment` it is in the one of the script's name.

    The commit of the working folder becomes tags, and what the machine does becomes metrics ``system/...``, unless
    `watch_machine` is false. No server is needed: without MAINSPRING_URL the run is in the workspace.

    >>> import mainspring as ms
    >>> with ms.start_run("late-flights", parameters={"c": 0.5}) as run:  # doctest: +SKIP
    ...     for loss in (0.9, 0.5, 0.4):
    ...         ms.log(loss=loss)

    Raises:
        Invalid: MAINSPRING_URL is no URL.
        Unavailable: the journal cannot be written.
    """
    with unwatched():  # a step that begins a run does not read what that takes
        home, url, token = config.home(), config.value_of("url"), config.value_of("token")
        destination = destination_of(home, url, token)
        journal = LogJournal.create(log_journals(home), Header(new_id(), url))
        kept = {"mlflow.runName": name, "mlflow.source.name": script_name()} if name else {}
        begin = Begin(
            experiment or script_name(),
            name or script_name(),
            _now_ms(),
            _texts(parameters),
            {**git_tags(Path.cwd()), **kept, **_texts(tags)},
        )
        threading.Thread(target=_send_others, args=(home, url, token), name="run-log-rest", daemon=True).start()
        run = ActiveRun(journal, destination, begin, watches_machine=watch_machine)
        run.log(files={name: text.encode(errors="replace") for name, text in files_at_start(Path.cwd()).items()})
        return run


def log(
    metrics: Mapping[str, float] | None = None,
    /,
    *,
    step: int | None = None,
    parameters: Mapping[str, object] | None = None,
    tags: Mapping[str, object] | None = None,
    files: Mapping[str, "Path | str | bytes | Figure"] | None = None,
    **more: float,
) -> None:
    """Log to the run that is under way, in a step to that of its pipeline; see `ActiveRun.log`.

    Where no run is under way, one begins that ends with the process.
    """
    _current().log(metrics, step=step, parameters=parameters, tags=tags, files=files, **more)


def _current() -> ActiveRun:
    within = running.get()
    for each in reversed(_active):
        if each.within == within:
            return each
    return _guest_of(within) if within else start_run()


def _guest_of(run_id: str) -> ActiveRun:
    """Return what logs into the run of a pipeline from this process; it stays open for the other steps of the run."""
    for former in [each for each in _active if each.is_guest]:
        former.end()
    home, url, token = config.home(), config.value_of("url"), config.value_of("token")
    with unwatched():
        journal = LogJournal.create(log_journals(home), Header(run_id, url, is_guest=True))
        return ActiveRun(journal, destination_of(home, url, token))


def log_journals(home: Path) -> Path:
    """Return the folder of the log journals of a workspace."""
    return home / "runs"


def send_left_behind(home: Path, url: str = "", token: str = "") -> int:
    """Send what killed processes left, as far as it goes to `url` (or the workspace); return how many runs that ended.

    A run whose end is not in its journal ends as killed, when it last logged.

    Raises:
        Unavailable: the destination is not to be reached; nothing is lost.
    """
    ended = 0
    for journal in left_behind(log_journals(home)):
        if journal.header.url != url:
            journal.close()
            continue
        destination = destination_of(home, url, token)
        try:
            last = journal.last_record()
            if last is not None and not isinstance(last, End) and not journal.header.is_guest:
                journal.append(End("killed", last.at_ms))
            send_rest(journal, destination)
        except BaseException:
            journal.close()
            raise
        finally:
            destination.close()
        journal.remove()
        ended += 1
    return ended


def _send_others(home: Path, url: str, token: str) -> None:
    try:
        with unwatched():
            send_left_behind(home, url, token)
    except MainspringError:
        return  # it stays where it is, for the next start


def _end_with_the_process() -> None:
    status: RunStatus = "failed" if getattr(sys, "last_value", None) is not None else "finished"
    for run in reversed(_active.copy()):
        try:
            run.end(status)
        except Unavailable as error:
            sys.stderr.write(f"mainspring: {error}\n")


atexit.register(_end_with_the_process)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _texts(values: Mapping[str, object] | None) -> dict[str, str]:
    return {str(key): str(value) for key, value in (values or {}).items()}


def _number(key: str, value: float) -> float | str:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise Invalid(
            f"The metric `{key}` is {value!r}", where=f"metrics.{key}", next_step="log numbers; texts are tags"
        ) from error
    return number if math.isfinite(number) else str(number)
