"""Risk alerts on correlated days: seldom false, soon right, independent of how labels arrive."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mainspring.errors import Invalid
from mainspring.evaluate import sequential
from mainspring.monitor.risk import (
    Baseline,
    Block,
    RiskState,
    backtest,
    baseline,
    canary_verdict,
    limit_of,
    observe,
    verdict,
)


def day_means(rng: np.random.Generator, days: int, risk: float) -> NDArray[np.float64]:
    """Daily mean losses as of late flights: a third of their mean in spread, weather lasting some days, skewed."""
    weather = np.empty(days)
    weather[0] = rng.normal()
    for day in range(1, days):
        weather[day] = 0.4 * weather[day - 1] + math.sqrt(1 - 0.16) * rng.normal()
    return risk * np.exp(0.33 * weather - 0.33**2 / 2)


def rows_of(means: NDArray[np.float64], rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.generic]]:
    """Sixty rows a day around the day's mean, with the day's date."""
    dates = np.datetime64("2013-04-01") + np.arange(means.size)
    losses = np.clip(np.repeat(means, 60) * rng.beta(2, 2, means.size * 60) * 2, 0, 1)
    return losses, np.repeat(dates, 60)


def blocks_of(means: NDArray[np.float64]) -> RiskState:
    """One block of sixty rows a day."""
    return RiskState(tuple(Block(f"{day:04d}", 60, 60 * float(mean)) for day, mean in enumerate(means)))


def first_alarm(base: Baseline, means: NDArray[np.float64]) -> int | None:
    """The index of the first block after which the rule would have alerted."""
    report = backtest(blocks_of(means), base)
    return int(report.alerts[0]) if report.alerts else None


def test_steady_risk_seldom_alarms_in_a_year_though_days_are_correlated() -> None:
    alarms = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        losses, days = rows_of(day_means(rng, 14, 0.15), rng)
        alarms += first_alarm(baseline(losses, days), day_means(rng, 365, 0.15)) is not None
    # the hold-out's own luck is in these too: two correlated weeks bound the truth less often than they say
    assert alarms <= 12


def test_decay_after_two_good_months_is_found_within_weeks() -> None:
    delays = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        losses, days = rows_of(day_means(rng, 14, 0.15), rng)
        live = np.concatenate([day_means(rng, 60, 0.15), day_means(rng, 60, 0.25)])
        alarm = first_alarm(baseline(losses, days), live)
        delays.append(60 if alarm is None else alarm - 60)
    assert np.median(delays) <= 20
    assert np.mean(np.array(delays) == 60) <= 0.1


def test_rows_of_one_storm_are_one_observation() -> None:
    base = Baseline(0.15, 0.17, 14, 14_000)
    storm = observe(RiskState(), np.full(5_000, 0.6), np.full(5_000, np.datetime64("2013-04-23")))
    assert verdict(storm, base).status == "quiet"


def test_decay_names_its_beginning() -> None:
    base = Baseline(0.15, 0.17, 14, 14_000)
    rng = np.random.default_rng(0)
    losses, days = rows_of(np.concatenate([day_means(rng, 30, 0.15), day_means(rng, 40, 0.3)]), rng)
    found = verdict(observe(RiskState(), losses, days), base)
    assert found.status == "decayed"
    assert found.lower > found.limit == pytest.approx(0.185)
    assert "2013-04-26" <= found.since <= "2013-05-08"
    assert found.live_mean == pytest.approx(0.3, rel=0.25)
    assert (found.n, found.rows) == (70, 4_200)


def test_alarm_ends_when_the_risk_recovers() -> None:
    base = Baseline(0.15, 0.17, 14, 14_000)
    means = np.concatenate([np.full(40, 0.4), np.full(60, 0.12)])
    report = backtest(blocks_of(means), base)
    assert report.episodes == 1
    assert report.began == report.alerts[:1]
    assert int(report.alerts[0]) < 15
    assert int(report.alerts[-1]) < 99
    assert str(report) == "this rule would have alerted 1 times in the last 100 windows"


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), parts=st.integers(1, 6))
def test_labels_may_come_late_and_in_any_order(seed: int, parts: int) -> None:
    rng = np.random.default_rng(seed)
    losses, days = rows_of(rng.random(8), rng)
    order = rng.permutation(losses.size)
    state = RiskState()
    for part in np.array_split(order, parts):
        state = observe(state, losses[part], days[part])
    whole = observe(RiskState(), losses, days)
    assert [(each.name, each.rows) for each in state.blocks] == [(each.name, each.rows) for each in whole.blocks]
    assert [each.total for each in state.blocks] == pytest.approx([each.total for each in whole.blocks])


def test_state_and_verdict_survive_json() -> None:
    rng = np.random.default_rng(1)
    state = observe(RiskState(), *rows_of(rng.random(5), rng))
    again = RiskState.from_json(json.loads(json.dumps(state.to_json())))
    assert again == state
    base = Baseline(**json.loads(json.dumps(Baseline(0.1, 0.2, 3, 30).to_json())))
    assert json.loads(json.dumps(verdict(again, base).to_json()))["n"] == 5
    assert verdict(RiskState(), base).to_json()["live_mean"] is None


def test_calls_without_groups_are_blocks_of_their_own() -> None:
    state = RiskState()
    for _ in range(500):
        state = observe(state, np.array([0.1, 0.3]))
    assert len(state.blocks) == 400
    assert state.blocks[-1].name == f"{499:012d}"


def test_hours_stay_hours() -> None:
    hours = np.array(["2013-04-01T05", "2013-04-01T06"], dtype="datetime64[h]")
    assert len(observe(RiskState(), np.array([0.1, 0.2]), hours).blocks) == 2


def test_baseline_of_days_is_wider_than_of_rows() -> None:
    rng = np.random.default_rng(2)
    losses, days = rows_of(day_means(rng, 14, 0.15), rng)
    by_day, by_row = baseline(losses, days), baseline(losses)
    assert by_day.mean == pytest.approx(by_row.mean)
    assert by_day.upper - by_day.mean > 3 * (by_row.upper - by_row.mean)
    assert (by_day.n, by_row.n) == (14, 840)


def test_baseline_of_one_day_knows_no_bound() -> None:
    assert baseline(np.array([0.1, 0.2]), np.array(["a", "a"])).upper == 1.0


def test_limit_allows_for_doubt_and_tolerance() -> None:
    assert limit_of(Baseline(0.2, 0.25, 9, 9)) == pytest.approx(0.27)
    assert limit_of(Baseline(0.2, 0.25, 9, 9), tolerance=0.0) == 0.25


@pytest.mark.parametrize("losses", [[0.1, math.nan], [-0.1]])
def test_senseless_losses_are_refused(losses: list[float]) -> None:
    with pytest.raises(Invalid):
        observe(RiskState(), np.array(losses))


def test_senseless_parameters_are_refused() -> None:
    with pytest.raises(Invalid):
        verdict(RiskState(), Baseline(0.1, 0.2, 3, 3), alpha=1e-6)
    with pytest.raises(Invalid):
        verdict(RiskState(), Baseline(0.0, 0.0, 3, 3))
    with pytest.raises(Invalid):
        backtest(RiskState(), Baseline(0.1, 0.2, 3, 3), alpha=1e-6)
    assert backtest(RiskState(), Baseline(0.1, 0.2, 3, 3)).windows == 0
    with pytest.raises(Invalid):
        baseline(np.array([]))


@pytest.mark.parametrize(("shift", "expected"), [(0.05, "worse"), (0.0, "no worse"), (-0.05, "no worse")])
def test_canary_is_judged_against_its_margin(shift: float, expected: str) -> None:
    differences = np.clip(np.random.default_rng(0).normal(shift, 0.08, 3_000), -1, 1)
    state = sequential.update(sequential.start(-1, 1), differences)
    found = canary_verdict(state, margin=0.01)
    assert found.verdict == expected
    assert found.low < found.difference < found.high


def test_canary_of_few_rows_is_undecided() -> None:
    state = sequential.update(sequential.start(-1, 1), np.full(10, 0.1))
    assert canary_verdict(state, margin=0.01).verdict == "undecided"
    assert canary_verdict(sequential.start(-1, 1), margin=0.01).verdict == "undecided"


def test_equal_canary_is_seldom_called_worse_though_watched_all_the_time() -> None:
    called = 0
    for seed in range(100):
        differences = np.clip(np.random.default_rng(seed).normal(0, 0.1, 2_000), -1, 1)
        state = sequential.start(-1, 1)
        for part in np.split(differences, 40):
            state = sequential.update(state, part)
            if canary_verdict(state).verdict == "worse":
                called += 1
                break
    assert called <= 5
