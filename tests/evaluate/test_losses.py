"""Per-row losses stay in 0..1 and mean what their metric means."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.errors import Invalid
from mainspring.evaluate.losses import error_bound, loss
from mainspring.evaluate.measure import score


@given(seed=st.integers(0, 10_000), n=st.integers(1, 50))
def test_mean_brier_loss_is_the_brier_metric(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    y, p = rng.integers(0, 2, n), rng.random(n)
    assert loss("binary", y, p).mean() == pytest.approx(score("binary", "brier", y, p), rel=1e-12)
    y, q = rng.integers(0, 4, n), rng.dirichlet(np.ones(4), n)
    losses = loss("multiclass", y, q)
    assert losses.mean() == pytest.approx(score("multiclass", "brier", y, q), rel=1e-12)
    assert losses.min() >= 0
    assert losses.max() <= 1


def test_zero_one_counts_wrong_labels_at_the_threshold() -> None:
    losses = loss("binary", np.array([0, 1, 1]), np.array([0.4, 0.4, 0.2]), kind="zero_one", threshold=0.3)
    assert losses.tolist() == [1.0, 0.0, 1.0]


def test_absolute_errors_are_clipped_at_the_bound() -> None:
    y, predicted = np.array([0.0, 0.0, 0.0]), np.array([1.0, -2.0, 50.0])
    assert loss("regression", y, predicted, bound=4.0).tolist() == [0.25, 0.5, 1.0]


def test_bound_leaves_room_for_errors_to_grow() -> None:
    y = np.zeros(1_000)
    predicted = np.random.default_rng(0).normal(size=1_000)
    bound = error_bound(y, predicted)
    assert loss("regression", y, 1.5 * predicted, bound=bound).max() <= 1
    assert loss("regression", y, 1.5 * predicted, bound=bound).mean() == pytest.approx(
        1.5 * loss("regression", y, predicted, bound=bound).mean(), rel=0.01
    )


@pytest.mark.parametrize(
    ("task", "kind", "bound"), [("regression", "brier", 1.0), ("binary", "absolute", 1.0), ("regression", None, None)]
)
def test_loss_that_does_not_fit_is_refused(task: str, kind: str | None, bound: float | None) -> None:
    with pytest.raises(Invalid):
        loss(task, np.array([0.0, 1.0]), np.array([0.5, 0.5]), kind=kind, bound=bound)  # type: ignore[arg-type]
