"""Batches without a timer: what waits when a model is free is its next batch, and a lone request waits for nothing.

A fast model is asked in the event loop itself, two turns behind the first request: everything that was read from the
sockets meanwhile is in the batch. A slow one is asked in a thread of its own; while it works, the next batch gathers.
Which of the two is decided for each batch, by what batches of its size have taken. One queue belongs to one loaded
version, so that one model's load does not hold up another's.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, Protocol, TypeVar

from mainspring.serve.problems import Overloaded

__all__ = ["BatchQueue", "Durations", "Pace"]

#: Up to here a batch is done before handing it to a thread would pay.
_INLINE_SECONDS = 0.002
#: Up to here it is not worth asking how much of a batch's time was work.
_TWINKLING_SECONDS = 0.0005
#: A model that waits for something else (a disk, another server) works little and must not hold the loop up for long.
_MOST_INLINE_SECONDS = 0.025
_MOST_ROWS = 1024
#: Weight of the newest batch in the averages.
_LEARNING = 0.2


class _Sized(Protocol):
    n_rows: int


_Item = TypeVar("_Item", bound=_Sized)
_Result = TypeVar("_Result")


class Durations:
    """How long batches take, learnt by size: a moving average for each power of two of rows, and lines between them."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[float, float]] = {}  # size class -> rows and seconds on average

    def learn(self, n_rows: int, seconds: float) -> None:
        """Take in what a batch of so many rows took."""
        size = n_rows.bit_length()
        rows, mean = self._known.get(size, (n_rows, seconds))
        self._known[size] = (rows + _LEARNING * (n_rows - rows), mean + _LEARNING * (seconds - mean))

    def expected(self, n_rows: int) -> float:
        """Return the seconds a batch of so many rows is likely to take; 0 when nothing is known."""
        size = n_rows.bit_length()
        if size in self._known:
            return self._known[size][1]
        points = sorted(self._known.values())
        if len(points) < 2:
            return points[0][1] * max(1.0, n_rows / points[0][0]) if points else 0.0
        after = next((at for at, point in enumerate(points) if point[0] > n_rows), len(points) - 1)
        (rows, seconds), (more_rows, more_seconds) = points[max(0, after - 1)], points[max(1, after)]
        slope = max(0.0, (more_seconds - seconds) / (more_rows - rows))
        return max(0.0, seconds + slope * (n_rows - rows))


class Pace:
    """How long a model's batches take: by the clock, for who waits, and in work, for where they are done.

    Only the work tells a slow model from a busy machine, or from a thread that waits for the interpreter's lock: one
    that was sent to a thread for its waiting would wait there ever after.
    """

    def __init__(self) -> None:
        self.clock = Durations()
        self.work = Durations()

    def learn(self, n_rows: int, clock_seconds: float, work_seconds: float | None) -> None:
        """Take in what a batch took, by `time.perf_counter` and by `time.thread_time`, None where that is not known."""
        self.clock.learn(n_rows, clock_seconds)
        if work_seconds is not None:
            self.work.learn(n_rows, work_seconds)

    def is_quick(self, n_rows: int) -> bool:
        """Tell whether a batch of so many rows is best done in the event loop."""
        return self.work.expected(n_rows) <= _INLINE_SECONDS and self.clock.expected(n_rows) <= _MOST_INLINE_SECONDS


