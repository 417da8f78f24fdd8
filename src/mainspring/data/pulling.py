"""Rows from elsewhere as versions of a dataset: what a source gives becomes one Parquet file, and where it came from.

A pull with a cursor fetches only what lies beyond the newest version and adds it; of files only those that changed
since the newest version are read. Where the last pull ended is read from that version itself, so there is no state
that could disagree with the data.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import duckdb
from blake3 import blake3

from mainspring.artifacts.protocol import ArtifactStore
from mainspring.artifacts.scratch import scratch_folder
from mainspring.data.pins import check_name
from mainspring.data.row_types import typed_columns
from mainspring.data.sources.protocol import FileSource, RowSource, Source, SourceFile
from mainspring.data.sources.tables import copy_as_parquet, is_workbook, workbook_rows
from mainspring.data.table import cast_sql, connect, quoted_files, quoted_name, quoted_text
from mainspring.data.version_terms import hand_on_terms, refuse_expired, terms_of, write_terms
from mainspring.data.versions import (
    DatasetVersion,
    find_dataset,
    list_datasets,
    record_version,
    version_entry,
    version_event,
)
from mainspring.domain.ids import Digest
from mainspring.errors import Conflict, Invalid, Refused, nearest
from mainspring.store.protocol import Store, Transaction

__all__ = ["Evolve", "Fetch", "Progress", "pull", "pull_from"]

#: Gives rows as mappings; of a pull with a cursor those whose cursor is greater than the value handed in, if any.
Fetch = Callable[[object | None], Iterable[Mapping[str, object]]]
#: Is told how many rows have come, and how many came each second.
Progress = Callable[[int, float], None]
#: What becomes of rows whose columns are not those of the newest version: they are refused or both are united.
Evolve = Literal["refuse", "accept"]

_BATCH_ROWS = 50_000
_ROW = "file_row_number"
#: Whole numbers from here on are not all floats.
_ROUNDED_FROM = 2**53
#: Beginnings of the types that the engine may give a column whose parts have several, though they round some.
_NARROW = ("DOUBLE", "FLOAT", "DECIMAL")
#: Beginnings of the types whose values such a type may round.
_EXACT = ("DECIMAL", "BIGINT", "HUGEINT", "UBIGINT")
#: Digits behind the point that are tried for a column whose parts are of several types of numbers.
_SCALES = (0, 2, 4, 6, 9, 12, 15, 18)


class _Taken(NamedTuple):
    """Where some rows of a version came from: a file with stamp, digest and size, or a range of a cursor."""

    name: str
    rows: int
    stamp: str = ""
    digest: str = ""
    size_bytes: int = 0
    after: str = ""
    until: str = ""


@dataclass
class _Gathered:
    """What came of a source: files of Parquet in `folder`, in order, and where their rows came from."""

    folder: Path
    progress: Progress | None
    parts: list[Path] = field(default_factory=list)
    names: dict[str, None] = field(default_factory=dict)  # of all columns of rows, in the order in which they came up
    taken: list[_Taken] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    rows: int = 0

    def next_part(self) -> Path:
        self.parts.append(self.folder / f"part-{len(self.parts)}.parquet")
        return self.parts[-1]

    def tell(self, rows: int) -> None:
        self.rows += rows
        if self.progress is not None:
            self.progress(self.rows, self.rows / max(time.monotonic() - self.began, 1e-9))


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
    """Keep the rows that a function gives as the next version of `name`; `source` says where they are from.

    Raises what `pull_from` raises.
    """
    given = RowSource(source, fetch)
    return pull_from(store, artifacts, given, name=name, at=at, cursor=cursor, evolve=evolve, progress=progress)


def pull_from(
    store: Store,
    artifacts: ArtifactStore,
    source: Source,
    *,
    name: str,
    at: datetime,
    cursor: str = "",
    evolve: Evolve = "refuse",
    progress: Progress | None = None,
) -> DatasetVersion:
    """Fetch what a source has and keep it as the next version of `name`; with a `cursor`, behind the newest one's rows.

    The rows go to disk in batches, so that memory does not grow with them. When nothing new comes, the newest version
    is returned. A row that appears later with the cursor of the last one is not seen: let the cursor be something that
    grows. The terms of the newest version are those of the new one; where rows of it stay, it ends no later.

    Raises:
        Invalid: the name, a row or a file cannot be used, there are no rows at all, or the cursor is no column.
        Conflict: the columns or their types are not those of the newest version and `evolve` refuses, or another
            version came meanwhile.
        NotFound, Unavailable: the source is not there, or does not answer.
        Refused: the newest version, which rows would be added to, is past its retention.
    """
    check_name(name)
    newest = next(iter(list_datasets(store, name)), None)
    known = newest if cursor or isinstance(source, FileSource) else None  # of which rows are taken
    if known is not None:
        try:
            refuse_expired(store, known.digest, at=at)
        except Refused:
            if cursor:
                raise
            known = None  # all files are read again
    terms = terms_of(store, newest) if newest is not None else None
    with scratch_folder() as scratch:
        gathered = _Gathered(scratch, progress)
        told, is_new = source.told, True
        if isinstance(source, FileSource):
            is_new = _take_files(artifacts, source, known, gathered, evolve)
        else:
            after = _last(artifacts, newest, cursor, source.told) if cursor and newest is not None else None
            _take_rows(source, after, cursor, gathered, newest.reference if newest is not None else "")
            is_new = bool(gathered.parts) or newest is None or not cursor
            told = source.told if after is None else f"{source.told}, {cursor} > {after}"
        if newest is not None and not is_new:
            return newest
        if not gathered.rows:
            raise Invalid(f"`{source.told}` gives no rows", where=source.told, next_step="check the table or the query")
        whole = gathered.folder / f"{name}.parquet"
        kept = [artifacts.path_of(newest.digest)] if cursor and newest is not None else []
        if newest is not None and evolve == "refuse":
            kinds = {**dict.fromkeys(gathered.names, ""), **_kinds(gathered.parts)}
            _refuse_other_columns(newest.columns or {}, kinds, newest.reference, source.told)
        _unite([*kept, *gathered.parts], gathered.names, whole, source.told)
        entry = version_entry(artifacts, whole, told)
    origin = json.dumps({"source": source.told, "parts": [_plain(each) for each in gathered.taken]})

    def write(transaction: Transaction) -> tuple[int, bool]:
        last = transaction.execute("SELECT max(version) FROM dataset_versions WHERE name = ?", (name,))[0][0]
        if (cursor or isinstance(source, FileSource)) and last != (newest.version if newest else None):
            raise Conflict(f"`{name}` has got version {last} meanwhile", next_step="pull again")
        version, is_made = record_version(transaction, name, entry, at, origin)
        if is_made and known is not None:
            hand_on_terms(transaction, name, known.version, version)
        elif is_made and terms is not None:
            write_terms(transaction, name, version, terms, at=at)
        return version, is_made

    version, is_made = store.change(version_event("data.pulled", name, entry), write)
    if not is_made:
        refuse_expired(store, Digest(str(entry[0])), at=at)
    return find_dataset(store, f"{name}/{version}")


def _plain(taken: _Taken) -> dict[str, object]:
    return {word: value for word, value in taken._asdict().items() if value != ""}


def _last(artifacts: ArtifactStore, newest: DatasetVersion, cursor: str, told: str) -> object:
    if not newest.file_name.endswith(".parquet") or cursor not in (newest.columns or {}):
        raise Conflict(
            f"`{newest.reference}` has no column `{cursor}` to go on from",
            next_step="pull without a cursor, or under another name",
        )
    if newest.origin is not None and newest.origin.get("source") != told:
        raise Conflict(
            f"`{newest.reference}` was pulled from `{newest.origin.get('source')}`, whose cursor says nothing here",
            where=told,
            next_step="pull under another name, or once without a cursor",
        )
    with connect() as connection:
        query = f"SELECT max({quoted_name(cursor)}) FROM {quoted_files([artifacts.path_of(newest.digest)])}"
        value: object = connection.execute(query).fetchall()[0][0]
    if isinstance(value, float) and abs(value) >= _ROUNDED_FROM:
        raise _rounded(cursor, newest.reference)
    return value


def _rounded(cursor: str, reference: str) -> Conflict:
    return Conflict(
        f"`{cursor}` may be rounded in `{reference}`, where it is a DOUBLE: rows would be lost or come twice",
        next_step="pull once without a cursor, which keeps its digits",
    )


def _take_rows(source: RowSource, after: object | None, cursor: str, gathered: _Gathered, reference: str) -> None:
    _write_rows(source.fetch(after), gathered, cursor)
    if not gathered.parts:
        return
    if cursor and cursor not in gathered.names:
        raise Invalid(f"No column is named `{cursor}`", where="--cursor", next_step=nearest(cursor, gathered.names))
    until = ""
    if cursor:
        kinds, named = _kinds(gathered.parts), quoted_name(cursor)
        if isinstance(after, float) and kinds.get(cursor, "").startswith("DECIMAL"):
            raise _rounded(cursor, reference)
        gap = f"{named} IS NULL" + (f" OR isnan({named})" if kinds.get(cursor) == "DOUBLE" else "")
        with connect() as connection:
            query = f"SELECT max({named}), count_if({gap}) FROM {quoted_files(gathered.parts)}"
            last, gaps = connection.execute(query).fetchall()[0] if cursor in kinds else (None, gathered.rows)
        if gaps:
            raise Invalid(
                f"{gaps} rows have no `{cursor}`, and later ones without it would never be fetched",
                where=source.told,
                next_step="choose a cursor that every row has",
            )
        until = str(last)
    range_of = f"{cursor} > {after}" if after is not None else ""
    gathered.taken.append(_Taken("", gathered.rows, after=range_of, until=f"{cursor} = {until}" if cursor else ""))


def _write_rows(rows: Iterable[object], gathered: _Gathered, exact: str = "") -> None:
    """Write rows as Parquet files. A column without a value has no type yet, and gets the one of the other parts."""
    names, count = gathered.names, 0
    iterator = iter(rows)
    while taken := list(islice(iterator, _BATCH_ROWS)):
        batch: list[Mapping[str, object]] = []
        for row in taken:
            if not isinstance(row, Mapping):
                where = f"rows[{count}]"
                raise Invalid(
                    f"A row is of type {type(row).__name__}, not a mapping",
                    where=where,
                    next_step="yield one dict a row",
                )
            if not names.keys() >= row.keys():
                _take_names(row, names, f"rows[{count}]")
            batch.append(row)
            count += 1
        if not names:
            raise Invalid("The rows have no columns", where="rows[0]", next_step="yield one dict a row")
        columns = {name: [row.get(name) for row in batch] for name in names}
        filled = {name: values for name, values in columns.items() if not all(value is None for value in values)}
        table, kinds = typed_columns(filled or {next(iter(names)): columns[next(iter(names))]}, exact)
        casts = ", ".join(f"CAST({quoted_name(name)} AS {kind}) AS {quoted_name(name)}" for name, kind in kinds.items())
        with connect() as connection:
            connection.register("batch", table)
            target = quoted_text(str(gathered.next_part()))
            try:
                query = f"SELECT *{f' REPLACE ({casts})' if casts else ''} FROM batch"
                connection.execute(f"COPY ({query}) TO {target} (FORMAT parquet)").fetchall()
            except duckdb.Error as error:
                said = str(error).splitlines()[0]
                raise Invalid(
                    f"The rows cannot be kept: {said}", next_step="give columns names of their own"
                ) from error
        gathered.tell(len(taken))


def _take_names(row: Mapping[Any, object], names: dict[str, None], where: str) -> None:
    for name in row:
        if not isinstance(name, str):
            raise Invalid(f"The column {name!r} is not named by a text", where=where, next_step="name it by a text")
        names[name] = None
    same: dict[bytes, str] = {}
    for name in names:
        if (other := same.setdefault(name.encode().lower(), name)) != name:
            raise Invalid(
                f"The columns `{other}` and `{name}` differ in case alone", where=where, next_step="rename one of them"
            )


def _take_files(
    artifacts: ArtifactStore, source: FileSource, newest: DatasetVersion | None, gathered: _Gathered, evolve: Evolve
) -> bool:
    """Take what changed since the newest version, and the rest out of it; return False when nothing changed."""
    known = _known_files(source, newest)
    brought = gathered.folder / "brought"
    brought.mkdir()
    columns = (newest.columns or {}) if newest is not None else {}
    reference, seen, changed = newest.reference if newest is not None else "", set[str](), False
    stamps = {name: taken.stamp for name, (_, taken) in known.items()}
    ranges: list[tuple[int, int]] = []
    for file in source.files(stamps):
        seen.add(file.name)
        old = known.get(file.name)
        if old is not None and file.stamp and file.stamp == old[1].stamp:
            ranges.append((old[0], old[0] + old[1].rows))
            gathered.taken.append(old[1])
            continue
        changed = True
        _take_kept(artifacts, newest, ranges, gathered)
        ranges = []
        parts = len(gathered.parts)
        _take_file(file, brought, gathered)
        found = _kinds(gathered.parts[parts:])
        if evolve == "refuse" and columns:
            _refuse_other_columns(columns, found, reference, f"{source.told}: {file.name}")
        columns, reference = (columns, reference) if columns else (found, file.name)
    if not changed and seen == known.keys():
        return False
    _take_kept(artifacts, newest, ranges, gathered)
    return True


def _known_files(source: FileSource, newest: DatasetVersion | None) -> dict[str, tuple[int, _Taken]]:
    """Return the files that the newest version was made of, each with the number of its first row."""
    origin = newest.origin if newest is not None else None
    if newest is None or origin is None or origin.get("source") != source.told or _ROW in (newest.columns or {}):
        return {}
    found, first = {}, 0
    for each in origin["parts"]:
        taken = _Taken(**each)
        found[taken.name] = (first, taken)
        first += taken.rows
    return found if first == newest.n_rows else {}


def _take_kept(
    artifacts: ArtifactStore, newest: DatasetVersion | None, ranges: list[tuple[int, int]], gathered: _Gathered
) -> None:
    """Take rows out of the newest version, whose files have not changed."""
    if newest is None or not ranges:
        return
    scan = quoted_files([artifacts.path_of(newest.digest)]).removesuffix(")") + f", {_ROW}=true)"
    wanted = " OR ".join(f"{_ROW} >= {first} AND {_ROW} < {end}" for first, end in _joined(ranges))
    query = f"SELECT * EXCLUDE ({_ROW}) FROM {scan} WHERE {wanted} ORDER BY {_ROW}"
    with connect() as connection:
        target = quoted_text(str(gathered.next_part()))
        connection.execute(f"COPY ({query}) TO {target} (FORMAT parquet)").fetchall()
    gathered.tell(sum(end - first for first, end in ranges))


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for first, end in sorted(ranges):
        if joined and joined[-1][1] == first:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((first, end))
    return joined


def _take_file(file: SourceFile, brought: Path, gathered: _Gathered) -> None:
    path = file.bring(brought)
    try:
        digest = blake3()
        with path.open("rb") as stream:
            while piece := stream.read(4 << 20):
                digest.update(piece)
        size, before = path.stat().st_size, gathered.rows
        if is_workbook(path.name):
            _write_rows(workbook_rows(path, file.name.partition("#")[2]), gathered)
        else:
            part = gathered.next_part()
            copy_as_parquet(path, part)
            with connect() as connection:
                gathered.tell(connection.execute(f"SELECT count(*) FROM {quoted_files([part])}").fetchall()[0][0])
    finally:
        path.unlink(missing_ok=True)
    rows = gathered.rows - before
    gathered.taken.append(_Taken(file.name, rows, file.stamp, digest.hexdigest(), size))


def _unite(parts: list[Path], names: Iterable[str], target: Path, told: str) -> None:
    there = _kinds(parts)
    with connect() as connection:
        untyped = [f"CAST(NULL AS VARCHAR) AS {quoted_name(name)}" for name in names if name not in there]
        try:
            narrow = {name: kind for name, kind in there.items() if kind.startswith(_NARROW)}
            whole = _widened(connection, parts, narrow)
            query = f"SELECT {', '.join(['*', *untyped])} FROM {whole}"
            connection.execute(
                f"COPY ({query}) TO {quoted_text(str(target))} (FORMAT parquet, COMPRESSION zstd)"
            ).fetchall()
        except duckdb.Error as error:
            said = str(error).splitlines()[0]
            raise Invalid(
                f"The parts make no one table: {said}", where=told, next_step="give them like types"
            ) from error


def _widened(connection: "duckdb.DuckDBPyConnection", parts: list[Path], narrow: Mapping[str, str]) -> str:
    """Return the SQL of the parts as one table; numbers that their common type would round get a wider one."""
    if len(parts) < 2 or not narrow:
        return quoted_files(parts)
    typed = [(part, _described(connection, quoted_files([part]))) for part in parts]
    groups: dict[str, dict[str, list[Path]]] = {}  # of the parts, by column and type
    for part, kinds in typed:
        for name in narrow:
            if name in kinds:
                groups.setdefault(name, {}).setdefault(kinds[name], []).append(part)
    wider = {
        name: kind for name, found in groups.items() if (kind := _wider_kind(connection, name, narrow[name], found))
    }
    if not wider:
        return quoted_files(parts)
    read = []
    for kinds, alike in groupby(typed, lambda each: each[1]):
        casts = ", ".join(
            f"CAST(CAST({quoted_name(name)} AS VARCHAR) AS {kind}) AS {quoted_name(name)}"
            for name, kind in wider.items()
            if name in kinds
        )
        read.append(f"SELECT *{f' REPLACE ({casts})' if casts else ''} FROM {quoted_files(part for part, _ in alike)}")
    return f"({' UNION ALL BY NAME '.join(read)})"


def _wider_kind(
    connection: "duckdb.DuckDBPyConnection", name: str, common: str, groups: Mapping[str, list[Path]]
) -> str | None:
    """Return the type that keeps all values of a column whose parts have several; None if their common one does."""
    if len(groups) < 2:
        return None
    column, exact = quoted_name(name), [kind for kind in groups if kind.startswith(_EXACT)]
    if not any(_is_lost(connection, column, kind, groups[kind], common) for kind in exact):
        return None
    for scale in _SCALES:
        wider = f"DECIMAL(38,{scale})"
        if not any(_is_lost(connection, column, kind, parts, wider) for kind, parts in groups.items()):
            return wider
    return "VARCHAR"


def _is_lost(connection: "duckdb.DuckDBPyConnection", column: str, kind: str, parts: list[Path], other: str) -> bool:
    back = f"TRY_CAST(CAST(TRY_CAST(CAST({column} AS VARCHAR) AS {other}) AS VARCHAR) AS {kind})"
    query = f"SELECT 1 FROM {quoted_files(parts)} WHERE {back} IS DISTINCT FROM {column} LIMIT 1"
    return bool(connection.execute(query).fetchall())


def _kinds(parts: list[Path]) -> dict[str, str]:
    if not parts:
        return {}
    with connect() as connection:
        return _described(connection, quoted_files(parts))


def _described(connection: "duckdb.DuckDBPyConnection", source: str) -> dict[str, str]:
    return {row[0]: row[1] for row in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}


def _refuse_other_columns(known: Mapping[str, str], kinds: Mapping[str, str], reference: str, where: str) -> None:
    """Refuse other columns, or such of another family of types; that a whole number becomes a decimal one is none."""
    found = {
        "new": [each for each in kinds if each not in known],
        "gone": [each for each in known if each not in kinds],
        "changed": [
            f"{name} ({known[name]} to {kind})"
            for name, kind in kinds.items()
            if kind and name in known and cast_sql(name, known[name])[1] != cast_sql(name, kind)[1]
        ],
    }
    if any(found.values()):
        said = "; ".join(f"{word} {', '.join(names)}" for word, names in found.items() if names)
        raise Conflict(
            f"The columns are not those of `{reference}`: {said}",
            where=where,
            next_step="say --evolve accept if this is as it should be",
        )
