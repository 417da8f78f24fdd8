"""The joins of `join` from file to file, of any size: part by part of the left rows, in their order.

Which rows belong together is asked of the same `matching`; what stays in memory is one part, and the engine's share.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import duckdb

from mainspring.data.exact import WHOLE, can_round, comparable_sql
from mainspring.data.matching import (
    Match,
    Orphans,
    check_sides,
    find_partners,
    matches_sql,
    orphan,
)
from mainspring.data.parts import (
    READING_ROW,
    count_rows,
    form_of,
    fresh_folder,
    in_parquet,
    part_form,
    rows_sql,
    unite,
)
from mainspring.data.table import cast_sql, connect, quoted_name, quoted_text, unreadable
from mainspring.data.watching import Tell, untold, watched
from mainspring.errors import Invalid

__all__ = ["JoinedFile", "join_files"]

#: Left rows that are joined together.
_PART_ROWS = 1_000_000


@dataclass(frozen=True, slots=True)
class JoinedFile:
    """The account of a join: `rows` were written, and the others as in `Joined`."""

    rows: int
    matched: int
    orphans: int
    duplicates: int


def join_files(
    left: Path,
    right: Path,
    target: Path,
    match: Match,
    *,
    orphans: Orphans = "keep",
    part_rows: int = _PART_ROWS,
    tell: Tell = untold,
) -> JoinedFile:
    """Do what `join_lookup` and `join_asof` do, from file to file.

    `target` is CSV, Parquet or JSON lines by its ending. It comes whole or not at all, and needs its own space
    twice. Memory does not grow with the left rows.

    Raises:
        NotFound, Invalid: a file cannot be read, or as the joins in memory.
        Conflict: another call writes the same target.
    """
    ending = form_of(target)
    for file in (left, right):
        if target.exists() and file.exists() and target.samefile(file):
            raise Invalid(f"`{target}` is one of the tables to be joined", where="OUT", next_step="name another file")
    with connect() as connection, fresh_folder(target) as folder:
        try:
            here, lefts = in_parquet(connection, left, folder / "side-l.parquet", tell)
            there, rights = in_parquet(connection, right, folder / "side-r.parquet", tell)
            check_sides(match, _kinds(lefts), _kinds(rights))
            keys = [_key(name, lefts[name], rights[name]) for name in match.keys]
            _see(connection, "l", here, lefts, [key.left for key in keys], match.left_time)
            _see(connection, "r", there, rights, [key.right for key in keys], match.right_time)
            with watched(connection, f"looking through the keys of {right.name}", tell):
                doubles = [name for name, key in zip(match.keys, keys, strict=True) if key.is_double]
                duplicates = find_partners(connection, match, doubles)
            taken = [name for name in rights if name not in match.keys]
            rows = count_rows(connection, here)
            if not rows:
                raise Invalid(f"`{left.name}` holds no rows", where=str(left), next_step="give at least one row")
            parts: list[Path] = []
            matched = written = 0
            for first in range(0, rows, part_rows):
                tell(f"joining {left.name}", first / rows)
                size = min(part_rows, rows - first)
                found = _found(connection, match, first, size, orphans)
                part = folder / f"{len(parts):06d}.{ending}"
                form = part_form(ending, first=first == 0)
                query = _joined_sql(rows_sql(here, first, size), rows_sql(there), list(lefts), taken, orphans)
                connection.execute(f"COPY ({query}) TO {quoted_text(str(part))} {form}").fetchall()
                parts.append(part)
                matched += found
                written += found if orphans == "drop" else size
            unite(parts, ending, tell).replace(target)
        except duckdb.Error as error:
            raise unreadable(left, error) from error
    return JoinedFile(written, matched, rows - matched, duplicates)


class _Key(NamedTuple):
    """A key as SQL on both sides, and whether it is a double there, which cannot tell all whole numbers apart."""

    left: str
    right: str
    is_double: bool


def _key(name: str, left: str, right: str) -> _Key:
    """Return how a key of these types of the engine is compared: as the numbers are, unless one of both is a double."""
    if all(kind in WHOLE or can_round(kind) for kind in (left, right)):
        value = quoted_name(name)
        return _Key(comparable_sql(value, left, right), comparable_sql(value, right, left), False)
    (here, what), (there, _) = cast_sql(name, left), cast_sql(name, right)
    return _Key(here, there, what == "number")


def _see(
    connection: duckdb.DuckDBPyConnection,
    side: str,
    file: Path,
    described: dict[str, str],
    keys: Sequence[str],
    time: str,
) -> None:
    """Show one side as `matching` sees it."""
    shown = [f"{value} AS k{number}" for number, value in enumerate(keys)]
    if time:
        shown.append(f"{cast_sql(time, described[time])[0]} AS t")
    query = f"SELECT {', '.join([*shown, f'{READING_ROW} AS i'])} FROM {rows_sql(file)}"
    connection.execute(f"CREATE OR REPLACE TEMP VIEW {side} AS {query}").fetchall()


def _kinds(described: dict[str, str]) -> dict[str, str]:
    return {name: cast_sql(name, kind)[1] for name, kind in described.items()}


def _found(connection: duckdb.DuckDBPyConnection, match: Match, first: int, rows: int, orphans: Orphans) -> int:
    """Make the table `found`, the pairs of one part; return how many there are.

    Raises:
        Invalid: there are fewer than rows, and orphans are refused.
    """
    part = f"(SELECT * FROM l WHERE i >= {first} AND i < {first + rows})"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE found AS {matches_sql(match, part)}").fetchall()
    (count,) = connection.execute("SELECT count(*) FROM found").fetchall()[0]
    if count < rows and orphans == "refuse":
        listed = ", ".join(["i", *match.names])
        query = f"SELECT {listed} FROM {part} WHERE i NOT IN (SELECT l FROM found) ORDER BY i LIMIT 1"
        row, *values = connection.execute(query).fetchall()[0]
        raise orphan(rows - count, row, match, values)
    return int(count)


def _joined_sql(left: str, right: str, lefts: Sequence[str], taken: Sequence[str], orphans: Orphans) -> str:
    """Return the rows of one part with the columns of their partners behind their own, in the order of the left."""
    listed = ", ".join([*(f"l.{quoted_name(name)}" for name in lefts), *(f"p.{quoted_name(name)}" for name in taken)])
    own = ", ".join([f"found.l AS {READING_ROW}", *(f"r.{quoted_name(name)}" for name in taken)])
    partners = f"(SELECT {own} FROM found JOIN {right} r ON r.{READING_ROW} = found.r)"
    kind = "JOIN" if orphans == "drop" else "LEFT JOIN"
    equal = f"l.{READING_ROW} = p.{READING_ROW}"
    return f"SELECT {listed} FROM {left} l {kind} {partners} p ON {equal} ORDER BY l.{READING_ROW}"