class BatchQueue(Generic[_Item, _Result]):
    """The requests that wait for one model. All methods belong to the event loop."""

    def __init__(
        self,
        score: Callable[[list[_Item]], _Result],
        finish: Callable[[list[_Item], _Result], None],
        *,
        longest_wait_seconds: float,
        pace: Pace,
        inline: bool = True,
    ) -> None:
        """`score` runs in the loop or in a thread and may not raise; `finish` runs in the loop behind it."""
        self._score = score
        self._finish = finish
        self._longest_wait = longest_wait_seconds
        self._pace = pace
        self._inline = inline
        self._loop = asyncio.get_running_loop()
        self._items: deque[_Item] = deque()
        self._rows = 0
        self._few_rows = 0  # so many may wait without a thought: they are done in a twinkling
        self._is_due = False
        self._busy_since: float | None = None
        self._busy_rows = 0
        self._thread: ThreadPoolExecutor | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not self._items and self._busy_since is None

    @property
    def running_seconds(self) -> float:
        """How long the batch under way has been running; 0 when there is none."""
        return 0.0 if self._busy_since is None else time.perf_counter() - self._busy_since

    @property
    def n_waiting(self) -> int:
        """How many requests wait."""
        return len(self._items)

    def wait_seconds(self) -> float:
        """Return how long a request that came now would wait before its batch begins."""
        waiting, clock = 0.0, self._pace.clock
        if self._rows:
            full, rest = divmod(self._rows, _MOST_ROWS)
            waiting = full * clock.expected(_MOST_ROWS) + (clock.expected(rest) if rest else 0.0)
        if self._busy_since is not None:
            waiting += max(0.0, clock.expected(self._busy_rows) - self.running_seconds)
        return waiting

    def submit(self, item: _Item, deadline: float = math.inf) -> None:
        """Put an item in line; `deadline` is a moment of ``time.perf_counter``.

        Raises:
            Overloaded: it would wait longer than is allowed, or beyond its deadline.
        """
        if (self._rows > self._few_rows or self._busy_since is not None) and self._items:
            wait = self.wait_seconds()
            if wait > min(self._longest_wait, deadline - time.perf_counter()):
                raise Overloaded(wait)
        self._items.append(item)
        self._rows += item.n_rows
        if not self._is_due and self._busy_since is None:
            self._is_due = True
            self._loop.call_soon(self._next_turn)

    def close(self) -> None:
        """Let the thread go."""
        if self._thread is not None:
            self._thread.shutdown(wait=False)

    def _next_turn(self) -> None:
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_due = False
        if not self._items or self._busy_since is not None:
            return
        batch, n_rows = self._take()
        self._busy_since, self._busy_rows = time.perf_counter(), n_rows
        if self._inline and self._pace.is_quick(n_rows):
            self._few_rows = max(self._few_rows, n_rows)
            self._done(batch, *self._timed(batch))
            return
        self._few_rows = 0
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="score")
        future = self._loop.run_in_executor(self._thread, self._timed, batch)
        future.add_done_callback(lambda done: self._done(batch, *done.result()))

    def _timed(self, batch: list[_Item]) -> tuple[_Result, float | None]:
        """Score a batch; return the work beside the result.

        To ask the system for a thread's time can cost more than a fast model's batch. Where the clock says that a batch
        is done in a twinkling, it was no more work than that.
        """
        if self._pace.clock.expected(self._busy_rows) > _TWINKLING_SECONDS:
            started = time.thread_time()
            return self._score(batch), time.thread_time() - started
        started = time.perf_counter()
        result = self._score(batch)
        seconds = time.perf_counter() - started
        return result, seconds if seconds <= _INLINE_SECONDS else None

    def _take(self) -> tuple[list[_Item], int]:
        if self._rows <= _MOST_ROWS:
            batch, n_rows = list(self._items), self._rows
            self._items.clear()
        else:
            batch, n_rows = [self._items.popleft()], 0
            n_rows = batch[0].n_rows
            while self._items and n_rows + self._items[0].n_rows <= _MOST_ROWS:
                batch.append(self._items.popleft())
                n_rows += batch[-1].n_rows
        self._rows -= n_rows
        return batch, n_rows

    def _done(self, batch: list[_Item], result: _Result, work_seconds: float | None) -> None:
        assert self._busy_since is not None
        self._pace.learn(self._busy_rows, time.perf_counter() - self._busy_since, work_seconds)
        self._busy_since = None
        try:
            self._finish(batch, result)
        finally:
            if self._items and not self._is_due:
                self._is_due = True
                self._loop.call_soon(self._flush)
