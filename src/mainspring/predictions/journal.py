"""The write-ahead file of the prediction server: what was appended survives a kill -9, and is read back exactly once.

A journal is a file ``NAME-ID.journal`` of frames: length (4 bytes, little-endian), CRC-32 of the payload (4 bytes),
payload. One process writes it, holding a lock that the kernel lets go when the process ends in any way: a file that
nobody holds will not grow. Readers never write. The payloads are described in `records`.
"""

import fcntl
import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from mainspring.domain.ids import new_id
from mainspring.errors import Corrupt, Invalid, NotFound, Unavailable

__all__ = ["JournalFile", "JournalWriter", "TornTail", "journals", "read_frames"]

_HEADER = struct.Struct("<II")
_SUFFIX = ".journal"
#: No request body comes near this; a longer length in a header is damage.
_LARGEST_PAYLOAD = 256 << 20
_ID_DIGITS = 32


class JournalWriter:
    """Appends frames, one process to a file; the methods may be called from any thread.

    Invariant: ``[0, _end)`` of the open file holds whole frames. A write that fails half-way is cut off again, and
    where even that fails the file is left to its readers, who see a torn tail, and the next append starts a new one.
    """

    def __init__(self, folder: Path, *, name: str, rotate_bytes: int = 64 << 20, durable: bool = False) -> None:
        """Write into `folder`, which is made if need be. The first append makes the first file.

        `durable` waits for the disk at every append, so that frames survive a loss of power too; without it they
        survive the death of the process. `rotate_bytes` is the size from which a file is finished.
        """
        if not name or not name.replace("-", "").replace("_", "").isalnum():
            raise Invalid(f"`{name}` cannot name a journal", next_step="use letters, digits, - and _")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._name = name
        self._rotate_bytes = rotate_bytes
        self._durable = durable
        self._lock = threading.Lock()
        self._descriptor = -1
        self._end = 0

    def append(self, payload: bytes) -> None:
        """Hand the payload to the operating system before returning.

        Raises:
            Unavailable: the disk does not take it; nothing of it stays, and a later append may succeed.
            Invalid: the payload is empty or larger than 256 MB.
        """
        if not 0 < len(payload) <= _LARGEST_PAYLOAD:
            raise Invalid(f"A journal cannot hold a payload of {len(payload)} bytes")
        frame = _HEADER.pack(len(payload), zlib.crc32(payload)) + payload
        with self._lock:
            try:
                if self._descriptor < 0:
                    self._open()
                self._write(frame)
            except OSError as error:
                raise Unavailable(
                    f"The journal cannot be written: {error.strerror or error}",
                    where=str(self._folder),
                    next_step="make space on this disk; the journal goes on by itself",
                ) from error
            if self._end >= self._rotate_bytes:
                self._finish()

    def rotate(self) -> None:
        """Finish the open file, so that readers know it will not grow. The next append starts a new one."""
        with self._lock:
            self._finish()

    def close(self) -> None:
        """Finish the open file."""
        self.rotate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> None:
        # Locked before it gets its name: a reader that finds it unlocked would take it for a dead writer's.
        path = self._folder / f"{self._name}-{new_id()}{_SUFFIX}"
        hidden = path.with_name(f".{path.name}")
        descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            hidden.rename(path)
        except OSError:
            os.close(descriptor)
            hidden.unlink(missing_ok=True)
            raise
        self._descriptor, self._end = descriptor, 0
        if self._durable:
            _sync_folder(self._folder)

    def _write(self, frame: bytes) -> None:
        try:
            done = 0
            while done < len(frame):  # a full disk or a signal may take a part only
                done += os.pwrite(self._descriptor, memoryview(frame)[done:], self._end + done)
            if self._durable:
                os.fdatasync(self._descriptor)
        except OSError:
            self._cut()
            raise
        self._end += len(frame)

    def _cut(self) -> None:
        try:
            os.ftruncate(self._descriptor, self._end)
        except OSError:
            os.close(self._descriptor)
            self._descriptor = -1

    def _finish(self) -> None:
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)  # and with it the lock


