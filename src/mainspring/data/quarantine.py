"""Ingestion with an account of every row. Owner of the tables `ingestions` and `quarantine_releases`.

A file is cleaned; what is accepted becomes the next version of a dataset, the rest stays in quarantine with reasons.
The bytes of both are kept first and written down in one transaction, so that an ingestion is there whole or not at all.
For each of them, at any time: rows accepted + rows in quarantine = rows ingested. A row leaves quarantine only into a
new version, by a person, for a reason.
"""

import dataclasses
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mainspring.artifacts.digests import digest_of_file
from mainspring.artifacts.protocol import ArtifactStore
from mainspring.artifacts.scratch import scratch_folder
from mainspring.data.cleaning import ORIGINAL, REASONS, ROW, Effect, clean
from mainspring.data.pins import check_name
from mainspring.data.schema import Schema, Violation
from mainspring.data.table import connect, quoted_files, quoted_name, quoted_text
from mainspring.data.terms import Terms
from mainspring.data.version_terms import hand_on_terms, refuse_expired, write_terms
from mainspring.data.versions import find_dataset, record_version, version_entry
from mainspring.domain.ids import Digest
from mainspring.domain.moments import to_iso
from mainspring.errors import CheckFailed, Conflict, Invalid, NotFound, nearest
from mainspring.store.events import Event
from mainspring.store.protocol import Store, Transaction

__all__ = ["Ingestion", "SetAside", "artifact_roots", "ingest", "list_ingestions", "release", "set_aside_rows"]

_COLUMNS = (
    "name, number, version, source, original, set_aside, n_ingested, n_accepted, n_set_aside, effects, created_at"
)


@dataclass(frozen=True, slots=True)
class Ingestion:
    """How one file was dealt. `n_accepted` and `n_set_aside` count with the rows that were released since.

    `version` is the dataset's version with all accepted rows, `set_aside` the digest of the rows that were set aside at
    first, `original` that of the file as it came: None where a rule hides values, for then that file is not kept.
    """

    name: str
    number: int
    version: int
    source: str
    original: Digest | None
    set_aside: Digest | None
    n_ingested: int
    n_accepted: int
    n_set_aside: int
    n_released: int
    effects: tuple[Effect, ...]
    created_at: str
    warnings: tuple[Violation, ...] = ()


@dataclass(frozen=True, slots=True)
class SetAside:
    """A row in quarantine: its number in the file, why it is there, and its values as they came."""

    row: int
    reasons: tuple[str, ...]
    values: dict[str, object]


def ingest(
    store: Store, artifacts: ArtifactStore, path: Path, schema: Schema, *, name: str, at: datetime, source: str = ""
) -> Ingestion:
    """Clean a file by `schema` and keep what is accepted as the next version of the dataset `name`.

    Raises:
        CheckFailed: what is left breaks a rule that stops the batch; nothing is written down then.
        Invalid, NotFound: the name, the file or a rule cannot be used.
        Refused: these are bytes of a version past its retention.
    """
    check_name(name)
    with scratch_folder() as scratch:
        copy = path if schema.hidden else _copied(path, scratch)
        cleaned = clean(copy, schema, scratch)
        stopping = [each for each in cleaned.violations if each.severity != "warn"]
        if stopping:
            listed = "\n  ".join(str(each) for each in stopping[:10])
            raise CheckFailed(
                f"{path.name} breaks {len(stopping)} rules after cleaning:\n  {listed}",
                where=str(path),
                next_step="mend the file, or let the rules say what is to become of such rows",
            )
        for each in (copy, cleaned.accepted):
            refuse_expired(store, digest_of_file(each), at=at)
        original = "" if schema.hidden else artifacts.put_file(copy)
        aside = artifacts.put_file(cleaned.set_aside) if cleaned.n_set_aside else None
        entry = version_entry(artifacts, cleaned.accepted, source or path.name)
    counts = (cleaned.n_ingested, cleaned.n_accepted, cleaned.n_set_aside)
    effects = json.dumps([dataclasses.asdict(each) for each in cleaned.effects])

    def write(transaction: Transaction) -> tuple[int, int, Terms | None]:
        version, _ = record_version(transaction, name, entry, at)
        before = write_terms(transaction, name, version, schema.terms, at=at)
        last = transaction.execute("SELECT max(number) FROM ingestions WHERE name = ?", (name,))
        number = (last[0][0] or 0) + 1
        row = (name, number, version, source or path.name, original, aside, *counts, effects, to_iso(at))
        transaction.execute(f"INSERT INTO ingestions ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)", row)
        return number, version, before

    def event(made: tuple[int, int, Terms | None]) -> Event:
        number, version, before = made
        told: dict[str, object] = dict(zip(("ingested", "accepted", "quarantined"), counts, strict=True))
        if before is not None:  # the version was there, under other terms
            told |= {"terms": dataclasses.asdict(schema.terms), "terms_before": dataclasses.asdict(before)}
        return Event("data.ingested", f"data/{name}", {"ingestion": number, "version": version, **told})

    number, _, _ = store.change(event, write)
    warnings = tuple(each for each in cleaned.violations if each.severity == "warn")
    return dataclasses.replace(_find(store, name, number), warnings=warnings)


