"""What changed between two tables: columns, rows by key or as whole rows, and the figures of each column.

The engine compares files where they lie; neither is loaded. Numbers are compared as they are, long ones to the last
digit, whatever types the files keep them in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import duckdb

from mainspring.data.exact import comparable_sql
from mainspring.data.table import connect, exact_sql, quoted_name, settled_scan
from mainspring.errors import Invalid, nearest

__all__ = ["ColumnChange", "Difference", "difference"]

_EXAMPLES = 3
_Shape = dict[str, "_Kind"]


class _Kind(NamedTuple):
    """What a column holds, in our words, and the engine's type that it is compared in."""

    what: str
    engine: str


@dataclass(frozen=True, slots=True)
class ColumnChange:
    """One column on both sides: its type, and missing values, distinct values (about) and mean, before and after."""

    column: str
    types: tuple[str, str]
    missing: tuple[int, int]
    distinct: tuple[int, int]
    mean: tuple[float | None, float | None]
    changed_rows: int | None


@dataclass(frozen=True, slots=True)
class Difference:
    """Rows added, removed and, with a key, changed; columns that came and went; and what each common column did.

    `examples` are texts of rows: ``+`` added, ``-`` removed, ``~`` changed (by key).
    """

    rows: tuple[int, int]
    added: int
    removed: int
    changed: int | None
    columns_added: tuple[str, ...]
    columns_removed: tuple[str, ...]
    columns: tuple[ColumnChange, ...]
    examples: tuple[str, ...]


def difference(before: Path, after: Path, *, key: Sequence[str] = ()) -> Difference:
    """Compare two files. Without a key a changed row is one removed and one added; rows that stand twice count twice.

    Raises:
        NotFound, Invalid: a file cannot be read, or the key is missing or stands more than once in one of them.
    """
    with connect() as connection:
        shapes = []
        for name, path in (("old", before), ("new", after)):
            sql, described = settled_scan(connection, path)
            casts = [(column, *exact_sql(column, kind)) for column, kind in described]
            listed = ", ".join(f"{expression} AS {quoted_name(column)}" for column, expression, *_ in casts)
            connection.execute(f"CREATE TEMP VIEW {name} AS SELECT {listed} FROM {sql}").fetchall()
            shapes.append({column: _Kind(what, engine) for column, _, what, engine in casts})
        old, new = shapes
        common = [column for column in old if column in new]
        for column in key:
            if column not in common:
                raise Invalid(f"`{column}` is not in both tables", where="--key", next_step=nearest(column, common))
        sizes = tuple(_one(connection, f"SELECT count(*) FROM {name}")[0] for name in ("old", "new"))
        if key:
            added, removed, changed, by_column, examples = _by_key(connection, common, old, new, key)
        else:
            added, removed, examples = _by_row(connection, common, old, new)
            changed, by_column = None, {}
        columns = tuple(
            _column(connection, column, (old[column].what, new[column].what), by_column.get(column))
            for column in common
        )
    return Difference(
        (sizes[0], sizes[1]), added, removed, changed,
        tuple(column for column in new if column not in old), tuple(column for column in old if column not in new),
        columns, tuple(examples),
    )  # fmt: skip


def _one(connection: "duckdb.DuckDBPyConnection", query: str) -> tuple[int, ...]:
    return tuple(connection.execute(query).fetchall()[0])


def _value(side: str, column: str, old: _Shape, new: _Shape) -> str:
    """Return a value as SQL; where the type of the column changed, both sides are compared as text."""
    name = f"{side}.{quoted_name(column)}"
    mine, other = (old[column], new[column]) if side == "old" else (new[column], old[column])
    if mine.what != other.what:
        return f"CAST({name} AS VARCHAR)"
    return comparable_sql(name, mine.engine, other.engine)


