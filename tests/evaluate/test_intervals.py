"""Wilson, DeLong and clustered errors against independent computations."""

import math

import numpy as np
import pytest
from scipy import stats

from mainspring.evaluate.intervals import block_bootstrap, clustered_mean, deal_blocks, delong, wilson


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (7, 10), (10, 10), (450, 1000)])
def test_wilson_equals_scipy(successes: int, trials: int) -> None:
    expected = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert wilson(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_without_trials_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_delong_variance_equals_the_double_sum() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(60) < 0.4).astype(int)
    p = (rng.random(60) + 0.3 * y).round(1)
    positives, negatives = p[y == 1], p[y == 0]
    psi = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
    auc = psi.mean()
    error = math.sqrt(psi.mean(1).var(ddof=1) / positives.size + psi.mean(0).var(ddof=1) / negatives.size)
    logit, half = math.log(auc / (1 - auc)), stats.norm.ppf(0.975) * error / (auc * (1 - auc))
    expected = [1 / (1 + math.exp(-(logit + side * half))) for side in (-1, 1)]
    assert delong(y, p) == pytest.approx(expected, rel=1e-12)


def test_delong_of_one_class_is_undefined() -> None:
    assert all(math.isnan(each) for each in delong(np.zeros(4), np.arange(4.0)))


def test_clustered_error_of_single_rows_is_the_ordinary_one() -> None:
    values = np.random.default_rng(1).normal(size=50)
    mean, error, degrees = clustered_mean(values, None)
    assert (mean, error) == pytest.approx((values.mean(), stats.sem(values)), rel=1e-12)
    assert degrees == 49


def test_repeating_every_row_of_a_group_adds_no_certainty() -> None:
    values = np.random.default_rng(2).normal(size=20)
    once = clustered_mean(values, np.arange(20))
    often = clustered_mean(np.repeat(values, 30), np.repeat(np.arange(20), 30))
    assert often == pytest.approx(once, rel=1e-12)


def test_one_group_gives_an_endless_error() -> None:
    assert clustered_mean(np.arange(5.0), np.zeros(5))[1] == math.inf


def test_bootstrap_of_a_mean_agrees_with_theory() -> None:
    values = np.random.default_rng(3).normal(size=(400, 1))
    sums = np.hstack([np.ones((400, 1)), values])
    low, high = block_bootstrap(
        sums, lambda s: s[..., 1] / s[..., 0], float(values.mean()), rng=np.random.default_rng(0), resamples=4_000
    )
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_rows_without_groups_are_dealt_evenly() -> None:
    block, blocks = deal_blocks(2_500, None, np.random.default_rng(0))
    sizes = np.bincount(block)
    assert blocks == 1_000
    assert sizes.max() - sizes.min() <= 1
