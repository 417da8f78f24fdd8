"""Python values as columns of the types they share, such that nothing is lost: whole numbers stay whole numbers.

For rows that go to disk; `table.columns_of` gives the convention of models, where every number is a float64.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np

from mainspring.data.table import columns_of

__all__ = ["typed_columns"]

_LARGEST = 2**63


def typed_columns(columns: Mapping[str, Sequence[object]]) -> dict[str, Any]:  # arrays, masked or not
    """Return columns as the table engine takes them; one of several types, or without a value, is of texts."""
    return {name: _typed(name, values) for name, values in columns.items()}


def _typed(name: str, values: Sequence[object]) -> Any:
    missing = np.fromiter((value is None for value in values), bool, len(values))
    kinds = {type(value) for value in values} - {type(None)}
    if kinds and kinds <= {bool}:
        return np.ma.masked_array([bool(value) for value in values], mask=missing)
    if kinds == {int} and all(value is None or -_LARGEST <= value < _LARGEST for value in values):  # type: ignore[operator]  # whole numbers
        return np.ma.masked_array(np.array([0 if value is None else value for value in values], np.int64), mask=missing)
    if kinds and kinds <= {int, float, Decimal, bool, date, datetime}:
        return columns_of({name: list(values)})[name]
    if any(issubclass(kind, np.generic) for kind in kinds):
        return _typed(name, [value.item() if isinstance(value, np.generic) else value for value in values])
    texts = np.empty(len(values), dtype=object)
    texts[:] = [None if value is None else _text(value) for value in values]
    return texts


def _text(value: object) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return value.hex()
    return json.dumps(value, default=str) if isinstance(value, dict | list | tuple) else str(value)
