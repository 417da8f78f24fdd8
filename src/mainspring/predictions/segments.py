"""The sealed prediction log: journals become Parquet segments, each with one row in the table `log_segments`.

Sealing reads a journal from where it last stopped, writes one segment, and commits the segment's row together with
the journal's new offset, so every frame is sealed exactly once however often the process dies. Segments that no row
names (a crash between the rename and the commit) are swept at the next sealing. A lock keeps sealers apart. Small
segments are merged as they grow in number (`_merge`); `log_traffic` remembers what each sealing brought.
"""

import contextlib
import dataclasses
import fcntl
import math
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainspring.data.table import Columns, connect, typed_sql
from mainspring.domain.ids import new_id
from mainspring.domain.moments import to_iso
from mainspring.domain.signature import Column, ColumnType, Signature
from mainspring.errors import Corrupt, NotFound
from mainspring.predictions._files import SUFFIXES, encrypted_anew, is_behind, refuse_unknown, write_segment
from mainspring.predictions._merge import merge_small
from mainspring.predictions._table import Kind, Segment, hourly_traffic, insert, older, replace, segments, traffic
from mainspring.predictions.counts import Hourly, ProfileOf, count_hours, keep_hourly
from mainspring.predictions.gaps import keep_gaps
from mainspring.predictions.hours import add_hours
from mainspring.predictions.journal import JournalFile, journals, read_frames
from mainspring.predictions.records import (
    BatchRecord,
    LabelRecord,
    LostRecord,
    PredictionRecord,
    RefusedRecord,
    decode_record,
)
from mainspring.store.protocol import Store, Transaction

__all__ = [
    "FEATURE", "Segment", "SignatureOf", "encrypt_segments", "features_of", "hourly_traffic", "only_sealer", "seal",
    "segments", "segments_behind", "traffic",
]  # fmt: skip

#: Before the name of each feature column, so that no feature can hide a column of the log itself.
FEATURE = "x_"
#: Tells the signature of a model version, by which the values of a record get their column types.
SignatureOf = Callable[[str, int], Signature]
_MOST_ROWS = 1 << 18


def seal(
    store: Store,
    journal_folder: Path,
    segment_folder: Path,
    signature_of: SignatureOf,
    *,
    at: datetime,
    profile_of: ProfileOf = lambda model, version: None,
) -> int:
    """Turn all whole frames that are not sealed yet into segments, and return how many rows that were.

    Each segment of a version that has a profile is counted into it, once (`counts`). Journals whose writer has ended
    and which are sealed to their end are removed.

    Raises:
        Corrupt: a journal is damaged in its middle. All other journals were sealed, and so was what stands before the
            damage; the file is set aside with the ending ``.damaged``, so that the next sealing goes on without it.
        Refused: a segment lies under a key that is not named; no journal was touched.
    """
    segment_folder.mkdir(parents=True, exist_ok=True)
    journal_folder.mkdir(parents=True, exist_ok=True)
    sealed, damaged = 0, []
    with only_sealer(segment_folder):
        _sweep(store, journal_folder, segment_folder)
        refuse_unknown(segment_folder)
        for each in journals(journal_folder):
            try:
                sealed += _seal_journal(store, each, segment_folder, signature_of, profile_of, at)
            except Corrupt as error:
                damaged.append(error)
        merge_small(store, segment_folder)
    if damaged:
        raise damaged[0]
    return sealed


def encrypt_segments(store: Store, folder: Path) -> int:
    """Write every segment anew that does not lie under the first key of the setting `encryption`; return how many.

    A kill at any instant leaves each segment as it was or encrypted; files without a row are swept at the next sealing.
    """
    if not folder.is_dir():
        return 0
    done = 0
    with only_sealer(folder):
        for each in older(store, "~"):  # behind every moment
            path = encrypted_anew(folder / each.path, each.kind)
            if path is not None:
                replace(store, [each], dataclasses.replace(each, path=path.name))
                (folder / each.path).unlink(missing_ok=True)
                done += 1
    return done


def segments_behind(folder: Path) -> bool:
    """Whether `encrypt_segments` has something to do."""
    return folder.is_dir() and any(is_behind(each) for each in folder.iterdir() if each.suffix in SUFFIXES)


