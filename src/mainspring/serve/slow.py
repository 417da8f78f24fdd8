"""Answers that take long to put together, such as explanations: in a thread beside the event loop, few at a time."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from mainspring.serve.asking import Ask
from mainspring.serve.problems import Overloaded
from mainspring.serve.reply import Reply, Tell

__all__ = ["SlowAnswers"]

#: Requests for slow answers that are under way at once; more are turned away before they are scored.
_MOST_UNDER_WAY = 16
_RETRY_SECONDS = 1.0


class SlowAnswers:
    """Belongs to the event loop; one thread makes the answers, so that predictions keep the processor."""

    def __init__(self, answer_of: Callable[[Ask], Reply]) -> None:
        self._answer_of = answer_of
        self._under_way = 0
        self._thread: ThreadPoolExecutor | None = None

    @property
    def is_idle(self) -> bool:
        """Whether every request has its answer."""
        return not self._under_way

    def begin(self, tell: Tell) -> Tell:
        """Count a request in; it is counted out when what this returns is told its reply.

        Raises:
            Overloaded: there are too many already.
        """
        if self._under_way >= _MOST_UNDER_WAY:
            raise Overloaded(_RETRY_SECONDS, f"{_MOST_UNDER_WAY} slow answers are under way")
        self._under_way += 1

        def told(reply: Reply) -> None:
            self._under_way -= 1
            tell(reply)

        return told

    def run(self, ask: Ask, then: Callable[[Ask, Reply], None]) -> None:
        """Make the answer of a scored request in the thread, and hand it to `then` in the loop."""
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="slow-answers")
        made = self._thread.submit(self._answer_of, ask)
        made.add_done_callback(lambda done: loop.call_soon_threadsafe(then, ask, done.result()))

    def close(self) -> None:
        """End the thread, which has nothing to do any more."""
        if self._thread is not None:
            self._thread.shutdown()
