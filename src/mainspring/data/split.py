"""Splitting a table into train, validation and test: by time where there is a time, else at random.

By time, no row of a later part is older than any row of an earlier one, so nothing is learnt from the future, and
rows of one moment never straddle a border.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from mainspring.data.table import connect
from mainspring.errors import Invalid

__all__ = ["PARTS", "Split", "refuse_empty", "refuse_shares", "split_by_share", "split_by_time", "time_borders"]

PARTS = ("train", "validation", "test")
#: Into how many a span of moments is counted at a time; the moment at a place of a year is found in three counts.
_SPANS = 1 << 16


@dataclass(frozen=True, slots=True)
class Split:
    """Row numbers of the three parts, each in the table's order."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def split_by_time(moments: NDArray[Any], *, validation: float = 0.15, test: float = 0.15) -> Split:
    """Put the newest `test` share of rows into test, the `validation` share before them into validation.

    Raises:
        Invalid: a moment is missing, the column holds no moments, or a part would be empty.
    """
    if moments.dtype.kind != "M":
        raise Invalid("The time column holds no moments", where="split(time)", next_step="parse it as a timestamp")
    if not len(moments):  # which the engine takes for no table
        raise Invalid("There are no rows to split", where="split", next_step="give more rows")
    with connect() as connection:
        connection.register("moments", {"t": moments, "i": np.arange(len(moments))})
        validation_from, test_from = time_borders(connection, "moments", validation=validation, test=test)
    parts = Split(
        train=np.flatnonzero(moments < validation_from),
        validation=np.flatnonzero((moments >= validation_from) & (moments < test_from)),
        test=np.flatnonzero(moments >= test_from),
    )
    return _filled(parts)


def time_borders(
    connection: duckdb.DuckDBPyConnection, table: str, *, validation: float, test: float
) -> tuple[np.datetime64, np.datetime64]:
    """Return the first moments of validation and of test; `table` has moments as `t` and the rows' numbers as `i`.

    The moments are counted, a few times, and never sorted: memory does not grow with the rows.

    Raises:
        Invalid: a moment is missing, or there are no rows.
    """
    refuse_shares(validation, test)
    rows, present, row, low, high = connection.execute(
        "SELECT count(*), coalesce(count_if(isfinite(t)), 0), min(i) FILTER (WHERE t IS NULL OR NOT isfinite(t)),"
        f" epoch_us(min(t) FILTER (WHERE isfinite(t))), epoch_us(max(t) FILTER (WHERE isfinite(t))) FROM {table}"
    ).fetchall()[0]
    if present < rows:
        raise Invalid("A row has no time", where=f"rows[{row}]", next_step="drop or mend rows without a time")
    if not rows:
        raise Invalid("There are no rows to split", where="split", next_step="give more rows")
    places = (_border(rows, test + validation), _border(rows, test))
    validation_from, test_from = (_moment_at(connection, table, place, low, high) for place in places)
    return np.datetime64(validation_from, "us"), np.datetime64(test_from, "us")


def _moment_at(connection: duckdb.DuckDBPyConnection, table: str, place: int, low: int, high: int) -> int:
    """Return the moment, in microseconds since 1970, that would stand at `place` if they were in order."""
    while low < high:
        width = (high - low) // _SPANS + 1
        counts = connection.execute(
            f"SELECT (epoch_us(t) - {low}) // {width} AS span, count(*) FROM {table}"
            f" WHERE epoch_us(t) BETWEEN {low} AND {high} GROUP BY span ORDER BY span"
        ).fetchall()
        ends = np.cumsum([count for _, count in counts])
        at = int(np.searchsorted(ends, place, side="right"))
        place -= int(ends[at]) - counts[at][1]
        low += counts[at][0] * width
        high = min(high, low + width - 1)
    return low


def split_by_share(rows: int, *, validation: float = 0.15, test: float = 0.15, seed: int = 0) -> Split:
    """Deal `rows` rows into the three parts at random, the same way each time for one `seed`.

    Raises:
        Invalid: a part would be empty.
    """
    refuse_shares(validation, test)
    order = np.random.default_rng(seed).permutation(rows)
    n_test, n_validation = round(rows * test), round(rows * validation)
    parts = Split(
        train=np.sort(order[n_test + n_validation :]),
        validation=np.sort(order[n_test : n_test + n_validation]),
        test=np.sort(order[:n_test]),
    )
    return _filled(parts)


def _border(rows: int, share: float) -> int:
    return min(rows - 1, max(0, rows - round(rows * share)))


def refuse_shares(validation: float, test: float) -> None:
    """Refuse shares that leave nothing to train on.

    Raises:
        Invalid: they do.
    """
    if not (0 < validation < 1 and 0 < test < 1 and validation + test < 1):
        raise Invalid(
            f"validation={validation} and test={test} leave nothing to train on",
            where="split",
            next_step="give shares above zero that add up to less than 1",
        )


def _filled(parts: Split) -> Split:
    refuse_empty({name: len(getattr(parts, name)) for name in PARTS})
    return parts


def refuse_empty(sizes: Mapping[str, int]) -> None:
    """Refuse a split with a part that has no rows.

    Raises:
        Invalid: it has one.
    """
    for name, rows in sizes.items():
        if not rows:
            raise Invalid(f"The {name} part would be empty", where="split", next_step="give more rows or other shares")
