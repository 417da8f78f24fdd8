"""The flights of 2013 as live requests: what was known before departure, hour by hour, and the outcome a day later."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mainspring.data.table import Columns, columns_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Request", "Traffic", "read_traffic"]


@dataclass(frozen=True, slots=True)
class Request:
    """The flights of one hour (or a few) in one request; `outcomes` are told a day later, in the order of the rows."""

    request_id: str
    at: datetime
    rows: list[dict[str, object]]
    outcomes: list[str]


class Traffic:
    """All flights from `start` on, in the order of their departure, in requests of so many `hours`."""

    def __init__(self, table: "pd.DataFrame", start: datetime, *, hours: int = 1) -> None:
        columns = columns_of(table)
        after = columns["departs_at"] >= np.datetime64(start.replace(tzinfo=None))
        self._columns: Columns = {name: array[after] for name, array in columns.items()}
        width = np.timedelta64(hours, "h")
        clock = self._columns["departs_at"].astype("datetime64[h]")
        self._hours = clock - (clock - clock.astype("datetime64[D]")) % width
        self._width = width

    @property
    def days(self) -> list[datetime]:
        """The days on which there are flights, as their midnights in UTC."""
        return [
            datetime.combine(day, datetime.min.time(), UTC)
            for day in np.unique(self._hours.astype("datetime64[D]")).tolist()
        ]

    def of_day(self, day: datetime) -> Iterator[Request]:
        """Yield the requests of one day, an hour each."""
        begin = np.datetime64(day.replace(tzinfo=None), "h")
        first, last = np.searchsorted(self._hours, [begin, begin + np.timedelta64(24, "h")])
        hours = self._hours[first:last]
        for hour in np.unique(hours):
            low, high = first + np.searchsorted(hours, [hour, hour + self._width])
            at = hour.astype("datetime64[s]").astype(datetime).replace(tzinfo=UTC)
            yield Request(f"{at:%Y-%m-%dT%H}", at, self._rows(low, high), self._outcomes(low, high))

    def _rows(self, low: int, high: int) -> list[dict[str, object]]:
        names = [name for name in self._columns if name not in ("departs_at", "late")]
        values = [[_json(value) for value in self._columns[name][low:high].tolist()] for name in names]
        return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]

    def _outcomes(self, low: int, high: int) -> list[str]:
        return [str(int(late)) for late in self._columns["late"][low:high]]


def read_traffic(flights: Any, data: Path, start: datetime, *, hours: int) -> Traffic:  # flights: the user's step
    """Return the year's requests, made by the very step that makes the training table, so that both are the same."""
    return Traffic(flights(data, datetime(2014, 1, 2, tzinfo=UTC) + timedelta(days=1)), start, hours=hours)


def _json(value: object) -> object:
    return None if isinstance(value, float) and value != value else value