def _seal_journal(
    store: Store, journal: JournalFile, folder: Path, signature_of: SignatureOf, profile_of: ProfileOf, at: datetime
) -> int:
    path = journal.path
    known = store.read("SELECT offset_bytes FROM journal_offsets WHERE journal = ?", (path.name,))
    offset = known[0][0] if known else 0
    sealed, damage = 0, None
    while damage is None:
        batch: dict[tuple[Kind, str, int], list[Any]] = {}  # one kind of record each
        lost: list[LostRecord] = []
        served: list[BatchRecord | RefusedRecord] = []
        rows, start = 0, offset
        try:
            for payload, end in read_frames(path, offset):
                record = decode_record(payload, where=f"{path} byte {offset}")
                if isinstance(record, LostRecord):
                    lost.append(record)
                    offset = end
                    continue
                if isinstance(record, RefusedRecord):
                    served.append(record)
                    offset = end
                    continue
                key: tuple[Kind, str, int] = ("labels", record.model, 0)
                if isinstance(record, PredictionRecord):
                    record = record.as_batch()
                if isinstance(record, BatchRecord):
                    key = ("predictions", record.model, record.version)
                    served.append(record)
                if record.ids:
                    batch.setdefault(key, []).append(record)
                offset, rows = end, rows + len(record.ids)
                if rows >= _MOST_ROWS:
                    break
        except Corrupt as error:
            damage = error
        if offset == start:
            break
        made = [_write_segment(folder, *key, records, signature_of, profile_of) for key, records in batch.items()]
        _commit(store, path.name, offset, made, lost, served, at)
        sealed += rows
    if damage is not None:
        if not journal.ended:
            raise damage
        aside = path.with_name(path.name + ".damaged")
        path.rename(aside)
        next_step = "what came before this byte is sealed; the file was set aside under this name"
        raise Corrupt(damage.what, where=damage.where.replace(str(path), str(aside)), next_step=next_step) from damage
    if journal.ended:
        path.unlink(missing_ok=True)
        store.record(lambda t: t.execute("DELETE FROM journal_offsets WHERE journal = ?", (path.name,)))
    return sealed


def _commit(
    store: Store,
    journal: str,
    offset: int,
    made: list[tuple[Segment, Hourly]],
    lost: list[LostRecord],
    served: list[BatchRecord | RefusedRecord],
    at: datetime,
) -> None:
    moment = to_iso(at)

    def write(transaction: Transaction) -> None:
        keep_gaps(transaction, lost)
        add_hours(transaction, served)
        for segment, hourly in made:
            insert(transaction, segment, moment)
            keep_hourly(transaction, segment.path, hourly)
            transaction.execute(
                "INSERT INTO log_traffic (model, kind, n_rows, sealed_at) VALUES (?, ?, ?, ?)",
                (segment.model, segment.kind, segment.n_rows, moment),
            )
        transaction.execute(
            "INSERT INTO journal_offsets (journal, offset_bytes, ended) VALUES (?, ?, 0)"
            " ON CONFLICT (journal) DO UPDATE SET offset_bytes = excluded.offset_bytes",
            (journal, offset),
        )

    store.record(write)


def _write_segment(
    folder: Path,
    kind: Kind,
    model: str,
    version: int,
    records: list[Any],
    signature_of: SignatureOf,
    profile_of: ProfileOf,
) -> tuple[Segment, Hourly]:  # records: all BatchRecord or all LabelRecord
    hourly: Hourly = {}
    if kind == "predictions":
        columns = _prediction_columns(records, _columns_of(model, version, records, signature_of))
        reference = profile_of(model, version)
        if reference is not None:
            hourly = count_hours(reference, features_of(columns), columns["at"], columns["route"] != "shadow")
    else:
        columns = _label_columns(records)
    with connect() as connection:
        connection.register("records", columns)
        path = write_segment(folder, kind, connection, f"SELECT {typed_sql(columns)} FROM records")
    ids, moments = columns["id"], columns["at"]
    spans = min(moments), max(moments), min(ids), max(ids)
    return Segment(model, kind, path.name, len(ids), *spans, version), hourly


def features_of(logged: Columns) -> Columns:
    """Return the feature columns of logged rows under their own names."""
    return {name.removeprefix(FEATURE): array for name, array in logged.items() if name.startswith(FEATURE)}


def _columns_of(model: str, version: int, records: list[BatchRecord], signature_of: SignatureOf) -> tuple[Column, ...]:
    """Return the columns of a version, or of what was asked where the registry does not know the version."""
    try:
        return signature_of(model, version).columns
    except NotFound:  # a server may answer from a bundle's folder; what it wrote down is kept all the same
        names = dict.fromkeys(name for record in records for name in record.columns)
        return tuple(Column(name, _type_of(name, records), nullable=True) for name in names)


