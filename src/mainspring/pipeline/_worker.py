"""A worker process: takes tasks from one pipe, performs them one by one, answers on the other.

The main thread runs the steps, as it would in a script. A second one reads the orders: when they end, nobody waits for
an answer any more, and the process ends, in the middle of a step if need be. On Linux the kernel does the same when the
parent dies while native code keeps Python from noticing.
"""

import contextlib
import ctypes
import os
import pickle
import queue
import signal
import struct
import sys
import threading
import time
import traceback
from typing import Any

from mainspring.pipeline.reads import StampCache
from mainspring.pipeline.runner import perform
from mainspring.pipeline.tracing import unwatched

__all__ = ["die_with", "main"]

_LENGTH = struct.Struct("!Q")
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve until the orders end."""
    orders, answers, parent = (int(word) for word in sys.argv[1:4])
    die_with(parent)
    # The parent decides what an interruption from the keyboard ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    busy = threading.Event()
    threading.Thread(target=_read_orders, args=(orders, tasks, busy), name="orders", daemon=True).start()
    sys.argv = [""]
    sys.path[:] = tasks.get()
    stamps = StampCache(lambda path: None, time.time_ns)
    while (task := tasks.get()) is not None:
        busy.set()
        answer = perform(task, stamps, begun=lambda: _send(answers, None))
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        busy.clear()
        _send(answers, answer)


def _read_orders(orders: int, tasks: "queue.SimpleQueue[Any]", busy: threading.Event) -> None:
    with unwatched():
        while (data := _read(orders, _LENGTH.size)) is not None:
            body = _read(orders, _LENGTH.unpack(data)[0])
            if body is None:
                break
            try:
                order = pickle.loads(body)  # noqa: S301  # written by the process that started this one
            except BaseException:  # the edge of the thread: whoever waits for an answer must not wait for ever
                traceback.print_exc()
                os._exit(1)
            tasks.put(order)
        if busy.is_set():
            os._exit(1)
        tasks.put(None)


def _read(handle: int, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        got = os.read(handle, min(size - len(data), 1 << 20))
        if not got:
            return None
        data += got
    return bytes(data)


def _send(handle: int, message: object) -> None:
    data = pickle.dumps(message)
    view = memoryview(_LENGTH.pack(len(data)) + data)
    while view:
        view = view[os.write(handle, view) :]


def die_with(parent: int) -> None:
    """Ask Linux to end this process when the thread that started it ends; elsewhere the pipe has to do."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
