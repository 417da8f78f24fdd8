"""Which labels are likely wrong? Answered from out-of-fold predictions alone: what a model says of rows it never saw.

Classes by confident learning (Northcutt, Jiang & Chuang 2021, "Confident learning: estimating uncertainty in dataset
labels", JAIR 70), numbers by how far they lie from their prediction, in units of what is usual there.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mainspring.errors import Invalid
from mainspring.evaluate.metrics import Floats, Ints

__all__ = ["LabelErrors", "label_errors", "value_errors"]

#: A number is a candidate from this many robust standard deviations on; of normal errors 1 in 1.7 million lies beyond.
_FAR = 5.0
#: Rows of similar predictions from which the usual error is taken.
_NEIGHBOURS = 200


@dataclass(frozen=True, slots=True)
class LabelErrors:
    """Rows by how doubtful their label is, the most doubtful first.

    `order` (n_candidates,) are row numbers, `score` (n_rows,) is larger where the label is more doubtful, `suggested`
    (n_rows,) is the class number or the value that the model would give.
    """

    order: Ints
    score: Floats
    suggested: Floats


def label_errors(
    y: NDArray[np.generic], probabilities: Floats, *, judged: NDArray[np.bool_] | None = None
) -> LabelErrors:
    """Order the rows whose class is likely wrong, the likeliest first.

    `y` (n,) are class numbers, `probabilities` (n, k) out of fold. A row counts towards another class when that class
    is more probable for it than for the rows that bear it on average; these counts (the confident joint) say how many
    labels of each class are wrong for which other (prune by noise rate). As many rows are candidates, those with the
    largest margin between the two, but none whose own label is the most probable. They are ordered by the probability
    of their own label (self-confidence), the least first. `judged` (n,) are the rows that count and that may become
    candidates [all]. O(n k), and a sort for each pair of classes that are confused.

    Source: Northcutt et al. 2021, sections 3.1 and 3.2.

    >>> y = np.array([0, 0, 0, 1, 1, 1])
    >>> p = np.array([0.1, 0.2, 0.1, 0.9, 0.8, 0.1])
    >>> label_errors(y, np.stack([1 - p, p], axis=1)).order.tolist()
    [5]

    Raises:
        Invalid: the shapes do not fit, or a label is no class number.
    """
    labels = np.asarray(y).astype(np.intp)
    if probabilities.ndim != 2 or probabilities.shape[0] != labels.size:
        raise Invalid(f"Probabilities of shape {probabilities.shape} for {labels.size} labels", where="probabilities")
    n_classes = probabilities.shape[1]
    if labels.size and not 0 <= labels.min() <= labels.max() < n_classes:
        raise Invalid(f"A label is not among 0 to {n_classes - 1}", where="y", next_step="give class numbers")
    rows = np.arange(labels.size)
    own = probabilities[rows, labels]
    asked = np.ones(labels.size, dtype=np.bool_) if judged is None else judged
    counts = np.bincount(labels[asked], minlength=n_classes)
    sums = np.bincount(labels[asked], own[asked], minlength=n_classes)
    usual = np.divide(sums, counts, out=np.full(n_classes, np.inf), where=counts > 0)
    confident = np.where(probabilities >= usual, probabilities, -1.0)
    counted = asked & (confident.max(axis=1) >= 0)
    pairs = labels[counted] * n_classes + confident[counted].argmax(axis=1)
    joint = np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)
    wrong = np.zeros(labels.size, dtype=np.bool_)
    for one, other in np.argwhere((joint > 0) & ~np.eye(n_classes, dtype=np.bool_)).tolist():
        bearing = np.flatnonzero(asked & (labels == one))
        n_wrong = round(joint[one, other] / joint[one].sum() * bearing.size)
        margin = probabilities[bearing, one] - probabilities[bearing, other]
        wrong[bearing[np.argsort(margin, kind="stable")[:n_wrong]]] = True
    suggested = probabilities.argmax(axis=1)
    candidates = np.flatnonzero(wrong & (suggested != labels))
    order = candidates[np.argsort(own[candidates], kind="stable")]
    return LabelErrors(order, 1.0 - own, suggested.astype(np.float64))


def value_errors(y: Floats, predictions: Floats) -> LabelErrors:
    """Order the rows whose value lies far from its out-of-fold prediction, the farthest first.

    The residual is told in robust standard deviations (median and 1.4826 times the median absolute deviation) of the
    rows with similar predictions, because where values are large, errors mostly are too; a deviation below a
    quarter of the whole table's counts as that. O(n log n).

    Raises:
        Invalid: the shapes do not fit.
    """
    if y.shape != predictions.shape or y.ndim != 1:
        raise Invalid(f"Predictions of shape {predictions.shape} for {y.shape} values", where="predictions")
    residuals = y - predictions
    least = max(_deviation(residuals) / 4, float(np.finfo(np.float64).tiny))
    score = np.zeros(y.size)
    by_prediction = np.argsort(predictions, kind="stable")
    for near in np.array_split(by_prediction, max(1, y.size // _NEIGHBOURS)):
        unit = max(_deviation(residuals[near]), least)
        score[near] = np.abs(residuals[near] - np.median(residuals[near])) / unit
    candidates = np.flatnonzero(score >= _FAR)
    return LabelErrors(candidates[np.argsort(-score[candidates], kind="stable")], score, predictions)


def _deviation(values: Floats) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values)))) if values.size else 0.0
