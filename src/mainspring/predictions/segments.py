"""The sealed prediction log: journals become Parquet segments, each with one row in the table `log_segments`.

Sealing reads a journal from where it last stopped, writes one segment, and commits the segment's row together with
the journal's new offset, so every frame is sealed exactly once however often the process dies. Segments that no row
names (a crash between the rename and the commit) are swept at the next sealing. A lock keeps sealers apart.
"""

import contextlib
import fcntl
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import duckdb
import msgspec
import numpy as np
from numpy.typing import NDArray

from mainspring.domain.ids import new_id
from mainspring.domain.moments import to_iso
from mainspring.domain.signature import Signature
from mainspring.predictions.journal import journals, read_frames
from mainspring.predictions.records import LabelRecord, PredictionRecord
from mainspring.store.protocol import Store, Transaction

__all__ = ["FEATURE", "Segment", "SignatureOf", "seal", "segments"]

#: Before the name of each feature column, so that no feature can hide a column of the log itself.
FEATURE = "x_"
Kind = Literal["predictions", "labels"]
#: Tells the signature of a model version, by which the values of a record get their column types.
SignatureOf = Callable[[str, int], Signature]
_MOST_ROWS = 1 << 18


@dataclass(frozen=True, slots=True)
class Segment:
    """One sealed file and what it spans; `first_at`/`last_at` are event times, ids compare as text."""

    model: str
    kind: Kind
    path: str
    n_rows: int
    first_at: str
    last_at: str
    first_id: str
    last_id: str


def seal(store: Store, journal_folder: Path, segment_folder: Path, signature_of: SignatureOf, *, at: datetime) -> int:
    """Turn all whole frames that are not sealed yet into segments, and return how many rows that were.

    Journals whose writer has ended and which are sealed to their end are removed.
    """
    segment_folder.mkdir(parents=True, exist_ok=True)
    journal_folder.mkdir(parents=True, exist_ok=True)
    with _only_sealer(segment_folder):
        _sweep(store, segment_folder)
        return sum(
            _seal_journal(store, each.path, each.ended, segment_folder, signature_of, at)
            for each in journals(journal_folder)
        )


def segments(
    store: Store, model: str, kind: Kind, *, since: str = "", until: str = "~", containing: str | None = None
) -> list[Segment]:
    """Return the segments of `model` that may hold event times in [since, until), or the prediction id `containing`."""
    sql = (
        "SELECT model, kind, path, n_rows, first_at, last_at, first_id, last_id FROM log_segments"
        " WHERE model = ? AND kind = ? AND last_at >= ? AND first_at < ?"
    )
    bound = [model, kind, since, until]
    if containing is not None:
        sql += " AND first_id <= ? AND last_id >= ?"
        bound += [containing, containing]
    return [Segment(*row) for row in store.read(sql + " ORDER BY number", bound)]


def _seal_journal(
    store: Store, journal: Path, ended: bool, folder: Path, signature_of: SignatureOf, at: datetime
) -> int:
    known = store.read("SELECT offset_bytes FROM journal_offsets WHERE journal = ?", (journal.name,))
    offset = known[0][0] if known else 0
    sealed = 0
    while True:
        batch: dict[tuple[Kind, str, int], list[PredictionRecord | LabelRecord]] = {}
        rows, start = 0, offset
        for payload, end in read_frames(journal, offset):
            record = _decode(payload)
            version = record.version if isinstance(record, PredictionRecord) else 0
            kind: Kind = "predictions" if isinstance(record, PredictionRecord) else "labels"
            batch.setdefault((kind, record.model, version), []).append(record)
            offset, rows = end, rows + len(record.ids)
            if rows >= _MOST_ROWS:
                break
        if offset == start:
            break
        made = [
            _write_segment(folder, kind, model, records, None if kind == "labels" else signature_of(model, version))
            for (kind, model, version), records in batch.items()
        ]
        _commit(store, journal.name, offset, made, at)
        sealed += rows
    if ended:
        journal.unlink(missing_ok=True)
        store.record(lambda t: t.execute("DELETE FROM journal_offsets WHERE journal = ?", (journal.name,)))
    return sealed


