"""How large a regression's errors are, by what it predicts: direct loss estimation in its smallest form.

A model that errs more where it predicts more is expected to err more when it predicts more. Direct loss estimation
(NannyML's documentation, "Direct Loss Estimation") trains a second model on the first one's losses; here that model
sees the prediction alone and is constant between quantiles of the hold-out's predictions, so it is twenty numbers,
needs no library to be asked, and does not see harder rows that are predicted alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mainspring.evaluate.metrics import Floats

__all__ = ["ErrorCurve", "fit_error_curve"]

_MOST_BINS = 20
#: Fewer rows than this in a bin say too little of the loss there.
_LEAST_ROWS = 30


@dataclass(frozen=True, slots=True)
class ErrorCurve:
    """Mean losses between `edges`, which rise: ``means[i]`` is that of predictions in ``[edges[i - 1], edges[i])``."""

    edges: tuple[float, ...]
    means: tuple[float, ...]

    def losses(self, predictions: Floats) -> Floats:
        """Return each row's expected loss (n,) from its prediction (n,)."""
        expected: Floats = np.asarray(self.means)[np.searchsorted(self.edges, predictions, side="right")]
        return expected

    def to_json(self) -> dict[str, object]:
        """Return JSON-able fields."""
        return {"edges": self.edges, "means": self.means}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "ErrorCurve":
        """Read what `to_json` gave."""
        return cls(tuple(fields["edges"]), tuple(fields["means"]))


def fit_error_curve(predictions: Floats, losses: Floats) -> ErrorCurve:
    """Learn the curve from predictions (n,) and their losses (n,), in as many as twenty bins of equally many rows.

    >>> curve = fit_error_curve(np.arange(100.0), np.repeat([0.1, 0.3], 50))
    >>> curve.losses(np.array([-5.0, 20.0, 80.0, 900.0])).round(2).tolist()
    [0.1, 0.1, 0.3, 0.3]
    """
    bins = max(1, min(_MOST_BINS, len(predictions) // _LEAST_ROWS))
    edges = np.unique(np.quantile(predictions, np.arange(1, bins) / bins, method="higher"))
    edges = edges[edges > predictions.min()]  # else the first bin is empty
    at = np.searchsorted(edges, predictions, side="right")
    means = np.bincount(at, weights=losses, minlength=edges.size + 1) / np.bincount(at, minlength=edges.size + 1)
    return ErrorCurve(tuple(edges.tolist()), tuple(means.tolist()))
