"""Moments as text that sorts, durations, and a clock that never goes back."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.domain.moments import SimulatedClock, SystemClock, from_iso, parse_duration, to_iso
from mainspring.errors import Invalid

zones = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=8))])
moments = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=zones)  # noqa: DTZ001


@given(moments, moments)
def test_text_sorts_as_time_does_and_reads_back(one: datetime, two: datetime) -> None:
    assert (to_iso(one) < to_iso(two)) == (one < two)
    assert from_iso(to_iso(one)) == one
    assert len(to_iso(one)) == 27


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(Invalid, match="has no zone"):
        to_iso(datetime(2013, 4, 1))  # noqa: DTZ001
    for text in ("2013-04-01T00:00:00", "2013-04-01", "soon", ""):
        with pytest.raises(Invalid, match="not a moment with a zone"):
            from_iso(text)
    assert to_iso(from_iso("2013-04-01T06:00:00+02:00")) == "2013-04-01T04:00:00.000000Z"


@pytest.mark.parametrize(
    ("text", "seconds"), [("250ms", 0.25), ("30s", 30), ("10m", 600), ("1.5h", 5400), ("2d", 172_800), ("1w", 604_800)]
)
def test_durations_are_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "h", "-1h", "0s", "1y", "nand", "infs", "1e9w", "1e400s", "1e-9ms", "1 hour", "1h30m"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="is not a duration"):
        parse_duration(text)


def test_a_simulated_clock_stands_still_and_never_goes_back() -> None:
    start = datetime(2013, 4, 1, tzinfo=UTC)
    clock = SimulatedClock(start)
    clock.advance_to(start + timedelta(days=1))
    clock.advance_to(start)
    assert clock.now() == start + timedelta(days=1)
    assert SystemClock().now().tzinfo is UTC
