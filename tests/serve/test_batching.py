"""Batches without a timer: who goes together, who goes in a thread, and who is turned away."""

import asyncio
import threading
import time
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.serve.batching import BatchQueue, Durations, Pace
from mainspring.serve.problems import Overloaded


@dataclass
class Item:
    name: str
    n_rows: int = 1


class Kitchen:
    """A model that says which thread it worked in, and waits for leave where the test wants it to."""

    def __init__(self, *, seconds: float = 0.0, longest_wait_seconds: float = 5.0, inline: bool = True) -> None:
        pace = Pace()
        pace.learn(1, seconds, seconds)
        pace.learn(64, seconds, seconds)
        self.batches: list[list[str]] = []
        self.threads: list[str] = []
        self.leave = threading.Event()
        self.leave.set()
        self.done = asyncio.Event()
        self.queue: BatchQueue[Item, list[str]] = BatchQueue(
            self._score, self._finish, longest_wait_seconds=longest_wait_seconds, pace=pace, inline=inline
        )

    def _score(self, items: list[Item]) -> list[str]:
        self.threads.append(threading.current_thread().name)
        assert self.leave.wait(10)
        return [item.name for item in items]

    def _finish(self, items: list[Item], names: list[str]) -> None:
        assert [item.name for item in items] == names
        self.batches.append(names)
        self.done.set()

    async def settled(self) -> None:
        while not self.queue.is_idle:
            self.done.clear()
            await self.done.wait()


def test_what_came_in_one_turn_goes_together_and_in_the_loop() -> None:
    async def scene() -> Kitchen:
        kitchen = Kitchen()
        for name in "abc":
            kitchen.queue.submit(Item(name))
        await kitchen.settled()
        kitchen.queue.submit(Item("d"))
        await kitchen.settled()
        return kitchen

    kitchen = asyncio.run(scene())
    assert kitchen.batches == [["a", "b", "c"], ["d"]]
    assert set(kitchen.threads) == {"MainThread"}


def test_a_slow_model_works_in_a_thread_and_the_next_batch_gathers_meanwhile() -> None:
    async def scene() -> Kitchen:
        kitchen = Kitchen(seconds=1.0)
        kitchen.leave.clear()
        kitchen.queue.submit(Item("first"))
        while not kitchen.threads:
            await asyncio.sleep(0)
        for name in "abc":
            kitchen.queue.submit(Item(name))
        assert kitchen.queue.n_waiting == 3
        assert kitchen.queue.running_seconds > 0
        kitchen.leave.set()
        await kitchen.settled()
        kitchen.queue.close()
        return kitchen

    kitchen = asyncio.run(scene())
    assert kitchen.batches == [["first"], ["a", "b", "c"]]
    assert all(name.startswith("score") for name in kitchen.threads)


def test_a_batch_has_a_largest_size_and_a_large_request_goes_alone() -> None:
    async def scene() -> Kitchen:
        kitchen = Kitchen()
        for name, n_rows in {"a": 600, "b": 400, "c": 100, "huge": 5000, "d": 1}.items():
            kitchen.queue.submit(Item(name, n_rows))
        await kitchen.settled()
        return kitchen

    assert asyncio.run(scene()).batches == [["a", "b"], ["c"], ["huge"], ["d"]]


def test_who_would_wait_too_long_is_turned_away_at_once() -> None:
    async def scene() -> None:
        kitchen = Kitchen(seconds=4.0, longest_wait_seconds=5.0)
        kitchen.leave.clear()
        kitchen.queue.submit(Item("running"))
        while not kitchen.threads:
            await asyncio.sleep(0)
        kitchen.queue.submit(Item("next"))  # behind some 4 seconds
        with pytest.raises(Overloaded) as caught:
            kitchen.queue.submit(Item("third"))  # behind some 8
        assert 5 < caught.value.wait_seconds <= 8
        kitchen.leave.set()
        await kitchen.settled()
        kitchen.queue.close()
        assert kitchen.batches == [["running"], ["next"]]

    asyncio.run(scene())


def test_who_has_less_patience_than_the_queue_is_long_is_turned_away() -> None:
    async def scene() -> None:
        kitchen = Kitchen(seconds=1.0, longest_wait_seconds=60.0)
        kitchen.leave.clear()
        kitchen.queue.submit(Item("running"))
        while not kitchen.threads:
            await asyncio.sleep(0)
        kitchen.queue.submit(Item("next"))
        with pytest.raises(Overloaded):
            kitchen.queue.submit(Item("hasty"), deadline=time.perf_counter() + 0.01)
        kitchen.leave.set()
        await kitchen.settled()
        kitchen.queue.close()

    asyncio.run(scene())


def test_durations_are_lines_between_what_is_known() -> None:
    durations = Durations()
    assert durations.expected(7) == 0.0
    durations.learn(1, 0.010)
    assert durations.expected(100) == pytest.approx(1.0)  # nothing better is known than so many times one
    durations.learn(64, 0.016)
    assert durations.expected(10) == pytest.approx(0.010 + 9 * 0.006 / 63)
    assert durations.expected(1000) == pytest.approx(0.010 + 999 * 0.006 / 63)


@given(st.lists(st.tuples(st.integers(1, 5000), st.floats(0, 10)), max_size=20), st.integers(1, 20000))
def test_an_expectation_is_never_negative(known: list[tuple[int, float]], n_rows: int) -> None:
    durations = Durations()
    for rows, seconds in known:
        durations.learn(rows, seconds)
    assert durations.expected(n_rows) >= 0


def test_a_batch_whose_work_is_not_known_changes_nothing_but_the_clock() -> None:
    pace = Pace()
    pace.learn(64, 0.010, 0.0001)
    pace.learn(64, 0.020, None)
    assert pace.work.expected(64) == 0.0001
    assert pace.clock.expected(64) > 0.010


def test_a_model_that_only_waited_is_not_taken_for_a_slow_one() -> None:
    pace = Pace()
    pace.learn(1, 0.010, 0.0001)  # by the clock, on a busy machine
    pace.learn(64, 0.012, 0.0001)
    assert pace.is_quick(1)
    assert pace.is_quick(64)
    pace.learn(64, 0.5, 0.0001)  # it waits for something: the loop must not wait with it
    assert not pace.is_quick(64)
    slow = Pace()
    slow.learn(1, 0.007, 0.007)
    assert not slow.is_quick(1)
