"""Slices: named parts of the rows, such as ``carrier=EV``, and how well a model does on each.

A slice is one or two conditions on columns, so it can be named, stored and found again in rows of next month.
`declared_slices` measures every value of the columns somebody cares about; `slice_search` looks for bad ones itself.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mainspring.domain.metric import METRICS, MetricValue
from mainspring.domain.signature import Task
from mainspring.errors import Invalid, NotFound, nearest
from mainspring.evaluate.losses import error_bound, loss
from mainspring.evaluate.measure import measure
from mainspring.evaluate.metrics import Floats, Ints

__all__ = ["Condition", "Slice", "conditions_of", "declared_slices", "default_metric", "measure_slice", "worst_slice"]

#: Numbers with at most this many distinct values are sliced value by value, others into fifths.
_FEW_VALUES = 12
_MOST_VALUES = 50
_PARTS = 5

Columns = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition on one column: its text is `value`, its number lies in `low` < x <= `high`, or it is missing."""

    column: str
    kind: Literal["is", "between", "missing"]
    value: str = ""
    low: float = -math.inf
    high: float = math.inf

    def holds(self, columns: Columns) -> NDArray[np.bool_]:
        """Return which rows fulfil the condition.

        Raises:
            NotFound: the rows have no such column.
        """
        if self.column not in columns:
            raise NotFound(f"There is no column `{self.column}` to slice by", next_step=nearest(self.column, columns))
        values = np.asarray(columns[self.column])
        if self.kind == "missing":
            return _is_missing(values)
        if self.kind == "between":
            numbers = values.astype(np.float64)
            return (numbers > self.low) & (numbers <= self.high)
        if values.dtype.kind in "fiu":
            return np.equal(values.astype(np.float64), float(self.value))
        texts = values if values.dtype.kind == "O" else values.astype(np.str_)
        return np.asarray(texts == self.value, dtype=np.bool_)

    def __str__(self) -> str:
        match self.kind:
            case "missing":
                return f"{self.column} missing"
            case "is":
                return f"{self.column}={self.value}"
            case "between":
                left = "" if self.low == -math.inf else f"{self.low:g}<"
                right = "" if self.high == math.inf else f"<={self.high:g}"
                return f"{left}{self.column}{right}" if right else f"{self.column}>{self.low:g}"


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the rows and what a model does there.

    `loss_mean` is the mean per-row loss inside, `loss_rest` outside. `excess_low` is a lower bound of their difference
    that allows for all slices that were looked at (NaN where nobody searched): above zero the slice is truly worse.
    """

    name: str
    conditions: tuple[Condition, ...]
    rows: int
    share: float
    metric: MetricValue
    loss_mean: float
    loss_rest: float
    excess_low: float = math.nan

    def holds(self, columns: Columns) -> NDArray[np.bool_]:
        """Return which rows belong to the slice."""
        inside: NDArray[np.bool_] = np.logical_and.reduce([each.holds(columns) for each in self.conditions])
        return inside

    def to_json(self) -> dict[str, object]:
        """Return JSON-able fields; what is undefined becomes None."""
        numbers = {"loss_mean": self.loss_mean, "loss_rest": self.loss_rest, "excess_low": self.excess_low}
        shown = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
        return {"name": self.name, "rows": self.rows, "share": self.share, "metric": self.metric.to_json(), **shown}


def default_metric(task: Task) -> str:
    """Return the metric slices are judged by when nobody names one: what the model ranks or errs, not its cut."""
    return "mae" if task == "regression" else "roc_auc"


def declared_slices(
    task: Task,
    y: NDArray[np.generic],
    scores: NDArray[np.generic],
    columns: Columns,
    by: Sequence[str],
    *,
    metric: str | None = None,
    losses: Floats | None = None,
    min_rows: int = 100,
    threshold: float = 0.5,
    classes: Sequence[str] = (),
    groups: NDArray[np.generic] | None = None,
) -> list[Slice]:
    """Measure every value (or fifth) of each column in `by` that has at least `min_rows` rows, the worst loss first.

    `losses` (n,) default to the task's loss. Fewer than about 100 rows give intervals too wide to act on. `groups`
    names correlated rows, as in `measure`. O(n) a slice.

    Raises:
        NotFound: a column in `by` does not exist.
        Invalid: the metric is unknown, or the lengths differ.
    """
    per_row = _losses(task, y, scores, classes) if losses is None else losses
    found = []
    for column in by:
        if column not in columns:
            raise NotFound(f"There is no column `{column}` to slice by", next_step=nearest(column, columns))
        conditions, code = conditions_of(column, columns[column], min_rows)
        for index, condition in enumerate(conditions):
            inside = code == index
            found.append(
                measure_slice(
                    (condition,),
                    inside,
                    task,
                    y,
                    scores,
                    per_row,
                    metric=metric,
                    threshold=threshold,
                    classes=classes,
                    groups=groups,
                )
            )
    return sorted(found, key=lambda each: -each.loss_mean)


def measure_slice(
    conditions: tuple[Condition, ...],
    inside: NDArray[np.bool_],
    task: Task,
    y: NDArray[np.generic],
    scores: NDArray[np.generic],
    losses: Floats,
    *,
    metric: str | None = None,
    threshold: float = 0.5,
    classes: Sequence[str] = (),
    groups: NDArray[np.generic] | None = None,
    excess_low: float = math.nan,
) -> Slice:
    """Return the slice of the rows `inside` (n,) with its metric and losses."""
    name = metric or default_metric(task)
    if inside.size != len(losses):
        raise Invalid(f"{inside.size} rows of columns for {len(losses)} losses", where="columns")
    value = measure(
        task,
        y[inside],
        scores[inside],
        threshold=threshold,
        classes=classes,
        groups=None if groups is None else groups[inside],
        only=[name],
    )[name]
    rows = int(inside.sum())
    outside = losses[~inside]
    return Slice(
        " and ".join(str(each) for each in conditions),
        conditions,
        rows,
        rows / inside.size,
        value,
        float(losses[inside].mean()) if rows else math.nan,
        float(outside.mean()) if outside.size else math.nan,
        excess_low,
    )


def worst_slice(slices: Sequence[Slice]) -> Slice | None:
    """Return the slice whose metric is worst, undefined ones aside; None when there is none.

    Raises:
        Invalid: the slices are measured by different metrics.
    """
    defined = [each for each in slices if each.metric.is_defined]
    names = {each.metric.name for each in defined}
    if len(names) > 1:
        raise Invalid(f"Slices by different metrics cannot be ranked: {', '.join(sorted(names))}", where="slices")
    if not defined:
        return None
    sign = 1 if METRICS[names.pop()].larger_is_better else -1
    return min(defined, key=lambda each: sign * each.metric.value)


def conditions_of(column: str, values: NDArray[np.generic], min_rows: int) -> tuple[list[Condition], Ints]:
    """Return disjoint conditions of at least `min_rows` rows, and for each row the index of its own (-1: none).

    Text: its most frequent values. Numbers: their values when they are few, else fifths. Missing rows are a condition
    of their own. Timestamps give none: a slice in time is a window, and windows are compared elsewhere.
    """
    raw = np.asarray(values)
    code = np.full(raw.size, -1, dtype=np.intp)
    if raw.dtype.kind == "M":
        return [], code
    missing = _is_missing(raw)
    names, inverse = _distinct(raw[~missing])
    if raw.dtype.kind in "OUSb" or len(names) <= _FEW_VALUES:
        counts = np.bincount(inverse, minlength=len(names))
        often = np.argsort(-counts, kind="stable")[:_MOST_VALUES]
        kept = np.sort(often[counts[often] >= min_rows])
        found = [Condition(column, "is", names[each]) for each in kept]
        part, parts = inverse, len(names)
    else:
        numbers = raw[~missing].astype(np.float64)
        edges = np.unique(np.quantile(numbers, np.arange(1, _PARTS) / _PARTS, method="lower"))
        bounds = [-math.inf, *edges.tolist(), math.inf]
        part, parts = np.searchsorted(edges, numbers, side="left"), edges.size + 1
        kept = np.flatnonzero(np.bincount(part, minlength=parts) >= min_rows)
        found = [Condition(column, "between", low=bounds[each], high=bounds[each + 1]) for each in kept]
    place = np.full(parts, -1, dtype=np.intp)
    place[kept] = np.arange(kept.size)
    code[~missing] = place[part]
    if int(missing.sum()) >= min_rows:
        code[missing] = len(found)
        found.append(Condition(column, "missing"))
    return found, code


def _losses(task: Task, y: NDArray[np.generic], scores: NDArray[np.generic], classes: Sequence[str]) -> Floats:
    bound = error_bound(y, scores) if task == "regression" else None
    return loss(task, y, scores, classes=tuple(classes), bound=bound)


def _is_missing(values: NDArray[np.generic]) -> NDArray[np.bool_]:
    if values.dtype.kind in "fc":
        return np.isnan(values.astype(np.float64))
    if values.dtype.kind == "O":
        return np.array([each is None or each != each for each in values.tolist()], dtype=np.bool_)
    return np.zeros(values.size, dtype=np.bool_)


def _distinct(values: NDArray[np.generic]) -> tuple[list[str], Ints]:
    """Return the distinct values as sorted texts, and for each row the index of its own.

    Numbers with more than a few values come back as numbers of rows only: nobody will read their names.
    """
    if values.dtype.kind in "fiu":
        numbers, inverse = np.unique(values.astype(np.float64), return_inverse=True)
        few = numbers.size <= _FEW_VALUES
        return ([repr(float(each)).removesuffix(".0") for each in numbers] if few else [""] * numbers.size), inverse
    # a dictionary is several times faster here than sorting Python strings
    texts = [str(each) for each in values.tolist()]
    names = sorted(set(texts))
    index = {name: position for position, name in enumerate(names)}
    return names, np.fromiter((index[text] for text in texts), dtype=np.intp, count=len(texts))
