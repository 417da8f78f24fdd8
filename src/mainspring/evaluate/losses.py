"""Losses of single rows, all in 0..1, so that risks of every task can be compared, tested and watched the same way.

The anytime-valid tests of `sequential` and `detector` need bounded losses; that is why regression errors are clipped.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mainspring.domain.signature import Task
from mainspring.errors import Invalid
from mainspring.evaluate.measure import labels_of, predict_labels, read_scores
from mainspring.evaluate.metrics import Floats, squared_errors

__all__ = ["LossKind", "default_loss", "error_bound", "loss"]

LossKind = Literal["brier", "zero_one", "absolute"]


def default_loss(task: Task) -> LossKind:
    """Return the loss a task is watched by when nobody says otherwise.

    Brier rather than zero_one: it sees a model grow unsure or miscalibrated before the labels it predicts flip, needs
    no threshold, and varies less from row to row, so a decay is proven with fewer labels.
    """
    return "absolute" if task == "regression" else "brier"


def loss(
    task: Task,
    y: NDArray[np.generic],
    scores: NDArray[np.generic],
    *,
    kind: LossKind | None = None,
    threshold: float = 0.5,
    classes: tuple[str, ...] = (),
    bound: float | None = None,
) -> Floats:
    """Return each row's loss, (n,) in 0..1.

    ``brier`` is (y - p)^2, over several classes half the squared distance to the true class; ``zero_one`` is 1 where
    the predicted class is wrong; ``absolute`` is min(|y - prediction|, bound) / bound. `bound` is fixed when a model is
    registered (`error_bound`) and must not move afterwards, or losses before and after mean different things.

    >>> loss("binary", np.array([1, 0]), np.array([0.5, 0.0])).tolist()
    [0.25, 0.0]

    Raises:
        Invalid: the kind does not fit the task, `bound` is absent or not positive, or `y` or `scores` are malformed.
    """
    chosen = kind or default_loss(task)
    if (chosen == "absolute") != (task == "regression"):
        fitting = "absolute" if task == "regression" else "brier or zero_one"
        raise Invalid(f"The loss `{chosen}` does not fit a {task} model", where="kind", next_step=f"use {fitting}")
    truth, given = labels_of(task, y, classes), read_scores(task, scores)
    if truth.shape[0] != given.shape[0]:
        raise Invalid(f"{truth.shape[0]} labels for {given.shape[0]} scores", where="scores")
    if chosen == "absolute":
        if bound is None or not bound > 0:
            raise Invalid(
                f"The absolute loss needs a positive bound, not {bound}",
                where="bound",
                next_step="take error_bound(y, predictions) on the hold-out",
            )
        clipped: Floats = np.minimum(np.abs(truth - given) / bound, 1.0)
        return clipped
    labels = truth.astype(np.intp)
    if chosen == "zero_one":
        wrong: NDArray[np.bool_] = predict_labels(given, threshold) != labels
        return wrong.astype(np.float64)
    return squared_errors(labels, given)


def error_bound(y: NDArray[np.generic], predictions: NDArray[np.generic]) -> float:
    """Return the absolute error that shall count as a loss of 1: twice the 99th percentile on the hold-out.

    Twice, so that errors which grow after registration still show; a percentile, so that one freak row does not press
    all others towards zero. At least a tiny positive number, for a model that errs nowhere.
    """
    errors = np.abs(labels_of("regression", y) - read_scores("regression", predictions))
    return max(2 * float(np.quantile(errors, 0.99)), 1e-9) if errors.size else 1.0
