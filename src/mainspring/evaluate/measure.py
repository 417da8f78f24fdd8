"""Measure a model on labelled rows: every metric of its task, each with a confidence interval.

`measure` is the door of this room; formulas live in `metrics`, intervals in `intervals`, names in `domain.metric`.
"""

import math
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mainspring.domain.metric import MetricValue, metrics_of
from mainspring.domain.signature import Task
from mainspring.errors import Invalid, nearest
from mainspring.evaluate import metrics
from mainspring.evaluate.intervals import block_bootstrap, deal_blocks, delong, wilson
from mainspring.evaluate.metrics import Floats, Ints

__all__ = ["labels_of", "measure", "predict_labels", "read_scores", "score"]

LEVEL = 0.95
#: Score bins for the interval of a rank metric; its value is exact.
_SCORE_BINS = 512


class _Estimate(NamedTuple):
    """One metric ready to be valued: sums by block, the formula over them, and what can replace the bootstrap."""

    sums: Floats
    formula: Callable[[Floats], Floats]
    exact: float | None = None  # the value, where `formula` only approximates it
    share: tuple[float, float] | None = None  # (successes, trials), where Wilson applies
    rows: int | None = None  # the rows it rests on, where these are not all
    is_folded: bool = False  # whether it sums absolute gaps, which noise alone pushes up


def measure(
    task: Task,
    y: NDArray[np.generic],
    scores: NDArray[np.generic],
    *,
    threshold: float = 0.5,
    classes: Sequence[str] = (),
    groups: NDArray[np.generic] | None = None,
    seed: int = 0,
    resamples: int = 200,
    only: Collection[str] | None = None,
) -> dict[str, MetricValue]:
    """Return the metrics of `task` by name, each with a 95 % interval.

    `y` is (n,): 0 and 1, class numbers, class labels (then `classes` says their order), or numbers. `scores` is (n,):
    the probability of class 1 or the prediction; or (n, k) probabilities. A row is predicted positive when its score
    is at least `threshold`. `groups` (n,) names correlated rows, such as their day; without it rows count as
    independent, which makes intervals far too narrow on data of few days. `only` keeps the named metrics;
    ``resamples=0`` leaves out the intervals. Equal input and seed give equal output. O(n log n).

    >>> y, p = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])
    >>> measure("binary", y, p)["roc_auc"].value
    0.75

    Raises:
        Invalid: shapes differ, a value is missing, a label is unknown, or `only` names an unknown metric.
    """
    wanted = _wanted(task, only)
    truth, given = labels_of(task, y, classes), read_scores(task, scores)
    if truth.shape[0] != given.shape[0]:
        raise Invalid(
            f"{truth.shape[0]} labels for {given.shape[0]} scores", where="scores", next_step="score each labelled row"
        )
    if groups is not None and len(groups) != truth.shape[0]:
        raise Invalid(f"{len(groups)} groups for {truth.shape[0]} rows", where="groups", next_step="name one a row")
    if truth.size == 0:
        return {name: MetricValue(name, math.nan, math.nan, math.nan, 0, LEVEL, "no rows") for name in wanted}
    rng = np.random.default_rng(seed)
    block, blocks = deal_blocks(truth.size, groups, rng)
    estimates = (
        _of_regression(truth, given, block, blocks)
        if task == "regression"
        else _of_classifier(truth.astype(np.intp), given, threshold, block, blocks, wanted)
    )
    return {name: _value(name, estimates[name], truth, given, groups, rng, resamples) for name in wanted}


def score(
    task: Task,
    metric: str,
    y: NDArray[np.generic],
    scores: NDArray[np.generic],
    *,
    threshold: float = 0.5,
    classes: Sequence[str] = (),
) -> float:
    """Return one metric's value without an interval, for searches that ask thousands of times.

    >>> score("regression", "mae", np.array([1.0, 2.0]), np.array([1.5, 2.5]))
    0.5
    """
    return measure(task, y, scores, threshold=threshold, classes=classes, resamples=0, only=[metric])[metric].value


