"""Importing skops, at half of what it costs by itself.

While it is imported, skops 0.16 looks for the module of each of SciPy's 300 ufuncs in every module there is in turn;
with scikit-learn loaded that is a tenth of a second. Here its search is given an index of all ufuncs, made in one pass
over the same modules in the same order, so it finds the same. What is not in the index it looks for as ever.
"""

import importlib
import importlib.util
import sys
import types
from typing import Any

__all__ = ["import_skops"]

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
    return importlib.import_module(_NAME)


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
    modules: list[tuple[str, Any]] = list(sys.modules.items())  # None stands for a module that must not be imported
    for module_name, module in modules:
        if module is not None and module_name not in _NOT_SEARCHED:
            for name, value in list(vars(module).items()):
                if isinstance(value, np.ufunc):
                    index.setdefault((id(value), name), module_name)

    def whichmodule(thing: Any, name: str) -> str:
        if getattr(thing, "__module__", None) is None and (id(thing), name) in index:
            return index[id(thing), name]
        found: str = search(thing, name)
        return found

    parts.whichmodule = whichmodule
