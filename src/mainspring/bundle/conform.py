"""Making a table fit a model's signature, or saying where it does not: the batch twin of the server's row decoder."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainspring.domain.signature import Column, Signature
from mainspring.errors import Invalid, nearest

__all__ = ["PERSONAL", "conform"]

#: What stands for a value that is not to be shown.
PERSONAL = "(personal)"
_MOST_PROBLEMS = 20
_MOST_WARNINGS = 20
_WANTED = {"number": "a number", "integer": "a whole number", "boolean": "true or false"}


def conform(
    table: Mapping[str, NDArray[Any]],
    signature: Signature,
    *,
    first: int = 0,
    personal: Collection[str] = (),
    gaps: Collection[str] = (),
) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Return the columns the model eats and warnings (unknown categories, values out of range) with their places.

    Columns the model does not know are left out. `first` is the number of the table's first row where it is a part.
    Values of `personal` columns are not shown. In the columns `gaps` values may be missing all the same, because the
    caller sets such rows aside.

    Raises:
        Invalid: a column is missing, or values have the wrong type or are missing and may not be; every place is
            named, up to 20.
    """
    problems: list[tuple[str, str]] = []
    warnings: list[str] = []
    columns: dict[str, NDArray[Any]] = {}
    for column in signature.columns:
        if column.name not in table:
            problems.append((column.name, f"the column is missing. {nearest(column.name, table)}"))
            continue
        hides = column.name in personal
        array, bad, wanted = _typed(table[column.name], column)
        columns[column.name] = array
        problems += [
            (f"rows[{first + row}].{column.name}", f"{_shown(table[column.name][row], hides)} is not {wanted}")
            for row in _first(bad)
        ]
        missing = _missing(array) & ~bad
        if not column.nullable and column.name not in gaps and missing.any():
            problems += [
                (f"rows[{first + row}].{column.name}", "missing, and the model needs a value")
                for row in _first(missing)
            ]
        warnings += _unusual(array, column, first, hides)
    if problems:
        listed = "\n  ".join(f"at {where}: {what}" for where, what in problems[:_MOST_PROBLEMS])
        raise Invalid(
            f"The table does not fit the model:\n  {listed}",
            where=problems[0][0],
            next_step="mend the places named; nothing was scored",
        )
    return columns, warnings[:_MOST_WARNINGS]


def _typed(array: NDArray[Any], column: Column) -> tuple[NDArray[Any], NDArray[np.bool_], str]:
    """Return the column in its type, which rows do not fit it, and the type in words."""
    none = np.zeros(len(array), dtype=bool)
    if column.type == "string":
        if array.dtype == object:
            return array, none, "text"
        if array.dtype.kind == "f":  # a file of codes such as 007 is read as numbers; whole ones go back to text
            whole = np.isnan(array) | (array == np.floor(array))
            text = np.array([None if value != value else f"{value:.0f}" for value in array], dtype=object)
            return text, ~whole, "text"
        return array.astype(str).astype(object), none, "text"
    if column.type == "timestamp":
        if all(value is None for value in array) and array.dtype == object:  # a file in which no row has one
            return np.full(len(array), np.datetime64("NaT", "us"), dtype="datetime64[us]"), none, "a moment"
        return array, np.full(len(array), array.dtype.kind != "M"), "a moment"
    numbers, bad = array, none
    if array.dtype.kind != "f":
        numbers, bad = np.full(len(array), np.nan), none.copy()
        for row, value in enumerate(array):
            if value is None:
                continue
            try:
                numbers[row] = float(value)
            except (TypeError, ValueError):
                bad[row] = True
    if column.type == "integer":
        bad = bad | (~np.isnan(numbers) & (numbers != np.floor(numbers)))
    if column.type == "boolean":
        bad = bad | (~np.isnan(numbers) & ~np.isin(numbers, (0.0, 1.0)))
    return numbers, bad | np.isinf(numbers), _WANTED[column.type]


def _unusual(array: NDArray[Any], column: Column, first: int, hides: bool) -> list[str]:
    if column.nullable and not column.missing_seen and (gaps := _missing(array)).any():
        seen = "missing, and training had a value in every row"
        return [f"rows[{first + row}].{column.name}: {seen}" for row in _first(gaps)]
    if column.categories is not None and array.dtype == object:
        known = set(column.categories)
        unknown = np.fromiter((value is not None and value not in known for value in array), bool, len(array))
        return [
            f"rows[{first + row}].{column.name}: {_shown(array[row], hides)} was not seen in training"
            for row in _first(unknown)
        ]
    if column.low is not None and column.high is not None and array.dtype.kind == "f":
        outside = (array < column.low) | (array > column.high)
        seen = f"is outside {column.low:g} to {column.high:g}, the range seen in training"
        return [
            f"rows[{first + row}].{column.name}: {PERSONAL if hides else format(array[row], 'g')} {seen}"
            for row in _first(outside)
        ]
    return []


def _missing(array: NDArray[Any]) -> NDArray[np.bool_]:
    if array.dtype == object:
        return np.fromiter((value is None for value in array), bool, len(array))
    return np.asarray(np.isnat(array) if array.dtype.kind == "M" else np.isnan(array))


def _shown(value: object, hides: bool) -> str:
    return PERSONAL if hides else repr(value.item() if isinstance(value, np.generic) else value)


def _first(where: NDArray[np.bool_]) -> list[int]:
    return [int(row) for row in np.flatnonzero(where)[:3]]
