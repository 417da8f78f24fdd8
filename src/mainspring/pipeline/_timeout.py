"""A bound on how long one try of a step may take, without a process of its own.

On the main thread of a Unix process an alarm interrupts even a blocking wait. Elsewhere the exception is planted in the
thread and is raised at its next Python instruction, so a long call into native code ends first. An executor with worker
processes can do better: it can end the worker.
"""

import contextlib
import ctypes
import signal
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from types import FrameType
from typing import NoReturn

__all__ = ["TookTooLong", "time_limit"]


class TookTooLong(BaseException):
    """The time is up. Not an `Exception`, so that a step that catches everything does not swallow it."""


@contextlib.contextmanager
def time_limit(limit: timedelta | None) -> Iterator[None]:
    """Raise `TookTooLong` within the block when it takes longer than `limit`."""
    if limit is None:
        yield
    elif sys.platform != "win32" and threading.current_thread() is threading.main_thread():
        with _alarm(limit.total_seconds()):
            yield
    else:
        with _planted(limit.total_seconds()):
            yield


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
def _planted(seconds: float) -> Iterator[None]:
    thread = ctypes.c_ulong(threading.get_ident())
    lock = threading.Lock()
    over = False

    def plant() -> None:
        with lock:
            if not over:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(TookTooLong))

    timer = threading.Timer(seconds, plant)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        with lock:
            over = True
        timer.cancel()
        # Take back what was planted and not raised yet: the block ended in time after all.
        ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, None)
