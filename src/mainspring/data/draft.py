"""The first draft of a schema from several good batches: they tell how far a good batch may lie from the others.

One batch tells only what happened to be there (`schema.infer_schema`). People review a draft before it is pinned.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainspring.data.schema import Rule, Schema, infer_schema
from mainspring.data.table import Columns, n_rows
from mainspring.errors import Invalid

__all__ = ["draft_schema"]

#: A batch may lie this much further from all batches together than the furthest of them does.
_LEEWAY = 2.0
#: No distribution is bounded more tightly than this, and none is bounded that differs so much between good batches.
_LEAST_MOST, _MOST_MOST = 0.05, 0.3
#: A column with at most so many values is told by their shares, one of numbers with more of them by its spread.
_FEW = 24
_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


def draft_schema(batches: Sequence[Columns]) -> Schema:
    """Write down what good batches of one table look like together, and how far each lies from all of them.

    Types, ranges and categories are those of all rows; where values are missing the share is bounded, and so are the
    distributions and the number of rows. A column whose distribution differs much between the batches, such as a
    counter or the month, gets no rule about it.

    Raises:
        Invalid: there is no batch, or their columns differ in name or type.
    """
    if not batches:
        raise Invalid("There is no batch", where="draft_schema", next_step="give tables that are known to be good")
    whole = {name: _joined(name, batches) for name in batches[0]}
    for number, batch in enumerate(batches):
        if set(batch) != set(whole):
            odd = sorted(set(batch) ^ set(whole))[0]
            raise Invalid(f"Not all batches have `{odd}`", where=f"batches[{number}]", next_step="leave that one out")
    schema = infer_schema(whole)
    if len(batches) == 1:
        return schema
    columns = {}
    for name, rule in schema.columns.items():
        shares = [float(_missing(batch[name]).mean()) for batch in batches]
        most = min(1.0, _rounded(max(shares)))
        columns[name] = replace(rule, nullable=False, most_missing=most) if rule.nullable and most < 1 else rule
    rules = [rule for name in whole for rule in _distribution(name, whole[name], [each[name] for each in batches])]
    sizes = [n_rows(batch) for batch in batches]
    return Schema(columns, max(1, min(sizes) // 2), max(sizes) * 2, tuple(rules))


def _joined(name: str, batches: Sequence[Columns]) -> NDArray[Any]:
    arrays = [batch[name] for batch in batches if name in batch]
    if len({array.dtype.kind for array in arrays}) > 1:
        raise Invalid(f"`{name}` is not of one type", where="draft_schema", next_step="leave the odd batch out")
    return np.concatenate(arrays)


def _missing(array: NDArray[Any]) -> NDArray[np.bool_]:
    return np.array([each is None for each in array]) if array.dtype.kind == "O" else np.asarray(array != array)


def _distribution(name: str, whole: NDArray[Any], parts: Sequence[NDArray[Any]]) -> list[Rule]:
    present = whole[~_missing(whole)]
    if whole.dtype.kind == "M" or not len(present):
        return []
    values, counts = np.unique(present, return_counts=True)
    if len(values) == 1 or (len(values) > _FEW and whole.dtype.kind == "O"):
        return []
    few = len(values) <= _FEW
    if few:
        told = {_text(value): count / len(present) for value, count in zip(values, counts, strict=True)}
        apart = [_variation(told, part) for part in parts]
    else:
        points = np.unique(np.quantile(present, _QUANTILES, method="inverted_cdf"))
        told = {_text(point): float((present <= point).mean()) for point in points}
        apart = [_kolmogorov(told, part) for part in parts]
    most = _rounded(max(apart))
    if most > _MOST_MOST:
        return []
    shown = {key: round(float(share), 4) for key, share in told.items()}
    return [Rule(f"{name}_as_before", "shares" if few else "spread", columns=(name,), shares=shown, most=most)]


def _text(value: Any) -> str:  # a text or number, as the keys of a schema file are written
    return value if isinstance(value, str) else f"{value:.0f}" if float(value).is_integer() else repr(float(value))


def _variation(told: Mapping[str, float], part: NDArray[Any]) -> float:
    values, counts = np.unique(part[~_missing(part)], return_counts=True)
    seen = {_text(value): count / counts.sum() for value, count in zip(values, counts, strict=True)}
    return sum(abs(float(seen.get(key, 0.0)) - told.get(key, 0.0)) for key in {*seen, *told}) / 2


def _kolmogorov(told: Mapping[str, float], part: NDArray[Any]) -> float:
    present = part[~_missing(part)]
    gaps = [abs(float((present <= float(key)).mean()) - share) for key, share in told.items()]
    return max(gaps) if len(present) else 0.0


def _rounded(most: float) -> float:
    return max(_LEAST_MOST, math.ceil(most * _LEEWAY * 100) / 100)
