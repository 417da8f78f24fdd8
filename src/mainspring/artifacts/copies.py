"""Decrypted copies of objects, for readers that need a file: in memory where that can be, and gone with their process.

They lie in a folder of this process that nobody else may enter, on a file system in memory: ``XDG_RUNTIME_DIR`` or
``/dev/shm``, whichever has more room; without one, where temporary files lie. Its owner's lock, and who sweeps what a
killed process left, are as in `scratch`. Together they take at most half of what was free; what was not asked for in a
while goes first. Bundles that are laid out for a prediction server, another process, lie in a folder beside it.
"""

import atexit
import contextlib
import errno
import os
import shutil
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from mainspring.artifacts.scratch import make_scratch
from mainspring.config import value_of
from mainspring.domain.ids import new_id
from mainspring.errors import NotFound, Refused, Unavailable

__all__ = ["Copies", "copies_of_this_process", "is_in_memory", "make_private", "place_of_copies", "shared_place"]

#: A path that was handed out is good for so long at least.
_KEPT_SECONDS = 600.0
_IN_MEMORY = ("tmpfs", "ramfs")


class _Copy(NamedTuple):
    size_bytes: int
    asked_at: float


class Copies:
    """The decrypted copies of one process; its threads share them."""

    def __init__(self, place: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Make a folder in `place`; `clock` tells for how many seconds a copy was not asked for.

        Raises:
            Unavailable: no folder can be made there.
        """
        made = make_scratch([place])
        if made is None:
            raise _unavailable("No folder can be made for decrypted copies", place)
        self.folder, self._handle = made
        self._room = shutil.disk_usage(place).free // 2
        self._clock, self._lock = clock, threading.Lock()
        self._copies: dict[str, _Copy] = {}

    def path_of(self, name: str, size_bytes: int, pieces: Callable[[], Iterable[bytes]]) -> Path:
        """Return the copy of an object by its digest, or whatever `name` never means two things.

        It is made of `pieces` where there is none yet; what they raise goes through.

        Raises:
            Unavailable: there is no room for it.
        """
        place = self.folder / name
        with self._lock:
            is_here = name in self._copies and place.exists()
            if not is_here:
                self._make_room(size_bytes)
            self._copies.pop(name, None)
            self._copies[name] = _Copy(size_bytes, self._clock())  # the last one now
        if is_here:
            return place
        draft = self.folder / f"{name}.{new_id()}"
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "wb") as file:
                file.writelines(pieces())
            draft.replace(place)
        except BaseException as error:
            draft.unlink(missing_ok=True)
            self.forget(name)
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise _unavailable(f"A decrypted copy cannot be written: {error.strerror}", place) from error
            raise
        return place

    def forget(self, name: str) -> None:
        """Let go of a copy, if there is one."""
        with self._lock:
            self._copies.pop(name, None)
            (self.folder / name).unlink(missing_ok=True)

    def close(self) -> None:
        """Remove all copies."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.close(self._handle)

    def _make_room(self, size_bytes: int) -> None:
        taken = sum(each.size_bytes for each in self._copies.values())
        for name, copy in list(self._copies.items()):
            if taken + size_bytes <= self._room or self._clock() - copy.asked_at < _KEPT_SECONDS:
                break
            (self.folder / name).unlink(missing_ok=True)
            del self._copies[name]
            taken -= copy.size_bytes
        if taken + size_bytes > self._room:
            what = f"There is no room for a decrypted copy of {size_bytes:,} bytes beside {taken:,} that are in use"
            raise _unavailable(what, self.folder.parent)


@cache
def _copies(process: int, place: Path) -> Copies:
    made = Copies(place)

    def close() -> None:
        if os.getpid() == process:  # not a child that was forked, and has this folder from its parent
            made.close()

    atexit.register(close)
    return made


def copies_of_this_process() -> Copies:
    """Return the copies of this process; a forked child has its own."""
    return _copies(os.getpid(), place_of_copies())


def shared_place(name: str) -> Path:
    """Return where, beside the copies, processes of one user share what is there until the machine restarts."""
    return place_of_copies() / f"mainspring-{os.getuid()}-{name}"


def make_private(folder: Path) -> None:
    """Make a folder that nobody else may enter, unless it is there.

    Raises:
        Refused: what lies there is not this user's alone.
        Unavailable: it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise _unavailable(f"No folder can be made for decrypted bundles: {error.strerror}", folder) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise Refused("The folder of decrypted bundles is not yours alone", where=str(folder), next_step="remove it")


def place_of_copies() -> Path:
    """Return where decrypted copies lie: the setting `decrypted`, else in memory, else where temporary files do.

    Raises:
        NotFound: the folder that the setting names does not exist.
    """
    if named := value_of("decrypted"):
        place = Path(named).expanduser().absolute()
        if not place.is_dir():
            raise NotFound(f"There is no folder `{named}`", where="MAINSPRING_DECRYPTED", next_step="make it")
        return place
    candidates = (os.environ.get("XDG_RUNTIME_DIR", ""), "/dev/shm")  # noqa: S108  # a folder of ours is made in it
    usable = [Path(each) for each in candidates if each and os.access(each, os.W_OK | os.X_OK) and is_in_memory(each)]
    if not usable:
        return Path(tempfile.gettempdir())
    return max(usable, key=lambda each: shutil.disk_usage(each).free)


def is_in_memory(path: str | Path) -> bool:
    """Whether a folder lies on a file system in memory; False where that cannot be told."""
    if sys.platform != "linux":
        return False
    real = Path(os.path.realpath(path))
    kinds: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mounts").read_text().splitlines():
            _, point, kind, *_ = line.split(" ")
            kinds[point] = kind  # of two at one point the later one is seen
    return next((kinds[str(each)] for each in (real, *real.parents) if str(each) in kinds), "") in _IN_MEMORY


def _unavailable(what: str, place: Path) -> Unavailable:
    return Unavailable(
        what, where=str(place), next_step="set MAINSPRING_DECRYPTED to a folder with more room, on a disk that is safe"
    )
