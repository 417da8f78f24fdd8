"""Rows that stand twice: equal in every column, in all but the target, or in all but one.

A row's hash is the sum of its cells' hashes, so that the hash without one column is a subtraction: looking at all
columns but each one in turn costs one sort a column.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mainspring.data.table import Columns, n_rows

__all__ = ["Duplicate", "duplicates", "row_hashes"]

#: When more of the rows than this are equal in all but one column, such rows are nothing special in the table.
_COMMON = 0.01
#: The same for a column that tells every row apart: where more than half of the rows repeat, the others tell little.
_OFTEN = 0.5


@dataclass(frozen=True, slots=True)
class Duplicate:
    """`row` repeats the row `of` above it: ``conflict`` (only the target differs), ``exact`` or ``near``.

    `column` is the one in which they differ, `share` that of the table's rows which do so too.
    """

    row: int
    of: int
    kind: Literal["conflict", "exact", "near"]
    column: str
    share: float


def duplicates(columns: Columns, target: str = "") -> list[Duplicate]:
    """Return each row that repeats one above it: conflicting labels first, then exact, then near duplicates.

    Text is compared without its case and the blanks around and between its words. A row is near another when they are
    equal in all columns but one; a column in which more than one row in a hundred is alone in differing is left out,
    unless it tells every row apart (an id) and half of the rows at most repeat without it. O(d n log n) for d columns.
    """
    if not n_rows(columns):
        return []
    cells = {name: _cell_hashes(array, number) for number, (name, array) in enumerate(columns.items())}
    whole = _summed(cells.values())
    found: dict[int, Duplicate] = {}
    if target in cells and len(cells) > 1:
        for each in _alone_in(cells, whole, target, "conflict"):
            found.setdefault(each.row, each)
    repeated, first = _repeated(whole)
    share = repeated.size / whole.size
    for row in repeated.tolist():
        found.setdefault(row, Duplicate(row, int(first[row]), "exact", "", share))
    for name in cells if len(cells) > 2 else ():
        if name != target:
            near = list(_alone_in(cells, whole, name, "near"))
            is_id = np.unique(cells[name]).size == whole.size
            if near and near[0].share <= (_OFTEN if is_id else _COMMON):
                for each in near:
                    found.setdefault(each.row, each)
    ranks = {"conflict": 0, "exact": 1, "near": 2}
    return sorted(found.values(), key=lambda each: (ranks[each.kind], each.share, each.row))


def row_hashes(columns: Columns) -> NDArray[np.uint64]:
    """Return a hash of each row (n,); rows that are equal as `duplicates` compares them have equal ones."""
    return _summed(_cell_hashes(array, number) for number, array in enumerate(columns.values()))


def _alone_in(
    cells: dict[str, NDArray[np.uint64]], whole: NDArray[np.uint64], name: str, kind: Literal["conflict", "near"]
) -> Iterator[Duplicate]:
    """Yield the rows that equal one above them in every column but `name`, where they differ from it."""
    repeated, first = _repeated(whole - cells[name])
    differ = repeated[cells[name][repeated] != cells[name][first[repeated]]]
    for row in differ.tolist():
        yield Duplicate(row, int(first[row]), kind, name, differ.size / whole.size)


def _repeated(keys: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows whose key stands above them already, and for every row the first with its key."""
    order = np.argsort(keys, kind="stable")
    opens = np.ones(keys.size, dtype=np.bool_)
    opens[1:] = keys[order][1:] != keys[order][:-1]
    first = np.empty(keys.size, dtype=np.int64)
    first[order] = order[np.maximum.accumulate(np.where(opens, np.arange(keys.size), 0))]
    return np.flatnonzero(first != np.arange(keys.size)), first


def _summed(hashes: Any) -> NDArray[np.uint64]:  # an iterable of arrays of equal length
    total: NDArray[np.uint64] | None = None
    for each in hashes:
        total = each.copy() if total is None else total + each
    return np.zeros(0, dtype=np.uint64) if total is None else total


def _cell_hashes(array: NDArray[Any], number: int) -> NDArray[np.uint64]:
    if array.dtype == object:
        codes: dict[str | None, int] = {None: 0}
        plain = {value: _plain(value) for value in dict.fromkeys(array.tolist())}
        known = {value: codes.setdefault(text, len(codes)) for value, text in plain.items()}
        bits = np.array([known[value] for value in array.tolist()], dtype=np.uint64)
    elif array.dtype.kind == "M":
        bits = array.astype(np.int64).view(np.uint64)
    else:
        numbers = np.where(np.isnan(array), np.nan, array) + 0.0  # one kind of gap, one kind of zero
        bits = np.ascontiguousarray(numbers).view(np.uint64)
    return _mixed(bits + np.uint64((number + 1) * 0x9E3779B97F4A7C15 % 2**64))


def _plain(value: object) -> str | None:
    return None if value is None else " ".join(str(value).casefold().split())


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Source: the finaliser of SplitMix64; Steele, Lea & Flood 2014, "Fast splittable pseudorandom numbers"."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = bits ^ (bits >> np.uint64(31))
    return mixed
