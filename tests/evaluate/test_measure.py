"""Metrics against scikit-learn, and what intervals promise."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sk

from mainspring.domain.metric import metrics_of
from mainspring.errors import Invalid
from mainspring.evaluate.measure import measure, score

EXACT = 1e-12


def binary_rows(n: int, seed: int, digits: int = 2) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows with many tied scores, both classes among them."""
    rng = np.random.default_rng(seed)
    p = rng.beta(2, 4, n).round(digits)
    y = (rng.random(n) < p).astype(float)
    y[:2] = 0, 1
    return y, p


@settings(max_examples=40, deadline=None)
@given(n=st.integers(4, 300), seed=st.integers(0, 10_000), threshold=st.sampled_from([0.3, 0.5, 0.66]))
def test_binary_metrics_equal_scikit_learn(n: int, seed: int, threshold: float) -> None:
    y, p = binary_rows(n, seed, digits=1 + seed % 3)
    labels = p >= threshold
    expected = {
        "accuracy": sk.accuracy_score(y, labels),
        "average_precision": sk.average_precision_score(y, p),
        "balanced_accuracy": sk.balanced_accuracy_score(y, labels),
        "brier": sk.brier_score_loss(y, p),
        "f1": sk.f1_score(y, labels, zero_division=0),
        "log_loss": sk.log_loss(y, p),
        "precision": sk.precision_score(y, labels, zero_division=0),
        "recall": sk.recall_score(y, labels),
        "roc_auc": sk.roc_auc_score(y, p),
    }
    ours = measure("binary", y, p, threshold=threshold, resamples=0)
    assert set(ours) == {*expected, "ece"} == set(metrics_of("binary"))
    for name, value in expected.items():
        assert ours[name].value == pytest.approx(value, rel=EXACT, abs=EXACT), name


@settings(max_examples=30, deadline=None)
@given(n=st.integers(12, 300), k=st.integers(3, 6), seed=st.integers(0, 10_000))
def test_multiclass_metrics_equal_scikit_learn(n: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(k), n)
    y = rng.integers(0, k, n)
    y[:k] = np.arange(k)
    labels = p.argmax(1)
    expected = {
        "accuracy": sk.accuracy_score(y, labels),
        "balanced_accuracy": sk.balanced_accuracy_score(y, labels),
        "brier": sk.brier_score_loss(y, p, scale_by_half=True),
        "f1": sk.f1_score(y, labels, average="macro", zero_division=0),
        "log_loss": sk.log_loss(y, p),
        "precision": sk.precision_score(y, labels, average="macro", zero_division=0),
        "recall": sk.recall_score(y, labels, average="macro", zero_division=0),
        "roc_auc": sk.roc_auc_score(y, p, multi_class="ovr"),
    }
    ours = measure("multiclass", y, p, resamples=0)
    assert set(ours) == {*expected, "ece"} == set(metrics_of("multiclass"))
    for name, value in expected.items():
        assert ours[name].value == pytest.approx(value, rel=EXACT, abs=EXACT), name


@settings(max_examples=30, deadline=None)
@given(n=st.integers(3, 300), seed=st.integers(0, 10_000), level=st.sampled_from([0.0, 50.0, -1e4]))
def test_regression_metrics_equal_scikit_learn(n: int, seed: int, level: float) -> None:
    rng = np.random.default_rng(seed)
    y = rng.normal(level, 3, n)
    predicted = y + rng.normal(0.2, 1, n)
    expected = {
        "mae": sk.mean_absolute_error(y, predicted),
        "mape": sk.mean_absolute_percentage_error(y, predicted),
        "r2": sk.r2_score(y, predicted),
        "rmse": sk.root_mean_squared_error(y, predicted),
    }
    ours = measure("regression", y, predicted, resamples=0)
    assert set(ours) == set(expected) == set(metrics_of("regression"))
    for name, value in expected.items():
        assert ours[name].value == pytest.approx(value, rel=1e-11, abs=EXACT), name


