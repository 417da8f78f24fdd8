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
#: The most digits that the table engine's decimals have.
_DIGITS = 38


def typed_columns(
    columns: Mapping[str, Sequence[object]], exact: str = ""
) -> tuple[dict[str, Any], dict[str, str]]:  # arrays, masked or not
    """Return columns as the table engine takes them; one of several types, or without a value, is of texts.

    With them come the types to cast texts to that are numbers which a float64 would round. Decimals of the column
    `exact` become such texts even where none would be rounded.
    """
    kinds = {name: _exact_kind(values, always=name == exact) for name, values in columns.items()}
    typed = {name: _typed(name, values) if kinds[name] is None else _texts(values) for name, values in columns.items()}
    return typed, {name: kind for name, kind in kinds.items() if kind not in (None, "VARCHAR")}


def _exact_kind(values: Sequence[object], *, always: bool) -> str | None:
    """Return the type that keeps numbers which a float64 would round, text if no other does; None if none is."""
    kinds = {type(value) for value in values} - {type(None)}
    if not kinds & {int, Decimal} or not kinds <= {int, float, Decimal, bool}:
        return None
    if kinds == {int} and all(value is None or _fits(value) for value in values):
        return None
    if not (always and Decimal in kinds) and not any(map(_is_rounded, values)):
        return None
    numbers = [Decimal(str(value)) for value in values if value is not None and not isinstance(value, bool)]
    if bool in kinds or not all(number.is_finite() for number in numbers):
        return "VARCHAR"
    scale = max(0, *(-int(number.as_tuple().exponent) for number in numbers))
    digits = max(number.adjusted() + 1 for number in numbers)
    return f"DECIMAL({_DIGITS},{scale})" if max(digits, 0) + scale <= _DIGITS else "VARCHAR"


def _fits(value: object) -> bool:
    return isinstance(value, int) and -_LARGEST <= value < _LARGEST


def _is_rounded(value: object) -> bool:
    if isinstance(value, int):
        return abs(value) > 2**53
    return isinstance(value, Decimal) and value.is_finite() and Decimal(repr(float(value))) != value


def _typed(name: str, values: Sequence[object]) -> Any:
    missing = np.fromiter((value is None for value in values), bool, len(values))
    kinds = {type(value) for value in values} - {type(None)}
    if kinds and kinds <= {bool}:
        return np.ma.masked_array([bool(value) for value in values], mask=missing)
    if kinds == {int} and all(value is None or _fits(value) for value in values):
        return np.ma.masked_array(np.array([0 if value is None else value for value in values], np.int64), mask=missing)
    if kinds and kinds <= {int, float, Decimal, bool, date, datetime}:
        return columns_of({name: list(values)})[name]
    if any(issubclass(kind, np.generic) for kind in kinds):
        return _typed(name, [value.item() if isinstance(value, np.generic) else value for value in values])
    return _texts(values)


def _texts(values: Sequence[object]) -> Any:
    texts = np.empty(len(values), dtype=object)
    texts[:] = [None if value is None else _text(value) for value in values]
    return texts


def _text(value: object) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return value.hex()
    return json.dumps(value, default=str) if isinstance(value, dict | list | tuple) else str(value)
