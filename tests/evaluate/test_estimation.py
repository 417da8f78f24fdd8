"""Estimates without labels: calibrated, equal to an enumeration of all labels, with intervals that hold the truth."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mainspring.errors import Invalid
from mainspring.evaluate.calibration import Calibration, calibrate, isotonic
from mainspring.evaluate.error_curve import fit_error_curve
from mainspring.evaluate.estimation import Estimation, fit_estimation
from mainspring.evaluate.expected import expected_losses, expected_metric
from mainspring.evaluate.losses import loss
from mainspring.evaluate.measure import score

Floats = NDArray[np.float64]


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 10)), min_size=1, max_size=40),
)
@settings(max_examples=60, deadline=None)
def test_isotonic_equals_scikit_learns(pairs: list[tuple[float, float]]) -> None:
    reference = pytest.importorskip("sklearn.isotonic")
    values, weights = np.array(pairs).T
    expected = reference.isotonic_regression(values, sample_weight=weights)
    assert isotonic(values, weights) == pytest.approx(expected, abs=1e-9)


def test_calibration_learns_what_a_score_means() -> None:
    rng = np.random.default_rng(1)
    scores = rng.uniform(size=40_000)
    y = (rng.uniform(size=scores.size) < scores**2).astype(int)
    calibrated = calibrate("binary", y, scores).apply(np.array([0.2, 0.5, 0.9]))
    assert calibrated == pytest.approx([0.04, 0.25, 0.81], abs=0.03)


def test_calibration_survives_its_way_through_json() -> None:
    rng = np.random.default_rng(2)
    scores = rng.dirichlet([1, 1, 1], size=900)
    y = np.array([rng.choice(3, p=row) for row in scores])
    learnt = calibrate("multiclass", y, scores)
    assert Calibration.from_json(learnt.to_json()) == learnt  # type: ignore[arg-type]  # what to_json gives
    assert learnt.apply(scores).sum(1) == pytest.approx(np.ones(900))


def test_a_model_that_always_says_the_same_is_calibrated_to_the_share() -> None:
    assert (
        calibrate("binary", np.array([0, 0, 0, 1]), np.full(4, 0.5)).apply(np.array([0.1, 0.9])).tolist() == [0.25] * 2
    )


def test_a_regression_cannot_be_calibrated() -> None:
    with pytest.raises(Invalid, match="no probabilities"):
        calibrate("regression", np.array([1.0]), np.array([1.0]))


@pytest.mark.parametrize("metric", ["accuracy", "brier"])
def test_expected_metrics_equal_the_mean_over_every_outcome(metric: str) -> None:
    probabilities, scores = np.array([0.9, 0.4, 0.2, 0.7]), np.array([0.8, 0.6, 0.1, 0.3])
    total = 0.0
    for labels in itertools.product([0, 1], repeat=4):
        chance = math.prod(p if label else 1 - p for p, label in zip(probabilities, labels, strict=True))
        total += chance * score("binary", metric, np.array(labels), scores)
    assert expected_metric(metric, probabilities, scores) == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize("metric", ["roc_auc", "f1", "precision", "recall", "balanced_accuracy"])
def test_expected_metrics_are_close_to_the_real_ones_where_probabilities_are_right(metric: str) -> None:
    rng = np.random.default_rng(3)
    probabilities = rng.beta(2, 3, size=20_000)
    y = (rng.uniform(size=probabilities.size) < probabilities).astype(int)
    real = score("binary", metric, y, probabilities)
    assert expected_metric(metric, probabilities, probabilities) == pytest.approx(real, abs=0.02)


def test_expected_losses_of_several_classes_equal_the_mean_over_the_classes() -> None:
    rng = np.random.default_rng(4)
    probabilities, scores = rng.dirichlet([1, 1, 1], size=5), rng.dirichlet([1, 1, 1], size=5)
    by_class = np.stack([loss("multiclass", np.full(5, each), scores) for each in range(3)], 1)
    assert expected_losses(probabilities, scores) == pytest.approx((probabilities * by_class).sum(1))


def test_a_metric_without_an_expectation_is_refused_by_name() -> None:
    with pytest.raises(Invalid, match="`ece` cannot be estimated"):
        expected_metric("ece", np.array([0.5]), np.array([0.5]))


def _days(rng: np.random.Generator, days: int, *, sharpness: float = 1.0) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Rows of overconfident scores on days whose base rate wanders; `sharpness` below 1 makes them harder."""
    day = np.repeat(np.arange(days), 200)
    wander = rng.normal(0, 0.3, size=days)[day]
    logit = sharpness * rng.normal(0, 1.5, size=day.size)
    chance = 1 / (1 + np.exp(-(logit + wander)))
    return (rng.uniform(size=day.size) < chance).astype(np.float64), 1 / (1 + np.exp(-2 * logit)), day


