"""Steps and pipelines that the conformance suite of executors runs; a module of its own, so that workers import it."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mainspring.pipeline.step import pipeline, step

__all__ = [
    "Halves",
    "absent_minded",
    "diamond",
    "fails_beside",
    "greedy",
    "meet",
    "moody",
    "reads_file",
    "slow_native",
]

_MEETING_SECONDS = 60.0


class Halves(NamedTuple):
    """A result with parts."""

    first: list[int]
    second: list[int]


@step
def count(n: int) -> list[int]:
    """Return the first whole numbers."""
    return list(range(n))


@step
def halve(numbers: list[int]) -> Halves:
    """Cut a list in two."""
    return Halves(numbers[: len(numbers) // 2], numbers[len(numbers) // 2 :])


@step
def add_up(numbers: list[int], weights: dict[str, float]) -> float:
    """Return the weighted sum."""
    return sum(numbers) * weights["of each"]


@step
def together(parts: Sequence[float]) -> float:
    """Return the sum."""
    return sum(parts)


@pipeline
def diamond(n: int = 20_000, ways: int = 4) -> float:
    """Fan out and in again."""
    halves = halve(count(n))
    return together([add_up(halves.first, {"of each": float(way)}) for way in range(ways)])


@step
def arrive(folder: str, name: str, others: list[str]) -> str:
    """Leave a mark and wait until the others have left theirs."""
    Path(folder, name).touch()
    until = time.monotonic() + _MEETING_SECONDS
    while not all(os.access(Path(folder, each), os.F_OK) for each in others):
        if time.monotonic() > until:
            raise TimeoutError(f"{name} waited for {others}")
        time.sleep(0.01)
    return name


@pipeline
def meet(folder: str, ways: int) -> list[str]:
    """Run steps that can only end when all of them run at once."""
    names = [f"mark-{way}" for way in range(ways)]
    return [arrive(folder, name, names) for name in names]


@step
def read(path: str, way: int) -> str:
    """Return a file's text."""
    return f"{way} {Path(path).read_text()}"


@pipeline
def reads_file(path: str) -> list[str]:
    """Read a file twice, side by side."""
    return [read(path, 1), read(path, 2)]


@step
def die_once(folder: str, way: int, times: int) -> int:
    """Kill the process it runs in, as often as `times` says."""
    for number in range(times):
        mark = os.path.join(folder, f"died-{way}-{number}")
        if not os.access(mark, os.F_OK):
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            os.kill(os.getpid(), signal.SIGKILL)
    return way


@pipeline
def absent_minded(folder: str, times: int = 1) -> float:
    """Lose a worker in the middle of a step."""
    return together([die_once(folder, 1, times), die_once(folder, 2, 0)])


@step
def stumble(folder: str, way: int) -> int:
    """Fail with a place and a type."""
    if way == 0:
        raise LookupError(f"way {way} is closed")
    Path(folder, f"went-{way}").touch()
    return way


@pipeline
def fails_beside(folder: str) -> list[int]:
    """One of several steps fails."""
    return [stumble(folder, way) for way in range(2)]


@step(retries=2)
def try_thrice(folder: str) -> int:
    """Fail twice."""
    for number in range(2):
        mark = os.path.join(folder, f"tried-{number}")
        if not os.access(mark, os.F_OK):
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            raise OSError(f"try {number}")
    return 3


@pipeline
def moody(folder: str) -> list[int]:
    """Succeed at the third try."""
    return [try_thrice(folder)]


@step(timeout="500ms")
def wait_long() -> int:
    """Wait for much longer than it may."""
    time.sleep(600)
    return 0


@pipeline
def slow_native() -> int:
    """Run into a time limit."""
    return wait_long()


@step(memory="100MB")
def hoard() -> int:
    """Hold more and more memory."""
    held = []
    for _ in range(4000):
        held.append(bytearray(os.urandom(1 << 10)) * (1 << 10))
        time.sleep(0.005)
    return len(held)


@pipeline
def greedy() -> int:
    """Run into a memory limit."""
    return hoard()
