"""Time: aware UTC datetimes, and clocks that are handed in, so that a test or a demo can live through a year.

Columns and fields that hold a moment end in ``_at``; they are stored as ISO 8601 text with microseconds, which sorts.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from mainspring.errors import Invalid, Unavailable

__all__ = [
    "Clock",
    "SimulatedClock",
    "SystemClock",
    "WrittenClock",
    "clock_of",
    "end_of",
    "from_iso",
    "iso_of",
    "parse_duration",
    "to_iso",
    "to_milliseconds",
]


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """Return the present moment as an aware UTC datetime."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the machine's time."""
        return datetime.now(UTC)


class SimulatedClock:
    """A clock that stands still until it is told to move, and never goes back."""

    def __init__(self, start: datetime) -> None:
        self._now = start.astimezone(UTC)

    def now(self) -> datetime:
        """Return the moment the clock was last moved to."""
        return self._now

    def advance_to(self, moment: datetime) -> None:
        """Move to `moment`; an earlier moment leaves the clock where it is."""
        self._now = max(self._now, moment.astimezone(UTC))


#: The years that a written clock may tell: some time before and after each is reckoned with everywhere.
_LIVED = range(1000, 9000)


class WrittenClock:
    """A clock that many processes share and one of them moves: its moment stands in a file, as `to_iso` writes it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def now(self) -> datetime:
        """Return the moment that the clock was last moved to.

        Raises:
            Unavailable: the file is not there, or holds no moment with a zone, or one at an end of the calendar.
        """
        try:
            moment = from_iso(self.path.read_text().strip())
            if moment.year in _LIVED:
                return moment
            why = f"{moment:%d %b} of the year {moment.year} is not from {_LIVED.start} to {_LIVED.stop - 1}"
        except (OSError, UnicodeDecodeError, Invalid) as error:
            why = str(error) if isinstance(error, OSError) else "it holds no moment with a zone"
        # never Invalid: who asked something of a server did nothing wrong
        raise Unavailable(
            f"The clock cannot be read: {why}",
            where=str(self.path),
            next_step="write a moment into it, such as 2013-04-01T06:00:00Z, or unset MAINSPRING_CLOCK",
        )

    def advance_to(self, moment: datetime) -> None:
        """Move to `moment`; an earlier moment leaves the clock where it is. Others see the old moment or the new."""
        if self.path.exists() and moment <= self.now():
            return
        building = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        building.write_text(to_iso(moment))
        building.replace(self.path)


def clock_of(path: str) -> Clock:
    """Return the clock that the setting `clock` names: that of a file, else the machine's."""
    return WrittenClock(Path(path)) if path else SystemClock()


def to_iso(moment: datetime) -> str:
    """Return `moment` as fixed-width UTC text that sorts by time.

    >>> to_iso(datetime(2013, 4, 1, tzinfo=UTC))
    '2013-04-01T00:00:00.000000Z'

    Raises:
        Invalid: the moment has no zone; guessing one would shift it by hours.
    """
    if moment.tzinfo is None:
        raise Invalid(f"The moment {moment} has no zone", next_step="make it aware: datetime.now(UTC)")
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def from_iso(text: str) -> datetime:
    """Read ISO 8601 text with a zone into an aware UTC datetime.

    Raises:
        Invalid: the text is not a moment, or has no zone.
    """
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):  # the latter: the zone carries it out of the calendar
        pass
    raise Invalid(f"`{text}` is not a moment with a zone", next_step="write it as 2013-04-01T06:00:00Z")


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_milliseconds(moment: datetime) -> int:
    """Return whole Unix milliseconds.

    >>> to_milliseconds(datetime(1970, 1, 2, tzinfo=UTC))
    86400000
    """
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def iso_of(milliseconds: int) -> str:
    """Return Unix milliseconds as the text that `to_iso` gives; those beyond the calendar as its end."""
    try:
        return to_iso(_EPOCH + timedelta(milliseconds=milliseconds))
    except OverflowError:
        return to_iso(datetime.max.replace(tzinfo=UTC))


def end_of(text: str) -> datetime:
    """Read a moment as people write it: a date stands for its end; without a zone it is UTC.

    >>> end_of("2026-05-03")
    datetime.datetime(2026, 5, 3, 23, 59, 59, 999999, tzinfo=datetime.timezone.utc)

    Raises:
        Invalid: the text is neither.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return from_iso(text)  # raises with advice
    if len(text) == len("2026-05-03"):
        moment += timedelta(days=1, microseconds=-1)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def parse_duration(text: str) -> timedelta:
    """Read a duration such as ``10m``, ``1.5h``, ``2d`` or ``250ms``.

    >>> parse_duration("90m")
    datetime.timedelta(seconds=5400)

    Raises:
        Invalid: the text is not a number and a unit, or not above zero.
    """
    digits = text.rstrip("mshdw")
    unit = text[len(digits) :]
    try:
        duration = timedelta(seconds=float(digits) * _UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        duration = timedelta(0)
    if duration <= timedelta(0):
        raise Invalid(f"`{text}` is not a duration", next_step="write a number and a unit: 30s, 10m, 1h, 2d, 1w")
    return duration