def test_intervals_hold_the_truth_of_new_days_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(5)
    inside = 0
    for _ in range(60):
        fitted = fit_estimation("binary", *_days(rng, 20))
        assert fitted is not None
        y, scores, _ = _days(rng, 1)
        found = fitted.estimate([float(fitted.losses(scores).mean())], scores.size)
        inside += found.low <= loss("binary", y, scores).mean() <= found.high
    assert inside / 60 >= 0.88  # 95 % is promised; below this with a chance under 2 %


def test_rows_that_became_harder_raise_the_estimate() -> None:
    rng = np.random.default_rng(6)
    fitted = fit_estimation("binary", *_days(rng, 20))
    assert fitted is not None
    _, easy, _ = _days(rng, 5)
    _, hard, _ = _days(rng, 5, sharpness=0.2)
    assert fitted.losses(hard).mean() > fitted.losses(easy).mean() + 0.05


def test_an_estimate_learns_from_its_errors_in_production() -> None:
    fitted = Estimation(Calibration(((0.0, 1.0),), ((0.0, 1.0),)), (0.0, 0.001, -0.001, 0.002, -0.002))
    before, after = fitted.estimate([0.2], 10), fitted.estimate([0.2], 10, errors=[0.1] * 20)
    assert before.high < 0.22 < after.high
    assert after.value == before.value == 0.2


def test_few_blocks_promise_nothing() -> None:
    fitted = fit_estimation("binary", np.array([0, 1]), np.array([0.2, 0.9]), np.array([1, 1]))
    assert fitted is not None
    assert fitted.estimate([0.1], 2)[1:3] == (0.0, 1.0)
    assert Estimation.from_json(fitted.to_json()) == fitted


def _delays(rng: np.random.Generator, days: int, *, largest: float = 100.0) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Truths, predictions and days of a regression whose errors grow with what it predicts, and wander by day."""
    day = np.repeat(np.arange(days), 200)
    predicted = rng.uniform(0, largest, size=day.size)
    wander = rng.lognormal(0, 0.1, size=days)[day]
    return predicted + rng.normal(size=day.size) * (1 + 0.2 * predicted) * wander, predicted, day


def test_a_regression_that_predicts_more_is_expected_to_err_more() -> None:
    rng = np.random.default_rng(8)
    y, predicted, day = _delays(rng, 30)
    fitted = fit_estimation("regression", y, predicted, day, bound=100.0)
    assert fitted is not None
    for largest in (30.0, 60.0, 100.0):  # fewer, and fewer large predictions
        late, given, _ = _delays(rng, 100, largest=largest)
        real = loss("regression", late, given, bound=100.0).mean()
        assert fitted.losses(given).mean() == pytest.approx(real, rel=0.06)
    assert Estimation.from_json(fitted.to_json()) == fitted


def test_intervals_of_a_regression_hold_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(9)
    inside = 0
    for _ in range(60):
        fitted = fit_estimation("regression", *_delays(rng, 20), bound=100.0)
        assert fitted is not None
        y, predicted, _ = _delays(rng, 1)
        found = fitted.estimate([float(fitted.losses(predicted).mean())], predicted.size)
        inside += found.low <= loss("regression", y, predicted, bound=100.0).mean() <= found.high
    assert inside / 60 >= 0.88  # 95 % is promised; below this with a chance under 2 %


@pytest.mark.parametrize(
    "predicted", [np.zeros(500), np.repeat([1.0, 2.0], 250), np.arange(500.0) % 3, np.arange(40.0)]
)
def test_the_curve_equals_the_means_of_its_bins(predicted: Floats) -> None:
    losses = np.random.default_rng(10).uniform(size=predicted.size)
    curve = fit_error_curve(predicted, losses)
    expected = curve.losses(predicted)
    for value in np.unique(expected):
        mine = expected == value
        assert losses[mine].mean() == pytest.approx(value)
        apart = predicted[~mine]  # a bin is a span: nothing else lies within it
        assert not ((apart > predicted[mine].min()) & (apart < predicted[mine].max())).any()
    assert expected.mean() == pytest.approx(losses.mean())
