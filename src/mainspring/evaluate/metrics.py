"""The formulas of the metrics, as functions of sums over rows.

Nearly every metric is a function of a few sums (confusion counts, squared errors, counts in score bins). Written that
way the same line gives the value on all rows and, fed with re-weighted sums, every draw of a bootstrap: sums come as
(..., k) and a formula answers (...). The two rank metrics also have an exact form here.
`measure` joins values and intervals; nothing in this module checks its input.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "accuracy",
    "average_precision",
    "balanced_accuracy",
    "binned_average_precision",
    "binned_roc_auc",
    "calibration_gap",
    "calibration_rows",
    "confusion_counts",
    "f1",
    "midranks",
    "precision",
    "r2",
    "recall",
    "roc_auc",
    "squared_errors",
    "sum_by_block",
    "surprise",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

#: Bins of equal width for the calibration gap. Source: Guo et al. 2017, arXiv 1706.04599, section 2.
CALIBRATION_BINS = 15


# --- labels: from confusion counts (..., k, k), truth by prediction ---


def confusion_counts(y: Ints, predicted: Ints, k: int, block: Ints, blocks: int) -> Floats:
    """Count (truth, prediction) pairs of each block of rows: shape (blocks, k, k)."""
    cell = (block * k + y) * k + predicted
    return np.bincount(cell, minlength=blocks * k * k).reshape(blocks, k, k).astype(np.float64)


def accuracy(counts: Floats) -> Floats:
    """Return the share of rows on the diagonal."""
    return _ratio(np.trace(counts, axis1=-2, axis2=-1), counts.sum((-2, -1)))


def recall(counts: Floats) -> Floats:
    """Return the recall of the positive class, or the mean over the classes when there are more than two."""
    return _over_classes(_hits(counts), counts.sum(-1), counts)


def precision(counts: Floats) -> Floats:
    """Return the precision of the positive class, or the mean over the classes when there are more than two.

    A class that is never predicted has precision 0, as in scikit-learn with ``zero_division=0``.
    """
    return _over_classes(_hits(counts), counts.sum(-2), counts)


def f1(counts: Floats) -> Floats:
    """Return the harmonic mean of precision and recall, of the positive class or averaged over the classes."""
    return _over_classes(2 * _hits(counts), counts.sum(-1) + counts.sum(-2), counts)


def balanced_accuracy(counts: Floats) -> Floats:
    """Return the mean recall over the classes that occur."""
    support = counts.sum(-1)
    occurs = support > 0
    return _ratio(np.where(occurs, _ratio(_hits(counts), support), 0).sum(-1), occurs.sum(-1).astype(np.float64))


def _hits(counts: Floats) -> Floats:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def _over_classes(hits: Floats, out_of: Floats, counts: Floats) -> Floats:
    shares = np.where(out_of > 0, _ratio(hits, out_of), 0)
    if counts.shape[-1] == 2:
        return shares[..., 1]
    # a class that neither occurs nor is predicted says nothing about the model
    seen = counts.sum(-1) + counts.sum(-2) > 0
    return _ratio((shares * seen).sum(-1), seen.sum(-1).astype(np.float64))


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Divide; NaN where the whole is empty."""
    shares: Floats = np.divide(part, whole, out=np.full(np.broadcast(part, whole).shape, np.nan), where=whole != 0)
    return shares


# --- ranks: exact from rows, or from histograms (..., 2, bins): negatives and positives by rising score ---