def _copied(path: Path, scratch: Path) -> Path:
    """Return a copy, so that the bytes that are kept are the bytes that were cleaned."""
    copy = scratch / f"original-{path.name}"
    try:
        shutil.copyfile(path, copy)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFound(f"There is no file `{path.name}`", where=str(path), next_step="check the path") from error
    return copy


def list_ingestions(store: Store, name: str | None = None) -> list[Ingestion]:
    """Return all ingestions, newest first; of one dataset when `name` is given."""
    which, given = ("WHERE name = ?", (name,)) if name is not None else ("", ())
    released: dict[tuple[str, int], list[int]] = {}
    for dataset, number, version in store.read(f"SELECT name, number, version FROM quarantine_releases {which}", given):
        released.setdefault((dataset, number), []).append(version)
    found = []
    for row in store.read(
        f"SELECT {_COLUMNS} FROM ingestions {which} ORDER BY created_at DESC, name, number DESC", given
    ):
        dataset, number, version, source, original, aside, ingested, accepted, n_aside, effects, created_at = row
        out = released.get((dataset, number), [])
        told = tuple(
            Effect(**{**each, "samples": tuple(tuple(sample) for sample in each["samples"])})
            for each in json.loads(effects)
        )
        found.append(
            Ingestion(
                dataset, number, max([version, *out]), source, original or None, aside, ingested, accepted + len(out),
                n_aside - len(out), len(out), told, created_at,
            )
        )  # fmt: skip
    return found


def artifact_roots(snapshot: Transaction) -> Iterator[Digest]:
    """Yield the digests that ingestions hold: of the files as they came, and of the rows set aside."""
    kept = (
        "SELECT i.original, i.set_aside FROM ingestions i LEFT JOIN dataset_terms t"
        " ON t.name = i.name AND t.version = i.version WHERE t.removed_at IS NULL"
    )
    for original, aside in snapshot.execute(kept):
        if original:
            yield Digest(original)
        if aside is not None:
            yield Digest(aside)


def _find(store: Store, name: str, number: int | None = None) -> Ingestion:
    known = list_ingestions(store, name)
    if not known:
        others = [row[0] for row in store.read("SELECT DISTINCT name FROM ingestions")]
        raise NotFound(f"Nothing was ingested as `{name}`", next_step=nearest(name, others))
    for each in known:
        if number is None or each.number == number:
            return each
    raise NotFound(f"`{name}` has no ingestion {number}", next_step=f"its newest is {known[0].number}")