def _by_key(
    connection: "duckdb.DuckDBPyConnection",
    common: Sequence[str],
    old: _Shape,
    new: _Shape,
    key: Sequence[str],
) -> tuple[int, int, int, dict[str, int], list[str]]:
    listed = ", ".join(quoted_name(column) for column in key)
    for side in ("old", "new"):
        twice = connection.execute(
            f"SELECT {listed}, count(*) FROM {side} GROUP BY {listed} HAVING count(*) > 1 LIMIT 1"
        ).fetchall()
        if twice:
            shown = ", ".join(f"{column}={value}" for column, value in zip(key, twice[0], strict=False))
            raise Invalid(
                f"The key {shown} stands {twice[0][-1]} times in the {side} table", where="--key",
                next_step="name more columns for the key, or none",
            )  # fmt: skip
    same = " AND ".join(
        f"{_value('old', column, old, new)} IS NOT DISTINCT FROM {_value('new', column, old, new)}" for column in key
    )
    rest = [column for column in common if column not in key]
    differ = [
        f"{_value('old', column, old, new)} IS DISTINCT FROM {_value('new', column, old, new)}" for column in rest
    ]
    shown = ", ".join(
        f"coalesce(CAST(new.{quoted_name(c)} AS VARCHAR), CAST(old.{quoted_name(c)} AS VARCHAR))" for c in key
    )
    changed = " OR ".join(differ) or "false"
    sign = f"""CASE WHEN old."#here" IS NULL THEN '+' WHEN new."#here" IS NULL THEN '-' WHEN {changed} THEN '~' END"""
    flags = ", ".join(f"{each} AS d{place}" for place, each in enumerate(differ))
    joined = (
        f"SELECT {sign} AS sign, concat_ws(', ', {shown}) AS named{', ' if flags else ''}{flags}"
        f' FROM (SELECT *, 1 AS "#here" FROM old) AS old FULL JOIN (SELECT *, 1 AS "#here" FROM new) AS new ON {same}'
    )
    counts = ", ".join([
        *(f"count(*) FILTER (WHERE sign = '{each}')" for each in "+-~"),
        *(f"count(*) FILTER (WHERE sign = '~' AND d{place})" for place in range(len(rest))),
        *(f"arg_min(named, named, {_EXAMPLES}) FILTER (WHERE sign = '{each}')" for each in "+-~"),
    ])  # fmt: skip
    (answer,) = connection.execute(f"SELECT {counts} FROM ({joined})").fetchall()
    by_column = dict(zip(rest, answer[3 : 3 + len(rest)], strict=True))
    named = ", ".join(key)
    examples = [
        f"{sign} {named} = {each}"
        for sign, found in zip("+-~", answer[3 + len(rest) :], strict=True)
        for each in found or ()
    ]
    return answer[0], answer[1], answer[2], by_column, examples


def _by_row(
    connection: "duckdb.DuckDBPyConnection", common: Sequence[str], old: _Shape, new: _Shape
) -> tuple[int, int, list[str]]:
    counted, examples = [], []
    for sign, one, other in (("+", "new", "old"), ("-", "old", "new")):
        sides = []
        for side in (one, other):
            listed = ", ".join(f"{_value(side, column, old, new)} AS c{n}" for n, column in enumerate(common))
            sides.append(f"SELECT {listed or '1 AS c'} FROM {side}")
        rows = f"{sides[0]} EXCEPT ALL {sides[1]}"
        ((count, shown),) = connection.execute(
            f"SELECT count(*), arg_min(CAST(t AS VARCHAR), CAST(t AS VARCHAR), {_EXAMPLES}) FROM ({rows}) AS t"
        ).fetchall()
        counted.append(count)
        examples += [f"{sign} {each}" for each in shown or ()]
    return counted[0], counted[1], examples


def _column(
    connection: "duckdb.DuckDBPyConnection", column: str, kinds: tuple[str, str], changed: int | None
) -> ColumnChange:
    name = quoted_name(column)
    found = []
    for side, kind in zip(("old", "new"), kinds, strict=True):
        mean = f"avg(CAST({name} AS DOUBLE))" if kind == "number" else "NULL"
        found.append(
            connection.execute(
                f"SELECT count(*) - count({name}), approx_count_distinct({name}), {mean} FROM {side}"
            ).fetchall()[0]
        )
    (m0, d0, a0), (m1, d1, a1) = found
    return ColumnChange(column, kinds, (m0, m1), (d0, d1), (a0, a1), changed)
