"""Numbers that outlive the process that counts them: one memory-mapped file for each process, summed by whoever asks.

A worker that is killed leaves its last count behind, to the last request, because the kernel keeps the pages. So a
counter never goes back when a worker is restarted, and every worker can answer for all of them. A file holds one double
for each series, and beside it stands a file with the names of the series, one JSON array a line.
"""

import fcntl
import mmap
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from mainspring.domain.ids import new_id

__all__ = ["HEARTBEAT", "Numbers", "Series", "fold", "last_beat", "totals"]

#: A name, and the values of its labels.
Series = tuple[str, ...]
HEARTBEAT: Series = ("heartbeat",)
#: Series of one process. More than any server needs; the file is sparse.
_MOST = 1 << 16
_NUMBERS, _NAMES, _LOCK = ".numbers", ".names", ".lock"


class Numbers:
    """The numbers of this process, in `folder`, or nowhere but here when there is none."""

    def __init__(self, folder: Path | None) -> None:
        self.path: Path | None = None
        self._slots: dict[Series, int] = {}
        if folder is None:
            self._names = -1
            memory = mmap.mmap(-1, 8 * _MOST)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            self.path = folder / f"{os.getpid()}-{new_id()}{_NUMBERS}"
            self._names = os.open(self.path.with_suffix(_NAMES), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with self.path.open("w+b") as file:
                file.truncate(8 * _MOST)
                memory = mmap.mmap(file.fileno(), 8 * _MOST)
        self.view = memoryview(memory).cast("d")
        self._heart = self.slot(HEARTBEAT)
        self.beat()

    def beat(self, busy_seconds: float = 0.0) -> None:
        """Show a sign of life, as of the moment at which the work under way began."""
        self.view[self._heart] = time.monotonic() - busy_seconds

    def slot(self, series: Series) -> int:
        """Return the place of a series in `view`, making it if need be."""
        found = self._slots.get(series)
        if found is None:
            if len(self._slots) >= _MOST:
                return _MOST - 1  # a crowd of labels ends in one heap rather than in an error
            found = self._slots[series] = len(self._slots)
            if self._names >= 0:
                os.write(self._names, msgspec.json.encode(series) + b"\n")
        return found

    def totals(self) -> dict[Series, float]:
        """Return the numbers of all processes in the folder, those that are gone too."""
        if self.path is None:
            return {series: self.view[slot] for series, slot in self._slots.items()}
        return totals(self.path.parent)


def last_beat(folder: Path, pid: int) -> float | None:
    """Return when a process last showed a sign of life, by the machine's monotonic clock; None when it has no file."""
    beats = [dict(_read(path)).get(HEARTBEAT) for path in folder.glob(f"{pid}-*{_NUMBERS}")]
    return max((beat for beat in beats if beat is not None), default=None)


def totals(folder: Path) -> dict[Series, float]:
    """Return the sum of every series over the files in `folder`."""
    sums: defaultdict[Series, float] = defaultdict(float)
    with _locked(folder, fcntl.LOCK_SH):
        for path in folder.glob(f"*{_NUMBERS}"):
            for series, value in _read(path):
                sums[series] += value
    return dict(sums)


def fold(folder: Path, pid: int, into: Numbers) -> None:
    """Add the numbers of a process that is gone to `into`, and remove its files."""
    with _locked(folder, fcntl.LOCK_EX):
        for path in folder.glob(f"{pid}-*{_NUMBERS}"):
            for series, value in _read(path):
                if series != HEARTBEAT:
                    into.view[into.slot(series)] += value
            path.unlink()
            path.with_suffix(_NAMES).unlink()


def _read(path: Path) -> Iterator[tuple[Series, float]]:
    lines = path.with_suffix(_NAMES).read_bytes().split(b"\n")
    with path.open("rb") as file:
        values = memoryview(file.read(8 * (len(lines) - 1))).cast("d")
    for line, value in zip(lines, values, strict=False):  # what stands behind the last line break is half a name
        yield msgspec.json.decode(line, type=Series), value


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    with (folder / _LOCK).open("w") as lock:
        fcntl.flock(lock, how)
        yield