def _decode(payload: bytes) -> PredictionRecord | LabelRecord:
    return msgspec.json.decode(payload, type=PredictionRecord | LabelRecord)


def _commit(store: Store, journal: str, offset: int, made: list[Segment], at: datetime) -> None:
    def write(transaction: Transaction) -> None:
        transaction.execute_many(
            "INSERT INTO log_segments (model, kind, path, n_rows, first_at, last_at, first_id, last_id, sealed_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (s.model, s.kind, s.path, s.n_rows, s.first_at, s.last_at, s.first_id, s.last_id, to_iso(at))
                for s in made
            ],
        )
        transaction.execute(
            "INSERT INTO journal_offsets (journal, offset_bytes, ended) VALUES (?, ?, 0)"
            " ON CONFLICT (journal) DO UPDATE SET offset_bytes = excluded.offset_bytes",
            (journal, offset),
        )

    store.record(write)


def _write_segment(
    folder: Path, kind: Kind, model: str, records: Iterable[Any], signature: Signature | None
) -> Segment:  # records: all PredictionRecord or all LabelRecord
    listed = list(records)
    columns = _prediction_columns(listed, signature) if signature is not None else _label_columns(listed)
    path = folder / f"{kind}-{new_id()}.parquet"
    hidden = path.with_suffix(".tmp")
    with duckdb.connect() as connection:
        connection.register("records", columns)
        connection.execute(f"COPY (SELECT * FROM records) TO '{_quoted(hidden)}' (FORMAT parquet, COMPRESSION zstd)")
    hidden.replace(path)
    ids = sorted((min(columns["id"]), max(columns["id"])))
    moments = columns["at"]
    return Segment(model, kind, path.name, len(columns["id"]), min(moments), max(moments), ids[0], ids[-1])


def _prediction_columns(records: list[PredictionRecord], signature: Signature) -> dict[str, NDArray[Any]]:
    sizes = [len(record.ids) for record in records]

    def spread(values: Iterable[object], dtype: Any = object) -> NDArray[Any]:  # one value a record -> one a row
        array = np.empty(len(records), dtype=dtype)
        array[:] = list(values)
        return np.repeat(array, sizes)

    columns = {
        "id": _flat(record.ids for record in records),
        "at": spread(record.at for record in records),
        "received_at": spread(record.received_at for record in records),
        "version": spread((record.version for record in records), np.int64),
        "route": spread(record.route for record in records),
        "request_id": spread(record.request_id for record in records),
        "latency_ms": spread((record.latency_ms for record in records), np.float64),
    }
    scores = [score for record in records for score in record.scores]
    if scores and isinstance(scores[0], list):
        for index in range(len(scores[0])):
            columns[f"score_{index}"] = np.array([each[index] for each in scores], dtype=np.float64)
    else:
        columns["score"] = np.array(scores, dtype=np.float64)
    for column in signature.columns:
        values = _flat(record.columns.get(column.name, [None] * len(record.ids)) for record in records)
        if column.type in ("number", "integer", "boolean"):
            columns[FEATURE + column.name] = np.array(
                [np.nan if value is None else float(value) for value in values], dtype=np.float64
            )
        else:
            columns[FEATURE + column.name] = values
    return columns


def _label_columns(records: list[LabelRecord]) -> dict[str, NDArray[Any]]:
    sizes = [len(record.ids) for record in records]
    return {
        "id": _flat(record.ids for record in records),
        "at": np.repeat(np.array([record.at for record in records], dtype=object), sizes),
        "label": np.array([str(value) for record in records for value in record.labels], dtype=object),
        "source": np.repeat(np.array([record.source for record in records], dtype=object), sizes),
    }


def _flat(lists: Iterable[Iterable[object]]) -> NDArray[Any]:
    values = [value for some in lists for value in some]
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _sweep(store: Store, folder: Path) -> None:
    known = {row[0] for row in store.read("SELECT path FROM log_segments")}
    for stray in folder.iterdir():
        if stray.suffix in (".parquet", ".tmp") and stray.name not in known:
            stray.unlink(missing_ok=True)


@contextlib.contextmanager
def _only_sealer(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
