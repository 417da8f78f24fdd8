"""How a step is run: the options of `@step`, for whoever runs it. None is part of a cache key."""

from dataclasses import dataclass
from datetime import timedelta

__all__ = ["StepOptions"]


@dataclass(frozen=True, slots=True)
class StepOptions:
    """How a step is run. None of it is part of the cache key: it changes how a result is reached, not which.

    `memory_bytes` is what one try may add to the memory of its process.
    """

    retries: int = 0
    timeout: timedelta | None = None
    cache: bool = True
    memory_bytes: int | None = None
    pickle: bool = False
