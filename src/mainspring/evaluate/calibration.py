"""Calibration: what share of rows with a given score turn out to be of a class, learnt once on rows with labels.

A calibrated score is a probability one can do sums with, which is what `expected` does to estimate a metric before
labels come. The map is a step function that never falls (isotonic regression), kept as a few hundred numbers, so it
travels with a model version and no row is needed again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mainspring.domain.signature import Task
from mainspring.errors import Invalid
from mainspring.evaluate.measure import labels_of, read_scores
from mainspring.evaluate.metrics import Floats

__all__ = ["Calibration", "calibrate", "isotonic"]

#: Scores are put into so many bins of equal mass before the map is fitted; finer than any hold-out can tell apart.
_BINS = 256


@dataclass(frozen=True, slots=True)
class Calibration:
    """One rising map from score to probability for each class (one map for the positive class of a binary model).

    `scores` and `shares` hold, class by class, the points of the map; between them it is linear, outside them flat.
    """

    scores: tuple[tuple[float, ...], ...]
    shares: tuple[tuple[float, ...], ...]

    def apply(self, scores: Floats) -> Floats:
        """Return probabilities in the shape of `scores`: (n,), or (n, k) with rows that add up to 1."""
        if scores.ndim == 1:
            return np.interp(scores, self.scores[0], self.shares[0])
        mapped = np.column_stack(
            [
                np.interp(scores[:, each], known, shares)
                for each, (known, shares) in enumerate(zip(self.scores, self.shares, strict=True))
            ]
        )
        totals = mapped.sum(1, keepdims=True)
        # a row that every map calls impossible is left to the model's own word
        return np.where(totals > 0, mapped / np.where(totals > 0, totals, 1), scores)

    def to_json(self) -> dict[str, object]:
        """Return JSON-able fields."""
        return {"scores": self.scores, "shares": self.shares}

    @classmethod
    def from_json(cls, fields: Mapping[str, Sequence[Sequence[float]]]) -> "Calibration":
        """Read what `to_json` gave."""
        return cls(tuple(map(tuple, fields["scores"])), tuple(map(tuple, fields["shares"])))


def calibrate(
    task: Task, y: NDArray[np.generic], scores: NDArray[np.generic], weights: Floats | None = None
) -> Calibration:
    """Learn the map from labelled rows: `y` (n,) class numbers, `scores` (n,) or (n, k) probabilities. O(n log n).

    The rows must not have been used to fit the model, or its confidence is taken at its word. `weights` (n,) say for
    how many rows each counts, such as how likely it has become since.

    >>> y, p = np.array([0, 0, 1, 1]), np.array([0.6, 0.6, 0.6, 0.9])
    >>> calibrate("binary", y, p).apply(np.array([0.6, 0.9])).round(3).tolist()
    [0.333, 1.0]

    Raises:
        Invalid: the task has no probabilities, or there are no rows.
    """
    if task == "regression":
        raise Invalid("A regression has no probabilities to calibrate", where="task")
    truth, given = labels_of(task, y), read_scores(task, scores)
    if not truth.size:
        raise Invalid("There are no rows to calibrate on", where="y", next_step="score the hold-out")
    masses = np.ones(truth.size) if weights is None else weights
    columns = given[:, None] if given.ndim == 1 else given
    positive = (1,) if given.ndim == 1 else range(columns.shape[1])
    maps = [_fit(columns[:, index], truth == number, masses) for index, number in enumerate(positive)]
    return Calibration(tuple(known for known, _ in maps), tuple(shares for _, shares in maps))


def isotonic(values: Floats, weights: Floats) -> Floats:
    """Return the rising sequence closest to `values` (n,) in weighted squares.

    Source: the pool-adjacent-violators algorithm, Ayer et al. 1955, Annals of Mathematical Statistics 26(4). O(n).
    """
    levels: list[float] = []
    masses: list[float] = []
    lengths: list[int] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        level, mass, length = value, weight, 1
        while levels and levels[-1] >= level:
            below = masses.pop()
            level = (levels.pop() * below + level * mass) / (below + mass)
            mass, length = below + mass, length + lengths.pop()
        levels.append(level)
        masses.append(mass)
        lengths.append(length)
    return np.repeat(np.array(levels, dtype=np.float64), lengths)


def _fit(scores: Floats, positive: NDArray[np.bool_], masses: Floats) -> tuple[tuple[float, ...], tuple[float, ...]]:
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, _BINS + 1)[1:-1], method="lower"))
    place = np.searchsorted(edges, scores, side="left")
    # numbered anew, because a bin beyond the last edge may be empty
    _, place = np.unique(place, return_inverse=True)
    rows = np.bincount(place, weights=masses).astype(np.float64)
    centres = np.bincount(place, weights=scores * masses) / rows
    shares = isotonic(np.bincount(place, weights=positive * masses) / rows, rows)
    # inside a level stretch only its ends matter
    inner = np.zeros(shares.size, dtype=np.bool_)
    inner[1:-1] = (shares[1:-1] == shares[:-2]) & (shares[1:-1] == shares[2:])
    return tuple(centres[~inner].tolist()), tuple(shares[~inner].tolist())
