"""Rows from elsewhere as versions of a dataset: any Python iterable of mappings, and SQLite tables.

A pull with a cursor fetches only what lies beyond the newest version and adds it; where the last pull ended is read
from that version itself, so there is no state that could disagree with the data.
"""

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Literal

from mainspring.artifacts.protocol import ArtifactStore
from mainspring.data.pins import check_name
from mainspring.data.scratch import scratch_folder
from mainspring.data.table import columns_of, connect, fetch_columns, quoted_files, quoted_name, quoted_text
from mainspring.data.versions import (
    DatasetVersion,
    find_dataset,
    list_datasets,
    record_version,
    version_entry,
    version_event,
)
from mainspring.errors import Conflict, Invalid, NotFound, nearest
from mainspring.store.protocol import Store, Transaction

__all__ = ["Evolve", "Fetch", "Progress", "pull", "sqlite_source"]

#: Gives rows as mappings; of a pull with a cursor those whose cursor is greater than the value handed in, if any.
Fetch = Callable[[object | None], Iterable[Mapping[str, object]]]
#: Is told how many rows have come, and how many came each second.
Progress = Callable[[int, float], None]
#: What becomes of rows whose columns are not those of the newest version: they are refused or both are united.
Evolve = Literal["refuse", "accept"]

_BATCH_ROWS = 50_000


def pull(
    store: Store,
    artifacts: ArtifactStore,
    fetch: Fetch,
    *,
    name: str,
    at: datetime,
    source: str,
    cursor: str = "",
    evolve: Evolve = "refuse",
    progress: Progress | None = None,
) -> DatasetVersion:
    """Fetch rows and keep them as the next version of `name`; with a `cursor`, behind the rows of the newest one.

    The rows go to disk in batches, so that memory does not grow with them. When nothing new comes, the newest version
    is returned. A row that appears later with the cursor of the last one is not seen: let the cursor be something that
    grows.

    Raises:
        Invalid: the name or a row cannot be used, there are no rows at all, or the cursor is no column.
        Conflict: the columns or their types are not those of the newest version and `evolve` refuses, or another
            version came meanwhile.
    """
    check_name(name)
    newest = next(iter(list_datasets(store, name)), None)
    with scratch_folder() as scratch:
        folder = scratch
        after = None
        if cursor and newest is not None:
            after = _last(artifacts, newest, cursor)
        parts, columns = _write_parts(fetch(after), folder, progress)
        if not parts:
            if newest is None or not cursor:
                raise Invalid(f"`{source}` gives no rows", where=source, next_step="check the table or the query")
            return newest
        if cursor and cursor not in columns:
            raise Invalid(f"No column is named `{cursor}`", where="--cursor", next_step=nearest(cursor, columns))
        whole = folder / f"{name}.parquet"
        kept = [artifacts.path_of(newest.digest)] if cursor and newest is not None else []
        _unite([*kept, *parts], columns, whole)
        if newest is not None and evolve == "refuse":
            _refuse_other_columns(newest, columns, whole, source)
        told = source if after is None else f"{source}, {cursor} > {after}"
        entry = version_entry(artifacts, whole, told)

    def write(transaction: Transaction) -> tuple[int, bool]:
        last = transaction.execute("SELECT max(version) FROM dataset_versions WHERE name = ?", (name,))[0][0]
        if cursor and last != (newest.version if newest else None):
            raise Conflict(f"`{name}` has got version {last} meanwhile", next_step="pull again")
        return record_version(transaction, name, entry, at)

    version, _ = store.change(version_event("data.pulled", name, entry), write)
    return find_dataset(store, f"{name}/{version}")


def _last(artifacts: ArtifactStore, newest: DatasetVersion, cursor: str) -> object:
    if not newest.file_name.endswith(".parquet") or cursor not in (newest.columns or {}):
        raise Conflict(
            f"`{newest.reference}` has no column `{cursor}` to go on from",
            next_step="pull without a cursor, or under another name",
        )
    with connect() as connection:
        query = f"SELECT max({quoted_name(cursor)}) AS last FROM {quoted_files([artifacts.path_of(newest.digest)])}"
        value: object = fetch_columns(connection, query)["last"].tolist()[0]
    return value


