"""The distributions that a model needs: which they are, and which are installed."""

import contextlib
from importlib import metadata
from typing import Any

__all__ = ["installed_version", "last_step", "needed_packages"]

#: What every model of flavor ``sklearn`` needs to load and score.
_ALWAYS = ("numpy", "pandas", "scikit-learn", "scipy", "skops")
_BOOSTERS = ("lightgbm", "xgboost")


def last_step(model: Any) -> Any:  # any estimator
    """Return the estimator at the end of a pipeline, or the model itself."""
    return model.steps[-1][1] if hasattr(model, "steps") else model


def needed_packages(model: Any) -> tuple[str, ...]:  # any estimator
    """Return the distributions that a model was made with."""
    package = type(last_step(model)).__module__.partition(".")[0]
    return (*_ALWAYS, package) if package in _BOOSTERS else _ALWAYS


def installed_version(name: str) -> str:
    """Return the installed version of a distribution, or of its variant without graphics cards; empty without one."""
    for each in (name, f"{name}-cpu"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(each)
    return ""
