"""What a step prints and logs, line by line with the time of each, while everybody else still sees it too.

Taken from `sys.stdout`, `sys.stderr` and the records of `logging` as they are made, so that no handler is needed and
none is disturbed. What native code or a child process writes goes past Python and is not kept. Kept as one artifact
for each step that said anything; `run_steps.log` holds its digest.
"""

import contextlib
import json
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from mainspring.artifacts.protocol import ArtifactStore
from mainspring.domain.ids import Digest
from mainspring.errors import Corrupt

__all__ = ["LogLine", "StepLog", "captured", "read_log", "show"]

Stream = Literal["stdout", "stderr", "logging", "error"]

# A step that says more is kept by its beginning and its end.
_MOST_CHARACTERS = 512 << 10


class LogLine(NamedTuple):
    """One line: seconds since the step began, where it was written, and the text. ``error`` is what ended a try."""

    seconds: float
    stream: Stream
    text: str


class StepLog:
    """The lines of one step so far; tries that failed come before the one that did not.

    `is_shown`: what is written goes on to where it was written to. A worker that shares a terminal with a live picture
    of the run keeps it to itself, and the process that draws shows it (see `show`).
    """

    def __init__(self, *, is_shown: bool = True) -> None:
        self.is_shown = is_shown
        self._started = time.monotonic()
        self._head: list[LogLine] = []
        self._tail: deque[LogLine] = deque()
        self._head_size = self._tail_size = self._left_out = 0
        self._open: dict[Stream, str] = {}
        self._lock = threading.Lock()

    @property
    def lines(self) -> tuple[LogLine, ...]:
        """The lines in the order they were ended."""
        for stream in list(self._open):
            self.write(stream, "\n")
        skipped = [LogLine(0.0, "error", f"... {self._left_out} lines left out ...")] if self._left_out else []
        return (*self._head, *skipped, *self._tail)

    def write(self, stream: Stream, text: str) -> None:
        """Add text as it was written; what has no line end yet waits for it."""
        with self._lock:
            *whole, rest = (self._open.pop(stream, "") + text).split("\n")
            for line in whole:
                # A progress bar writes itself over and over: what stands there at last is the line.
                self._add(LogLine(self._seconds(), stream, line.rstrip("\r").rpartition("\r")[2]))
            if rest:
                self._open[stream] = rest

    def extend(self, lines: tuple[LogLine, ...]) -> None:
        """Add lines that were written elsewhere."""
        with self._lock:
            for line in lines:
                self._add(LogLine(*line))

    def _seconds(self) -> float:
        return round(time.monotonic() - self._started, 3)

    def _add(self, line: LogLine) -> None:
        size = len(line.text) + 1
        if self._head_size + size <= _MOST_CHARACTERS and not self._tail:
            self._head.append(line)
            self._head_size += size
            return
        self._tail.append(line)
        self._tail_size += size
        while self._tail_size > _MOST_CHARACTERS:
            self._tail_size -= len(self._tail.popleft().text) + 1
            self._left_out += 1

    def keep(self, artifacts: ArtifactStore) -> str:
        """Put the lines into the artifact store and return their digest; empty where nothing was said."""
        lines = self.lines
        return str(artifacts.put_bytes(json.dumps(lines).encode())) if lines else ""


def show(lines: tuple[LogLine, ...]) -> None:
    """Write lines that a process kept to itself to the streams they were meant for."""
    for line in lines:
        print(line.text, file=sys.stdout if line.stream == "stdout" else sys.stderr)


def read_log(artifacts: ArtifactStore, digest: str) -> tuple[LogLine, ...]:
    """Return the lines kept under a digest; none for an empty one.

    Raises:
        NotFound, Corrupt: the artifact is gone, or is no log.
    """
    if not digest:
        return ()
    try:
        return tuple(LogLine(*each) for each in json.loads(artifacts.read_bytes(Digest(digest))))
    except (ValueError, TypeError) as error:
        raise Corrupt("The artifact is no log of a step", where=f"object {digest}") from error


@contextlib.contextmanager
def captured(log: StepLog) -> Iterator[None]:
    """Keep what is printed and logged within the block, by any thread of this process."""
    out, err, factory = sys.stdout, sys.stderr, logging.getLogRecordFactory()

    def make(*args: Any, **kwargs: Any) -> logging.LogRecord:  # as logging calls it
        record = factory(*args, **kwargs)
        log.write("logging", f"{_said(record)}\n")
        return record

    shown = (out, err) if log.is_shown else (None, None)
    tees = _Tee(shown[0], log, "stdout"), _Tee(shown[1], log, "stderr")
    sys.stdout, sys.stderr = tees
    logging.setLogRecordFactory(make)
    try:
        yield
    finally:
        # Whoever put something else there meanwhile keeps it.
        if sys.stdout is tees[0]:
            sys.stdout = out
        if sys.stderr is tees[1]:
            sys.stderr = err
        if logging.getLogRecordFactory() is make:
            logging.setLogRecordFactory(factory)


def _said(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except (TypeError, ValueError):  # arguments that do not fit: logging itself will complain about them
        text = str(record.msg)
    if record.exc_info:
        text += "\n" + logging.Formatter().formatException(record.exc_info)
    return f"{record.levelname} {record.name}: {text}"


class _Tee:
    """Stands before a stream: writes to it, and to the log what does not come from `logging`, which is kept already."""

    def __init__(self, stream: Any, log: StepLog, name: Stream) -> None:  # whatever stands for a stream
        self._stream = stream
        self._log = log
        self._name = name

    def write(self, text: str) -> int:
        if sys._getframe(1).f_code.co_filename != logging.__file__:
            self._log.write(self._name, text)
        return len(text) if self._stream is None else self._stream.write(text)  # None: a program without a console

    def writelines(self, lines: Any) -> None:  # any iterable of texts
        for each in lines:
            self.write(each)

    def flush(self) -> None:
        if self._stream is not None:
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:  # whatever the stream has
        return getattr(self._stream, name)