def _write_parts(rows: Iterable[object], folder: Path, progress: Progress | None) -> tuple[list[Path], list[str]]:
    """Write the rows as Parquet files and return them with all columns, in the order in which they came up."""
    parts: list[Path] = []
    names: dict[str, None] = {}
    count, started = 0, time.monotonic()
    iterator = iter(rows)
    while taken := list(islice(iterator, _BATCH_ROWS)):
        batch: list[Mapping[str, object]] = []
        for row in taken:
            if not isinstance(row, Mapping):
                where = f"rows[{count}]"
                raise Invalid(f"{row!r} is not a mapping", where=where, next_step="yield one dict a row")
            names.update(dict.fromkeys(map(str, row)))
            batch.append(row)
            count += 1
        table = columns_of({name: [row.get(name) for row in batch] for name in names})
        # a column without a value has no type yet, and gets the one of the other parts
        typed = {name: array for name, array in table.items() if not all(value is None for value in array)}
        part = folder / f"part-{len(parts)}.parquet"
        with connect() as connection:
            connection.register("batch", typed or {next(iter(names)): table[next(iter(names))]})
            connection.execute(f"COPY batch TO {quoted_text(str(part))} (FORMAT parquet)").fetchall()
        parts.append(part)
        if progress is not None:
            progress(count, count / max(time.monotonic() - started, 1e-9))
    return parts, list(names)


def _unite(parts: list[Path], columns: list[str], target: Path) -> None:
    with connect() as connection:
        source = quoted_files(parts)
        there = [row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()]
        untyped = [f"CAST(NULL AS VARCHAR) AS {quoted_name(name)}" for name in columns if name not in there]
        query = f"SELECT {', '.join(['*', *untyped])} FROM {source}"
        connection.execute(
            f"COPY ({query}) TO {quoted_text(str(target))} (FORMAT parquet, COMPRESSION zstd)"
        ).fetchall()


def _refuse_other_columns(newest: DatasetVersion, columns: list[str], whole: Path, source: str) -> None:
    known = newest.columns or {}
    with connect() as connection:
        described = connection.execute(f"DESCRIBE SELECT * FROM {quoted_files([whole])}").fetchall()
    kinds = {row[0]: row[1] for row in described}
    found = {
        "new": [each for each in columns if each not in known],
        "gone": [each for each in known if each not in columns],
        "changed": [
            f"{each} ({known[each]} to {kinds[each]})"
            for each in columns
            if known.get(each, kinds[each]) != kinds[each]
        ],
    }
    if any(found.values()):
        said = "; ".join(f"{word} {', '.join(names)}" for word, names in found.items() if names)
        raise Conflict(
            f"The columns are not those of `{newest.reference}`: {said}",
            where=source,
            next_step="say --evolve accept if this is as it should be",
        )


def sqlite_source(path: Path, table: str, cursor: str = "") -> Fetch:
    """Return what fetches a table of a SQLite file, which is opened for reading only; times stay the text they are.

    Raises (also when fetching):
        NotFound: there is no such file or table.
        Invalid: the file is no database, or the cursor is no column of the table.
    """
    if not path.is_file():
        raise NotFound(f"There is no file `{path.name}`", where=str(path), next_step="check the path")

    def fetch(after: object | None) -> Iterator[Mapping[str, object]]:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            try:
                tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master")]
                if table not in tables:
                    raise NotFound(f"There is no table `{table}`", where=str(path), next_step=nearest(table, tables))
                columns = [row[1] for row in connection.execute(f"PRAGMA table_info({quoted_name(table)})")]
                if cursor and cursor not in columns:
                    raise Invalid(f"No column `{cursor}`", where=str(path), next_step=nearest(cursor, columns))
                beyond = f" WHERE {quoted_name(cursor)} > ?" if cursor and after is not None else ""
                order = f" ORDER BY {quoted_name(cursor)}" if cursor else ""
                query = f"SELECT * FROM {quoted_name(table)}{beyond}{order}"
                for row in connection.execute(query, (after,) if beyond else ()):
                    yield dict(zip(columns, row, strict=True))
            except sqlite3.DatabaseError as error:
                said = f"`{path.name}` cannot be read: {error}"
                raise Invalid(said, where=str(path), next_step="give a SQLite database") from error

    return fetch