def midranks(values: Floats) -> Floats:
    """Return the ranks of `values` from 1; ties share the mean of their ranks. O(n log n)."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean_rank: Floats = last - (counts - 1) / 2
    return mean_rank[inverse]


def roc_auc(y: NDArray[np.generic], scores: Floats) -> float:
    """Return the chance that a positive scores above a negative, ties counting half; NaN without both classes.

    Source: Hanley & McNeil 1982, the Mann-Whitney form.
    """
    positive: NDArray[np.bool_] = np.asarray(y) == 1
    n_positive = int(np.count_nonzero(positive))
    n_negative = positive.size - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    rank_sum = float(midranks(scores)[positive].sum())
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def average_precision(y: NDArray[np.generic], scores: Floats) -> float:
    """Return the sum over distinct scores of precision times the step in recall; NaN without a positive."""
    positive = (np.asarray(y) == 1).astype(np.float64)
    if not positive.any():
        return float("nan")
    _, inverse = np.unique(scores, return_inverse=True)
    negatives, positives = np.bincount(inverse, weights=1 - positive), np.bincount(inverse, weights=positive)
    histogram = np.stack([negatives, positives]).astype(np.float64)
    return float(binned_average_precision(histogram))


def binned_roc_auc(histogram: Floats) -> Floats:
    """Return the ROC AUC of scores known up to their bin; rows in one bin count as ties."""
    negative, positive = histogram[..., 0, :], histogram[..., 1, :]
    below = np.cumsum(negative, axis=-1) - negative / 2
    return _ratio((positive * below).sum(-1), positive.sum(-1) * negative.sum(-1))


def binned_average_precision(histogram: Floats) -> Floats:
    """Return the average precision of scores known up to their bin."""
    found = np.cumsum(histogram[..., ::-1], axis=-1)
    negative, positive = found[..., 0, :], found[..., 1, :]
    together = negative + positive
    at_bin = np.where(together > 0, _ratio(positive, together), 0)
    return _ratio((at_bin * histogram[..., 1, ::-1]).sum(-1), positive[..., -1])


# --- probabilities and numbers: per-row values, or sums of them ---


def surprise(y: Ints, scores: Floats) -> Floats:
    """Return per row the negative log of the probability given to the true class; probabilities off 0 and 1 by eps.

    Classifiers do say 0 and 1; scikit-learn clips by the same eps of float64, so the values agree.
    """
    given = np.where(y == 1, scores, 1 - scores) if scores.ndim == 1 else scores[np.arange(y.size), y]
    eps = float(np.finfo(np.float64).eps)
    logs: Floats = np.log(np.clip(given, eps, 1 - eps))
    return -logs


def squared_errors(y: Ints, scores: Floats) -> Floats:
    """Return per row the squared error of the probabilities, halved over several classes so that it stays in 0..1."""
    if scores.ndim == 1:
        return np.square(scores - y)
    own = scores[np.arange(y.size), y]
    halved: Floats = 0.5 * (np.square(scores).sum(1) - 2 * own + 1)
    return halved


def calibration_rows(y: Ints, scores: Floats) -> tuple[Ints, Floats]:
    """Return per row the bin of its confidence, and confidence minus outcome.

    Binary: the probability of the positive class against the label. Several classes: the top probability against
    whether the top class is right.
    """
    confidence = scores if scores.ndim == 1 else scores.max(1)
    outcome = y if scores.ndim == 1 else scores.argmax(1) == y
    # bins are (low, high], so that a confidence of exactly 1 has a bin
    bins = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(np.intp) - 1, 0, CALIBRATION_BINS - 1)
    return bins, confidence - outcome


def calibration_gap(sums: Floats) -> Floats:
    """Return the mean absolute gap of bins, from sums (..., 1 + bins): the rows, then each bin's summed gap."""
    return _ratio(np.abs(sums[..., 1:]).sum(-1), sums[..., 0])


def r2(sums: Floats) -> Floats:
    """Return the explained share of variance from sums (..., 4): rows, squared errors, y and y squared."""
    rows, error, y, y_squared = np.moveaxis(sums, -1, 0)
    return 1 - _ratio(error, y_squared - _ratio(y * y, rows))


def sum_by_block(rows: Floats, block: Ints, blocks: int) -> Floats:
    """Sum per-row values (n, k) within each block: shape (blocks, k)."""
    return np.stack([np.bincount(block, weights=column, minlength=blocks) for column in rows.T], axis=1)
