"""When something runs: a cron expression by the clocks of a time zone, or ``every 10m``; pure functions of moments."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from mainspring.domain.moments import parse_duration
from mainspring.errors import Invalid

__all__ = ["Due", "come_due", "moments_after"]

_EVERY = "every "
# Moments that one look turns into ticks of one schedule; the rest comes due at the next look.
_MOST_AT_ONCE = 1000


class Due(NamedTuple):
    """What has come due: the moments to run, how many earlier ones were left out, and the first that is not due yet."""

    moments: list[datetime]
    missed: int
    next_at: datetime


def moments_after(cron: str, timezone: str, after: datetime) -> Iterator[datetime]:
    """Return the moments behind `after` that an expression names, without end.

    Raises:
        Invalid: the expression or the time zone cannot be read, or the expression names no moment.
    """
    found = _moments(cron, timezone, after)
    first = next(found, None)
    if first is None:
        raise Invalid(f"`{cron}` names no moment in the next fifty years", next_step="mend the day or the month")
    return _chained(first, found)


def come_due(cron: str, timezone: str, next_at: datetime, now: datetime, *, each: bool) -> Due:
    """Return what has come due from `next_at` on: `each` of the moments, oldest first, or the latest for all."""
    if cron.startswith(_EVERY) and not each:  # counted, not walked: a weekend of 100 ms is a million and a half
        length = _length(cron)
        missed = (now - next_at) // length
        return Due([next_at + missed * length], missed, next_at + (missed + 1) * length)
    moments, missed = [next_at], 0
    for following in moments_after(cron, timezone, next_at):
        if following > now or len(moments) == _MOST_AT_ONCE:
            break
        if each:
            moments.append(following)
        else:
            moments, missed = [following], missed + 1
    return Due(moments, missed, following)


def _length(cron: str) -> timedelta:
    return parse_duration(cron.removeprefix(_EVERY).strip())


def _moments(cron: str, timezone: str, after: datetime) -> Iterator[datetime]:
    from cronsim import CronSim, CronSimError  # needed only where something is scheduled

    try:
        zone = ZoneInfo(timezone)
    except (KeyError, ValueError, OSError) as error:
        raise Invalid(f"`{timezone}` is no time zone", next_step="write one such as Europe/Paris or UTC") from error
    if cron.startswith(_EVERY):
        length = _length(cron)
        while True:
            after += length
            yield after
    try:
        for moment in CronSim(cron, after.astimezone(zone)):
            yield moment.astimezone(UTC)
    except CronSimError as error:
        raise Invalid(
            f"`{cron}` is no cron expression: {error}",
            next_step='write minute, hour, day, month and weekday, such as "0 6 * * *" for six every morning,'
            ' or "every 10m"',
        ) from error


def _chained(first: datetime, rest: Iterator[datetime]) -> Iterator[datetime]:
    yield first
    yield from rest
