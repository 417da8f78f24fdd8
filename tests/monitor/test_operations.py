"""Operations: what a service does in its weeks is usual, and what no week did is told with its hours."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from mainspring.monitor.operations import watch_operations
from mainspring.predictions.hours import ServedHour

START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
DAY = timedelta(days=1)
Change = Callable[[int, ServedHour], ServedHour]


def lived(days: int, change: Change = lambda hour, served: served, *, seed: int = 0) -> list[ServedHour]:
    """Return hours of a service that is asked by day more than by night, and on weekends a third."""
    rng = np.random.default_rng(seed)
    hours = []
    for hour in range(24 * days):
        mean = 400 * (1.1 + np.sin(2 * np.pi * hour / 24)) * (0.3 if hour // 24 % 7 > 4 else 1.0)
        asked = int(rng.poisson(mean))
        failed, refused = rng.binomial(asked, [0.001, 0.004]).tolist()
        p95_ms = 2.0 * float(np.exp(0.1 * rng.normal()))
        served = ServedHour(START + timedelta(hours=hour), asked - failed - refused, refused, failed, p95_ms)
        hours.append(change(hour, served))
    return [each for each in hours if each.asked]


def found(days: int, change: Change = lambda hour, served: served, *, every: timedelta = DAY) -> dict[str, str]:
    hours = lived(days, change)
    told = watch_operations("m", hours, now=START + days * DAY, every=every)
    return {signal: finding.text for signal, finding in told.items() if finding is not None}


def _times(served: ServedHour, factor: float) -> ServedHour:
    return ServedHour(served.at, round(served.answered * factor), served.refused, served.failed, served.p95_ms)


@pytest.mark.parametrize("days", [1, 7, 29, 40, 41, 70])
def test_days_and_weekends_as_ever_are_usual(days: int) -> None:
    assert found(days) == {}


def test_silence_pages_and_names_its_hours() -> None:
    last = 24 * 39
    silent = lambda hour, served: ServedHour(served.at) if last + 9 <= hour < last + 13 else served  # noqa: E731
    told = watch_operations("m", lived(40, silent), now=START + 40 * DAY, every=DAY)
    assert told["traffic"] is not None
    assert told["traffic"].severity == "page"
    assert told["traffic"].text.startswith("0 requests came from 2026-02-13 09:00 to 13:00 UTC; usual are 2,315")


def test_a_weekday_like_a_weekend_is_odd_and_a_weekend_is_not() -> None:
    friday = lambda hour, served: _times(served, 0.3) if hour >= 24 * 39 else served  # noqa: E731
    assert "usual are" in found(40, friday)["traffic"]
    assert found(41) == {}


def test_three_times_the_traffic_is_odd_until_it_has_stayed_for_half_a_week() -> None:
    more = lambda hour, served: _times(served, 3.0) if hour >= 24 * 39 else served  # noqa: E731
    assert set(found(40, more)) == {"traffic"}
    assert found(45, more) == {}


def test_growth_is_usual() -> None:
    assert found(60, lambda hour, served: _times(served, 1.1 ** (hour / 168))) == {}


def test_a_service_without_weeks_behind_it_is_not_judged_by_its_traffic() -> None:
    assert found(20, lambda hour, served: ServedHour(served.at) if hour >= 24 * 19 else served) == {}


def test_errors_page_from_the_first_day_on() -> None:
    def failing(hour: int, served: ServedHour) -> ServedHour:
        if hour != 20:
            return served
        failed = served.answered // 8
        return ServedHour(served.at, served.answered - failed, served.refused, served.failed + failed, served.p95_ms)

    assert found(1, failing)["errors"].startswith("12.4% of the requests")
    assert "usual are 0.0%" in found(1, failing)["errors"]


def test_refusals_for_an_hour_are_nothing_and_for_two_a_ticket() -> None:
    def refusing(first: int, last: int) -> Change:
        return lambda hour, served: (
            ServedHour(served.at, served.answered, served.answered, 0, served.p95_ms)
            if first <= hour < last
            else served
        )

    assert found(10, refusing(235, 236)) == {}
    assert "were refused as wrong" in found(10, refusing(235, 237))["refusals"]


def test_a_service_that_few_ask_is_judged_by_all_new_hours_and_names_the_rule_that_stops() -> None:
    """One request an hour, and on the last day all are stopped by one rule: no hour says much, the day does."""
    hours = [ServedHour(START + timedelta(hours=hour), 1, 0, 0, 2.0) for hour in range(24 * 9)]
    stopped = [
        ServedHour(START + timedelta(hours=hour), 0, 1, 0, None, {"pressure.min": 1}) for hour in range(24 * 9, 24 * 10)
    ]
    told = watch_operations("m", hours + stopped, now=START + 10 * DAY, every=DAY)
    assert told["refusals"] is not None
    assert told["refusals"].text.startswith("100.0% of the requests from 2026-01-14 00:00 to 00:00 UTC were refused")
    assert "most by the rule `pressure.min` of the model's schema" in told["refusals"].reason
    few = watch_operations("m", hours + stopped[:3], now=START + 10 * DAY, every=DAY)
    assert few["refusals"] is None


def test_a_fault_that_lasts_does_not_become_usual() -> None:
    start = START + 3 * DAY
    hours = lived(10, lambda hour, served: ServedHour(served.at, 0, 0, served.asked) if hour >= 72 else served)
    for day in range(4, 11):
        seen = [each for each in hours if each.at < START + day * DAY]
        told = watch_operations("m", seen, now=START + day * DAY, every=DAY, since={"errors": start})
        assert told["errors"] is not None
        assert told["errors"].text.startswith("100.0% of the requests")
    few = [ServedHour(START + timedelta(hours=hour), 0, 0, 100) for hour in range(9)]
    assert watch_operations("m", few, now=START + timedelta(hours=9), every=timedelta(hours=1))["errors"] is not None


def test_answers_that_take_three_times_as_long_are_told_and_single_slow_hours_are_not() -> None:
    def slow(first: int, last: int) -> Change:
        return lambda hour, served: (
            ServedHour(served.at, served.answered, 0, 0, 6.0) if first <= hour < last else served
        )

    assert "usual are 1.98 ms" in found(10, slow(230, 240))["latency"]
    assert found(10, slow(235, 236)) == {}
    assert found(1, slow(20, 24)) == {}  # too few hours to know


def test_a_look_every_few_minutes_still_sees_two_hours() -> None:
    now = START + 39 * DAY + timedelta(hours=14)
    hours = [each for each in lived(40) if each.at < now - timedelta(hours=2)]
    assert watch_operations("m", hours, now=now, every=timedelta(minutes=10))["traffic"] is not None
    assert watch_operations("m", [], now=now, every=DAY)["traffic"] is None
