"""The inputs of a step: what it asked of its surroundings, the answer as a digest, and the same question asked again.

`tracing` notices the questions while a step runs; here they are answered, then and at every look-up.
"""

import glob
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from mainspring.artifacts.digests import digest_of_bytes, digest_of_file

__all__ = [
    "ABSENT",
    "Read",
    "ReadKind",
    "Stamp",
    "StampCache",
    "answer_of",
    "digest_of_path",
    "files_below",
    "first_changed",
    "read_stamp",
]

#: What was asked: a file's content, the names in a folder, these with sizes and times, a folder's whole content, what a
#: pattern matches, whether something is there, its size and time, where a link leads, a variable, the working folder.
ReadKind = Literal[
    "file",
    "listing",
    "entries",
    "folder",
    "matches",
    "presence",
    "details",
    "link",
    "environment variable",
    "folder name",
]  # fmt: skip

#: The database of a workspace.
DATABASE = "store.sqlite"
#: What stands for a file that is not there.
ABSENT = "absent"

# A file changed less than this before it was hashed may change again without a new time stamp.
_SETTLED_NS = 2_000_000_000


class Stamp(NamedTuple):
    """What the file system tells of a file without reading it."""

    size_bytes: int
    modified_ns: int
    changed_ns: int
    inode: int


class Read(NamedTuple):
    """One input of a step: what was asked, of which path (as the step wrote it) or variable, and the answer."""

    kind: ReadKind
    path: str
    digest: str


def read_stamp(path: str) -> Stamp | None:
    """Return the stamp of a file, or None where there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return Stamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


class StampCache:
    """Digests of files that were hashed before and have not changed since, by their stamps.

    `known` is where the digests of former processes come from; `learned` is what this one adds. A file that changed in
    the last two seconds is hashed again next time, because a stamp is only as fine as the file system's clock.
    """

    def __init__(self, known: Callable[[str], tuple[Stamp, str] | None], now_ns: Callable[[], int]) -> None:
        self._known = known
        self._now_ns = now_ns
        self._seen: dict[str, tuple[Stamp, str]] = {}
        self.learned: dict[str, tuple[Stamp, str]] = {}

    def digest_of(self, path: str) -> str:
        """Return the digest of a file's content, or `ABSENT`."""
        stamp = read_stamp(path)
        if stamp is None or not os.path.isfile(path) or os.path.basename(path).startswith(DATABASE):
            return ABSENT
        whole = os.path.abspath(path)
        found = self._seen.get(whole) or self._known(whole)
        if found is not None and found[0] == stamp:
            self._seen[whole] = found
            return found[1]
        try:
            digest = str(digest_of_file(Path(path)))
        except OSError:
            return ABSENT
        if self._now_ns() - max(stamp.modified_ns, stamp.changed_ns) > _SETTLED_NS:
            self._seen[whole] = self.learned[whole] = (stamp, digest)
        return digest


def digest_of_path(path: str, stamps: StampCache) -> str:
    """Return the digest of a file, or of a folder's whole content by relative path; `ABSENT` where there is nothing."""
    if not os.path.isdir(path):
        return stamps.digest_of(path)
    lines = [
        [os.path.relpath(whole, path).replace(os.sep, "/"), stamps.digest_of(whole)] for whole in files_below(path)
    ]
    return digest_of_bytes(json.dumps(lines).encode())


def files_below(path: str) -> Iterator[str]:
    """Yield the files of a folder and of those in it, in order; compiled code and a workspace are not looked at.

    A workspace is ours and no input. Above all its live database must not be opened and closed by this process: that
    would let go of the locks by which SQLite keeps other processes from taking its log away (POSIX, fcntl: closing any
    descriptor of a file ends all of the process's locks on it).
    """
    for folder, folders, names in os.walk(path):
        if DATABASE in names:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        yield from (os.path.join(folder, name) for name in sorted(names))


def listing_digest(path: str) -> str:
    """Return the digest of the names in a folder, or `ABSENT`."""
    try:
        return digest_of_bytes(json.dumps(sorted(os.listdir(path))).encode())
    except OSError:
        return ABSENT


def answer_of(kind: ReadKind, path: str, stamps: StampCache) -> str:
    """Return what stands for the answer to a question now."""
    match kind:
        case "file":
            return stamps.digest_of(path)
        case "folder":
            return digest_of_path(path, stamps)
        case "listing":
            return listing_digest(path)
        case "entries":
            return _entries_digest(path)
        case "matches":
            return digest_of_bytes(json.dumps(sorted(glob.glob(path, recursive=True))).encode())
        case "environment variable":
            value = os.environ.get(path)
            return ABSENT if value is None else digest_of_bytes(f"{path}={value}".encode("utf-8", "surrogatepass"))
        case "folder name":
            return digest_of_bytes(os.fsencode(os.getcwd()))
        case "link":
            return os.readlink(path) if os.path.islink(path) else _presence(path)
        case "presence":
            return _presence(path)
        case "details":
            stamp = read_stamp(path)
            return f"{stamp.size_bytes} {stamp.modified_ns}" if stamp and os.path.isfile(path) else _presence(path)


def _presence(path: str) -> str:
    return "folder" if os.path.isdir(path) else "file" if os.path.exists(path) else ABSENT


def _entries_digest(path: str) -> str:
    try:
        with os.scandir(path) as entries:
            found = [(each.name, each.is_dir(), _size_and_time(each)) for each in entries]
    except OSError:
        return ABSENT
    return digest_of_bytes(json.dumps(sorted(found)).encode())


def _size_and_time(entry: "os.DirEntry[str]") -> tuple[int, int]:
    try:
        stat = entry.stat()
    except OSError:  # a link that leads nowhere
        return (0, 0)
    return (0, 0) if entry.is_dir() else (stat.st_size, stat.st_mtime_ns)


def first_changed(reads: Iterable[Read], stamps: StampCache) -> Read | None:
    """Return the first read whose content is no longer what it was; None when all hold."""
    for each in reads:
        if answer_of(each.kind, each.path, stamps) != each.digest:
            return each
    return None
