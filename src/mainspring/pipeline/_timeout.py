"""Bounds on one try of a step, without a process of its own: how long it may take, how much memory it may add.

On the main thread of a Unix process an alarm interrupts even a blocking wait. Elsewhere, and for memory, the exception
is planted in the thread and is raised at its next Python instruction, so a long call into native code ends first. An
executor with worker processes does better: it ends the worker.
"""

import contextlib
import ctypes
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import FrameType
from typing import NoReturn

__all__ = ["TookTooLong", "TookTooMuch", "memory_limit", "memory_of", "time_limit"]

#: How often memory is looked at. What a step can fill in the meantime is what a limit can be overrun by.
POLL_SECONDS = 0.05


class TookTooLong(BaseException):
    """The time is up. Not an `Exception`, so that a step that catches everything does not swallow it."""


class TookTooMuch(BaseException):
    """The memory is used up. Not an `Exception`, for the same reason."""


@contextlib.contextmanager
def time_limit(limit: timedelta | None) -> Iterator[None]:
    """Raise `TookTooLong` within the block when it takes longer than `limit`."""
    if limit is None:
        yield
    elif sys.platform != "win32" and threading.current_thread() is threading.main_thread():
        with _alarm(limit.total_seconds()):
            yield
    else:
        with _planting(TookTooLong) as plant:
            timer = threading.Timer(limit.total_seconds(), plant)
            timer.daemon = True
            timer.start()
            try:
                yield
            finally:
                timer.cancel()


@contextlib.contextmanager
def memory_limit(limit_bytes: int | None) -> Iterator[None]:
    """Raise `TookTooMuch` within the block when this process grows by more than `limit_bytes`."""
    if limit_bytes is None:
        yield
        return
    before, over = memory_of(None), threading.Event()
    with _planting(TookTooMuch) as plant:

        def watch() -> None:
            while not over.wait(POLL_SECONDS):
                if memory_of(None) - before > limit_bytes:
                    plant()
                    return

        watcher = threading.Thread(target=watch, name="memory of a step", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()


def memory_of(pid: int | None) -> int:
    """Return how many bytes of memory a process holds now, this one for None; 0 when it is gone."""
    import psutil  # needed by steps with a limit only

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> NoReturn:
        raise TookTooLong

    former = signal.signal(signal.SIGALRM, ring)
    remaining, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        # An alarm that the program had set for itself goes on; a little late is better than never.
        signal.setitimer(signal.ITIMER_REAL, remaining, interval)
        signal.signal(signal.SIGALRM, former)


@contextlib.contextmanager
def _planting(error: type[BaseException]) -> Iterator[Callable[[], None]]:
    """Give a function that any thread may call to have `error` raised in this one while the block lasts."""
    thread = ctypes.c_ulong(threading.get_ident())
    lock = threading.Lock()
    over = False

    def plant() -> None:
        with lock:
            if not over:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(error))

    try:
        yield plant
    finally:
        with lock:
            over = True
        # Take back what was planted and not raised yet: the block ended in time after all.
        ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, None)
