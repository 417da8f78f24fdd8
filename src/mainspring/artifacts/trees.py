"""A folder as an object: the sorted list of its files as JSON, each with relative path, digest and size.

The list is the whole format: ``{"mainspring_tree": 1, "files": [{"path": ..., "digest": ..., "size_bytes": ...}]}``.
Empty folders, permissions and times are not part of it, so equal files give equal bytes. A list read back is not
trusted: a path that would leave the folder is refused before anything is written.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from blake3 import blake3

from mainspring.artifacts.digests import CHUNK_BYTES, is_digest
from mainspring.artifacts.putting import outage
from mainspring.domain.ids import Digest, new_id
from mainspring.errors import Conflict, Corrupt, Invalid, NotFound

if TYPE_CHECKING:
    from mainspring.artifacts.protocol import ArtifactStore

__all__ = ["TreeFile", "check_out", "files_under", "parse_tree", "put_folder", "tree_bytes"]

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class TreeFile:
    """One file of a tree: its path relative to the folder, with forward slashes, and its object."""

    path: str
    digest: Digest
    size_bytes: int


def tree_bytes(files: Sequence[TreeFile]) -> bytes:
    """Return the list as bytes; equal files give equal bytes in whatever order they come.

    Raises:
        Invalid: a file has a name under which it could not be written again on every system.
    """
    for each in files:
        if not _is_inside(each.path):
            raise Invalid(
                f"A file cannot be kept under the name `{each.path}`",
                next_step="rename it: no \\, and no second character that is a colon",
            )
    listed = [asdict(each) for each in sorted(files, key=lambda each: each.path)]
    return json.dumps({"mainspring_tree": _FORMAT, "files": listed}, separators=(",", ":")).encode()


def parse_tree(data: bytes, digest: Digest) -> tuple[TreeFile, ...]:
    """Read a list back; `digest` is only for the message.

    Raises:
        Corrupt: the bytes are no such list, or a path in it is not safe to write.
    """
    try:
        document = json.loads(data)
        if document["mainspring_tree"] != _FORMAT:
            raise ValueError("unknown format")
        files = tuple(TreeFile(each["path"], each["digest"], each["size_bytes"]) for each in document["files"])
    except (ValueError, TypeError, KeyError) as error:
        raise Corrupt("The object is not a tree of files", where=f"object {digest}") from error
    seen: set[str] = set()
    for number, each in enumerate(files):
        if not _is_inside(each.path) or each.path in seen or not is_digest(each.digest):
            raise Corrupt(
                f"The tree holds the path `{each.path}`, which does not stay inside its folder",
                where=f"object {digest} at files[{number}]",
                next_step="do not check this tree out; find out who wrote it",
            )
        seen.add(each.path)
    # A file cannot also be the folder of another file.
    for each in files:
        if any(str(parent) in seen for parent in PurePosixPath(each.path).parents):
            raise Corrupt(f"The tree has `{each.path}` inside a file", where=f"object {digest}")
    return files


def put_folder(store: "ArtifactStore", folder: Path, *, at_once: int = 1) -> Digest:
    """Keep every file under `folder`, so many at once, and last the list of them, whose digest is returned."""

    def put(found: tuple[str, Path]) -> TreeFile:
        digest = store.put_file(found[1])
        return TreeFile(found[0], digest, store.size_bytes(digest))

    found = list(files_under(folder))
    if at_once == 1:
        return store.put_bytes(tree_bytes([put(each) for each in found]))
    with ThreadPoolExecutor(at_once, thread_name_prefix="artifacts") as pool:
        return store.put_bytes(tree_bytes(list(pool.map(put, found))))


def check_out(store: "ArtifactStore", tree: Digest, target: Path) -> None:
    """Write the files of a tree as the new folder `target`, all of them or none; the bytes are verified.

    Raises:
        Conflict: `target` exists and is not an empty folder.
        Corrupt: the object is no tree, a path in it leaves the folder, or a file's bytes are not what was put.
        Unavailable: the files cannot be written.
    """
    files = parse_tree(store.read_bytes(tree), tree)
    target = target.absolute()
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise Conflict(f"`{target}` exists already", next_step="name a folder that does not exist or is empty")
    draft = target.with_name(f".{target.name}.{new_id()}")
    try:
        draft.mkdir(parents=True)
        for each in files:
            _copy_out(store, each.digest, draft / each.path)
        draft.rename(target)
    except OSError as error:
        raise outage(error, target) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _copy_out(store: "ArtifactStore", digest: Digest, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    hasher = blake3()
    try:
        with store.open(digest) as source, target.open("xb") as stream:
            while chunk := source.read(CHUNK_BYTES):
                hasher.update(chunk)
                stream.write(chunk)
        if hasher.hexdigest() != digest:
            raise Corrupt(f"The object {digest[:16]} was not what was put, and has been healed since")
    except Corrupt as error:
        try:
            store.verify(digest)  # sets it aside, and tells where
        except NotFound:  # that was done
            raise error from None
        raise


def files_under(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield every file under `folder` as (relative path, file), sorted by path; links to files count as files.

    Raises:
        NotFound: there is no such folder.
        Invalid: something under it is neither a file nor a folder, or is a link to a folder.
    """
    if not folder.is_dir():
        raise NotFound(f"There is no folder `{folder}`")
    for path in sorted(folder.rglob("*"), key=lambda each: each.relative_to(folder).as_posix()):
        if path.is_dir() and not path.is_symlink():
            continue
        if not path.is_file():
            raise Invalid(
                f"`{path}` is neither a file nor a folder",
                where=str(folder),
                next_step="replace a link to a folder by the folder itself, and remove sockets and broken links",
            )
        yield path.relative_to(folder).as_posix(), path


def _is_inside(path: object) -> bool:
    """Whether a relative path names something below its folder on every system we run on."""
    if not isinstance(path, str) or not path or "\\" in path or "\0" in path or path[1:2] == ":":
        return False
    return not path.startswith("/") and all(part not in ("", ".", "..") for part in path.split("/"))
