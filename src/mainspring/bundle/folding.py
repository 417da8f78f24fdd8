"""Folding: finds the plan of a pipeline by asking it, without knowing what it is made of.

Where a model's sum (its decision function) is one part for each column, the part of a column is what the sum changes by
when that column alone changes. So every known text, an unknown one, a missing value and two numbers are tried in turn
on a base row. Whether the model is of that kind is not assumed: numbers are tried at further points, and the
certificate compares plan and original on rows in which everything changes at once.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainspring.bundle.plan import FoldedPlan, Link, NumberTerm, TextTerm
from mainspring.domain.signature import Column, Signature

__all__ = ["UNSEEN", "fold"]

Floats = NDArray[np.float64]
Columns = dict[str, NDArray[Any]]
#: A text that no training data has.
UNSEEN = "\x00mainspring:unseen"
#: How far a number's part may be from its straight line, relative to the size of the sum.
_STRAIGHT = 1e-9
#: Softmax over more classes, or more texts in a column, makes a table larger than the library it saves.
_MOST_CELLS = 200_000


def fold(signature: Signature, total: Callable[[Columns], Floats], link: Link) -> FoldedPlan | None:
    """Return the plan of a model with this sum, or None where a column's part is not a table or a straight line.

    `total` returns the sums of rows, (n,) or (n, k), from columns as `Predictor.predict` takes them.
    """
    columns = signature.columns
    if any(each.type == "timestamp" or (each.type == "string" and each.categories is None) for each in columns):
        return None
    if sum(len(each.categories or ()) + 5 for each in columns) * max(len(signature.classes), 1) > _MOST_CELLS:
        return None
    base = {each.name: _base(each) for each in columns}
    tried = {each.name: _tries(each) for each in columns}
    rows = 1 + sum(map(len, tried.values()))
    table = {each.name: _filled(base[each.name], rows, each) for each in columns}
    at = 1
    for name, values in tried.items():
        for value in values:
            table[name][at] = value
            at += 1
    with np.errstate(all="ignore"):
        sums = total(table)
    sums = sums[:, None] if sums.ndim == 1 else sums
    if not np.isfinite(sums).all():
        return None
    start, terms, at = sums[0], [], 1
    for each in columns:
        parts = sums[at : at + len(tried[each.name])] - start
        at += len(tried[each.name])
        term = _text(each, parts) if each.type == "string" else _number(each, parts, np.abs(start).max())
        if term is None:
            return None
        terms.append(term)
    return FoldedPlan(link, tuple(start.tolist()), tuple(terms))


def _base(column: Column) -> object:
    if column.type == "string":
        return (column.categories or (UNSEEN,))[0]
    return _points(column)[0]


def _tries(column: Column) -> list[object]:
    missing = [None if column.type == "string" else math.nan] if column.nullable else []
    if column.type == "string":
        return [*(column.categories or ()), UNSEEN, *missing]
    return [*_points(column), *missing]


def _points(column: Column) -> list[float]:
    """Return where a number is tried: both ends of its range, then between and outside them."""
    if column.type == "boolean":
        return [0.0, 1.0]
    low = 0.0 if column.low is None else column.low
    high = low + 1.0 if column.high is None or column.high == low else column.high
    span = high - low
    points = [low, high, low + span / 3, low - span, high + span, 0.0]
    # an integer column is asked about integers only: its frame holds no others
    return [float(np.rint(each)) for each in points] if column.type == "integer" else points


def _filled(value: object, rows: int, column: Column) -> NDArray[Any]:
    array = np.empty(rows, dtype=object if column.type == "string" else np.float64)
    array[:] = value
    return array


def _text(column: Column, parts: Floats) -> TextTerm:
    known = column.categories or ()
    entries = [tuple(row.tolist()) for row in parts]
    unseen = entries[len(known)]
    missing = entries[len(known) + 1] if column.nullable else ()
    return TextTerm(dict(zip(known, entries, strict=False)), unseen, missing)


def _number(column: Column, parts: Floats, size: float) -> NumberTerm | None:
    points = np.array(_points(column))
    measured = parts[: len(points)]
    first, second = points[0], points[1]
    if first == second:
        return None
    weights = (measured[1] - measured[0]) / (second - first)
    offsets = measured[0] - weights * first
    straight = points[:, None] * weights + offsets
    if (np.abs(straight - measured) > _STRAIGHT * (1 + size + np.abs(measured))).any():
        return None
    missing = tuple(parts[len(points)].tolist()) if column.nullable else ()
    return NumberTerm(tuple(weights.tolist()), tuple(offsets.tolist()), missing)
