"""Joins that account for every row, and as-of joins that cannot see the future.

A left table keeps exactly its rows, in its order; what the right table could not give is missing and counted. The
engine sees keys and times only and answers with row numbers, so that no value changes on its way through a join.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainspring.data.matching import (
    Cardinality,
    Duplicates,
    Match,
    Orphans,
    check_sides,
    find_partners,
    matches_sql,
    orphan,
)
from mainspring.data.table import Columns, columns_of, connect, n_rows

__all__ = ["Cardinality", "Duplicates", "Joined", "Orphans", "join_asof", "join_lookup"]

_KINDS = {"f": "number", "M": "timestamp", "O": "string"}


@dataclass(frozen=True, slots=True)
class Joined:
    """The left rows with the right columns beside them, and the account of the join.

    `matched` left rows found a partner and `orphans` did not (they are not in `columns` if they were dropped);
    `duplicates` right rows had a key that another right row was taken for.
    """

    columns: Columns
    matched: int
    orphans: int
    duplicates: int = 0


def join_lookup(
    left: object,
    right: object,
    *,
    on: str | Sequence[str],
    cardinality: Cardinality = "many-to-one",
    duplicates: Duplicates = "refuse",
    orphans: Orphans = "keep",
) -> Joined:
    """Look each left row up in `right` by equal keys. A missing key finds nothing.

    With ``one-to-one`` the left keys must be unique as well. `duplicates` says what becomes of right rows of one key:
    they are refused, or the first or the last of them is taken; a join never makes more rows. `orphans` says what
    becomes of left rows that find nothing: they are kept with missing values, dropped, or refused.

    Raises:
        Invalid: a key column is missing or of another type, or keys stand more than once or find nothing where that is
            refused (the message names some).
    """
    match = Match.equal(on, cardinality=cardinality, duplicates=duplicates)
    return _join(columns_of(left), columns_of(right), match, orphans)


def join_asof(
    left: object,
    right: object,
    *,
    on: str | Sequence[str],
    left_time: str,
    right_time: str,
    delay: str | timedelta,
    orphans: Orphans = "keep",
) -> Joined:
    """Give each left row the newest right row that was already known: ``right_time + delay <= left_time``.

    `delay` is how long after its own time a right row becomes available (``"1h"`` or a timedelta); zero is allowed,
    less would be peeking. Of right rows with the same key and time the last one in the table counts. With no keys
    every right row is a partner for every left row.

    Raises:
        Invalid: a column is missing or of another type, a time column holds no moments, or `delay` is negative.
    """
    match = Match.known(on, left_time=left_time, right_time=right_time, delay=delay)
    return _join(columns_of(left), columns_of(right), match, orphans)


def _join(left: Columns, right: Columns, match: Match, orphans: Orphans) -> Joined:
    kinds = [{name: _KINDS[array.dtype.kind] for name, array in table.items()} for table in (left, right)]
    check_sides(match, kinds[0], kinds[1], typed=bool(n_rows(left) and n_rows(right)))
    with connect() as connection:
        connection.register("l", _numbered(left, match.keys, match.left_time))
        connection.register("r", _numbered(right, match.keys, match.right_time))
        duplicates = find_partners(connection, match, [key for key in match.keys if kinds[0][key] == "number"])
        rows = connection.execute(matches_sql(match)).fetchnumpy()
    return _joined(left, right, match, rows, orphans, duplicates)


def _numbered(table: Columns, keys: Sequence[str], time: str) -> dict[str, NDArray[Any]]:
    """Return keys, time and row number under the names of `matching`."""
    named = {f"k{number}": table[key] for number, key in enumerate(keys)}
    if time:
        named["t"] = table[time]
    return {**named, "i": np.arange(n_rows(table))}


def _joined(
    left: Columns, right: Columns, match: Match, rows: dict[str, Any], orphans: Orphans, duplicates: int
) -> Joined:
    """Put the right columns beside the left ones; `rows` holds (left row, right row) for each pair."""
    lefts, rights = (np.asarray(array, dtype=np.int64) for array in rows.values())
    lost = n_rows(left) - len(lefts)
    found = np.zeros(n_rows(left), bool)
    found[lefts] = True
    if lost and orphans == "refuse":
        row = int(np.argmin(found))
        raise orphan(lost, row, match, [left[key][row] for key in match.keys])
    columns = dict(left)
    for name, array in right.items():
        if name not in match.keys:
            missing = {"M": np.datetime64("NaT", "us"), "O": None}.get(array.dtype.kind, np.nan)
            taken = np.full(n_rows(left), missing, dtype=array.dtype)
            taken[lefts] = array[rights]
            columns[name] = taken
    if orphans == "drop":
        columns = {name: array[found] for name, array in columns.items()}
    return Joined(columns, len(lefts), lost, duplicates)
