"""Paired comparison: its interval, its clustering and its restraint."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from mainspring.errors import Invalid
from mainspring.evaluate.compare import compare, compare_labels, compare_slices


def test_ungrouped_interval_is_the_paired_t_interval() -> None:
    rng = np.random.default_rng(0)
    champion, challenger = rng.random(80), rng.random(80)
    found = compare(champion, challenger)
    expected = stats.ttest_rel(challenger, champion).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_even_groups_reduce_to_a_t_interval_of_group_means() -> None:
    rng = np.random.default_rng(1)
    day = np.repeat(np.arange(10), 30)
    difference = rng.normal(size=10)[day] * 0.02 + rng.normal(size=300) * 0.1
    found = compare(np.full(300, 0.5), 0.5 + difference, day)
    means = difference.reshape(10, 30).mean(1)
    expected = stats.ttest_1samp(means, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_equal_models_are_rarely_told_apart_though_days_are_correlated() -> None:
    by_day = by_row = 0
    day = np.repeat(np.arange(14), 100)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        difference = (rng.normal(size=14) * 0.02)[day] + rng.normal(size=1400) * 0.05
        by_day += compare(np.full(1400, 0.5), 0.5 + difference, day).verdict != "undecided"
        by_row += compare(np.full(1400, 0.5), 0.5 + difference).verdict != "undecided"
    assert by_day <= 20
    assert by_row >= 80


def test_real_gain_is_found_and_named_from_the_challengers_side() -> None:
    rng = np.random.default_rng(2)
    champion, day = rng.beta(2, 9, 2_000), np.repeat(np.arange(20), 100)
    challenger = np.clip(champion - 0.02 + rng.normal(0, 0.05, 2_000), 0, 1)
    assert compare(champion, challenger, day).verdict == "better"
    assert compare(challenger, champion, day).verdict == "worse"


def test_one_group_stays_undecided() -> None:
    found = compare(np.full(100, 0.5), np.full(100, 0.1) + np.arange(100) / 1e3, np.zeros(100))
    assert found.verdict == "undecided"
    assert found.high == math.inf
    assert json.loads(json.dumps(found.to_json()))["high"] is None


def test_identical_losses_are_undecided() -> None:
    losses = np.random.default_rng(0).random(50)
    found = compare(losses, losses)
    assert (found.difference, found.verdict) == (0.0, "undecided")


@pytest.mark.parametrize("challenger", [[0.1], [0.1, math.nan], []])
def test_rows_that_do_not_pair_are_refused(challenger: list[float]) -> None:
    champion = [] if not challenger else [0.1, 0.2]
    with pytest.raises(Invalid):
        compare(np.array(champion), np.array(challenger))


@pytest.mark.parametrize(("only_champion", "only_challenger"), [(0, 0), (3, 9), (40, 41), (700, 900)])
def test_mcnemar_equals_the_binomial_test(only_champion: int, only_challenger: int) -> None:
    y = np.ones(only_champion + only_challenger + 10, dtype=int)
    champion, challenger = y.copy(), y.copy()
    champion[:only_challenger] = 0
    challenger[only_challenger : only_challenger + only_champion] = 0
    found = compare_labels(y, champion, challenger)
    assert (found.only_champion, found.only_challenger) == (only_champion, only_challenger)
    discordant = only_champion + only_challenger
    expected = stats.binomtest(only_champion, discordant).pvalue if discordant else 1.0
    # above 1,000 the normal approximation takes over
    assert found.p_value == pytest.approx(expected, rel=1e-9 if discordant <= 1_000 else 0.05)


def test_a_slice_that_is_worse_is_named_though_all_rows_together_are_not() -> None:
    rng = np.random.default_rng(5)
    day, carrier = np.repeat(np.arange(14), 200), rng.choice(np.array(["a", "b", "c"], dtype=object), 2800)
    rise = np.where(carrier == "b", 0.06, -0.04) + rng.normal(size=2800) * 0.05
    champion = np.full(2800, 0.5)
    assert compare(champion, champion + rise, day).verdict != "worse"
    found = compare_slices(champion, champion + rise, {"carrier": carrier}, ["carrier", "gone"], day)
    assert {name: each.verdict for name, each in found.items()} == {
        "carrier=b": "worse",
        "carrier=a": "better",
        "carrier=c": "better",
    }
    assert next(iter(found)) == "carrier=b"


def test_slices_of_equal_models_are_rarely_called_worse_however_many_there_are() -> None:
    alarms = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        kind = rng.integers(0, 12, 2400).astype(np.float64)
        rise = rng.normal(size=2400) * 0.3
        found = compare_slices(np.full(2400, 0.5), 0.5 + rise, {"kind": kind}, ["kind"])
        alarms += any(each.verdict == "worse" for each in found.values())
    assert alarms <= 8


def test_a_rise_that_nobody_would_notice_is_no_worse_slice() -> None:
    rise = np.random.default_rng(1).normal(size=4000) * 0.01 + 0.005
    found = compare_slices(np.full(4000, 0.5), 0.5 + rise, {"kind": np.zeros(4000)}, ["kind"])
    assert found["kind=0"].verdict == "undecided"
    assert found["kind=0"].low > 0
