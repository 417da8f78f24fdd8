"""The table `segment_counts`: what each sealed segment holds, by the hour, in the bins of its model's profile.

Sealing counts a segment once; merging segments adds their counts; forgetting them forgets the counts. So how the inputs
of any window moved is a sum over a few small rows, and no logged row is read for it, except of hours that the window
cuts. Answers of a shadow are not counted. Names of unseen categories are left out: people's words belong to the rows.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainspring.data.profile import ColumnCounts, Counts, Profile, count, merge
from mainspring.store.protocol import Row, Transaction, Value

__all__ = ["HOUR", "Hourly", "ProfileOf", "count_hours", "hourly_of", "keep_hourly", "merge_hourly", "remove_hourly"]

#: Tells the profile of what a model version was trained on; None where it has none.
ProfileOf = Callable[[str, int], Profile | None]
#: Counts by the hour in which the events happened.
Hourly = Mapping[str, Counts]
#: Reads rows: a store's `read`, or a transaction's `execute`.
Read = Callable[[str, Sequence[Value]], list[Row]]
#: How much of a moment's ISO text names its hour: 2013-04-01T07.
HOUR = 13


def count_hours(
    reference: Profile, features: Mapping[str, NDArray[Any]], at: NDArray[Any], counted: NDArray[np.bool_]
) -> dict[str, Counts]:
    """Count the rows for which `counted` (n,) holds by the hour of `at` (n,), ISO text.

    Columns that `features` lacks are not counted, which is not the same as missing in every row.
    """
    known = reference.limited_to(features)
    hours = np.array([moment[:HOUR] for moment in at.tolist()], dtype=np.str_)
    found = {}
    for hour in np.unique(hours[counted]).tolist():
        rows = np.flatnonzero(counted & (hours == hour))
        found[hour] = _nameless(count(known, {name: features[name][rows] for name in known.columns}))
    return found


def merge_hourly(several: Iterable[Hourly]) -> dict[str, Counts]:
    """Return the counts of all together, hour by hour."""
    gathered: dict[str, list[Counts]] = {}
    for hourly in several:
        for hour, counts in hourly.items():
            gathered.setdefault(hour, []).append(counts)
    return {hour: reduce(merge, counts) for hour, counts in gathered.items()}


def keep_hourly(transaction: Transaction, path: str, hourly: Hourly) -> None:
    """Write the counts of the segment in the file `path`."""
    rows = [(path, hour, json.dumps(_packed(counts), allow_nan=False)) for hour, counts in hourly.items()]
    transaction.execute_many("INSERT INTO segment_counts (path, hour, counts) VALUES (?, ?, ?)", rows)


def remove_hourly(transaction: Transaction, paths: Sequence[str]) -> None:
    """Remove the counts of segments that are no more."""
    transaction.execute_many("DELETE FROM segment_counts WHERE path = ?", [(path,) for path in paths])


def hourly_of(read: Read, path: str, since: str = "", until: str = "~") -> dict[str, Counts] | None:
    """Return the counts of a segment for hours in [since, until); None where the segment was not counted."""
    sql = "SELECT hour, counts FROM segment_counts WHERE path = ? AND hour >= ? AND hour < ? ORDER BY hour"
    found = {hour: _unpacked(json.loads(counts)) for hour, counts in read(sql, (path, since, until))}
    is_counted = found or read("SELECT 1 FROM segment_counts WHERE path = ? LIMIT 1", (path,))
    return found if is_counted else None


def _nameless(counts: Counts) -> Counts:
    return Counts(counts.rows, {name: replace(each, unseen=()) for name, each in counts.columns.items()})


def _packed(counts: Counts) -> list[Any]:
    """Return [rows, {column: [bins, filled, missing, mistyped, low, high, total]}]; `filled` is place, count, place ...

    An hour of few rows fills few bins.
    """
    return [
        counts.rows,
        {
            name: [
                len(each.bins),
                [number for place, times in enumerate(each.bins) if times for number in (place, times)],
                each.missing,
                each.mistyped,
                each.low,
                each.high,
                each.total,
            ]
            for name, each in counts.columns.items()
        },
    ]


def _unpacked(fields: list[Any]) -> Counts:
    columns = {}
    for name, (size, filled, *others) in fields[1].items():
        bins = [0] * size
        for place, times in zip(filled[::2], filled[1::2], strict=True):
            bins[place] = times
        columns[name] = ColumnCounts(tuple(bins), *others)
    return Counts(fields[0], columns)
