"""Partitions: named pieces of time, over which a step is mapped or a whole pipeline is run once each.

A key says its own size: ``2013`` is a year, ``2013-01`` a month, ``2013-W05`` a week, ``2013-01-31`` a day,
``2013-01-31T06`` an hour. All are in UTC. Pure: no clock, no store.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

from mainspring.errors import Invalid

__all__ = ["Every", "Partition", "parse_range", "partition", "partitions"]

Every = Literal["hour", "day", "week", "month", "year"]

_FORMS: dict[Every, str] = {
    "year": r"\d{4}",
    "month": r"\d{4}-\d{2}",
    "week": r"\d{4}-W\d{2}",
    "day": r"\d{4}-\d{2}-\d{2}",
    "hour": r"\d{4}-\d{2}-\d{2}T\d{2}",
}
_HINT = "write 2013, 2013-01, 2013-W05, 2013-01-31 or 2013-01-31T06"
_MOST = 100_000


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """A piece of time: from `start` to before `end`, both aware UTC datetimes, named by `key`."""

    key: str
    start: datetime
    end: datetime

    def __str__(self) -> str:
        return self.key


def partition(key: str) -> Partition:
    """Return the partition that a key names.

    >>> partition("2013-02").end.isoformat()
    '2013-03-01T00:00:00+00:00'

    Raises:
        Invalid: the text is no key, or names no time that there was.
    """
    every = _size_of(key)
    start = _start(key, every)
    return Partition(key, start, _next(start, every))


def partitions(first: str, last: str, every: Every | None = None) -> list[Partition]:
    """Return the partitions from `first` to `last`, both included, of the size that `every` names.

    Without `every` they are of the size of the keys. Coarser keys may be cut finer: ``partitions("2013", "2013",
    every="month")`` are twelve. Linear in their number.

    >>> [each.key for each in partitions("2013-01", "2013-03")]
    ['2013-01', '2013-02', '2013-03']
    >>> len(partitions("2013", "2013", every="day"))
    365

    Raises:
        Invalid: a key cannot be read, `last` is before `first`, or the partitions would not fill the range exactly.
    """
    one, other = partition(first), partition(last)
    if every is not None and every not in get_args(Every):
        raise Invalid(f"`{every}` is no size of partitions", where="every", next_step=" or ".join(get_args(Every)))
    if other.start < one.start:
        raise Invalid(f"`{last}` is before `{first}`", where="partitions", next_step="give the earlier one first")
    size = every or _size_of(first)
    if every is None and _size_of(last) != size:
        raise Invalid(f"`{first}` and `{last}` are of different sizes", where="partitions", next_step="add every=...")
    found = list(_walk(one.start, other.end, size))
    if found[0].start != one.start or found[-1].end != other.end:
        raise Invalid(
            f"{size}s do not fill `{first}` to `{last}` exactly",
            where="every",
            next_step="take a finer size or other ends",
        )
    return found


def parse_range(text: str) -> list[Partition]:
    """Read ``2013-01..2013-06``, one key, or several of both with commas between.

    Raises:
        Invalid: a key cannot be read.
    """
    found: dict[str, Partition] = {}
    for word in text.split(","):
        first, dots, last = word.strip().partition("..")
        for each in partitions(first, last if dots else first):
            found[each.key] = each
    return list(found.values())


def _walk(start: datetime, end: datetime, size: Every) -> Iterator[Partition]:
    moment = _start(_key(start, size), size)
    for _ in range(_MOST):
        if moment >= end:
            return
        following = _next(moment, size)
        yield Partition(_key(moment, size), moment, following)
        moment = following
    raise Invalid(
        f"More than {_MOST} partitions", where="partitions", next_step="take a shorter range or a coarser size"
    )


def _size_of(key: str) -> Every:
    for every, form in _FORMS.items():
        if re.fullmatch(form, key):
            return every
    raise Invalid(f"`{key}` is no partition", next_step=_HINT)


def _start(key: str, every: Every) -> datetime:
    form = {"year": "%Y", "month": "%Y-%m", "day": "%Y-%m-%d", "hour": "%Y-%m-%dT%H", "week": "%G-W%V-%u"}[every]
    try:
        return datetime.strptime(f"{key}-1" if every == "week" else key, form).replace(tzinfo=UTC)
    except ValueError as error:
        raise Invalid(f"`{key}` is no {every}: {error}", next_step=_HINT) from error


def _key(moment: datetime, every: Every) -> str:
    forms = {"year": "%Y", "month": "%Y-%m", "day": "%Y-%m-%d", "hour": "%Y-%m-%dT%H", "week": "%G-W%V"}
    return moment.strftime(forms[every])


def _next(moment: datetime, every: Every) -> datetime:
    match every:
        case "hour":
            return moment + timedelta(hours=1)
        case "day":
            return moment + timedelta(days=1)
        case "week":
            return moment + timedelta(weeks=1)
        case "month":
            return (moment.replace(day=1) + timedelta(days=32)).replace(day=1)
        case "year":
            return moment.replace(year=moment.year + 1)
