"""Label errors from out-of-fold scores: what is planted comes first, and what is only rare does not come at all."""

import numpy as np
import pytest

from mainspring.errors import Invalid
from mainspring.evaluate.label_errors import label_errors, value_errors


def test_the_label_a_model_believes_least_comes_first() -> None:
    y = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    p = np.array([0.1, 0.2, 0.97, 0.1, 0.9, 0.8, 0.1, 0.9])
    found = label_errors(y, np.stack([1 - p, p], axis=1))
    assert found.order.tolist() == [2, 6]
    assert found.suggested[[2, 6]].tolist() == [1, 0]
    assert found.score[2] == pytest.approx(0.97)


def test_a_rare_class_is_no_error_because_it_is_rare() -> None:
    """Every row of class 1 has a probability below one half, as a rare class does, and none is told."""
    rng = np.random.default_rng(0)
    y = (rng.random(2_000) < 0.1).astype(int)
    p = np.where(y == 1, 0.4, 0.05) + rng.uniform(-0.04, 0.04, 2_000)
    found = label_errors(y, np.stack([1 - p, p], axis=1))
    assert len(found.order) < 0.6 * (y == 1).sum()
    assert not set(found.order.tolist()) & set(np.flatnonzero(y == 0).tolist())


def test_rows_that_are_not_judged_are_not_told() -> None:
    y = np.array([0, 0, 0, 1, 1, 2])
    p = np.array([[0.8, 0.1, 0.1]] * 3 + [[0.1, 0.8, 0.1]] * 2 + [[0.9, 0.1, 0.0]])
    assert label_errors(y, p).order.tolist() == [5]
    assert label_errors(y, p, judged=y != 2).order.tolist() == []


def test_a_value_is_measured_by_what_is_usual_for_its_like() -> None:
    """Small predictions err by 1, large ones by 100: 50 off is much for the former and nothing for the latter."""
    rng = np.random.default_rng(0)
    predictions = np.repeat([10.0, 10_000.0], 2_000) + rng.uniform(0, 1, 4_000)
    y = predictions + np.concatenate([rng.normal(0, 30, 2_000), rng.normal(0, 100, 2_000)])
    y[7] = predictions[7] + 400
    y[3_000] = predictions[3_000] + 400
    found = value_errors(y, predictions)
    assert found.order.tolist() == [7]
    assert found.score[7] > 10 > 5 > found.score[3_000]


def test_values_that_are_all_as_predicted_have_no_errors() -> None:
    assert value_errors(np.arange(10.0), np.arange(10.0)).order.size == 0
    found = value_errors(np.append(np.arange(500.0), 7.0), np.append(np.arange(500.0), 8.0))
    assert found.order.tolist() == [500]


@pytest.mark.parametrize(("y", "p"), [([0, 1], [[0.5, 0.5]]), ([0, 2], [[0.5, 0.5]] * 2), ([0, -1], [[0.5, 0.5]] * 2)])
def test_labels_that_do_not_fit_the_probabilities_are_refused(y: list[int], p: list[list[float]]) -> None:
    with pytest.raises(Invalid):
        label_errors(np.array(y), np.array(p))
