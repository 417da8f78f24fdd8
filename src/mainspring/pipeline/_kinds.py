"""The kinds of values beyond the plain ones, found by the type of a value or by the name of a kept one.

Nothing is imported for a value that is not of a kind: a built-in kind is looked at when the value comes from its
library, a plugin when nothing else knows the value. A plugin that is broken is named and left out.
"""

import functools
import warnings
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from mainspring.errors import Unavailable
from mainspring.pipeline.protocol import ValueKind

__all__ = ["ENTRY_POINTS", "kind_named", "kind_of"]

ENTRY_POINTS = "mainspring.value"

#: Library -> the kinds for its types; the same form as an entry point.
_BUILT_IN: dict[str, tuple[str, ...]] = {
    "polars": ("mainspring.pipeline._tables:POLARS",),
    "pyarrow": ("mainspring.pipeline._tables:ARROW",),
    "duckdb": ("mainspring.pipeline._tables:RELATION",),
    "_duckdb": ("mainspring.pipeline._tables:RELATION",),
    "matplotlib": ("mainspring.pipeline._figures:FIGURE",),
    "mainspring": ("mainspring.pipeline._figures:KEPT_FIGURE",),
}


def kind_of(value: object) -> ValueKind | None:
    """Return the kind that keeps `value`; None where there is none."""
    library = type(value).__module__.partition(".")[0]
    for address in _BUILT_IN.get(library, ()):
        kind = _load(address)
        if kind.recognises(value):
            return kind
    return next((kind for kind in _plugins() if kind.recognises(value)), None)


def kind_named(name: str) -> ValueKind:
    """Return the kind of that name.

    Raises:
        Unavailable: nothing that is installed offers it.
    """
    for address in {address for addresses in _BUILT_IN.values() for address in addresses}:
        kind = _load(address)
        if kind.name == name:
            return kind
    for kind in _plugins():
        if kind.name == name:
            return kind
    raise Unavailable(
        f"A kept value is of the kind `{name}`, which nothing installed knows",
        next_step=f"install the package whose entry point `{ENTRY_POINTS}` offers it, or run the step again",
    )


@functools.cache
def _load(address: str) -> ValueKind:
    module, _, name = address.partition(":")
    kind: ValueKind = getattr(import_module(module), name)
    return kind


def _plugins() -> list[ValueKind]:
    found = (_plugin(each) for each in entry_points(group=ENTRY_POINTS))
    return [each for each in found if each is not None]


@functools.cache
def _plugin(entry: EntryPoint) -> ValueKind | None:
    try:
        kind: ValueKind = entry.load()
    except Exception as error:  # somebody else's module: whatever it raises, the others must still work
        warnings.warn(f"The value plugin `{entry.name}` ({entry.value}) cannot be loaded: {error}", stacklevel=2)
        return None
    return kind
