"""What a run logged, as records in the order they were made, kept in batches: each record once, however often it comes.

The records lie in a log journal, a file beside the run (see `recording`); a batch is a piece of it. How far a journal
was read stands in `log_journals`, written in the transaction that keeps the records, so a batch whose answer was lost
can be sent again. Owner of that table.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from mainspring.artifacts.protocol import ArtifactStore
from mainspring.domain.ids import RunId
from mainspring.errors import Conflict, Invalid, NotFound
from mainspring.store.protocol import Transaction
from mainspring.tracking.experiments import named_experiment
from mainspring.tracking.files import LoggedFile, put_file, root_of
from mainspring.tracking.limits import check_path
from mainspring.tracking.metrics import Point
from mainspring.tracking.runs import RunStatus, create_run, log_batch, run_numbered, update_run

__all__ = [
    "Batch",
    "Begin",
    "End",
    "Entry",
    "File",
    "Log",
    "Record",
    "forget_journals",
    "keep_batch",
    "put_files",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Begin(msgspec.Struct, tag="begin", frozen=True):
    """The first record of a run; a run that is there already goes on."""

    experiment: str
    name: str
    at_ms: int
    parameters: dict[str, str] = {}
    tags: dict[str, str] = {}


class Log(msgspec.Struct, tag="log", frozen=True, omit_defaults=True):
    """What one call logged. A value that is no finite number is its name (``nan``), which JSON has no number for."""

    at_ms: int
    step: int = 0
    metrics: dict[str, float | str] = {}
    parameters: dict[str, str] = {}
    tags: dict[str, str] = {}


class File(msgspec.Struct, tag="file", frozen=True):
    """A file of the run, by its path among the run's artifacts; the last of a path counts."""

    path: str
    data: bytes
    at_ms: int


class End(msgspec.Struct, tag="end", frozen=True):
    """The last record."""

    status: RunStatus
    at_ms: int


Record = Begin | Log | File | End


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """A record, and where in its journal it ends, in bytes."""

    end: int
    record: Record


class Batch(msgspec.Struct, frozen=True):
    """A piece of the journal of a run, from one record to another."""

    journal: str
    run_id: str
    entries: list[Entry]


def put_files(batch: Batch, artifacts: ArtifactStore) -> dict[bytes, LoggedFile]:
    """Put the files of a batch into the artifact store, before `keep_batch` writes down where they are."""
    contents = {each.record.data for each in batch.entries if isinstance(each.record, File)}
    return {data: LoggedFile(artifacts.put_bytes(data), len(data)) for data in contents}


def keep_batch(
    transaction: Transaction, batch: Batch, *, author: str = "", files: Mapping[bytes, LoggedFile] | None = None
) -> list[str]:
    """Keep the records that have not been kept, and return what had to be left out of them, in words.

    `files` says where the files of the batch are (see `put_files`).

    A record that the run's state refuses (a parameter that has another value, a run deleted meanwhile) is left out, for
    nobody waits who could mend it, and the records behind it count.

    Raises:
        Invalid: the run's id is none.
    """
    if not batch.run_id or len(batch.run_id) > 64 or not batch.journal or len(batch.journal) > 200:
        raise Invalid("A batch names its run and its journal", where="run_id", next_step="send what the client wrote")
    known = transaction.execute("SELECT offset_bytes FROM log_journals WHERE journal = ?", (batch.journal,))
    offset = known[0][0] if known else 0
    entries = [each for each in batch.entries if each.end > offset]
    if not entries:
        return []
    left_out = [
        said
        for record in _merged(each.record for each in entries)
        for said in _keep(transaction, batch.run_id, record, author, files or {})
    ]
    transaction.execute(
        "INSERT INTO log_journals (journal, run_id, offset_bytes) VALUES (?, ?, ?)"
        " ON CONFLICT (journal) DO UPDATE SET offset_bytes = excluded.offset_bytes",
        (batch.journal, batch.run_id, entries[-1].end),
    )
    return left_out


def forget_journals(transaction: Transaction, run_id: str) -> None:
    """Drop what is known of the journals of a run that is erased."""
    transaction.execute("DELETE FROM log_journals WHERE run_id = ?", (run_id,))


class _Many(msgspec.Struct):
    """The records of neighbouring calls, to be written at once."""

    points: list[Point]
    parameters: dict[str, str]
    tags: dict[str, str]


def _merged(records: Iterable[Record]) -> Iterator[Begin | File | End | _Many]:
    many: _Many | None = None
    for record in records:
        if not isinstance(record, Log):
            if many is not None:
                yield many
                many = None
            yield record
            continue
        if many is not None and any(
            many.parameters.get(key, value) != value for key, value in record.parameters.items()
        ):
            yield many
            many = None
        many = many or _Many([], {}, {})
        many.points += [Point(key, float(value), record.at_ms, record.step) for key, value in record.metrics.items()]
        many.parameters |= record.parameters
        many.tags |= record.tags
    if many is not None:
        yield many


def _keep(
    transaction: Transaction,
    run_id: str,
    record: Begin | File | End | _Many,
    author: str,
    files: Mapping[bytes, LoggedFile],
) -> list[str]:
    try:
        if isinstance(record, Begin):
            _begin(transaction, run_id, record, author)
        elif isinstance(record, File):
            _put_file(transaction, run_id, record, files[record.data])
        elif isinstance(record, End):
            update_run(transaction, run_id, status=record.status, ended_ms=record.at_ms, name=None)
        else:
            log_batch(transaction, run_id, points=record.points, tags=list(record.tags.items()))
            log_batch(transaction, run_id, parameters=list(record.parameters.items()))
    except (Conflict, NotFound, Invalid) as error:
        return [error.what]
    return []


def _put_file(transaction: Transaction, run_id: str, record: File, file: LoggedFile) -> None:
    number, _ = run_numbered(transaction, run_id)
    uri = transaction.execute("SELECT artifact_uri FROM runs WHERE number = ?", (number,))[0][0]
    at = _EPOCH + timedelta(milliseconds=record.at_ms)
    put_file(transaction, f"{root_of(uri)}/{check_path(record.path)}", file, at=at)


def _begin(transaction: Transaction, run_id: str, record: Begin, author: str) -> None:
    if transaction.execute("SELECT 1 FROM runs WHERE run_id = ?", (run_id,)):
        return
    at = _EPOCH + timedelta(milliseconds=record.at_ms)
    create_run(
        transaction,
        run_id=RunId(run_id),
        experiment_id=named_experiment(transaction, record.experiment, at=at),
        name=record.name,
        started_ms=record.at_ms,
        author=author,
        parameters=record.parameters,
        tags=record.tags,
    )
