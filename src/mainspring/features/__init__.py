"""Features of entities over time, computed by one expression for training and for serving.

Nouns: `FeatureView` (entity, time, expressions over the rows of a source), `OnlineStore` (what is known of each entity
now, packed). Start reading in `view.py`; how a view becomes a query is in `compiled.py`, what was known of an entity at
a moment in `joining.py`, how the online store is filled in `materializing.py`, and how an entity is taken out of it in
`forgetting.py`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mainspring.features.joining import join_features, join_features_to
    from mainspring.features.view import FeatureView

__all__ = ["FeatureView", "join_features", "join_features_to"]

_HOMES = {"FeatureView": "view", "join_features": "joining", "join_features_to": "joining"}


def __getattr__(name: str) -> Any:  # any public object; loaded late because DuckDB is not free to import
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
