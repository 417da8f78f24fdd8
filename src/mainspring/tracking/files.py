"""Files of runs and logged models: paths in one tree. Owner of `logged_files`, `uploads` and `upload_parts`.

A path is that of an ``mlflow-artifacts:/`` address, such as ``3/RUN/artifacts/model/MLmodel``. The bytes lie in the
artifact store; equal files share them. A large file may come in parts, which become one when the upload is complete.
"""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from mainspring.artifacts.trees import TreeFile
from mainspring.domain.ids import Digest
from mainspring.domain.moments import to_milliseconds
from mainspring.errors import Conflict, Invalid, NotFound
from mainspring.store.protocol import Store, Transaction

__all__ = [
    "Entry",
    "LoggedFile",
    "artifact_roots",
    "begin_upload",
    "drop_upload",
    "end_upload",
    "files_below",
    "find_file",
    "forget_files",
    "list_folder",
    "put_file",
    "put_part",
    "remove_files",
    "root_of",
    "served_path",
    "upload_parts",
]

_MOST_PATH = 2_000
_MOST_PARTS = 10_000
#: Where a server of MLflow's kind serves its tree.
_PROXY = ("api", "2.0", "mlflow-artifacts", "artifacts")


class LoggedFile(NamedTuple):
    """One file: the digest of its bytes and how many they are."""

    digest: Digest
    size_bytes: int


class Entry(NamedTuple):
    """One line of a folder: a name, and the size of a file; None for a folder."""

    name: str
    size_bytes: int | None


def root_of(artifact_uri: str) -> str:
    """Return the path that an address stands for.

    Raises:
        Invalid: the address is of another store, which only its own clients reach.
    """
    path = served_path(artifact_uri)
    if path is None:
        raise Invalid(
            f"The artifacts lie at {artifact_uri}, which this server does not serve",
            where="artifact_uri",
            next_step="read them with the client of that store",
        )
    return path


def served_path(address: str) -> str | None:
    """Return the path in the tree that an address stands for, or None for an address of another store.

    A web address counts when it goes through such a server's tree: a root of that kind tells clients the server's name.
    """
    parts = urlsplit(address)
    if parts.scheme == "mlflow-artifacts":
        return parts.path.strip("/")
    words = tuple(unquote(each) for each in parts.path.split("/") if each)
    width = len(_PROXY)
    for at in range(len(words) - width + 1) if parts.scheme.lower() in ("http", "https") else ():
        if words[at : at + width] == _PROXY:
            return "/".join(words[at + width :])
    return None


def put_file(transaction: Transaction, path: str, file: LoggedFile, *, at: datetime) -> None:
    """Let a path stand for some bytes, in place of those it may have stood for.

    Raises:
        Invalid: the path is empty or too long.
        Conflict: the path is a folder, or goes through a file.
    """
    if not path or len(path) > _MOST_PATH:
        raise Invalid(f"A path has 1 to {_MOST_PATH} characters", where="path", next_step="choose another path")
    parents = ["/".join(path.split("/")[:depth]) for depth in range(1, path.count("/") + 1)]
    if parents:
        marks = ",".join("?" * len(parents))
        through = transaction.execute(f"SELECT path FROM logged_files WHERE path IN ({marks}) LIMIT 1", parents)
        if through:
            raise Conflict(f"`{through[0][0]}` is a file and not a folder", where="path")
    if transaction.execute("SELECT 1 FROM logged_files WHERE path >= ? AND path < ? LIMIT 1", _below(path)):
        raise Conflict(f"`{path}` is a folder and not a file", where="path")
    transaction.execute(
        "INSERT INTO logged_files (path, digest, size_bytes, at_ms) VALUES (?, ?, ?, ?) ON CONFLICT (path)"
        " DO UPDATE SET digest = excluded.digest, size_bytes = excluded.size_bytes, at_ms = excluded.at_ms",
        (path, file.digest, file.size_bytes, to_milliseconds(at)),
    )


def find_file(store: Store, path: str) -> LoggedFile:
    """Return the file at a path.

    Raises:
        NotFound: there is none.
        Invalid: the path is a folder.
    """
    rows = store.read("SELECT digest, size_bytes FROM logged_files WHERE path = ?", (path,))
    if rows:
        return LoggedFile(*rows[0])
    if store.read("SELECT 1 FROM logged_files WHERE path >= ? AND path < ? LIMIT 1", _below(path)):
        raise Invalid(f"Artifact path refers to a directory, not a file: '{path}'", where="path")
    raise NotFound(f"No such artifact: '{path}'", where="path", next_step="list the folder above it")


def list_folder(store: Store, folder: str) -> list[Entry]:
    """Return what lies directly in a folder, by name; a folder that is not there is empty.

    One look into the index for each entry: what lies deeper is leapt over.
    """
    prefix = f"{folder}/" if folder else ""
    first, end = (prefix, _below(folder)[1]) if folder else ("", "\U0010ffff")
    entries: list[Entry] = []
    cursor, inclusive = first, True
    while rows := store.read(
        f"SELECT path, size_bytes FROM logged_files WHERE path {'>=' if inclusive else '>'} ? AND path < ?"
        " ORDER BY path LIMIT 100",
        (cursor, end),
    ):
        for path, size in rows:
            name, slash, _ = path[len(prefix) :].partition("/")
            cursor, inclusive = path, False
            if slash:
                entries.append(Entry(name, None))
                cursor, inclusive = _below(prefix + name)[1], True
                break
            entries.append(Entry(name, size))
    return sorted(entries)


