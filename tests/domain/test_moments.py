"""Moments as text that sorts, durations, and a clock that never goes back."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.domain.moments import (
    SimulatedClock,
    SystemClock,
    WrittenClock,
    clock_of,
    from_iso,
    parse_duration,
    to_iso,
)
from mainspring.errors import Invalid, Unavailable

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


def test_a_written_clock_is_one_clock_for_all_who_read_it(tmp_path: Path) -> None:
    start = datetime(2013, 4, 1, tzinfo=UTC)
    mine, yours = WrittenClock(tmp_path / "clock"), clock_of(str(tmp_path / "clock"))
    mine.advance_to(start)
    assert yours.now() == start
    mine.advance_to(start + timedelta(days=1))
    mine.advance_to(start)
    assert yours.now() == start + timedelta(days=1)
    assert [each.name for each in tmp_path.iterdir()] == ["clock"]
    assert isinstance(clock_of(""), SystemClock)


@pytest.mark.parametrize(
    "content",
    [None, b"", b"soon", b"2013-04-01T00:00:00", b"2013-04-01T06:0", b"\xff\xfe", b"9999-12-31T23:59:59Z",
     b"0001-01-01T00:00:00Z"],
)  # fmt: skip
def test_a_clock_that_cannot_be_read_says_where(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "clock").write_bytes(content)
    with pytest.raises(Unavailable, match="The clock cannot be read") as told:
        WrittenClock(tmp_path / "clock").now()
    assert told.value.where == str(tmp_path / "clock")
    assert "MAINSPRING_CLOCK" in told.value.next_step


def test_a_written_clock_is_read_whole_while_it_is_moved(tmp_path: Path) -> None:
    clock, start = WrittenClock(tmp_path / "clock"), datetime(2013, 4, 1, tzinfo=UTC)
    clock.advance_to(start)
    with ThreadPoolExecutor(1) as mover:
        moved = mover.submit(lambda: [clock.advance_to(start + timedelta(seconds=each)) for each in range(300)])
        seen = [start]
        while not moved.done():
            seen.append(clock.now())
        moved.result()
    assert seen == sorted(seen)
