"""Expected metrics: what a classifier's quality must be if its calibrated probabilities are right, without any label.

Confidence-based performance estimation (CBPE): a row that is positive with probability c counts as c of a positive and
1 - c of a negative. Source: Bialek et al. 2024, arXiv 2401.08348, section 3. It sees what the scores see: rows that
became harder, and not a world in which the same scores mean something else (concept drift).
"""

import numpy as np

from mainspring.errors import Invalid
from mainspring.evaluate import metrics
from mainspring.evaluate.measure import predict_labels
from mainspring.evaluate.metrics import Floats

__all__ = ["expected_losses", "expected_metric"]

#: Score bins of the expected ROC AUC; rows in one bin count as ties.
_SCORE_BINS = 512


def expected_losses(probabilities: Floats, scores: Floats) -> Floats:
    """Return each row's expected Brier loss (n,): the mean over its classes, weighted by their `probabilities`.

    `probabilities` and `scores` are (n,) for the positive class, or (n, k); losses as in `losses.loss`.

    >>> expected_losses(np.array([0.5]), np.array([0.5])).tolist()
    [0.25]
    """
    if scores.ndim == 1:
        return probabilities * (1 - scores) ** 2 + (1 - probabilities) * scores**2
    halved: Floats = 0.5 * (np.square(scores).sum(1) - 2 * (probabilities * scores).sum(1) + 1)
    return halved


def expected_metric(name: str, probabilities: Floats, scores: Floats, *, threshold: float = 0.5) -> float:
    """Return the expectation of one metric over rows whose labels are not known; NaN where it is undefined.

    Metrics of counts are formed from expected counts, which differs from their exact expectation by the order of 1/n.

    >>> expected_metric("accuracy", np.array([0.9, 0.2]), np.array([0.8, 0.1]))
    0.85

    Raises:
        Invalid: the metric cannot be estimated this way.
    """
    if name == "brier":
        return float(expected_losses(probabilities, scores).mean())
    if name == "roc_auc" and scores.ndim == 1:
        edges = np.unique(np.quantile(scores, np.linspace(0, 1, _SCORE_BINS + 1)[1:-1], method="lower"))
        place = np.searchsorted(edges, scores, side="left")
        both = [np.bincount(place, weights=each, minlength=_SCORE_BINS) for each in (1 - probabilities, probabilities)]
        return float(metrics.binned_roc_auc(np.stack(both)))
    formulas = {
        "accuracy": metrics.accuracy,
        "balanced_accuracy": metrics.balanced_accuracy,
        "f1": metrics.f1,
        "precision": metrics.precision,
        "recall": metrics.recall,
    }
    if name not in formulas:
        raise Invalid(f"`{name}` cannot be estimated without labels", next_step=f"one of {', '.join(sorted(formulas))}")
    classes = np.column_stack([1 - probabilities, probabilities]) if scores.ndim == 1 else probabilities
    predicted = predict_labels(scores, threshold)
    k = classes.shape[1]
    counts: Floats = np.stack(
        [np.bincount(predicted, weights=classes[:, each], minlength=k) for each in range(k)]
    ).astype(np.float64)
    return float(formulas[name](counts))
