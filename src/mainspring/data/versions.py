"""Named datasets whose versions (1, 2, ...) keep their bytes for ever. Owner of the table `dataset_versions`.

Adding bytes that are already the newest version makes no new one, so re-adding an unchanged file is free.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from mainspring.artifacts.protocol import ArtifactStore
from mainspring.data.table import connect, scan_sql, unreadable
from mainspring.domain.ids import Digest
from mainspring.domain.moments import to_iso
from mainspring.errors import Conflict, Invalid, NotFound, nearest
from mainspring.store.events import Event
from mainspring.store.protocol import EventOf, Row, Store, Transaction, Value

__all__ = [
    "DatasetVersion",
    "add_dataset",
    "artifact_roots",
    "check_name",
    "checkout_dataset",
    "find_dataset",
    "list_datasets",
    "record_version",
    "version_entry",
    "version_event",
]


@dataclass(frozen=True, slots=True)
class DatasetVersion:
    """One version of a dataset; `columns` maps names to types as DuckDB reads them, None for bytes it cannot read."""

    name: str
    version: int
    digest: Digest
    file_name: str
    size_bytes: int
    n_rows: int | None
    columns: dict[str, str] | None
    source: str
    created_at: str

    @property
    def reference(self) -> str:
        """How people write it: ``flights/3``."""
        return f"{self.name}/{self.version}"


_COLUMNS = "name, version, digest, file_name, size_bytes, n_rows, columns, source, created_at"


def artifact_roots(snapshot: Transaction) -> Iterator[Digest]:
    """Yield the objects of every dataset version."""
    for (digest,) in snapshot.execute("SELECT digest FROM dataset_versions"):
        yield Digest(digest)


def add_dataset(
    store: Store, artifacts: ArtifactStore, path: Path, *, name: str, at: datetime, source: str = ""
) -> DatasetVersion:
    """Keep a file or folder as the next version of the dataset `name`, or return the newest if it is the same.

    Raises:
        Invalid: the name is not usable, or the file is empty or cannot be read as the table its ending promises.
        NotFound: there is no such file.
    """
    check_name(name)
    if path.is_dir() and not any(each.is_file() for each in path.rglob("*")):
        raise Invalid(f"The folder `{path.name}` holds no files", where=str(path), next_step="put files into it first")
    entry = version_entry(artifacts, path, source or _name_of(path))

    def write(transaction: Transaction) -> tuple[int, bool]:
        return record_version(transaction, name, entry, at)

    version, _ = store.change(version_event("data.added", name, entry), write)
    return find_dataset(store, f"{name}/{version}")


def check_name(name: str) -> None:
    """Raise `Invalid` unless a dataset can be called `name`."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise Invalid(
            f"`{name}` is not a dataset name", where="--name", next_step="use letters, digits, dots and dashes"
        )


def version_entry(artifacts: ArtifactStore, path: Path, source: str) -> tuple[Value, ...]:
    """Keep the bytes of a file or folder and return what `record_version` writes down of them.

    Raises:
        Invalid: the file is empty or cannot be read as the table its ending promises.
    """
    n_rows, columns = (None, None) if path.is_dir() else _describe(path)
    digest = artifacts.put_tree(path) if path.is_dir() else artifacts.put_file(path)
    file_name = _name_of(path) + ("/" if path.is_dir() else "")
    return (digest, file_name, _size_bytes(path), n_rows, None if columns is None else json.dumps(columns), source)


def version_event(verb: str, name: str, entry: tuple[Value, ...]) -> EventOf[tuple[int, bool]]:
    """Return what makes the audit event of what `record_version` returned; a version that was there makes none."""

    def event(made: tuple[int, bool]) -> Event | None:
        details = {"digest": entry[0], "rows": entry[3], "source": entry[5], "version": made[0]}
        return Event(verb, f"data/{name}", details) if made[1] else None

    return event


def record_version(transaction: Transaction, name: str, entry: tuple[Value, ...], at: datetime) -> tuple[int, bool]:
    """Write a version down; return its number, and False if its bytes were the newest version's already.

    It is asked and numbered inside the transaction: two writers at once get two numbers, or one for the same bytes.
    """
    newest = transaction.execute(
        "SELECT version, digest FROM dataset_versions WHERE name = ? ORDER BY version DESC LIMIT 1", (name,)
    )
    if newest and newest[0][1] == entry[0]:
        return newest[0][0], False
    version = newest[0][0] + 1 if newest else 1
    sql = f"INSERT INTO dataset_versions ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?)"
    transaction.execute(sql, (name, version, *entry, to_iso(at)))
    return version, True