def test_ece_is_the_weighted_gap_of_fifteen_bins() -> None:
    y, p = binary_rows(5_000, 3, digits=6)
    bins = np.clip(np.ceil(p * 15).astype(int) - 1, 0, 14)
    expected = sum(abs(p[bins == b].sum() - y[bins == b].sum()) for b in range(15)) / y.size
    assert score("binary", "ece", y, p) == pytest.approx(expected, rel=EXACT)


def test_intervals_hold_their_value_and_repeat() -> None:
    y, p = binary_rows(2_000, 1)
    first, again = measure("binary", y, p), measure("binary", y, p)
    assert first == again
    assert all(each.low <= each.value <= each.high for each in first.values())
    assert first["roc_auc"].method == "delong"
    assert first["accuracy"].method == "wilson"
    assert first["recall"].n == int(y.sum())


@pytest.mark.parametrize("name", ["roc_auc", "accuracy", "brier", "f1", "average_precision", "ece"])
def test_intervals_of_independent_rows_cover_the_truth(name: str) -> None:
    truth_y, truth_p = binary_rows(200_000, 99, digits=4)
    truth = score("binary", name, truth_y, truth_p)
    covered = 0
    for seed in range(1, 101):
        y, p = binary_rows(600, seed, digits=4)
        value = measure("binary", y, p, only=[name])[name]
        covered += value.low <= truth <= value.high
    assert covered >= 88


def test_intervals_by_group_cover_where_independent_ones_do_not() -> None:
    by_group = by_row = 0
    for seed in range(80):
        rng = np.random.default_rng(seed)
        day = np.repeat(np.arange(14), 50)
        storm = rng.beta(2, 8, 14)[day]
        y = (rng.random(700) < storm).astype(float)
        p = np.full(700, 0.2)
        truth = 0.2 * 0.8  # E(y - 0.2)^2 with E y = 0.2
        grouped = measure("binary", y, p, groups=day, only=["brier"])["brier"]
        rowwise = measure("binary", y, p, only=["brier"])["brier"]
        by_group += grouped.low <= truth <= grouped.high
        by_row += rowwise.low <= truth <= rowwise.high
    assert by_group >= 70
    assert by_row <= 50


def test_perfect_ranking_of_few_rows_keeps_a_wide_interval() -> None:
    value = measure("binary", np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9]))["roc_auc"]
    assert value.value == 1.0
    assert value.low < 0.5


def test_one_class_leaves_rank_metrics_undefined() -> None:
    found = measure("binary", np.zeros(5), np.full(5, 0.3))
    assert math.isnan(found["roc_auc"].value)
    assert not found["roc_auc"].is_defined
    assert found["accuracy"].value == 1.0


def test_no_rows_give_undefined_metrics() -> None:
    assert not any(each.is_defined for each in measure("regression", np.array([]), np.array([])).values())


def test_text_labels_are_read_by_their_classes() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    y = np.array(["cat", "dog"], dtype=object)
    assert score("multiclass", "accuracy", y, p, classes=("cat", "cow", "dog")) == 1.0


@pytest.mark.parametrize(
    ("task", "y", "scores", "words"),
    [
        ("binary", [0, 1], [0.2], "2 labels for 1 scores"),
        ("binary", [0, 2], [0.2, 0.3], "not among 0 and 1"),
        ("binary", [0, 1], [0.2, 1.3], "outside 0..1"),
        ("binary", [0, math.nan], [0.2, 0.3], "missing"),
        ("binary", ["a", "b"], [0.2, 0.3], "no classes"),
        ("multiclass", [0, 1], [0.2, 0.3], "shape"),
        ("multiclass", [0, 5], [[0.5, 0.5], [0.5, 0.5]], "Label 5"),
        ("regression", [1.0, 2.0], [1.0, math.inf], "infinite"),
    ],
)
def test_malformed_input_is_refused(task: str, y: list[object], scores: list[object], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        measure(task, np.array(y), np.array(scores))  # type: ignore[arg-type]


def test_unknown_metric_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(Invalid) as refused:
        measure("binary", np.array([0, 1]), np.array([0.1, 0.9]), only=["roc_acu"])
    assert "roc_auc" in refused.value.next_step
