"""Which calls can be made now: those of a wanted part of the graph whose needs are made, the earliest call first.

Pure bookkeeping on numbers. Linear in the calls and their needs over a whole run, so that a fan-out of thousands costs
no more for each call than a chain does.
"""

import heapq
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence

from mainspring.pipeline.graph import Call

__all__ = ["Agenda"]


class Agenda:
    """The calls still to be made for `wanted`, in the order they may be taken."""

    def __init__(self, calls: Sequence[Call], wanted: Iterable[int], made: Collection[int]) -> None:
        self._missing: dict[int, int] = {}  # how many needs of a call are not made
        self._after: defaultdict[int, list[int]] = defaultdict(list)
        waiting = [number for number in wanted if number not in made]
        while waiting:
            number = waiting.pop()
            if number in self._missing:
                continue
            needs = [need for need in calls[number].needs if need not in made]
            self._missing[number] = len(needs)
            for need in needs:
                self._after[need].append(number)
            waiting += needs
        self._ready = [number for number, count in self._missing.items() if count == 0]
        heapq.heapify(self._ready)

    @property
    def ready(self) -> Sequence[int]:
        """The calls that can be taken now, in no order."""
        return self._ready

    def __iter__(self) -> Iterator[int]:
        return iter(self._missing)

    def take(self) -> int:
        """Return the earliest call that is ready, and count it as taken."""
        return heapq.heappop(self._ready)

    def wait(self, number: int, other: int) -> None:
        """Put a call that was taken back until `other`, which is under way, is made."""
        self._missing[number] += 1
        self._after[other].append(number)

    def made(self, number: int) -> None:
        """Take note that a call is made: calls that waited for it alone are ready."""
        for after in self._after.pop(number, ()):
            self._missing[after] -= 1
            if self._missing[after] == 0:
                heapq.heappush(self._ready, after)

    def clear(self) -> None:
        """Forget what was not taken: a step failed."""
        self._ready.clear()
        self._after.clear()