@dataclass(frozen=True, slots=True)
class JournalFile:
    """One file: where it is, whose (`name`), its UUIDv7 (`id`), and whether its writer is done with it or dead."""

    path: Path
    name: str
    id: str
    ended: bool


@dataclass(frozen=True, slots=True)
class TornTail:
    """The end of a dead writer's file that is no whole frame; its request was never answered."""

    path: Path
    offset: int
    size_bytes: int


def journals(folder: Path) -> list[JournalFile]:
    """Return the journal files in `folder` in the order of their birth; none when there is no such folder.

    An ended file will not grow: a reader that reached its end is done with it for good.
    """
    found: list[JournalFile] = []
    for path in folder.glob(f"[!.]*{_SUFFIX}"):
        name, _, identifier = path.name.removesuffix(_SUFFIX).rpartition("-")
        if name and len(identifier) == _ID_DIGITS:
            found.append(JournalFile(path, name, identifier, not _is_live(path)))
    return sorted(found, key=lambda each: each.id)


def read_frames(
    path: Path, from_offset: int = 0, *, on_torn: Callable[[TornTail], None] | None = None
) -> Iterator[tuple[bytes, int]]:
    """Yield each payload with the offset after its frame, which is where a later reading goes on.

    A half-written frame at the end of a live file ends the reading quietly; at the end of an ended one it is handed to
    `on_torn` and skipped, for its request was never answered.

    Raises:
        Corrupt: a frame is damaged and whole frames follow it, or the file is shorter than `from_offset`.
        NotFound: there is no such journal.
    """
    live = _is_live(path)  # asked first: a writer that dies while we read leaves its last frame for the next reading
    offset = from_offset
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise NotFound(f"There is no journal `{path.name}`", where=str(path.parent)) from error
    with file:
        if os.fstat(file.fileno()).st_size < from_offset:
            raise Corrupt(f"The journal is shorter than the {from_offset} bytes read before", where=str(path))
        file.seek(offset)
        while frame := _frame(file.read(_HEADER.size), file.read):
            offset += _HEADER.size + len(frame)
            yield frame, offset
        file.seek(offset)
        rest = file.read()
    if not rest:
        return
    again = _frame(rest[: _HEADER.size], _Slice(rest, _HEADER.size).read)
    if again and live:
        return  # it was completed while we looked; the next reading starts with it
    if _holds_frame(rest):
        raise Corrupt(
            "A frame of the journal is damaged, and whole frames follow it",
            where=f"{path} byte {offset}",
            next_step="restore the file from a copy; what comes before this byte is good",
        )
    if not live and on_torn:
        on_torn(TornTail(path, offset, len(rest)))


class _Slice:
    """Reads bytes like a file, from a position on."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at

    def read(self, size: int) -> bytes:
        return self._data[self._at : self._at + size]


def _frame(header: bytes, read: Callable[[int], bytes]) -> bytes | None:
    """Return the payload announced by `header`, or None unless all of it is there and whole."""
    if len(header) < _HEADER.size:
        return None
    length, checksum = _HEADER.unpack(header)
    if not 0 < length <= _LARGEST_PAYLOAD:  # zeros, as a power cut leaves them, would else pass for an empty frame
        return None
    payload = read(length)
    return payload if len(payload) == length and zlib.crc32(payload) == checksum else None


def _holds_frame(rest: bytes) -> bool:
    """Tell whether a whole frame begins anywhere in `rest`: then the damage before it is not the end of the file."""
    return any(
        _frame(rest[at : at + _HEADER.size], _Slice(rest, at + _HEADER.size).read)
        for at in range(len(rest) - _HEADER.size)
    )


def _is_live(path: Path) -> bool:
    """Tell whether a process holds the file's lock; trying is all a reader does, so no writer ever waits for it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
