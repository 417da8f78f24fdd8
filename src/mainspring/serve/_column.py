"""One column of a request: is every value of its type, and did training see its like?

`decode` knows rows, tensors and places; this module knows values. The arrays follow the project's convention, which
stands in ``bundle/predictor.py``.
"""

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mainspring.domain.signature import Column, ColumnType

__all__ = ["ColumnReader", "Surprise", "moment_of", "shown"]

Surprise = Literal["missing_value", "unknown_category", "out_of_range"]

_NONE = type(None)
#: From here on, float64 no longer tells one integer from the next (IEEE 754).
_TOO_LARGE_INTEGER = 2**53
_TYPES: dict[ColumnType, frozenset[type]] = {
    "number": frozenset({int, float}),
    "integer": frozenset({int, float}),
    "boolean": frozenset({bool}),
    "string": frozenset({str}),
    "timestamp": frozenset({str}),
}
_MEANT: dict[ColumnType, str] = {
    "number": "a number",
    "integer": "an integer",
    "boolean": "true or false",
    "string": "a string",
    "timestamp": "a moment as ISO 8601 text",
}


class ColumnReader:
    """Reads and judges the values of one column."""

    def __init__(self, column: Column) -> None:
        self.nullable = column.nullable
        self._column = column
        self._types = _TYPES[column.type] | ({_NONE} if column.nullable else frozenset())
        self._low = -math.inf if column.low is None else column.low
        self._high = math.inf if column.high is None else column.high
        self._categories = frozenset(column.categories) if column.categories is not None else None

    def read(self, values: Sequence[object]) -> NDArray[Any] | None:
        """Convert all values at once; None when one of them does not fit."""
        kinds = set(map(type, values))
        if not kinds <= self._types:
            return None
        if self._column.type == "string":
            array = np.empty(len(values), dtype=object)
            array[:] = values
            return array
        if self._column.type == "timestamp":
            moments = [None if value is None else moment_of(value) for value in values]
            fitting = all(moment is not None or value is None for moment, value in zip(moments, values, strict=True))
            return np.array(moments, dtype="datetime64[us]") if fitting else None
        numbers = [math.nan if value is None else value for value in values] if _NONE in kinds else values
        try:
            floats = np.array(numbers, dtype=np.float64)
        except OverflowError:
            return None
        if np.count_nonzero(np.isfinite(floats)) != len(values) - (values.count(None) if _NONE in kinds else 0):
            return None
        if self._column.type == "integer":
            known = floats[np.isfinite(floats)]
            if np.any(known != np.rint(known)) or np.any(np.abs(known) >= _TOO_LARGE_INTEGER):
                return None
        return floats

    def faults(self, values: Sequence[object], start: int = 0) -> Iterator[tuple[int, str]]:
        """Yield the position of each value that does not fit, counted from `start`, and what is wrong with it.

        Halves the column around its faults, so that one of them among 10,000 values costs some 14 looks at a part.
        """
        if not values or self.read(values) is not None:
            return
        if len(values) == 1:
            yield start, self._fault(values[0])
            return
        middle = len(values) // 2
        yield from self.faults(values[:middle], start)
        yield from self.faults(values[middle:], start + middle)

    def surprises(self, values: Sequence[object], array: NDArray[Any]) -> tuple[Surprise, list[int]] | None:
        """Return the positions of the values that training never saw the like of; None when there are none."""
        column = self._column
        if self.nullable and not column.missing_seen and None in values:
            return "missing_value", [at for at, value in enumerate(values) if value is None]
        if self._categories is not None:
            unknown = set(values) - self._categories - {None}
            if unknown:
                return "unknown_category", [at for at, value in enumerate(values) if value in unknown]
        elif column.type in ("number", "integer") and (column.low is not None or column.high is not None):
            outside = np.flatnonzero((array < self._low) | (array > self._high))
            if outside.size:
                return "out_of_range", outside.tolist()
        return None

    def surprise(self, value: object) -> str:
        """Return what is surprising about one of them."""
        if value is None:
            return "missing, and training had a value in every row"
        if self._categories is not None:
            return f"training never saw {shown(value)}"
        return f"{value} lies outside {self._low:g} to {self._high:g}, which training saw"

    def _fault(self, value: object) -> str:
        if value is None:
            return "null, and the column may not be null"
        if isinstance(value, float) and not math.isfinite(value):
            return f"{value} is not a value; send null where there is none" if self.nullable else f"{value} is no value"
        if isinstance(value, (int, float)) and not isinstance(value, bool) and self._column.type in _NUMERIC:
            return f"{shown(value)} is not {_MEANT[self._column.type]} that can be told exactly"
        return f"{shown(value)} is not {_MEANT[self._column.type]}"


_NUMERIC = ("number", "integer")


def shown(value: object) -> str:
    """Return a value as a message tells it: as JSON, and not longer than 60 characters."""
    if value is None:
        return "null"
    text = f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def moment_of(value: object) -> datetime | None:
    """Read ISO 8601 text as a naive moment in UTC; text without a zone is in UTC already. None when it is no moment."""
    try:
        moment = datetime.fromisoformat(str(value))
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        return None
