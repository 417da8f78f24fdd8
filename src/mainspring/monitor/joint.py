"""Whether rows of two times can be told apart by all their columns together, where no single column need have moved.

The classifier two-sample test (Lopez-Paz & Oquab 2017, Revisiting Classifier Two-Sample Tests, ICLR): boosted trees
learn on one half which time a row is of, and are asked about the other. An area under the ROC curve of a half is what
equal times give; its interval is DeLong's. It needs scikit-learn, and says nothing where that is not installed.

The same trees say how much more likely a row of the earlier time is in the later one, by the odds they give it (density
ratio estimation by a classifier, Bickel, Brueckner & Scheffer 2009, JMLR 10, section 4).
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mainspring.data.table import Columns, n_rows
from mainspring.evaluate.measure import measure

__all__ = ["JointDrift", "Weighted", "joint_drift"]

#: Below this area two times are as good as equal, however sure it is that they are not.
_LEAST_AREA = 0.6
_MOST_ROWS = 5_000
_LEAST_ROWS = 200
_MOST_WEIGHT = 20.0
#: A text column with more values than this, for its rows, names things and tells nothing of their kind.
_MOST_SHARE_OF_NAMES = 0.5


@dataclass(frozen=True, slots=True)
class JointDrift:
    """How well rows before and after are told apart: the area under the ROC curve with its 95 % interval."""

    area: float
    low: float
    high: float
    rows: int

    @property
    def is_shifted(self) -> bool:
        """Whether the times surely differ, and by enough to matter."""
        return self.area >= _LEAST_AREA and self.low > 0.5


class Weighted(NamedTuple):
    """The drift; which rows before were looked at; and for how many rows of the later time each of them stands."""

    drift: JointDrift
    rows: NDArray[np.intp]
    weights: NDArray[np.float64]

    @property
    def effective_rows(self) -> float:
        """As many rows of equal weight say as much (Kish 1965, Survey Sampling, section 11.2)."""
        return float(self.weights.sum() ** 2 / (self.weights**2).sum())


def joint_drift(before: Columns, after: Columns) -> Weighted | None:
    """Compare the rows of two times, (n,) arrays by column; None where there are too few, or no scikit-learn.

    Moments and names are left out: by them any two times differ. The weights are 1 on average, and were cut at
    `_MOST_WEIGHT`, for else a few rows would speak for all.
    """
    if min(n_rows(before), n_rows(after)) < _LEAST_ROWS:
        return None
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier  # extra: ml
        from threadpoolctl import threadpool_limits  # comes with it
    except ImportError:
        return None
    chosen = _spaced(n_rows(before))
    first, second = (
        {name: values[rows] for name, values in columns.items()}
        for columns, rows in ((before, chosen), (after, _spaced(n_rows(after))))
    )
    encoded = [_encoded(np.concatenate([first[name], second[name]])) for name in first if name in second]
    told = [each for each in encoded if each is not None]
    if not told:
        return None
    table = np.column_stack(told)
    later = np.repeat([0, 1], [n_rows(first), n_rows(second)])
    half = np.arange(later.size) % 2 == 0  # neighbours in time go to different halves
    scores = np.empty(later.size)
    with threadpool_limits(1):  # several threads wait for each other, on a busy machine for minutes
        for learn in (half, ~half):
            trees = HistGradientBoostingClassifier(max_iter=60, random_state=0).fit(table[learn], later[learn])
            scores[~learn] = trees.predict_proba(table[~learn])[:, 1]
    areas = [measure("binary", later[part], scores[part], only=["roc_auc"])["roc_auc"] for part in (half, ~half)]
    area, low, high = np.mean([(each.value, each.low, each.high) for each in areas], axis=0).tolist()
    share = np.clip(scores[: chosen.size], 1e-6, 1 - 1e-6)
    odds = share / (1 - share)
    weights = np.minimum(odds / odds.mean(), _MOST_WEIGHT)
    return Weighted(JointDrift(area, low, high, later.size), chosen, weights / weights.mean())


def _spaced(rows: int) -> NDArray[np.intp]:
    """Return as many places as are compared, evenly spaced in time."""
    return np.unique(np.linspace(0, rows - 1, min(rows, _MOST_ROWS)).astype(np.intp))


def _encoded(values: NDArray[Any]) -> NDArray[np.float64] | None:
    """Return a column as numbers: text by how often it occurs, missing as a gap; None for what is left out."""
    if values.dtype.kind == "M":
        return None
    if values.dtype != object:
        return values.astype(np.float64)
    texts = np.array(["" if each is None else str(each) for each in values])
    known, at, counts = np.unique(texts, return_inverse=True, return_counts=True)
    if known.size > _MOST_SHARE_OF_NAMES * values.size:
        return None
    places = np.empty(known.size)
    places[np.argsort(-counts, kind="stable")] = np.arange(known.size)
    encoded: NDArray[np.float64] = places[at]
    encoded[texts == ""] = np.nan
    return encoded
