"""Importing skops, at a quarter of what it costs by itself.

While it is imported, skops 0.16 looks for the module of each of SciPy's 300 ufuncs in every module there is in turn,
and imports all of scikit-learn to list its estimators. Here its search is given an index of all ufuncs, made in one
pass over the same modules in the same order, so it finds the same; what is not in the index it looks for as ever. The
list of estimators is made when somebody reads it who does not have the model's classes loaded already.
"""

import contextlib
import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

__all__ = ["import_skops", "saving"]

_NAME = "skops.io"
_NOT_SEARCHED = ("__main__", "__mp_main__")  # as in skops.io._utils.whichmodule


def import_skops() -> Any:  # a module without types
    """Import and return `skops.io`.

    Raises:
        ImportError: skops or scikit-learn is not installed.
    """
    if _NAME not in sys.modules:
        try:
            _give_index()
        except (AttributeError, ImportError, TypeError):  # another skops, or none: it is imported as it is
            sys.modules.pop(_NAME, None)
        try:
            return _import_without_survey()
        except (AttributeError, ImportError):
            pass
    return importlib.import_module(_NAME)


class _Estimators(list[str]):
    """The names of scikit-learn's estimators, found when somebody reads them.

    Who saves a model has its classes loaded: for him those that are loaded are enough (`saving`).
    """

    def __add__(self, more: list[str]) -> list[str]:  # type: ignore[override]  # of strings only, as skops adds
        return [*self, *more]

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    def __iter__(self) -> Iterator[str]:
        if not len(self):
            if _is_saving.get():
                return iter(_loaded_estimators())
            from sklearn.utils import all_estimators  # what skops needs anyway

            names = (f"{each.__module__}.{each.__name__}" for _, each in all_estimators())
            self.extend(name for name in names if name.startswith("sklearn."))
        return super().__iter__()


_is_saving: ContextVar[bool] = ContextVar("is_saving", default=False)


@contextlib.contextmanager
def saving() -> Iterator[None]:
    """While it lasts, estimators that are not loaded need not be known."""
    token = _is_saving.set(True)
    try:
        yield
    finally:
        _is_saving.reset(token)


def _loaded_estimators() -> list[str]:
    """Return the estimators of the loaded modules of scikit-learn; every one of them is in its own list too."""
    base: Any = sys.modules["sklearn.base"]  # a module without types
    names = [name for name in list(sys.modules) if name.startswith("sklearn.") and "._" not in name]
    found = {
        each
        for module in names
        for name, each in list(getattr(sys.modules[module], "__dict__", {}).items())
        if isinstance(each, type) and issubclass(each, base.BaseEstimator) and not name.startswith("_")
    }
    kept = (each for each in found - {base.BaseEstimator} if not getattr(each, "__abstractmethods__", ()))
    return sorted(name for each in kept if (name := f"{each.__module__}.{each.__name__}").startswith("sklearn."))


def _import_without_survey() -> Any:  # a module without types
    utils: Any = importlib.import_module("sklearn.utils")  # a module without types
    survey, bins = utils.all_estimators, "sklearn.ensemble._hist_gradient_boosting.binning"
    is_loaded = bins in sys.modules
    if not is_loaded:  # skops takes one class from it, of which it keeps the name
        stand_in: Any = types.ModuleType(bins)
        stand_in._BinMapper = type("_BinMapper", (), {"__module__": bins})
        sys.modules[bins] = stand_in
    utils.all_estimators = list
    try:
        skops = importlib.import_module(_NAME)
    finally:
        utils.all_estimators = survey
        if not is_loaded:
            del sys.modules[bins]
    estimators = _Estimators()
    for part in ("_trusted_types", "_general"):
        kept: Any = importlib.import_module(f"{_NAME}.{part}")  # a module without types
        kept.SKLEARN_ESTIMATOR_TYPE_NAMES = estimators
    return skops


def _give_index() -> None:
    import numpy as np  # what skops needs anyway

    for needed in ("scipy.special", "sklearn.base"):  # so that the index covers the modules that skops would search
        importlib.import_module(needed)
    spec = importlib.util.find_spec(_NAME)
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError(_NAME)
    # The module that holds the search is imported alone; what imports the whole finds it there.
    package = types.ModuleType(_NAME)
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules[_NAME] = package
    try:
        parts: Any = importlib.import_module(f"{_NAME}._utils")  # a module without types
    finally:
        del sys.modules[_NAME]
    search = parts.whichmodule
    index: dict[tuple[int, str], str] = {}
    ufunc = np.ufunc  # nobody can derive from it, so that comparing types is enough, and fast
    modules: list[tuple[str, Any]] = list(sys.modules.items())  # None stands for a module that must not be imported
    for module_name, module in modules:
        if module is not None and module_name not in _NOT_SEARCHED:
            found = [(name, value) for name, value in list(vars(module).items()) if type(value) is ufunc]
            for name, value in found:
                index.setdefault((id(value), name), module_name)

    def whichmodule(thing: Any, name: str) -> str:
        if getattr(thing, "__module__", None) is None and (id(thing), name) in index:
            return index[id(thing), name]
        searched: str = search(thing, name)
        return searched

    parts.whichmodule = whichmodule
