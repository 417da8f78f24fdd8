"""Numbers that lie far out: by how many times farther than the last hundredth of their column begins."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mainspring.data.table import Columns

__all__ = ["Outlier", "outliers"]

#: From here on a value is told; of a normal column 1 in 300,000 lies so far out.
_FAR = 2.0


@dataclass(frozen=True, slots=True)
class Outlier:
    """A row with a value that lies far out. `score` is its distance from the median, the 99th percentile's being 1."""

    row: int
    column: str
    value: float
    score: float
    median: float


def outliers(columns: Columns) -> list[Outlier]:
    """Return the rows with a number far out, the farthest first, each by its farthest column.

    Above the median the unit is the distance to the 99th percentile, below it that to the first: so a skewed column's
    long side is measured by what is usual there, and one value in a million cannot move the unit. On planted errors of
    units it found more than ECOD and an isolation forest (`benchmarks/suspects.py`), which rank a value that is off by
    a factor of sixty no higher than the largest good one. It sees each column by itself: a combination that is
    impossible, of values that are each common, is not told. Booleans and columns with two values have no outliers.
    O(n) for each column, in the mean.
    """
    names = [name for name, array in columns.items() if array.dtype.kind == "f"]
    best = np.full(len(columns[names[0]]) if names else 0, _FAR)
    of = np.full(best.size, -1, dtype=np.int64)
    medians = np.zeros(len(names))
    for number, name in enumerate(names):
        distance, medians[number] = _distances(columns[name])
        farther = distance > best
        best[farther], of[farther] = distance[farther], number
    told = np.flatnonzero(of >= 0)
    order = told[np.argsort(-best[told], kind="stable")]
    return [
        Outlier(row, names[of[row]], float(columns[names[of[row]]][row]), float(best[row]), float(medians[of[row]]))
        for row in order.tolist()
    ]


def _distances(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return each value's distance from the median in units of its own side, and the median; a gap has none."""
    finite = values[np.isfinite(values)]
    if finite.size < 3 or finite.min() == finite.max():
        return np.zeros(values.size), float(finite[0]) if finite.size else 0.0
    low, median, high = (float(each) for each in np.quantile(finite, [0.01, 0.5, 0.99]))
    # a side on which 99 % are the median has no unit of its own; the other side's is the next best measure
    up, down = high - median, median - low
    up, down = up or down, down or up
    if up == 0:
        return np.zeros(values.size), median
    away = values - median
    distance = np.where(away > 0, away / up, -away / down)
    return np.nan_to_num(distance, nan=0.0, posinf=float(np.finfo(np.float64).max)), median
