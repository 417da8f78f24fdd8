"""Folders for what does not fit in memory, or may not stay: seen by nobody else, and gone with their process.

A folder is locked as long as its process lives, however that ends; whoever makes the next one removes those that are
not locked, and so does a collection of garbage. They lie in the workspace, or, without one, where temporary files do;
`copies` has places of its own.
"""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from mainspring.config import home
from mainspring.domain.ids import new_id

if sys.platform != "win32":
    import fcntl

__all__ = ["make_scratch", "scratch_folder", "sweep_scratch"]

_PREFIX = "mainspring-scratch-"


def make_scratch(roots: Sequence[Path] = ()) -> tuple[Path, int] | None:
    """Make a folder in the first of `roots` where that can be done (default: the workspace, the temporary files).

    Returned with it is the handle that holds it until it is closed; None where no folder can be made.
    """
    places = roots or _places()
    sweep_scratch(places)
    for root in places:
        if root.is_dir():
            with contextlib.suppress(OSError):
                return _held(root)
    return None


@contextlib.contextmanager
def scratch_folder(roots: Sequence[Path] = ()) -> Iterator[Path]:
    """Give an empty folder that is gone afterwards, in the first of `roots` where that can be done (see above).

    Raises:
        OSError: there is no place to make one.
    """
    made = make_scratch(roots)
    if made is None:
        with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder:  # says why it cannot be made
            yield Path(folder)
        return
    path, handle = made
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(handle)


def sweep_scratch(roots: Sequence[Path] = ()) -> None:
    """Remove what processes left that were killed, in each of `roots` (default: the workspace, the temporary files)."""
    for root in roots or _places():
        with contextlib.suppress(OSError):
            _sweep(root)


def _places() -> tuple[Path, Path]:
    return home(), Path(tempfile.gettempdir())


def _held(root: Path) -> tuple[Path, int]:
    while True:
        path = root / f"{_PREFIX}{new_id()}"
        path.mkdir(mode=0o700)
        with contextlib.suppress(FileNotFoundError):
            handle = os.open(path, os.O_RDONLY)
            if sys.platform == "win32":
                return path, handle
            fcntl.flock(handle, fcntl.LOCK_EX)
            # another process may have swept it between the making and the lock; then another is made
            if path.exists():
                return path, handle
            os.close(handle)


def _sweep(root: Path) -> None:
    """Remove the folders of processes that are gone."""
    if sys.platform == "win32":
        return
    # listed here and not by a library, so that who traces what a step reads can tell that it was not the step
    for path in [root / name for name in os.listdir(root) if name.startswith(_PREFIX)]:
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(handle)
