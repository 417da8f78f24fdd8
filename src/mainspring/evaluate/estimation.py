"""How a version's loss is estimated while labels are outstanding, with an interval that its own past errors give.

Fitted once on the hold-out and kept with the version as numbers. Blocks of the hold-out (days) are estimated by maps
that have not seen them, so the errors found there are the errors to expect; in production more are added as labels
come. What an estimate cannot see, a changed meaning of the inputs, is in those errors only as far as past days had it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mainspring.domain.signature import Task
from mainspring.evaluate.calibration import Calibration, calibrate
from mainspring.evaluate.distributions import t_quantile
from mainspring.evaluate.error_curve import ErrorCurve, fit_error_curve
from mainspring.evaluate.expected import expected_losses
from mainspring.evaluate.losses import loss
from mainspring.evaluate.measure import read_scores
from mainspring.evaluate.metrics import Floats

__all__ = ["Estimate", "Estimation", "fit_estimation"]

_FOLDS = 10
#: Fewer blocks than this say too little of the errors from block to block.
_LEAST_BLOCKS = 5


class Estimate(NamedTuple):
    """An estimated mean loss with its interval; `rows` and `blocks` count what it is the mean of."""

    value: float
    low: float
    high: float
    rows: int
    blocks: int


@dataclass(frozen=True, slots=True)
class Estimation:
    """What is kept to estimate a loss: what scores mean, and past errors by block.

    Of a classifier, the calibration of its scores gives the Brier loss to expect; of a regression, the curve of its
    errors the absolute one. An error is a block's real mean loss minus its estimated one.
    """

    meaning: Calibration | ErrorCurve
    errors: tuple[float, ...]

    def losses(self, scores: Floats) -> Floats:
        """Return each row's expected loss (n,) from its scores, (n,) or (n, k)."""
        return _expected(self.meaning, scores)

    def estimate(
        self, expected: Sequence[float], rows: int, *, errors: Sequence[float] = (), level: float = 0.95
    ) -> Estimate:
        """Return the estimate of the mean of blocks whose expected mean losses are `expected`.

        `errors` are those learnt since, in production. The interval is that of a future mean of that many blocks given
        the past ones: Student's t prediction interval, centred on the past mean error (Geisser 1993, Predictive
        Inference, section 2.2). It takes blocks as exchangeable.
        """
        past = np.array([*self.errors, *errors], dtype=np.float64)
        value = float(np.mean(expected))
        if past.size < _LEAST_BLOCKS:
            return Estimate(value, 0.0, 1.0, rows, len(expected))
        spread = float(past.std(ddof=1)) * math.sqrt(1 / len(expected) + 1 / past.size)
        half = t_quantile(0.5 + level / 2, past.size - 1) * spread
        centre = value + float(past.mean())
        return Estimate(value, max(0.0, centre - half), min(1.0, centre + half), rows, len(expected))

    def to_json(self) -> dict[str, object]:
        """Return JSON-able fields."""
        kind = "error_curve" if isinstance(self.meaning, ErrorCurve) else "calibration"
        return {kind: self.meaning.to_json(), "errors": self.errors}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Estimation":
        """Read what `to_json` gave."""
        if "error_curve" in fields:
            return cls(ErrorCurve.from_json(fields["error_curve"]), tuple(fields["errors"]))
        return cls(Calibration.from_json(fields["calibration"]), tuple(fields["errors"]))


def fit_estimation(
    task: Task,
    y: NDArray[np.generic],
    scores: NDArray[np.generic],
    groups: NDArray[np.generic],
    *,
    bound: float | None = None,
) -> Estimation | None:
    """Learn from hold-out rows how to estimate the loss; None where there are none.

    `groups` (n,) names each row's block; `bound` is the error that counts as a loss of 1 (regression only). The map
    that is kept is fitted on all rows, the errors by maps that were fitted without the block's fold.
    """
    if not len(y):
        return None
    given = read_scores(task, scores)
    names, block = np.unique(groups, return_inverse=True)
    real = loss(task, y, given, bound=bound)

    def learn(rows: NDArray[np.bool_]) -> Calibration | ErrorCurve:
        return (
            fit_error_curve(given[rows], real[rows]) if task == "regression" else calibrate(task, y[rows], given[rows])
        )

    every = learn(np.ones(len(y), dtype=np.bool_))
    estimated = np.empty(given.shape[0])
    folds = min(_FOLDS, names.size)
    for fold in range(folds):
        held = block % folds == fold
        if held.all():
            return Estimation(every, ())
        estimated[held] = _expected(learn(~held), given[held])
    errors = np.bincount(block, weights=real - estimated) / np.bincount(block)
    return Estimation(every, tuple(errors.tolist()))


def _expected(meaning: Calibration | ErrorCurve, scores: Floats) -> Floats:
    if isinstance(meaning, ErrorCurve):
        return meaning.losses(scores)
    return expected_losses(meaning.apply(scores), scores)
