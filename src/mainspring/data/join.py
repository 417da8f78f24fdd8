"""Joins that account for every row, and as-of joins that cannot see the future.

A left table keeps exactly its rows, in its order; what the right table could not give is missing and counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import duckdb
import numpy as np

from mainspring.data.table import Columns, columns_of, fetch_columns, n_rows
from mainspring.domain.moments import parse_duration
from mainspring.errors import Invalid, nearest

__all__ = ["Joined", "join_asof", "join_lookup"]


@dataclass(frozen=True, slots=True)
class Joined:
    """The left rows with the right columns beside them, and how many of them found no partner."""

    columns: Columns
    matched: int
    orphans: int


def join_lookup(left: object, right: object, *, on: str | Sequence[str]) -> Joined:
    """Look each left row up in `right`, whose keys must be unique.

    Raises:
        Invalid: a key column is missing, or a right key stands more than once (the message names some).
    """
    keys = [on] if isinstance(on, str) else list(on)
    lefts, rights = columns_of(left), columns_of(right)
    _require(lefts, keys, "left")
    _require(rights, keys, "right")
    with duckdb.connect() as connection:
        _register(connection, lefts, rights)
        listed = ", ".join(_name(key) for key in keys)
        present = " AND ".join(f"{_name(key)} IS NOT NULL" for key in keys)
        twice = connection.execute(
            f"SELECT {listed}, count(*) FROM r WHERE {present} GROUP BY ALL HAVING count(*) > 1 ORDER BY ALL LIMIT 3"
        ).fetchall()
        if twice:
            raise Invalid(
                f"The right table has keys more than once, such as {twice[0][:-1]} ({twice[0][-1]} times)",
                where=f"join on {', '.join(keys)}",
                next_step="drop the duplicates first, or join on more columns",
            )
        condition = " AND ".join(f"l.{_name(key)} = r.{_name(key)}" for key in keys)
        return _joined(connection, lefts, rights, keys, f"l LEFT JOIN r ON {condition}")


def join_asof(
    left: object, right: object, *, on: str | Sequence[str], left_time: str, right_time: str, delay: str | timedelta
) -> Joined:
    """Give each left row the newest right row that was already known: ``right_time + delay <= left_time``.

    `delay` is how long after its own time a right row becomes available (``"1h"`` or a timedelta); zero is allowed,
    less would be peeking.

    Raises:
        Invalid: a column is missing, a time column holds no moments, or `delay` is negative.
    """
    wait = parse_duration(delay) if isinstance(delay, str) else delay
    if wait < timedelta(0):
        raise Invalid(f"A delay of {wait} sees the future", where="join_asof(delay)", next_step="give zero or more")
    keys = [on] if isinstance(on, str) else list(on)
    lefts, rights = columns_of(left), columns_of(right)
    _require(lefts, [*keys, left_time], "left")
    _require(rights, [*keys, right_time], "right")
    for table, column in ((lefts, left_time), (rights, right_time)):
        if table[column].dtype.kind != "M":
            raise Invalid(
                f"The column `{column}` holds no moments", where="join_asof", next_step="parse it as a timestamp"
            )
    # the availability moment is made on the right side, so that the join itself is a plain "known by then"
    rights = {**rights, "_known_at": rights[right_time] + np.timedelta64(round(wait.total_seconds() * 1e6), "us")}
    with duckdb.connect() as connection:
        _register(connection, lefts, rights)
        condition = " AND ".join(f"l.{_name(key)} = r.{_name(key)}" for key in keys)
        source = f"l ASOF LEFT JOIN r ON {condition} AND l.{_name(left_time)} >= r._known_at"
        return _joined(connection, lefts, rights, [*keys, "_known_at"], source)


def _register(connection: "duckdb.DuckDBPyConnection", left: Columns, right: Columns) -> None:
    connection.register("l", {**left, "_row": np.arange(n_rows(left))})
    connection.register("r", {**right, "_found": np.ones(n_rows(right), dtype=bool)})


def _joined(
    connection: "duckdb.DuckDBPyConnection", left: Columns, right: Columns, hidden: Sequence[str], source: str
) -> Joined:
    clashes = [name for name in right if name in left and name not in hidden]
    if clashes:
        raise Invalid(
            f"Both tables have a column `{clashes[0]}`", where="join", next_step="rename it in one of the tables"
        )
    taken = [f"l.{_name(name)}" for name in left] + [f"r.{_name(name)}" for name in right if name not in hidden]
    query = (
        f"SELECT {', '.join(taken)}, CAST(coalesce(r._found, false) AS INTEGER) AS _found FROM {source} ORDER BY l._row"
    )
    columns = fetch_columns(connection, query)
    found = columns.pop("_found")
    if len(found) != n_rows(left):
        raise Invalid(f"The join made {len(found)} rows of {n_rows(left)}", next_step="make the right keys unique")
    matched = int(found.sum())
    return Joined(columns, matched, len(found) - matched)


def _require(columns: Columns, names: Sequence[str], side: str) -> None:
    for name in names:
        if name not in columns:
            raise Invalid(
                f"The {side} table has no column `{name}`",
                where=f"join, {side} table",
                next_step=nearest(name, columns),
            )


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