def _size_bytes(path: Path) -> int:
    if not path.is_dir():
        return path.stat().st_size
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())


def _describe(path: Path) -> tuple[int | None, dict[str, str] | None]:
    try:
        source = scan_sql(path)
    except Invalid:
        if path.stat().st_size == 0:
            raise
        return None, None  # bytes that are no table are versioned all the same
    with connect() as connection:
        try:
            described = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
            counted = connection.execute(f"SELECT count(*) FROM {source}").fetchone()
        except duckdb.Error as error:
            raise unreadable(path, error) from error
    return (counted[0] if counted else 0), {name: kind for name, kind, *_ in described}


def find_dataset(store: Store, reference: str) -> DatasetVersion:
    """Return the version named ``flights/3``, or for ``flights`` the newest.

    Raises:
        NotFound: there is no such dataset or version.
    """
    name, _, number = reference.partition("/")
    if number and not (number.isascii() and number.isdigit()):
        raise Invalid(f"`{reference}` is not a dataset version", next_step="write it as flights/3")
    found = _rows(store, "WHERE name = ? ORDER BY version DESC", name)
    if not found:
        known = [row[0] for row in store.read("SELECT DISTINCT name FROM dataset_versions")]
        raise NotFound(f"There is no dataset `{name}`", next_step=nearest(name, known))
    if not number:
        return found[0]
    for each in found:
        if each.version == int(number):
            return each
    raise NotFound(f"The dataset `{name}` has no version {number}", next_step=f"its newest is {found[0].version}")


def list_datasets(store: Store, name: str | None = None) -> list[DatasetVersion]:
    """Return all versions, newest first; of one dataset when `name` is given."""
    if name is None:
        return _rows(store, "ORDER BY created_at DESC, name, version DESC")
    return _rows(store, "WHERE name = ? ORDER BY version DESC", name)


def checkout_dataset(
    store: Store, artifacts: ArtifactStore, reference: str, target: Path, *, force: bool = False
) -> Path:
    """Write the bytes of a version to `target` (into it, under the version's file name, when it is a folder).

    A version that is a folder becomes the folder `target`, which must not exist or be empty.

    Raises:
        NotFound: there is no such dataset or version.
        Conflict: another file is there already and `force` is not given; a folder is never written over.
    """
    found = find_dataset(store, reference)
    if found.file_name.endswith("/"):
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise Conflict(f"`{target}` is there already", next_step="choose a folder that does not exist yet")
        artifacts.checkout_tree(found.digest, target)
        return target
    path = target / found.file_name if target.is_dir() else target
    if path.exists() and not force:
        raise Conflict(f"`{path}` is there already", next_step="choose another path, or say --force to replace it")
    path.parent.mkdir(parents=True, exist_ok=True)
    artifacts.verify(found.digest)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".checkout-", delete=False) as copy:
        try:
            with artifacts.open(found.digest) as original:
                shutil.copyfileobj(original, copy, 1 << 20)
            copy.flush()
            os.fsync(copy.fileno())
            Path(copy.name).chmod(0o644)
            Path(copy.name).replace(path)
        except BaseException:
            Path(copy.name).unlink(missing_ok=True)
            raise
    return path


def _rows(store: Store, clause: str, *parameters: str) -> list[DatasetVersion]:
    return [_from_row(row) for row in store.read(f"SELECT {_COLUMNS} FROM dataset_versions {clause}", parameters)]


def _from_row(row: Row) -> DatasetVersion:
    name, version, digest, file_name, size_bytes, n_rows, columns, source, created_at = row
    parsed = None if columns is None else json.loads(columns)
    return DatasetVersion(name, version, digest, file_name, size_bytes, n_rows, parsed, source, created_at)


def _name_of(path: Path) -> str:
    """Return the last part of a path, of ``.`` too; links are not followed, some of which lead nowhere."""
    return Path(os.path.abspath(path)).name