def set_aside_rows(
    store: Store, artifacts: ArtifactStore, name: str, number: int | None = None, *, at: datetime, most: int = 1000
) -> list[SetAside]:
    """Return the rows of an ingestion (the newest) that are still in quarantine, in the order of the file.

    Raises:
        NotFound: there is no such ingestion.
        Refused: what it made is past its retention.
    """
    found = _find(store, name, number)
    refuse_expired(store, find_dataset(store, f"{name}/{found.version}").digest, at=at)
    if found.set_aside is None:
        return []
    listed = ", ".join(str(row) for row in [-1, *_released(store, found)])
    columns = ", ".join(quoted_name(each) for each in (ROW, REASONS, ORIGINAL))
    source = quoted_files([artifacts.path_of(found.set_aside)])
    with connect() as connection:
        rows = connection.execute(
            f"SELECT {columns} FROM {source} WHERE {quoted_name(ROW)} NOT IN ({listed}) ORDER BY 1 LIMIT {most:d}"
        ).fetchall()
    return [SetAside(row, tuple(reasons), json.loads(values)) for row, reasons, values in rows]


def _released(store: Store, found: Ingestion) -> list[int]:
    sql = "SELECT place FROM quarantine_releases WHERE name = ? AND number = ? ORDER BY place"
    return [row[0] for row in store.read(sql, (found.name, found.number))]


def release(
    store: Store, artifacts: ArtifactStore, name: str, rows: Sequence[int], *, reason: str, by: str, at: datetime
) -> Ingestion:
    """Let rows of the newest ingestion out of quarantine, into a new version of the dataset, as the cleaning left them.

    Raises:
        Invalid: no reason is given, or no row.
        NotFound: a row is not in quarantine.
        Conflict: the dataset has had another version since, or somebody released a row at the same time.
        Refused: the ingestion is past its retention.
    """
    if not reason.strip():
        raise Invalid("A release needs a reason", where="--reason", next_step="say why the rows are good")
    found = _find(store, name)
    wanted = sorted(set(rows))
    held = {each.row for each in set_aside_rows(store, artifacts, name, found.number, at=at, most=found.n_ingested)}
    lost = [row for row in wanted if row not in held]
    if lost or not wanted or found.set_aside is None:
        said = f"Row {lost[0]} of `{name}` is not in quarantine" if lost else "No row is named"
        raise NotFound(said, next_step=f"see them with: mainspring data quarantine {name}")
    newest = find_dataset(store, name)
    if newest.version != found.version:
        raise Conflict(
            f"`{newest.reference}` is not of ingestion {found.number}, which made `{name}/{found.version}`",
            next_step="ingest the file again, and release its rows then",
        )
    with scratch_folder() as scratch:
        path = scratch / newest.file_name
        accepted, aside = (quoted_files([artifacts.path_of(each)]) for each in (newest.digest, found.set_aside))
        own = ", ".join(quoted_name(each) for each in (ROW, REASONS, ORIGINAL))
        listed = ", ".join(str(row) for row in wanted)
        query = (
            f"SELECT * FROM {accepted} UNION ALL BY NAME SELECT * EXCLUDE ({own}) FROM {aside}"
            f" WHERE {quoted_name(ROW)} IN ({listed})"
        )
        with connect() as connection:
            connection.execute(
                f"COPY ({query}) TO {quoted_text(str(path))} (FORMAT parquet, COMPRESSION zstd)"
            ).fetchall()
        entry = version_entry(artifacts, path, f"{newest.reference} and {len(wanted)} rows from quarantine")

    def write(transaction: Transaction) -> int:
        now = transaction.execute("SELECT max(version) FROM dataset_versions WHERE name = ?", (name,))[0][0]
        if now != newest.version:
            raise Conflict(f"`{name}` has got version {now} meanwhile", next_step="look again, then release again")
        version, _ = record_version(transaction, name, entry, at)
        hand_on_terms(transaction, name, newest.version, version)
        transaction.execute_many(
            "INSERT INTO quarantine_releases (name, number, place, version, released_by, reason, released_at)"
            " VALUES (?,?,?,?,?,?,?)",
            [(name, found.number, row, version, by, reason, to_iso(at)) for row in wanted],
        )
        return version

    def event(version: int) -> Event:
        told = {"ingestion": found.number, "rows": wanted, "reason": reason, "version": version}
        return Event("data.released", f"data/{name}", told, actor=by)

    store.change(event, write)
    return _find(store, name, found.number)
