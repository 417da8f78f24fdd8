"""The log journal: an append-only file of records, one JSON document a line, that outlives the process that writes it.

A call is kept once its line is in the file, in one write: a kill at any instant costs at most the line that was being
written, and nobody was told that it was kept. The writer holds a lock on the file for as long as it, or a child of it,
lives; a journal that nobody holds was left behind, and whoever comes next sends the rest of it.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from mainspring.domain.ids import new_id
from mainspring.errors import Unavailable
from mainspring.tracking.batches import Batch, Entry, Record

__all__ = ["Header", "LogJournal", "left_behind"]

_SUFFIX = ".log-journal"
#: How much of a journal is in memory at a time.
_PIECE_BYTES = 1 << 20
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode


class Header(msgspec.Struct, frozen=True):
    """The first line: whose journal it is, and where it goes to; an empty URL is the workspace itself.

    `is_guest`: it holds what a step logs into the run of its pipeline, which begins and ends without it.
    """

    run_id: str
    url: str
    is_guest: bool = False


class LogJournal:
    """One journal, opened: `create` begins a new one, `left_behind` gives those of writers that are gone."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self._handle = handle
        self._sent = 0
        first = self._line_at(0)
        self.header = msgspec.json.decode(first, type=Header)
        self._sent = len(first)

    @classmethod
    def create(cls, folder: Path, header: Header) -> "LogJournal":
        """Begin the journal of a run.

        Raises:
            Unavailable: the file cannot be made.
        """
        path = folder / f"{new_id()}{_SUFFIX}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(".draft")
            handle = os.open(draft, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX)
            _append(handle, _encode(header) + b"\n", draft)
            os.rename(draft, path)  # seen by others only when it is locked and has its header
        except OSError as error:
            raise _full(error, path) from error
        return cls(path, handle)

    def append(self, record: Record) -> None:
        """Keep a record; it survives the death of the process from here on.

        Raises:
            Unavailable: it cannot be written (a full disk).
        """
        _append(self._handle, _encode(record) + b"\n", self.path)

    def pending(self) -> Batch | None:
        """Return the next piece that was not sent, None when all was."""
        data = os.pread(self._handle, _PIECE_BYTES, self._sent)
        end = data.rfind(b"\n") + 1
        if data and not end:  # one line that is longer than a piece, or one that was never finished
            data = self._line_at(self._sent)
            end = len(data)
        entries, at = [], self._sent
        for line in data[:end].splitlines(keepends=True):
            at += len(line)
            with contextlib.suppress(msgspec.DecodeError):  # a line torn by a full disk: its writer was told
                entries.append(Entry(at, _decode(line)))
        return Batch(self.path.stem, self.header.run_id, entries) if entries else None

    def sent(self, batch: Batch) -> None:
        """Go on behind a batch that was kept."""
        self._sent = batch.entries[-1].end

    def last_record(self) -> Record | None:
        """Return the last whole record; a line that was never finished is ended, so that others can follow it."""
        begun, last = self._sent, None
        while (batch := self.pending()) is not None:
            last = batch.entries[-1].record
            self.sent(batch)
        if os.pread(self._handle, 1, self._sent):
            _append(self._handle, b"\n", self.path)
        self._sent = begun
        return last

    def remove(self) -> None:
        """Remove the file, of which nothing is missing at the destination."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let go of the file; what was not sent is left for another."""
        os.close(self._handle)

    def _line_at(self, offset: int) -> bytes:
        line = b""
        while piece := os.pread(self._handle, _PIECE_BYTES, offset + len(line)):
            end = piece.find(b"\n") + 1
            line += piece[:end] if end else piece
            if end:
                return line
        return b""


def left_behind(folder: Path) -> Iterator[LogJournal]:
    """Yield the journals whose writers are gone, each held by us until it is closed."""
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        try:
            handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            continue
        if not os.fstat(handle).st_nlink:  # sent and removed between our look and our lock
            os.close(handle)
            continue
        yield LogJournal(path, handle)


def _append(handle: int, line: bytes, path: Path) -> None:
    # one write to a file opened for appending: lines of several threads and forked children never mix
    try:
        written = os.write(handle, line)
    except OSError as error:
        raise _full(error, path) from error
    if written < len(line):
        with contextlib.suppress(OSError):
            os.write(handle, b"\n")
        raise _full(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), path)


def _full(error: OSError, path: Path) -> Unavailable:
    return Unavailable(
        f"What was logged cannot be kept: {error.strerror}",
        where=str(path),
        next_step="make room, or name another workspace in MAINSPRING_HOME",
    )
