"""Which right row belongs to which left row: the one definition of both joins, of tables in memory and of files.

A side is a table `l` or `r` of the engine with the keys as `k0`, `k1`, ..., the time as `t` and the row's number as
`i`, so that nothing a user names can clash with them, and no value changes on its way through a join.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import duckdb

from mainspring.domain.moments import parse_duration
from mainspring.errors import Invalid, nearest

__all__ = [
    "Cardinality",
    "Duplicates",
    "Kinds",
    "Match",
    "Orphans",
    "check_sides",
    "find_partners",
    "matches_sql",
    "orphan",
]

Cardinality = Literal["many-to-one", "one-to-one"]
Duplicates = Literal["refuse", "first", "last"]
Orphans = Literal["keep", "drop", "refuse"]
#: Of each column of a table what it holds: `number`, `timestamp` or `string`.
Kinds = Mapping[str, str]

_SIDES = {"l": "left", "r": "right"}
_HELD = {"number": "numbers", "timestamp": "moments", "string": "text"}
#: From here on whole numbers that differ can be the same float64 (this one is also what the next is rounded to), and
#: rows would find partners that are not theirs.
_TOO_LARGE_KEY = 2**53


@dataclass(frozen=True, slots=True)
class Match:
    """What rows are matched by: equal `keys`, and with times the newest right row that was known by then."""

    keys: tuple[str, ...]
    left_time: str = ""
    right_time: str = ""
    wait: timedelta = timedelta(0)
    cardinality: Cardinality = "many-to-one"
    duplicates: Duplicates = "refuse"

    @classmethod
    def equal(
        cls, on: str | Sequence[str], *, cardinality: Cardinality = "many-to-one", duplicates: Duplicates = "refuse"
    ) -> "Match":
        """Match a row with the one of equal keys.

        Raises:
            Invalid: there is no key.
        """
        if not on:
            raise Invalid("A lookup needs a key", where="join", next_step="name the columns both tables share")
        return cls(_names(on), cardinality=cardinality, duplicates=duplicates)

    @classmethod
    def known(cls, on: str | Sequence[str], *, left_time: str, right_time: str, delay: str | timedelta) -> "Match":
        """Match a row with the newest one of equal keys that was known by then.

        Raises:
            Invalid: the delay is none, or sees the future.
        """
        if isinstance(delay, str):
            delay = timedelta(0) if re.fullmatch(r"0+(ms|s|m|h|d|w)?", delay) else parse_duration(delay)
        if delay < timedelta(0):
            raise Invalid(f"A delay of {delay} sees the future", where="delay", next_step="give zero or more")
        return cls(_names(on), left_time, right_time, delay)

    @property
    def names(self) -> list[str]:
        """What the keys are called in the engine."""
        return [f"k{number}" for number in range(len(self.keys))]


def _names(on: str | Sequence[str]) -> tuple[str, ...]:
    return (on,) if isinstance(on, str) else tuple(on)


def check_sides(match: Match, left: Kinds, right: Kinds, *, typed: bool = True) -> None:
    """Check that both tables have the columns that a match names, of one type; where they are `typed`.

    Raises:
        Invalid: a column is missing or of another type, or both tables have one that is no key.
    """
    for side, kinds, time in (("left", left, match.left_time), ("right", right, match.right_time)):
        for name in [*match.keys, *([time] if time else [])]:
            if name not in kinds:
                said = f"The {side} table has no column `{name}`"
                raise Invalid(said, where=f"join, {side} table", next_step=nearest(name, kinds))
        if time and kinds[time] != "timestamp":
            raise Invalid(f"The column `{time}` holds no moments", where="join", next_step="parse it as a timestamp")
    for key in match.keys:
        if typed and left[key] != right[key]:
            raise Invalid(
                f"The key `{key}` holds {_HELD[left[key]]} in the left table and {_HELD[right[key]]} in the right one",
                where=f"join on {key}",
                next_step="give both the same type",
            )
    clashes = [name for name in right if name in left and name not in match.keys]
    if clashes:
        raise Invalid(
            f"Both tables have a column `{clashes[0]}`", where="join", next_step="rename it in one of the tables"
        )


def find_partners(connection: duckdb.DuckDBPyConnection, match: Match, doubles: Collection[str]) -> int:
    """Make the table `partners`, the right rows that left rows may find; return how many others had the same keys.

    `doubles` are the keys that were made into doubles to be compared.

    Raises:
        Invalid: keys are too large to be told apart, or stand more than once where that is refused.
    """
    for number, key in enumerate(match.keys):
        if key in doubles:
            _refuse_large(connection, key, f"k{number}")
    names = match.names
    if match.left_time:
        known = f"t + to_microseconds({match.wait // timedelta(microseconds=1)})"
        listed = ", ".join([*names, f"{known} AS t", "max(i) AS i"])
        # the moment of being known is made on the right side, so that the join itself is a plain "known by then"
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE partners AS SELECT {listed} FROM r WHERE t IS NOT NULL"
            f" GROUP BY {', '.join([*names, 't'])}"
        ).fetchall()
        return 0
    present = " AND ".join(f"{name} IS NOT NULL" for name in names)
    for side, unique in (("l", match.cardinality == "one-to-one"), ("r", match.duplicates == "refuse")):
        if unique:
            _refuse_twice(connection, side, match, present)
    pick = "max" if match.duplicates == "last" else "min"
    listed = ", ".join(names)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE partners AS SELECT {listed}, {pick}(i) AS i FROM r WHERE {present}"
        f" GROUP BY {listed}"
    ).fetchall()
    query = f"SELECT (SELECT count(*) FROM r WHERE {present}) - (SELECT count(*) FROM partners)"
    return int(connection.execute(query).fetchall()[0][0])


def matches_sql(match: Match, left: str = "l") -> str:
    """Return the pairs as SQL: the number of a left row as `l`, that of its partner as `r`."""
    equal = [f"l.{name} = r.{name}" for name in match.names]
    if not match.left_time:
        return f"SELECT l.i AS l, r.i AS r FROM {left} l JOIN partners r ON {' AND '.join(equal)}"
    condition = " AND ".join([*equal, "l.t >= r.t"])
    return (
        f"SELECT l.i AS l, r.i AS r FROM (SELECT * FROM {left} WHERE t IS NOT NULL) l"
        f" ASOF JOIN partners r ON {condition}"
    )


def orphan(lost: int, row: int, match: Match, values: Sequence[object]) -> Invalid:
    """Return what to raise for left rows that find nothing, where that is refused; `row` is the first of them."""
    shown = ", ".join(f"{key}={value}" for key, value in zip(match.keys, values, strict=True))
    return Invalid(
        f"{lost:,} left rows find nothing, the first with {shown or 'no key'}",
        where=f"left table rows[{row}]",
        next_step="complete the right table, or keep or drop such rows",
    )


def _refuse_large(connection: duckdb.DuckDBPyConnection, key: str, name: str) -> None:
    for side, told in _SIDES.items():
        found = connection.execute(
            f"SELECT {name}, i FROM {side} WHERE abs({name}) >= {_TOO_LARGE_KEY} ORDER BY i LIMIT 1"
        ).fetchall()
        if found:
            raise Invalid(
                f"The key {found[0][0]:.0f} is too large to be told from its neighbours as a number",
                where=f"{told} table rows[{found[0][1]}].{key}",
                next_step="read long ids as text",
            )


def _refuse_twice(connection: duckdb.DuckDBPyConnection, side: str, match: Match, present: str) -> None:
    listed = ", ".join(match.names)
    twice = connection.execute(
        f"SELECT {listed}, count(*) FROM {side} WHERE {present} GROUP BY {listed} HAVING count(*) > 1"
        " ORDER BY min(i) LIMIT 1"
    ).fetchall()
    if twice:
        *values, times = twice[0]
        shown = ", ".join(f"{key}={value}" for key, value in zip(match.keys, values, strict=True))
        raise Invalid(
            f"The {_SIDES[side]} table has keys more than once, such as {shown} ({times} times)",
            where=f"join on {', '.join(match.keys)}",
            next_step="drop the duplicates first, join on more columns, or say which of them counts",
        )
