"""Mainspring: the whole life of a machine-learning model as one closed loop with one memory.

``import mainspring as ms`` gives the names in `__all__`, each imported when it is first used. The words are in
`domain`, the wiring in `workspace.py`, the idea in `loop.py`.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mainspring.domain.policy import (
        automatic,
        beats_champion,
        by,
        canary,
        latency,
        monitor,
        replay,
        retrain,
        soak,
        worst_slice,
    )
    from mainspring.features.view import FeatureView
    from mainspring.loop.definition import Loop
    from mainspring.pipeline.mapped import map  # noqa: A004
    from mainspring.pipeline.partitions import Partition, partitions
    from mainspring.pipeline.step import pipeline, step
    from mainspring.recording.run import log, start_run
    from mainspring.train.candidate import Candidate, Fitted, Parts
    from mainspring.train.joined import join_features
    from mainspring.train.steps import check, evaluate, fit, split
    from mainspring.workspace import Workspace

__all__ = [
    "Candidate",
    "FeatureView",
    "Fitted",
    "Loop",
    "Partition",
    "Parts",
    "Workspace",
    "automatic",
    "beats_champion",
    "by",
    "canary",
    "check",
    "evaluate",
    "fit",
    "join_features",
    "latency",
    "log",
    "map",
    "monitor",
    "partitions",
    "pipeline",
    "replay",
    "retrain",
    "soak",
    "split",
    "start_run",
    "step",
    "worst_slice",
]

__version__ = "0.1.0"

_HOMES = {
    "mainspring.domain.policy": (
        "automatic",
        "beats_champion",
        "by",
        "canary",
        "latency",
        "monitor",
        "replay",
        "retrain",
        "soak",
        "worst_slice",
    ),
    "mainspring.features.view": ("FeatureView",),
    "mainspring.loop.definition": ("Loop",),
    "mainspring.pipeline.mapped": ("map",),
    "mainspring.pipeline.partitions": ("Partition", "partitions"),
    "mainspring.pipeline.step": ("pipeline", "step"),
    "mainspring.recording.run": ("log", "start_run"),
    "mainspring.train.candidate": ("Candidate", "Fitted", "Parts"),
    "mainspring.train.joined": ("join_features",),
    "mainspring.train.steps": ("check", "evaluate", "fit", "split"),
    "mainspring.workspace": ("Workspace",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:  # any public object
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'mainspring' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__"})


class _Package(ModuleType):
    """Keeps `ms.pipeline`, `ms.evaluate` and `ms.monitor` the public functions of that name.

    Three rooms share their names with functions. The import system binds a sub-package to its parent as an attribute
    when it is first imported, which would hide the function; here that binding is left out. The rooms are reached as
    ``from mainspring.pipeline import ...``, which looks in `sys.modules`.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (isinstance(value, ModuleType) and name in _HOME_OF):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
