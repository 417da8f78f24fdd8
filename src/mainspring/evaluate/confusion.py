"""The confusion matrix at a threshold, what it says of each class, and how to choose the threshold.

Rows are the truth, columns the prediction, as in scikit-learn.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mainspring.domain.signature import Task
from mainspring.errors import Invalid
from mainspring.evaluate.measure import labels_of, predict_labels, read_scores
from mainspring.evaluate.metrics import Floats, confusion_counts

__all__ = ["ClassQuality", "Confusion", "Threshold", "ThresholdObjective", "choose_threshold", "confusion"]

ThresholdObjective = Literal["f1", "balanced_accuracy", "accuracy", "cost"]


@dataclass(frozen=True, slots=True)
class ClassQuality:
    """How well one class is found: `support` rows have it; shares are 0 where there is nothing to divide by."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of (truth, prediction); `threshold` is None where the most probable class is predicted."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    threshold: float | None = None

    def per_class(self) -> tuple[ClassQuality, ...]:
        """Return precision, recall, F1 and support of each class, in the order of `labels`."""
        predicted = [sum(column) for column in zip(*self.counts, strict=True)]
        found = []
        for each, (label, row) in enumerate(zip(self.labels, self.counts, strict=True)):
            hits, support = row[each], sum(row)
            precision = hits / predicted[each] if predicted[each] else 0.0
            recall = hits / support if support else 0.0
            f1 = 2 * hits / (support + predicted[each]) if support + predicted[each] else 0.0
            found.append(ClassQuality(label, precision, recall, f1, support))
        return tuple(found)

    def render(self) -> str:
        """Return the matrix and the quality of each class as a few lines of aligned text."""
        head = ["truth \\ predicted", *self.labels, "precision", "recall", "f1", "rows"]
        lines = [head]
        for row, quality in zip(self.counts, self.per_class(), strict=True):
            shares = (quality.precision, quality.recall, quality.f1)
            lines.append([quality.label, *map(str, row), *(f"{share:.3f}" for share in shares), str(quality.support)])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(
                [line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))]
            )
            for line in lines
        )

    def to_json(self) -> dict[str, object]:
        """Return JSON-able fields, the per-class qualities among them."""
        return {
            "labels": list(self.labels),
            "counts": [list(row) for row in self.counts],
            "threshold": self.threshold,
            "per_class": [asdict(each) for each in self.per_class()],
        }


@dataclass(frozen=True, slots=True)
class Threshold:
    """A chosen threshold: rows with a score of at least `value` are positive. `achieved` is the objective's value."""

    value: float
    objective: ThresholdObjective
    achieved: float


def confusion(
    task: Task,
    y: NDArray[np.generic],
    scores: NDArray[np.generic],
    *,
    threshold: float = 0.5,
    classes: Sequence[str] = (),
) -> Confusion:
    """Count truths against predictions; `classes` names the classes in score order (else they are numbered).

    >>> confusion("binary", np.array([0, 1, 1]), np.array([0.2, 0.7, 0.4])).counts
    ((1, 0), (1, 1))

    Raises:
        Invalid: the task is regression, or labels, scores and classes do not fit each other.
    """
    if task == "regression":
        raise Invalid("A regression model has no confusion matrix", where="task", next_step="read mae and rmse instead")
    truth, given = labels_of(task, y, classes).astype(np.intp), read_scores(task, scores)
    k = 2 if given.ndim == 1 else given.shape[1]
    labels = tuple(classes) or tuple(str(each) for each in range(k))
    if len(labels) != k or truth.shape[0] != given.shape[0] or (truth.size and truth.max() >= k):
        raise Invalid(
            f"{len(labels)} classes, {k} scores a row, {truth.shape[0]} labels and {given.shape[0]} scored rows differ",
            where="classes",
            next_step="name the classes in the order of the model's scores",
        )
    counts = confusion_counts(truth, predict_labels(given, threshold), k, np.zeros_like(truth), 1)[0]
    rows = tuple(tuple(int(cell) for cell in row) for row in counts.tolist())
    return Confusion(labels, rows, threshold if task == "binary" else None)


def choose_threshold(
    y: NDArray[np.generic],
    p: NDArray[np.generic],
    objective: ThresholdObjective = "f1",
    *,
    false_positive_cost: float = 1.0,
    false_negative_cost: float = 1.0,
) -> Threshold:
    """Return the threshold that is best on these rows, trying every cut between distinct scores. O(n log n).

    ``cost`` minimises the mean cost of a row; its `achieved` is that cost. A threshold lies halfway between two scores,
    so that rounding at serving time does not flip the row it was made of. Choose it on rows other than those that
    measure the model, or the measurement flatters it.

    Raises:
        Invalid: there are no rows, or not both classes among them.
    """
    truth, given = labels_of("binary", y), read_scores("binary", p)
    if truth.shape != given.shape:
        raise Invalid(f"{truth.shape[0]} labels for {given.shape[0]} scores", where="p")
    positives = float(truth.sum())
    if not 0 < positives < truth.size:
        raise Invalid("A threshold needs rows of both classes", where="y", next_step="use a larger hold-out")
    cuts, inverse = np.unique(given, return_inverse=True)
    at_or_above = np.stack([np.bincount(inverse, weights=1 - truth), np.bincount(inverse, weights=truth)])
    # one column a cut: predicted positive are the rows at or above it; the last cut, above all scores, finds none
    false_positive, true_positive = np.hstack([np.cumsum(at_or_above[:, ::-1], 1)[:, ::-1], np.zeros((2, 1))])
    false_negative = positives - true_positive
    true_negative = truth.size - positives - false_positive
    value: Floats
    match objective:
        case "f1":
            value = 2 * true_positive / (2 * true_positive + false_positive + false_negative)
        case "balanced_accuracy":
            value = (true_positive / positives + true_negative / (truth.size - positives)) / 2
        case "accuracy":
            value = (true_positive + true_negative) / truth.size
        case "cost":
            value = -(false_positive_cost * false_positive + false_negative_cost * false_negative) / truth.size
    best = int(value.argmax())
    below = cuts[best - 1] if best > 0 else 0.0
    above = cuts[best] if best < cuts.size else max(1.0, np.nextafter(cuts[-1], np.inf))
    achieved = float(-value[best] if objective == "cost" else value[best])
    return Threshold(float((below + above) / 2) if 0 < best < cuts.size else float(above), objective, achieved)
