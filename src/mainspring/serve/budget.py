"""Models on demand: loaded at their first request, and let go when others need the room they take.

Given a budget, a server of many models starts with none of them loaded. What a model takes is measured when it is
loaded; the one that has not been asked for longest makes way. Requests that are under way keep what they began with.
"""

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol, TypeVar

__all__ = ["Budget", "measured"]

T = TypeVar("T")


class _Loaded(Protocol):
    model: str
    used_at: float


E = TypeVar("E", bound=_Loaded)


class Budget:
    """What the models that are loaded on demand may take together, in bytes."""

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self._taken: dict[str, int] = {}

    def took(self, model: str, size_bytes: int) -> None:
        """Remember what a model takes; what it took once is what it is expected to take again."""
        self._taken[model] = max(size_bytes, self._taken.get(model, 0))

    def making_way(self, loaded: Iterable[E], newcomer: str, at_least: int) -> list[E]:
        """Return which of the `loaded` have to go before `newcomer` may come, the longest unasked first.

        `at_least` is the size of the newcomer where nothing is known of it. A model that is larger than the whole
        budget is loaded alone.
        """
        others = sorted((each for each in loaded if each.model != newcomer), key=lambda each: each.used_at)
        total = self._taken.get(newcomer, at_least) + sum(self._taken.get(each.model, 0) for each in others)
        going = []
        for each in others:
            if total <= self._size_bytes:
                break
            going.append(each)
            total -= self._taken.get(each.model, 0)
        return going


def measured(load: Callable[[], T], bundles: Iterable[Path]) -> tuple[T, int]:
    """Load something, and return it with the bytes it takes: by the memory of this process, or at least its files."""
    size = sum(file.stat().st_size for folder in bundles for file in folder.iterdir() if file.is_file())
    before = _resident_bytes()
    made = load()
    return made, max(_resident_bytes() - before, size)


def _resident_bytes() -> int:
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
