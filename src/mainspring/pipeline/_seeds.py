"""The seed of a step: set from its key before it starts, so that the same call draws the same random numbers anywhere.

Covered are the generators that code reaches without naming a seed: those behind `random`, `numpy.random` and `torch`.
A step in its own right may still ask the system for entropy; the fingerprint names that.
"""

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

from mainspring.artifacts.digests import digest_of_bytes

__all__ = ["seed_for", "seeded"]


def seed_for(key: str, name: str, number: int) -> int:
    """Return the seed (32 bits) of a call by its key; one that has none is seeded by its name and place in the run."""
    return int((key or digest_of_bytes(f"{name} {number}".encode()))[:8], 16)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the shared generators within the block, and give them back as they were: they are the caller's.

    A library that is not loaded yet is seeded as soon as the step imports it; importing it for this would cost more
    than most steps.
    """
    undo: list[Callable[[], None]] = [_seed_random(seed)]
    finder = _Finder(seed)
    for name, seed_module in _SEEDERS.items():
        module = sys.modules.get(name)
        if module is not None:
            undo.append(seed_module(module, seed))
    if finder.names:
        sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.meta_path.remove(finder)
        for each in undo:
            each()


def _seed_random(seed: int) -> Callable[[], None]:
    before = random.getstate()
    random.seed(seed)
    return lambda: random.setstate(before)


def _seed_numpy(module: Any, seed: int) -> Callable[[], None]:  # numpy.random
    before = module.get_state(legacy=False)
    module.seed(seed)
    return lambda: module.set_state(before)


def _seed_torch(module: Any, seed: int) -> Callable[[], None]:  # torch.random
    before = module.get_rng_state()
    module.manual_seed(seed)
    return lambda: module.set_rng_state(before)


_SEEDERS: dict[str, Callable[[Any, int], Callable[[], None]]] = {
    "numpy.random": _seed_numpy,
    "torch.random": _seed_torch,
}


class _Finder(importlib.abc.MetaPathFinder):
    """Sees a library with a shared generator being imported, and seeds it when that is done."""

    def __init__(self, seed: int) -> None:
        self.names = {name for name in _SEEDERS if name not in sys.modules}
        self._seed = seed

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self.names:
            return None
        self.names.discard(fullname)
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._seed)
        return spec


class _Loader(importlib.abc.Loader):
    """Loads as the loader it stands before does, then seeds."""

    def __init__(self, loader: Any, seed: int) -> None:  # any loader
        self._loader = loader
        self._seed = seed

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        created: ModuleType | None = self._loader.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        if spec is not None:
            spec.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        _SEEDERS[module.__name__](module, self._seed)
