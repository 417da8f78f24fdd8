"""Bodies whose reading waits for a store on the network: in threads beside the event loop, which answers others."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from mainspring.errors import Unavailable
from mainspring.serve.asking import Question

__all__ = ["RemoteReads"]

#: Bodies that are read at once, each by a connection of its own.
_THREADS = 16
#: Bodies that are under way at once; more are turned away.
_MOST_UNDER_WAY = 1_000
#: A body that has waited so long for a thread is turned away: the store does not answer, and more only wait longer.
_LONGEST_WAIT_SECONDS = 1.0
_NEXT_STEP = "ask again in a moment; look whether the online store answers"


class RemoteReads:
    """Belongs to the event loop."""

    def __init__(self) -> None:
        self._under_way = 0
        self._threads: ThreadPoolExecutor | None = None

    @property
    def is_idle(self) -> bool:
        """Whether every body has been read."""
        return not self._under_way

    def run(
        self, read: Callable[[], Question], then: Callable[[Question], None], fail: Callable[[Exception], None]
    ) -> None:
        """Read in a thread, and hand the question to `then` in the loop, or the error of either to `fail`.

        Raises:
            Unavailable: there are too many already.
        """
        if self._under_way >= _MOST_UNDER_WAY:
            raise Unavailable(f"{_MOST_UNDER_WAY} requests wait for their features", next_step=_NEXT_STEP)
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="remote-reads")
        loop, latest = asyncio.get_running_loop(), time.perf_counter() + _LONGEST_WAIT_SECONDS

        def in_thread() -> Question:
            if time.perf_counter() > latest:
                raise Unavailable("The features of other requests keep this one waiting", next_step=_NEXT_STEP)
            return read()

        def in_loop(done: "Future[Question]") -> None:
            self._under_way -= 1
            try:
                then(done.result())
            except Exception as error:  # the edge of one request: it is told there
                fail(error)

        self._under_way += 1
        self._threads.submit(in_thread).add_done_callback(lambda done: loop.call_soon_threadsafe(in_loop, done))

    def close(self) -> None:
        """End the threads, which have nothing to do any more."""
        if self._threads is not None:
            self._threads.shutdown()
