"""The schema that a file has now, told by the engine: the file may be larger than memory.

What it says is what `schema.infer_schema` says of the same table in memory.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from mainspring.artifacts.scratch import scratch_folder
from mainspring.data.schema import MOST_CATEGORIES, ColumnRule, Schema
from mainspring.data.table import cast_sql, connect, settled_scan, unreadable
from mainspring.data.watching import Tell, untold, watched
from mainspring.data.wide import narrowed
from mainspring.errors import Invalid

__all__ = ["infer_file"]

#: What a text column of a file of separated values may hold and be one of truth values.
_TRUTH = {"true": 1.0, "false": 0.0}


def infer_file(path: Path, *, tell: Tell = untold) -> Schema:
    """Write down what a file looks like: types, missing values, ranges and categories as they stand.

    Raises:
        NotFound, Invalid: the file is missing, holds no rows, or cannot be read.
        Unavailable: the memory allowed is too little.
    """
    rows, rules = 0, dict[str, ColumnRule]()
    with connect() as connection, scratch_folder() as scratch:
        try:
            scan, described = settled_scan(connection, path)
            is_text = scan.startswith("read_csv")
            scan, at_once = narrowed(connection, path, scan, len(described), scratch, tell)
            for start in range(0, len(described), at_once):
                with watched(connection, f"looking at columns {start + 1} and on", tell):
                    rows, found = _look(connection, scan, described[start : start + at_once], is_text=is_text)
                rules |= found
        except duckdb.Error as error:
            raise unreadable(path, error) from error
    if not rows:
        raise Invalid(f"`{path.name}` holds no rows", where=str(path), next_step="give a file with at least one row")
    return Schema(rules)


def _look(
    connection: duckdb.DuckDBPyConnection, scan: str, described: Sequence[tuple[str, str]], *, is_text: bool
) -> tuple[int, dict[str, ColumnRule]]:
    """Return the number of rows and the rules of some columns; of few texts a second scan tells which they are."""
    columns = {name: cast_sql(name, kind) for name, kind in described}
    asked = ["count(*)"]
    for value, kind in columns.values():
        asked.append(f"count({value})")
        asked += {
            "number": [f"min({value})", f"max({value})", f"bool_and({value} = floor({value}))"],
            "string": [f"approx_count_distinct({value})", "NULL", "NULL"],
            "timestamp": ["NULL", "NULL", "NULL"],
        }[kind]
    rows, *figures = connection.execute(f"SELECT {', '.join(asked)} FROM {scan}").fetchall()[0]
    told = {name: tuple(figures[4 * at : 4 * at + 4]) for at, name in enumerate(columns)}
    few = [  # the count is told to some per cent
        name
        for name, (_, kind) in columns.items()
        if kind == "string" and told[name][0] and told[name][1] <= 2 * MOST_CATEGORIES
    ]
    values = {name: list[str]() for name in columns}
    if few:
        listed = ", ".join(f"list(DISTINCT {columns[name][0]})" for name in few)
        answer = connection.execute(f"SELECT {listed} FROM {scan}").fetchall()[0]
        values |= {
            name: sorted(each for each in found if each is not None) for name, found in zip(few, answer, strict=True)
        }
    return rows, {
        name: _rule(kind, rows, told[name], values[name], is_text=is_text) for name, (_, kind) in columns.items()
    }


def _rule(kind: str, rows: int, told: tuple[Any, ...], values: list[str], *, is_text: bool) -> ColumnRule:
    """Return a column's rule by its figures (how many are there, and three that hang on its kind) and its few texts."""
    present, low, high, is_whole = told
    nullable = present < rows
    if is_text and values and {each.lower() for each in values} <= _TRUTH.keys():
        numbers = [_TRUTH[each.lower()] for each in values]
        return ColumnRule("integer", nullable, min=min(numbers), max=max(numbers))
    if kind == "number":
        return ColumnRule("integer" if is_whole else "number", nullable, min=low, max=high)
    if kind == "string":
        return ColumnRule("string", nullable, categories=tuple(values) if 0 < len(values) <= MOST_CATEGORIES else None)
    return ColumnRule("timestamp", nullable)
