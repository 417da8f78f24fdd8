"""Large files in parts: rows of a Parquet file by their numbers, and results that come whole or not at all.

What is being made lies in a hidden folder beside its target, which one process at a time holds.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import duckdb

from mainspring.data.exact import parquet_sql
from mainspring.data.table import connect, quoted_files, quoted_text, settled_scan, unreadable
from mainspring.data.watching import Tell, untold, watched
from mainspring.domain.ids import new_id
from mainspring.errors import Conflict, Invalid

__all__ = [
    "FORMATS",
    "READING_ROW",
    "copied",
    "count_rows",
    "form_of",
    "fresh_folder",
    "in_parquet",
    "part_form",
    "parts_folder",
    "refuse_reading_row",
    "rows_sql",
    "unite",
]

#: How DuckDB writes a file, by its ending.
FORMATS = {"csv": "(FORMAT csv, HEADER)", "parquet": "(FORMAT parquet)", "jsonl": "(FORMAT json)"}
#: What the engine calls the numbers of a Parquet file's rows.
READING_ROW = "file_row_number"
_UNITING = "putting the parts together"


def form_of(target: Path) -> str:
    """Return the format that a file's ending asks for.

    Raises:
        Invalid: it is none that is written.
    """
    ending = target.suffix.removeprefix(".").lower().replace("ndjson", "jsonl")
    if ending not in FORMATS:
        known = ", ".join(f".{each}" for each in sorted(FORMATS))
        raise Invalid(f"`{target.name}` has an ending Mainspring does not write", where="OUT", next_step=f"use {known}")
    return ending


def part_form(ending: str, *, first: bool) -> str:
    """Return how a part is written; only the first one has a heading."""
    return FORMATS[ending] if first else FORMATS[ending].replace("HEADER", "HEADER false")


@contextlib.contextmanager
def parts_folder(target: Path) -> Iterator[Path]:
    """Give the folder for the parts of `target` and hold it; the hold ends with the process, however it ends.

    Raises:
        Conflict: another call makes the same target.
    """
    folder = target.with_name(f".{target.name}.parts")
    handle = None
    while handle is None:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # another call ended in between and removed it
            handle = _held(folder, target)
    try:
        yield folder
    finally:
        os.close(handle)


def _held(folder: Path, target: Path) -> int | None:
    """Return a handle that holds the folder; None where the folder went, or became another one, before it was held."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), folder.stat()):
            return handle
    except BlockingIOError as error:
        os.close(handle)
        raise Conflict(
            f"Another call is writing `{target}`", where="OUT", next_step="wait for it, or name another file"
        ) from error
    except FileNotFoundError:
        pass
    os.close(handle)
    return None


@contextlib.contextmanager
def fresh_folder(target: Path) -> Iterator[Path]:
    """Give the folder for the parts of `target`, empty, and remove it afterwards.

    Raises:
        Conflict: another call makes the same target.
    """
    with parts_folder(target) as folder:
        for stale in folder.iterdir():
            shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def in_parquet(
    connection: duckdb.DuckDBPyConnection, path: Path, file: Path, tell: Tell = untold
) -> tuple[Path, dict[str, str]]:
    """Return a Parquet file with the rows of `path`, itself or else made as `file`, and the types of its columns.

    Parquet can be read from any row on; a text file is turned into it first, in one pass that needs no memory.

    Raises:
        NotFound, Invalid: the file cannot be read, or a column has the name that rows are counted by.
    """
    tell(f"reading the types of {path.name}", 0.0)
    scan, described = settled_scan(connection, path)
    refuse_reading_row(path, dict(described))
    if path.suffix != ".parquet":
        path = copied(connection, scan, file, path, tell)
        scan, described = settled_scan(connection, path)
    return path, dict(described)


def refuse_reading_row(path: Path, names: Collection[str]) -> None:
    """Refuse a table with a column of the name that rows are counted by.

    Raises:
        Invalid: it has one.
    """
    if READING_ROW in names:
        raise Invalid(
            f"A column is called `{READING_ROW}`, as the table engine calls the numbers it reads parts by",
            where=str(path),
            next_step="give the column another name",
        )


def copied(connection: duckdb.DuckDBPyConnection, scan: str, file: Path, source: Path, tell: Tell = untold) -> Path:
    """Write what `scan` reads of `source` as the Parquet file `file`, unless that is there, and return it."""
    if not file.exists():
        hidden = file.with_name(f"{file.name}.{new_id()}")
        try:
            with watched(connection, f"putting {source.name} into columns", tell):
                rows = parquet_sql(connection, f"SELECT * FROM {scan}")
                connection.execute(f"COPY ({rows}) TO {quoted_text(str(hidden))} (FORMAT parquet)").fetchall()
        except duckdb.Error as error:
            hidden.unlink(missing_ok=True)
            raise unreadable(source, error) from error
        hidden.rename(file)
    return file


def count_rows(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    """Return the number of rows of a Parquet file, by its footer."""
    (rows,) = connection.execute(f"SELECT count(*) FROM {quoted_files([path])}").fetchall()[0]
    return int(rows)


def rows_sql(path: Path, first: int = 0, rows: int | None = None) -> str:
    """Return the rows of a Parquet file with their numbers, all or so many, as SQL; others are not read."""
    scan = quoted_files([path]).removesuffix(")") + f", {READING_ROW}=true)"
    some = "" if rows is None else f" WHERE {READING_ROW} >= {first} AND {READING_ROW} < {first + rows}"
    return f"(SELECT * FROM {scan}{some})"


def unite(parts: Sequence[Path], ending: str, tell: Tell = untold) -> Path:
    """Put the parts' rows into one file beside them, in order."""
    whole = parts[0].with_name(f"whole.{ending}")  # what a killed call left of it is written over
    if ending == "parquet":
        with connect() as connection:
            query = f"SELECT * FROM {quoted_files(parts)}"
            with watched(connection, _UNITING, tell):
                connection.execute(f"COPY ({query}) TO {quoted_text(str(whole))} {FORMATS[ending]}").fetchall()
    else:
        with whole.open("wb") as file:
            for number, part in enumerate(parts):
                tell(_UNITING, number / len(parts))
                with part.open("rb") as piece:
                    shutil.copyfileobj(piece, file, 1 << 20)
    return whole