def _type_of(name: str, records: list[BatchRecord]) -> ColumnType:
    values = (value for record in records for value in record.columns.get(name, ()))
    return "number" if all(value is None or isinstance(value, int | float) for value in values) else "string"


def _prediction_columns(records: list[BatchRecord], features: tuple[Column, ...]) -> dict[str, NDArray[Any]]:
    sizes = [rows for record in records for rows in record.rows]

    def spread(values: Iterable[Iterable[object]], dtype: Any = object) -> NDArray[Any]:  # one a request -> one a row
        array = np.empty(len(sizes), dtype=dtype)
        array[:] = [value for some in values for value in some]
        return np.repeat(array, sizes)

    def same(values: Callable[[BatchRecord], object], dtype: Any = object) -> NDArray[Any]:  # one a record -> one a row
        return spread(([values(record)] * len(record.rows) for record in records), dtype)

    columns = {
        "id": _flat(record.ids for record in records),
        "at": spread([at or record.received_at for at in record.event_at] for record in records),
        "received_at": same(lambda record: record.received_at),
        "version": same(lambda record: record.version, np.int64),
        "route": same(lambda record: record.route),
        "request_id": spread(record.request_ids for record in records),
        "place": np.array([place for size in sizes for place in range(size)], dtype=np.int64),
        "latency_ms": spread((record.latency_ms for record in records), np.float64),
    }
    scores = np.array([score for record in records for score in record.scores], dtype=np.float64)
    if scores.ndim == 2:
        columns |= {f"score_{index}": scores[:, index] for index in range(scores.shape[1])}
    else:
        columns["score"] = scores
    if any(record.lookups for record in records):
        columns["lookups"] = _flat(
            [msgspec.json.encode(each).decode() if each else None for each in record.lookups or [{}] * len(record.ids)]
            for record in records
        )
    redacted = set.intersection(*(set(record.redacted) for record in records))
    for column in features:
        if column.name in redacted:  # not known, which is not the same as missing in every row
            continue
        values = _flat(record.columns.get(column.name, [None] * len(record.ids)) for record in records)
        columns[FEATURE + column.name] = _typed(values, column.type)
    return columns


def _typed(values: NDArray[Any], kind: ColumnType) -> NDArray[Any]:
    """Return logged values in the type of their column; what does not fit, which no server lets pass, is missing."""
    if kind == "timestamp":
        return np.array([_moment(value) for value in values], dtype="datetime64[us]")
    if kind != "string":
        return np.array([_number(value) for value in values], dtype=np.float64)
    texts = np.empty(len(values), dtype=object)
    texts[:] = [None if value is None else str(value) for value in values]
    return texts


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _label_columns(records: list[LabelRecord]) -> dict[str, NDArray[Any]]:
    sizes = [len(record.ids) for record in records]
    return {
        "id": _flat(record.ids for record in records),
        "at": np.repeat(np.array([record.at for record in records], dtype=object), sizes),
        "label": np.array([str(value) for record in records for value in record.labels], dtype=object),
        "source": np.repeat(np.array([record.source for record in records], dtype=object), sizes),
        # of two labels with one moment the one that was sealed later counts
        "sealed": np.repeat(np.array([new_id() for _ in records], dtype=object), sizes),
    }


def _flat(lists: Iterable[Iterable[object]]) -> NDArray[Any]:
    values = [value for some in lists for value in some]
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _sweep(store: Store, journal_folder: Path, folder: Path) -> None:
    """Remove what a sealer that died left behind: files without a row, and the offset of a journal that is gone."""
    known = {row[0] for row in store.read("SELECT path FROM log_segments")}
    for stray in folder.iterdir():
        if stray.suffix in SUFFIXES and stray.name not in known:
            stray.unlink(missing_ok=True)
    names = [row[0] for row in store.read("SELECT journal FROM journal_offsets")]
    gone = [(name,) for name in names if not (journal_folder / name).exists()]
    if gone:
        store.record(lambda t: t.execute_many("DELETE FROM journal_offsets WHERE journal = ?", gone))


@contextlib.contextmanager
def only_sealer(folder: Path) -> Iterator[None]:
    """Keep all other sealers of `folder` waiting until the block ends."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
