"""The splits of `split` from file to files, which may be larger than memory; the rows keep their order."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np

from mainspring.data.parts import READING_ROW, count_rows, fresh_folder, in_parquet, rows_sql
from mainspring.data.split import PARTS, refuse_empty, split_by_share, time_borders
from mainspring.data.table import cast_sql, connect, quoted_text, unreadable
from mainspring.data.watching import Tell, untold, watched
from mainspring.errors import Conflict, Invalid, nearest

__all__ = ["split_file"]


def split_file(
    source: Path,
    folder: Path,
    *,
    time: str = "",
    validation: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
    tell: Tell = untold,
) -> dict[str, int]:
    """Write the parts of a file as train, validation and test.parquet of the new `folder`; return their rows.

    With a `time` memory does not grow with the rows. Without one the rows are dealt as `split_by_share` deals them, and
    their numbers are kept in memory, some 30 bytes a row.

    Raises:
        NotFound, Invalid: the file cannot be read or has no such time, or as `split_by_time` and `split_by_share`.
        Conflict: the folder is there, or another call makes it.
    """
    if folder.exists():
        raise Conflict(f"`{folder}` exists already", where="--into", next_step="name a new folder")
    with connect() as connection, fresh_folder(folder) as parts:
        draft = parts / "whole"
        draft.mkdir()
        try:
            file, described = in_parquet(connection, source, parts / "rows.parquet", tell)
            if time and time not in described:
                raise Invalid(f"There is no column `{time}`", where="time", next_step=nearest(time, described))
            if time:
                conditions = _by_time(connection, file, time, described[time], validation, test, tell)
            else:
                conditions = _by_share(connection, file, validation, test, seed)
            sizes = {}
            for name, condition in zip(PARTS, conditions, strict=True):
                query = f"SELECT * EXCLUDE ({READING_ROW}) FROM {rows_sql(file)} WHERE {condition}"
                path = draft / f"{name}.parquet"
                with watched(connection, f"writing the rows of {name}", tell):
                    connection.execute(f"COPY ({query}) TO {quoted_text(str(path))} (FORMAT parquet)").fetchall()
                sizes[name] = count_rows(connection, path)
        except duckdb.Error as error:
            raise unreadable(source, error) from error
        refuse_empty(sizes)
        draft.rename(folder)
    return sizes


def _by_time(
    connection: duckdb.DuckDBPyConnection,
    file: Path,
    time: str,
    kind: str,
    validation: float,
    test: float,
    tell: Tell,
) -> Iterator[str]:
    """Return the conditions of the parts' rows."""
    moment, what = cast_sql(time, kind)
    if what != "timestamp":
        raise Invalid(f"The column `{time}` holds no moments", where="time", next_step="parse it as a timestamp")
    table = f"(SELECT {moment} AS t, {READING_ROW} AS i FROM {rows_sql(file)})"
    with watched(connection, f"counting the moments of {time}", tell):
        borders = time_borders(connection, table, validation=validation, test=test)
    low, high = (f"TIMESTAMP '{border}'" for border in borders)
    return iter((f"{moment} < {low}", f"{moment} >= {low} AND {moment} < {high}", f"{moment} >= {high}"))


def _by_share(
    connection: duckdb.DuckDBPyConnection, file: Path, validation: float, test: float, seed: int
) -> Iterator[str]:
    split = split_by_share(count_rows(connection, file), validation=validation, test=test, seed=seed)
    for name in PARTS:
        connection.register("chosen", {"i": np.asarray(getattr(split, name))})
        yield f"{READING_ROW} IN (SELECT i FROM chosen)"
