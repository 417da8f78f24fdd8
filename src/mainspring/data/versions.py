"""Named datasets whose versions (1, 2, ...) keep their bytes for ever. Owner of the table `dataset_versions`.

Adding bytes that are already the newest version makes no new one, so re-adding an unchanged file is free.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mainspring.artifacts.folders import copy_out
from mainspring.artifacts.protocol import ArtifactStore
from mainspring.artifacts.trees import parse_tree
from mainspring.data.file_index import (
    NOTHING_SEEN,
    FileIndex,
    changed_meanwhile,
    look,
    read_index,
    root_digest,
    tree_of,
    write_index,
)
from mainspring.data.pin_status import digests_of
from mainspring.data.pins import Pin, check_name
from mainspring.domain.ids import Digest, new_id
from mainspring.domain.moments import to_iso
from mainspring.errors import Conflict, Invalid, NotFound, nearest
from mainspring.store.events import Event
from mainspring.store.protocol import EventOf, Row, Store, Transaction, Value

__all__ = [
    "DatasetVersion",
    "add_dataset",
    "adopt_version",
    "artifact_roots",
    "checkout_dataset",
    "count_files",
    "find_dataset",
    "list_datasets",
    "pin_for",
    "record_version",
    "version_entry",
    "version_event",
]


@dataclass(frozen=True, slots=True)
class DatasetVersion:
    """One version of a dataset; `columns` maps names to types as DuckDB reads them, None for bytes it cannot read.

    `origin` says where pulled rows came from: the `source`, and of its `parts` name, rows, stamp, digest and size, or
    the range of the cursor.
    """

    name: str
    version: int
    digest: Digest
    file_name: str
    size_bytes: int
    n_rows: int | None
    columns: dict[str, str] | None
    source: str
    created_at: str
    origin: dict[str, Any] | None = None

    @property
    def reference(self) -> str:
        """How people write it: ``flights/3``."""
        return f"{self.name}/{self.version}"


_COLUMNS = "name, version, digest, file_name, size_bytes, n_rows, columns, source, created_at, origin"


def artifact_roots(snapshot: Transaction) -> Iterator[Digest]:
    """Yield the objects of every dataset version that has not been let go of."""
    kept = (
        "SELECT d.digest FROM dataset_versions d LEFT JOIN dataset_terms t ON t.name = d.name AND t.version = d.version"
    )
    for (digest,) in snapshot.execute(f"{kept} WHERE t.removed_at IS NULL"):
        yield Digest(digest)


def add_dataset(
    store: Store,
    artifacts: ArtifactStore,
    path: Path,
    *,
    name: str,
    at: datetime,
    source: str = "",
    indexes: Path | None = None,
) -> DatasetVersion:
    """Keep a file or folder as the next version of the dataset `name`, or return the newest if it is the same.

    With `indexes`, the folder of what was seen before, files that have not changed since are not read again.

    Raises:
        Invalid: the name is not usable, the folder is empty, or the file is empty or cannot be read as the table its
            ending promises.
        NotFound: there is no such file.
    """
    check_name(name)
    path = Path(os.path.abspath(path))
    index = NOTHING_SEEN if indexes is None else read_index(indexes, path)
    seen = _keep_files(store, artifacts, path, index)
    if not seen.n_files:
        raise Invalid(f"The folder `{path.name}` holds no files", where=str(path), next_step="put files into it first")
    unchanged = seen is index or digests_of(seen.files()) == digests_of(index.files())
    seen = seen._replace(digest=index.digest if unchanged else root_digest(seen.files()))
    version = _newest_with(store, name, seen.digest) if unchanged else None
    if version is None or not artifacts.exists(Digest(seen.digest)):
        entry = _entry(artifacts, path, source or path.name, seen)

        def write(transaction: Transaction) -> tuple[int, bool]:
            return record_version(transaction, name, entry, at)

        number, _ = store.change(version_event("data.added", name, entry), write)
        version = find_dataset(store, f"{name}/{number}")
    if indexes is not None and seen != index:
        write_index(indexes, path, seen)  # behind the version: what an index names is kept
    return version


def _keep_files(store: Store, artifacts: ArtifactStore, path: Path, index: FileIndex) -> FileIndex:
    """Put the files that changed, and those that the store has lost, or has set aside because they were damaged.

    Those of a version that is written down no collection takes, so they need not be claimed one by one.
    """
    written_down = store.read("SELECT 1 FROM dataset_versions WHERE digest = ? LIMIT 1", (index.digest,))
    if not written_down or not artifacts.exists(Digest(index.digest)):
        return look(path, index, artifacts.put_file, trusted=artifacts.claim)
    lost = artifacts.missing(index.each_digest())
    return look(path, index, artifacts.put_file, trusted=(lambda digest: digest not in lost) if lost else None)


def _newest_with(store: Store, name: str, digest: str) -> DatasetVersion | None:
    newest = _rows(store, "WHERE name = ? ORDER BY version DESC LIMIT 1", name)
    return newest[0] if newest and newest[0].digest == digest else None


def version_entry(artifacts: ArtifactStore, path: Path, source: str) -> tuple[Value, ...]:
    """Keep the bytes of a file or folder and return what `record_version` writes down of them.

    Raises:
        Invalid: the file is empty or cannot be read as the table its ending promises.
    """
    path = Path(os.path.abspath(path))
    seen = look(path, NOTHING_SEEN, artifacts.put_file)
    return _entry(artifacts, path, source, seen._replace(digest=root_digest(seen.files())))


def _entry(artifacts: ArtifactStore, path: Path, source: str, seen: FileIndex) -> tuple[Value, ...]:
    """Return what is written down of files that are kept."""
    folder = path.is_dir()
    files = seen.files()
    n_rows: int | None = None
    columns: dict[str, str] | None = None
    if folder:
        artifacts.put_bytes(tree_of(files))
    else:
        # DuckDB is not free to import, and most of what is versioned is no table
        from mainspring.data.described import describe

        n_rows, columns = describe(path)
        if path.stat().st_size != files[""].size_bytes:  # rows of other bytes than those that are kept
            raise changed_meanwhile(path)
    size = sum(each.size_bytes for each in files.values())
    listed = None if columns is None else json.dumps(columns)
    return (seen.digest, path.name + ("/" if folder else ""), size, n_rows, listed, source)


def count_files(artifacts: ArtifactStore, version: DatasetVersion) -> int:
    """Return how many files a version is."""
    if not version.file_name.endswith("/"):
        return 1
    return len(parse_tree(artifacts.read_bytes(version.digest), version.digest))


def pin_for(version: DatasetVersion, path: str, files: int) -> Pin:
    """Return the pin of a version that lies under the name `path` and is so many files."""
    folder = version.file_name.endswith("/")
    return Pin(version.name, version.version, version.digest, path, folder, files, version.size_bytes)


def version_event(verb: str, name: str, entry: tuple[Value, ...]) -> EventOf[tuple[int, bool]]:
    """Return what makes the audit event of what `record_version` returned; a version that was there makes none."""

    def event(made: tuple[int, bool]) -> Event | None:
        details = {"digest": entry[0], "rows": entry[3], "source": entry[5], "version": made[0]}
        return Event(verb, f"data/{name}", details) if made[1] else None

    return event


def record_version(
    transaction: Transaction, name: str, entry: tuple[Value, ...], at: datetime, origin: str | None = None
) -> tuple[int, bool]:
    """Write a version down; return its number, and False if its bytes were the newest version's already.

    `origin` is what it is made of, as JSON.

    It is asked and numbered inside the transaction: two writers at once get two numbers, or one for the same bytes.
    """
    newest = transaction.execute(
        "SELECT version, digest FROM dataset_versions WHERE name = ? ORDER BY version DESC LIMIT 1", (name,)
    )
    if newest and newest[0][1] == entry[0]:
        return newest[0][0], False
    version = newest[0][0] + 1 if newest else 1
    sql = f"INSERT INTO dataset_versions ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)"
    transaction.execute(sql, (name, version, *entry, to_iso(at), origin))
    return version, True


def adopt_version(transaction: Transaction, version: DatasetVersion) -> bool:
    """Write down a version that was made in another workspace, under its number; return False if it is there already.

    Raises:
        Conflict: this workspace has another version of that number.
    """
    key = (version.name, version.version)
    there = transaction.execute("SELECT digest FROM dataset_versions WHERE name = ? AND version = ?", key)
    if there and there[0][0] != version.digest:
        raise Conflict(
            f"This workspace has another `{version.reference}`, {there[0][0][:16]}",
            where=version.digest,
            next_step="rename neither: add what is here as a newer version, or work in another workspace",
        )
    if there:
        return False
    listed, origin = (None if each is None else json.dumps(each) for each in (version.columns, version.origin))
    row = (*key, version.digest, version.file_name, version.size_bytes, version.n_rows, listed, version.source)
    sql = f"INSERT INTO dataset_versions ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)"
    transaction.execute(sql, (*row, version.created_at, origin))
    return True


def find_dataset(store: Store, reference: str) -> DatasetVersion:
    """Return the version named ``flights/3`` or, by its tag, ``flights@gold``; for ``flights`` the newest.

    Raises:
        NotFound: there is no such dataset, version or tag.
    """
    name, mark, wanted = reference.partition("@" if "@" in reference else "/")
    if mark == "/" and wanted and not (wanted.isascii() and wanted.isdigit()):
        raise Invalid(f"`{reference}` is not a dataset version", next_step="write it as flights/3 or flights@tag")
    found = _rows(store, "WHERE name = ? ORDER BY version DESC", name)
    if not found:
        known = [row[0] for row in store.read("SELECT DISTINCT name FROM dataset_versions")]
        raise NotFound(f"There is no dataset `{name}`", next_step=nearest(name, known))
    if mark == "@":
        tags: dict[str, int] = dict(store.read("SELECT tag, version FROM dataset_tags WHERE name = ?", (name,)))
        if wanted not in tags:
            raise NotFound(f"No version of `{name}` has the tag `{wanted}`", next_step=nearest(wanted, tags))
        wanted = str(tags[wanted])
    if not wanted:
        return found[0]
    for each in found:
        if each.version == int(wanted):
            return each
    raise NotFound(f"The dataset `{name}` has no version {wanted}", next_step=f"its newest is {found[0].version}")


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
    draft = path.with_name(f".{path.name}.{new_id()}")
    try:
        copy_out(artifacts, found.digest, draft)
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def _rows(store: Store, clause: str, *parameters: str) -> list[DatasetVersion]:
    return [_from_row(row) for row in store.read(f"SELECT {_COLUMNS} FROM dataset_versions {clause}", parameters)]


def _from_row(row: Row) -> DatasetVersion:
    name, version, digest, file_name, size_bytes, n_rows, columns, source, created_at, origin = row
    parsed, came = (None if text is None else json.loads(text) for text in (columns, origin))
    return DatasetVersion(name, version, digest, file_name, size_bytes, n_rows, parsed, source, created_at, came)