def labels_of(task: Task, y: NDArray[np.generic], classes: Sequence[str] = ()) -> Floats:
    """Return the truth as numbers: class numbers (labels are looked up in `classes`), or the target itself.

    Raises:
        Invalid: a label is missing or unknown, or the labels are no class numbers.
    """
    raw = np.asarray(y)
    if raw.dtype.kind in "OUS":
        if not classes:
            raise Invalid("The labels are text and no classes say their order", where="y", next_step="hand in classes")
        number = {name: index for index, name in enumerate(classes)}
        try:
            return np.array([number[str(label)] for label in raw.tolist()], dtype=np.float64)
        except KeyError as unknown:
            label = str(unknown.args[0])
            raise Invalid(f"`{label}` is no class", where="y", next_step=nearest(label, classes)) from None
    truth = raw.astype(np.float64)
    _refuse_missing(truth, "y")
    if task == "regression" or not truth.size:
        return truth
    if (truth != np.floor(truth)).any() or truth.min() < 0 or (task == "binary" and truth.max() > 1):
        expected = "0 and 1" if task == "binary" else "class numbers from 0"
        raise Invalid(f"A {task} label is not among {expected}", where="y", next_step="check the target column")
    return truth


def read_scores(task: Task, scores: NDArray[np.generic]) -> Floats:
    """Return the scores as float64, (n,) or for multiclass (n, k); two binary columns become that of class 1.

    Raises:
        Invalid: the shape does not fit the task, a score is missing, or a probability is outside 0..1.
    """
    given = np.asarray(scores).astype(np.float64)
    if task == "binary" and given.ndim == 2 and given.shape[1] == 2:
        given = given[:, 1]
    if given.ndim != (2 if task == "multiclass" else 1):
        fitting = "(n, k) probabilities" if task == "multiclass" else "one score a row"
        raise Invalid(f"Scores of shape {given.shape} for a {task} model", where="scores", next_step=f"give {fitting}")
    _refuse_missing(given, "scores")
    if task != "regression" and given.size and (given.min() < 0 or given.max() > 1):
        raise Invalid("A probability is outside 0..1", where="scores", next_step="use predict_proba, not decisions")
    return given


def predict_labels(scores: Floats, threshold: float = 0.5) -> Ints:
    """Return the predicted class numbers: score >= `threshold`, or the most probable class."""
    return scores.argmax(1) if scores.ndim == 2 else (scores >= threshold).astype(np.intp)


def _wanted(task: Task, only: Collection[str] | None) -> tuple[str, ...]:
    known = metrics_of(task)
    for name in only or ():
        if name not in known:
            raise Invalid(f"There is no metric `{name}` for a {task} model", next_step=nearest(name, known))
    return known if only is None else tuple(name for name in known if name in only)


def _refuse_missing(values: Floats, where: str) -> None:
    missing = int(values.size - np.isfinite(values).sum())
    if missing:
        raise Invalid(f"{missing} of {values.size} values are missing or infinite", where=where, next_step="drop them")


def _of_classifier(
    y: Ints, scores: Floats, threshold: float, block: Ints, blocks: int, wanted: tuple[str, ...]
) -> dict[str, _Estimate]:
    k = 2 if scores.ndim == 1 else scores.shape[1]
    if y.max() >= k:
        raise Invalid(f"Label {y.max()} for {k} classes", where="y", next_step="order the classes as the scores are")
    counts = metrics.confusion_counts(y, predict_labels(scores, threshold), k, block, blocks)
    total = counts.sum(0)
    ones = np.ones(y.size)
    found = {
        name: _Estimate(counts, formula)
        for name, formula in (("balanced_accuracy", metrics.balanced_accuracy), ("f1", metrics.f1))
    }
    found["accuracy"] = _Estimate(counts, metrics.accuracy, share=(float(np.trace(total)), float(y.size)))
    for name, formula, trials in (
        ("precision", metrics.precision, float(total[:, 1].sum())),
        ("recall", metrics.recall, float(total[1].sum())),
    ):
        share = (float(total[1, 1]), trials) if k == 2 else None
        found[name] = _Estimate(counts, formula, share=share, rows=int(trials) if k == 2 else None)
    for name, rows in (("brier", metrics.squared_errors(y, scores)), ("log_loss", metrics.surprise(y, scores))):
        found[name] = _Estimate(metrics.sum_by_block(np.stack([ones, rows], 1), block, blocks), _mean)
    bins, gaps = metrics.calibration_rows(y, scores)
    by_bin = np.bincount(block * metrics.CALIBRATION_BINS + bins, gaps, blocks * metrics.CALIBRATION_BINS)
    sums = np.column_stack([np.bincount(block, minlength=blocks), by_bin.reshape(blocks, -1)])
    found["ece"] = _Estimate(sums, metrics.calibration_gap, is_folded=True)
    if "roc_auc" in wanted or "average_precision" in wanted:
        found |= _of_ranks(y, scores, k, block, blocks)
    return found


