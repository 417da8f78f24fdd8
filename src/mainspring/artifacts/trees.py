"""A folder as an object: the sorted list of its files as JSON, each with relative path, digest and size.

The list is the whole format: ``{"mainspring_tree": 1, "files": [{"path": ..., "digest": ..., "size_bytes": ...}]}``.
Empty folders, permissions and times are not part of it, so equal files give equal bytes. A list read back is not
trusted: a path that would leave the folder is refused before anything is written.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from mainspring.artifacts.digests import is_digest
from mainspring.domain.ids import Digest
from mainspring.errors import Corrupt, Invalid, NotFound

__all__ = ["TreeFile", "files_under", "parse_tree", "tree_bytes"]

_FORMAT = 1


class TreeFile(NamedTuple):
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
    listed = [each._asdict() for each in sorted(files, key=lambda each: each.path)]
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
