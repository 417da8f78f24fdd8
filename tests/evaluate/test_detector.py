"""The e-detector: rare false alarms, quick alarms, and a lower bound that agrees with both."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.evaluate.detector import detect, lower_bound


def test_time_to_a_false_alarm_is_at_least_one_over_alpha() -> None:
    alpha, waits = 0.05, []
    for seed in range(150):
        values = np.random.default_rng(seed).beta(2, 8, 400)  # mean exactly at the limit
        alarm = detect(values, 0.2).by_time >= 1 / alpha
        waits.append(int(alarm.argmax()) + 1 if alarm.any() else 400)
    assert np.mean(waits) >= 1 / alpha


def test_long_good_past_does_not_hide_a_new_rise() -> None:
    rng = np.random.default_rng(0)
    rise = rng.beta(4, 9, 60)  # mean 0.31
    fresh = detect(rise, 0.2).by_time
    after_years = detect(np.concatenate([rng.beta(1, 9, 1_000), rise]), 0.2)
    assert (after_years.by_time[1_000:] >= fresh - 1e-9).all()
    assert abs((after_years.since or 0) - 1_000) <= 3


def test_alarm_ends_soon_after_a_recovery() -> None:
    values = np.concatenate([np.full(300, 0.9), np.full(40, 0.1)])
    evidence = detect(values, 0.2).by_time
    assert evidence[299] >= 500
    assert evidence[-1] < 500


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 80), alpha=st.sampled_from([0.05, 0.01, 0.002]))
def test_lower_bound_is_where_the_evidence_crosses(seed: int, n: int, alpha: float) -> None:
    values = np.random.default_rng(seed).beta(2, 5, n)
    bound = lower_bound(values, alpha)
    resolution = values.max() / 32**3
    if bound > 0:
        assert detect(values, bound * 0.999999).by_time[-1] >= 1 / alpha
    assert detect(values, bound + 2 * resolution).by_time[-1] < 1 / alpha


def test_no_values_prove_nothing() -> None:
    assert lower_bound(np.array([]), 0.05) == 0.0
    assert detect(np.array([]), 0.2).since is None


def test_values_under_the_limit_have_no_bad_stretch() -> None:
    assert detect(np.full(30, 0.1), 0.2).since is None
    assert lower_bound(np.zeros(30), 0.05) == pytest.approx(0.0)


def test_known_spread_finds_a_small_rise_of_steady_values_in_a_few() -> None:
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.normal(0.15, 0.01, 300), rng.normal(0.19, 0.01, 30)])
    blind, knowing = (detect(values, 0.17, spread).by_time >= 500 for spread in (None, 0.012))
    assert not blind[:330].any()
    assert not knowing[:300].any()
    assert knowing[300:].argmax() <= 12
    assert lower_bound(values, 0.002, 0.012) == pytest.approx(0.19, abs=0.02)


@pytest.mark.parametrize("shape", ["normal", "skewed", "two points"])
def test_known_spread_keeps_the_rate_at_the_limit_itself(shape: str) -> None:
    alpha, waits = 0.05, []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        drawn = {
            "normal": lambda rng=rng: np.abs(rng.normal(0.5, 0.1, 400)),
            "skewed": lambda rng=rng: 0.4 + rng.exponential(0.1, 400),
            "two points": lambda rng=rng: np.where(rng.random(400) < 0.05, 0.5 + 0.1 * 19**0.5, 0.5 - 0.1 / 19**0.5),
        }[shape]()
        alarm = detect(drawn, 0.5, 0.1).by_time >= 1 / alpha
        waits.append(int(alarm.argmax()) + 1 if alarm.any() else 400)
    assert np.mean(waits) >= 1 / alpha