def _of_ranks(y: Ints, scores: Floats, k: int, block: Ints, blocks: int) -> dict[str, _Estimate]:
    if k == 2 and scores.ndim == 1:
        histogram = _histogram(y == 1, scores, block, blocks, _SCORE_BINS)
        return {
            "roc_auc": _Estimate(histogram, metrics.binned_roc_auc, exact=metrics.roc_auc(y, scores)),
            "average_precision": _Estimate(
                histogram, metrics.binned_average_precision, exact=metrics.average_precision(y, scores)
            ),
        }
    # each class against the rest; fewer bins for many classes, so that the sums stay small
    bins = max(32, 4 * _SCORE_BINS // k)
    by_class = [_histogram(y == each, scores[:, each], block, blocks, bins) for each in range(k)]
    each_auc = [metrics.roc_auc((y == each).astype(np.intp), scores[:, each]) for each in range(k)]
    return {"roc_auc": _Estimate(np.stack(by_class, 1), _mean_auc, exact=float(np.mean(each_auc)))}


def _histogram(positive: NDArray[np.bool_], scores: Floats, block: Ints, blocks: int, bins: int) -> Floats:
    """Count negatives and positives in score bins of about equal mass: (blocks, 2, bins), bins by rising score."""
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, bins + 1)[1:-1], method="lower"))
    cell = (block * 2 + positive) * bins + np.searchsorted(edges, scores, side="left")
    return np.bincount(cell, minlength=blocks * 2 * bins).reshape(blocks, 2, bins).astype(np.float64)


def _of_regression(y: Floats, scores: Floats, block: Ints, blocks: int) -> dict[str, _Estimate]:
    error = np.abs(y - scores)
    centred = y - y.mean()  # the variance from raw squares would lose digits when the mean is large
    relative = error / np.maximum(np.abs(y), np.finfo(np.float64).eps)
    rows = np.stack([np.ones(y.size), error, error**2, relative, centred, centred**2], 1)
    sums = metrics.sum_by_block(rows, block, blocks)
    return {
        "mae": _Estimate(sums[:, [0, 1]], _mean),
        "rmse": _Estimate(sums[:, [0, 2]], lambda each: np.sqrt(_mean(each))),
        "mape": _Estimate(sums[:, [0, 3]], _mean),
        "r2": _Estimate(sums[:, [0, 2, 4, 5]], metrics.r2),
    }


def _mean(sums: Floats) -> Floats:
    means: Floats = sums[..., 1] / np.maximum(sums[..., 0], 1)
    return means


def _mean_auc(histograms: Floats) -> Floats:
    means: Floats = metrics.binned_roc_auc(histograms).mean(-1)
    return means


def _value(
    name: str,
    estimate: _Estimate,
    y: Floats,
    scores: Floats,
    groups: NDArray[np.generic] | None,
    rng: np.random.Generator,
    resamples: int,
) -> MetricValue:
    value = float(estimate.formula(estimate.sums.sum(0))) if estimate.exact is None else estimate.exact
    n = y.size if estimate.rows is None else estimate.rows
    if math.isnan(value):
        return MetricValue(
            name, math.nan, math.nan, math.nan, n, LEVEL, "undefined: a class or all variation is absent"
        )
    if resamples <= 0:
        return MetricValue(name, value, math.nan, math.nan, n, LEVEL, "no interval asked for")
    if groups is None and estimate.share is not None:
        return MetricValue(name, value, *wilson(*estimate.share, level=LEVEL), n, LEVEL, "wilson")
    if groups is None and name == "roc_auc" and scores.ndim == 1:
        return MetricValue(name, value, *delong(y, scores, level=LEVEL), n, LEVEL, "delong")
    low, high = block_bootstrap(
        estimate.sums,
        estimate.formula,
        value,
        rng=rng,
        resamples=resamples,
        level=LEVEL,
        is_folded=estimate.is_folded,
    )
    blocks = f"bootstrap of {estimate.sums.shape[0]} {'blocks' if groups is None else 'groups'}"
    return MetricValue(name, value, low, high, n, LEVEL, blocks)
