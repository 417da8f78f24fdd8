"""The straight way from JSON rows to columns: one decoder for each signature, one conversion for a whole batch.

A row is decoded into a struct of the signature's own types, so that parsing and checking are one pass in C. What does
not fit is not judged here: `read` gives None, and `decode` walks the body value by value to say where. The arrays
follow the convention that stands in ``bundle/predictor.py``.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainspring.domain.signature import Column, ColumnType, Signature
from mainspring.serve._column import moment_of

__all__ = ["ColumnBlock", "RowValues", "TypedRows"]

#: One row's values in the order of the signature's columns.
RowValues = tuple[object, ...]

# Beyond these float64 no longer tells one integer from the next; the careful way says so.
_Exact = Annotated[int, msgspec.Meta(gt=-(2**53), lt=2**53)]
_TYPES: dict[ColumnType, Any] = {  # Any: an annotated type is no type to the checker
    "number": float,
    "integer": _Exact,
    "boolean": bool,
    "string": str,
    "timestamp": str,
}


class ColumnBlock(NamedTuple):
    """The rows of a batch, column by column.

    `columns` is what the model takes; `values` are the same as they came, in the order of the signature. `surprising`
    marks the rows with a value whose like training never saw; None when there are none.
    """

    n_rows: int
    columns: dict[str, NDArray[Any]]  # Any: the element type differs from column to column
    values: Sequence[Sequence[object]]
    surprising: NDArray[np.bool_] | None


class TypedRows:
    """Reads rows of one signature; built once for each version."""

    def __init__(self, signature: Signature) -> None:
        self.names = signature.names
        self._decode = _decoder(signature)
        self._values = _getter(len(self.names))
        each = list(enumerate(signature.columns))
        self._moments = [at for at, column in each if column.type == "timestamp"]
        self._texts = [at for at, column in each if column.type == "string"]
        self._numeric = [at for at, column in each if column.type in ("number", "integer", "boolean")]
        numeric = [signature.columns[at] for at in self._numeric]
        self._low = np.array([[-np.inf if column.low is None else column.low] for column in numeric])
        self._high = np.array([[np.inf if column.high is None else column.high] for column in numeric])
        self._ranged = any(column.low is not None or column.high is not None for column in numeric)
        self._full = np.array([at for at, column in enumerate(numeric) if _never_missing(column)], dtype=np.intp)
        self._known = [
            (at, frozenset(column.categories) | ({None} if not _never_missing(column) else frozenset()))
            for at, column in each
            if column.categories is not None
        ]
        self._present = [
            at
            for at, column in each
            if _never_missing(column) and column.categories is None and column.type in ("string", "timestamp")
        ]

    def read(self, body: bytes) -> tuple[list[RowValues], str | None] | None:
        """Return the rows of a predict body and the client's id for it; None when the careful way must look."""
        if self._decode is None:
            return None
        try:
            request = self._decode(body)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return None
        rows, identifier = (request, None) if type(request) is list else (request.rows, request.id)
        if not rows:
            return None
        values = list(map(self._values, rows))
        for at in self._moments:
            if not all(row[at] is None or moment_of(row[at]) for row in values):
                return None
        return values, identifier

    def block(self, rows: Sequence[RowValues]) -> ColumnBlock:
        """Return rows, which fit the signature, as columns."""
        values = list(zip(*rows, strict=True))
        numbers = np.array([values[at] for at in self._numeric], dtype=np.float64)  # None becomes NaN
        columns: dict[str, NDArray[Any]] = {}
        for line, at in enumerate(self._numeric):
            columns[self.names[at]] = numbers[line]
        for at in self._texts:
            columns[self.names[at]] = np.array(values[at], dtype=object)
        for at in self._moments:
            moments = [None if value is None else moment_of(value) for value in values[at]]
            columns[self.names[at]] = np.array(moments, dtype="datetime64[us]")
        return ColumnBlock(len(rows), columns, values, self._surprising(values, numbers, len(rows)))

    def _surprising(
        self, values: Sequence[Sequence[object]], numbers: NDArray[np.float64], n_rows: int
    ) -> NDArray[np.bool_] | None:
        found: list[Any] = []  # Any: arrays of bool, which numpy types as maybe a scalar
        if self._ranged:
            outside = (numbers < self._low) | (numbers > self._high)
            if outside.any():
                found.append(outside.any(axis=0))
        if self._full.size:
            gaps = np.isnan(numbers[self._full])
            if gaps.any():
                found.append(gaps.any(axis=0))
        for at, known in self._known:
            if not known.issuperset(values[at]):
                found.append(np.fromiter((value not in known for value in values[at]), bool, n_rows))
        for at in self._present:
            if None in values[at]:
                found.append(np.fromiter((value is None for value in values[at]), bool, n_rows))
        return np.asarray(np.logical_or.reduce(found)) if found else None


def _never_missing(column: Column) -> bool:
    """Tell whether a missing value is allowed and yet was never seen."""
    return column.nullable and not column.missing_seen


def _decoder(signature: Signature) -> Callable[[bytes], Any] | None:
    """Return the decoder of bodies; None when a column's name cannot be a field (it holds a quote or a backslash)."""
    fields = [
        (f"c{at}", _TYPES[column.type] | None if column.nullable else _TYPES[column.type])
        for at, column in enumerate(signature.columns)
    ]
    names = {f"c{at}": column.name for at, column in enumerate(signature.columns)}
    try:
        row = msgspec.defstruct("Row", fields, rename=names, forbid_unknown_fields=True, gc=False)
    except ValueError:
        return None
    request = msgspec.defstruct("Request", [("rows", list[row]), ("id", str | None, None)], gc=False)  # type: ignore[valid-type]  # made above
    return msgspec.json.Decoder(request | list[row]).decode  # type: ignore[valid-type]  # made above


def _getter(width: int) -> Callable[[object], RowValues]:
    names = [f"c{at}" for at in range(width)]
    if width != 1:
        return operator.attrgetter(*names)
    only = operator.attrgetter(names[0])  # of one name, attrgetter gives no tuple
    return lambda row: (only(row),)