def files_below(store: Store, folder: str) -> list[TreeFile]:
    """Return every file below a folder, by its path relative to it."""
    first, end = _below(folder)
    rows = store.read(
        "SELECT path, digest, size_bytes FROM logged_files WHERE path >= ? AND path < ? ORDER BY path", (first, end)
    )
    return [TreeFile(path.removeprefix(first), Digest(digest), size) for path, digest, size in rows]


def remove_files(transaction: Transaction, path: str) -> int:
    """Take away the file at a path, or every file below it; return how many there were."""
    gone = transaction.execute("DELETE FROM logged_files WHERE path = ? RETURNING 1", (path,))
    below = transaction.execute("DELETE FROM logged_files WHERE path >= ? AND path < ? RETURNING 1", _below(path))
    return len(gone) + len(below)


def forget_files(transaction: Transaction, artifact_uri: str) -> None:
    """Take away every file below an address, if it is of this tree."""
    if root := served_path(artifact_uri):
        remove_files(transaction, root)


def artifact_roots(transaction: Transaction) -> list[Digest]:
    """Return the digests of all files, and of the parts of uploads that are under way."""
    rows = transaction.execute("SELECT DISTINCT digest FROM logged_files UNION SELECT digest FROM upload_parts")
    return [Digest(digest) for (digest,) in rows]


def begin_upload(transaction: Transaction, path: str, *, at: datetime) -> str:
    """Begin a file that comes in parts; the id is a secret that nobody can guess."""
    upload_id = secrets.token_hex(32)
    transaction.execute(
        "INSERT INTO uploads (upload_id, path, begun_ms) VALUES (?, ?, ?)", (upload_id, path, to_milliseconds(at))
    )
    return upload_id


def put_part(transaction: Transaction, upload_id: str, part: int, file: LoggedFile) -> None:
    """Note a part of an upload; one that comes twice replaces itself.

    Raises:
        NotFound: there is no such upload.
    """
    if not 1 <= part <= _MOST_PARTS:
        raise Invalid(f"A part has a number from 1 to {_MOST_PARTS}", where="part")
    _path_of(transaction, upload_id)
    transaction.execute(
        "INSERT INTO upload_parts (upload_id, part, digest, size_bytes) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (upload_id, part) DO UPDATE SET digest = excluded.digest, size_bytes = excluded.size_bytes",
        (upload_id, part, file.digest, file.size_bytes),
    )


def upload_parts(store: Store, upload_id: str, path: str, parts: Sequence[int]) -> list[LoggedFile]:
    """Return the parts of an upload in the order asked for.

    Raises:
        NotFound: there is no such upload of that path.
        Invalid: a part is missing.
    """
    if not store.read("SELECT 1 FROM uploads WHERE upload_id = ? AND path = ?", (upload_id, path)):
        raise _no_upload()
    known = {
        row[0]: LoggedFile(row[1], row[2])
        for row in store.read("SELECT part, digest, size_bytes FROM upload_parts WHERE upload_id = ?", (upload_id,))
    }
    missing = [each for each in parts if each not in known]
    if missing or not parts:
        raise Invalid(f"Parts have not come in: {missing[:20]}", where="parts", next_step="send them, then complete")
    return [known[each] for each in parts]


def end_upload(transaction: Transaction, upload_id: str, file: LoggedFile, *, at: datetime) -> None:
    """Let an upload's path stand for the bytes its parts came to."""
    put_file(transaction, _path_of(transaction, upload_id), file, at=at)
    _forget(transaction, upload_id)


def drop_upload(transaction: Transaction, upload_id: str, path: str) -> None:
    """Forget an upload and its parts.

    Raises:
        NotFound: there is no such upload of that path.
    """
    if _path_of(transaction, upload_id) != path:
        raise _no_upload()
    _forget(transaction, upload_id)


def _path_of(transaction: Transaction, upload_id: str) -> str:
    rows = transaction.execute("SELECT path FROM uploads WHERE upload_id = ?", (upload_id,))
    if not rows:
        raise _no_upload()
    return str(rows[0][0])


def _forget(transaction: Transaction, upload_id: str) -> None:
    transaction.execute("DELETE FROM upload_parts WHERE upload_id = ?", (upload_id,))
    transaction.execute("DELETE FROM uploads WHERE upload_id = ?", (upload_id,))


def _no_upload() -> NotFound:
    return NotFound("There is no such upload", where="upload_id", next_step="begin one with mpu/create")


def _below(path: str) -> tuple[str, str]:
    """Return the bounds of every path below a folder; "0" is the character behind "/"."""
    return f"{path}/", f"{path}0"
