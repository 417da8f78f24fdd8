"""What was last seen of a path's files: size, times, inode and digest, so that unchanged files are not read again.

One JSON file a path, in the workspace; a cache, without which everything is read once more. A file whose times are so
close to the moment it was looked at that a later write could leave them as they are (a racy stat) is remembered without
them, and is read again at the next look. Neighbours: `pinned` compares what is seen here with what a pin names.
"""

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple

from mainspring.artifacts.digests import digest_of_bytes
from mainspring.artifacts.trees import TreeFile, tree_bytes
from mainspring.domain.ids import Digest, new_id
from mainspring.errors import Conflict, Invalid, NotFound

__all__ = [
    "NOTHING_SEEN",
    "FileIndex",
    "SeenFile",
    "changed_meanwhile",
    "look",
    "read_index",
    "root_digest",
    "tree_of",
    "write_index",
]

# Kernels stamp files with a clock of up to 10 ms; whole seconds tell of a file system that keeps no finer ones.
_SLACK_NS = 50_000_000
_COARSE_SLACK_NS = 2_000_000_000
_TRIES = 3

#: size, mtime_ns, ctime_ns, inode; () where they cannot be trusted
Stat = tuple[int, ...]


class SeenFile(NamedTuple):
    """One file as it was seen; `stat` is empty when the file must be read again."""

    stat: Stat
    size_bytes: int
    digest: Digest


class FileIndex(NamedTuple):
    """The files of a path by their relative name, or the path itself under ``""``; `digest` names all of them."""

    digest: str
    files: dict[str, SeenFile]


NOTHING_SEEN = FileIndex("", {})


def _place(indexes: Path, path: Path) -> Path:
    return indexes / f"{digest_of_bytes(os.path.abspath(path).encode(errors='surrogateescape'))[:32]}.json"


def read_index(indexes: Path, path: Path) -> FileIndex:
    """Return what was last seen of `path`; nothing where that is not known, or cannot be read."""
    try:
        document = json.loads(_place(indexes, path).read_bytes())
        files = {
            name: SeenFile(tuple(stat), size, Digest(digest))
            for name, (stat, size, digest) in document["files"].items()
        }
        return FileIndex(str(document["digest"]), files)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return NOTHING_SEEN


def write_index(indexes: Path, path: Path, index: FileIndex) -> None:
    """Remember what is in `path`; whoever reads meanwhile sees the old index or the new one."""
    indexes.mkdir(parents=True, exist_ok=True)
    place = _place(indexes, path)
    draft = place.with_name(f"{new_id()}.draft")
    try:
        draft.write_text(json.dumps({"digest": index.digest, "files": index.files}, separators=(",", ":")))
        draft.replace(place)
    finally:
        draft.unlink(missing_ok=True)


def root_digest(files: dict[str, SeenFile]) -> Digest:
    """Return the digest that files have together: a lone file's own, or that of their tree."""
    if list(files) == [""]:
        return files[""].digest
    return digest_of_bytes(tree_of(files))


def tree_of(files: dict[str, SeenFile]) -> bytes:
    """Return the files of a folder as the bytes of a tree."""
    return tree_bytes([TreeFile(name, each.digest, each.size_bytes) for name, each in files.items()])


def look(
    path: Path,
    known: dict[str, SeenFile],
    read: Callable[[Path], Digest],
    *,
    trusted: Callable[[Digest], bool] = lambda _: True,
) -> dict[str, SeenFile]:
    """Return the files of `path`, calling `read` for those that changed since `known` or are not `trusted`.

    Links to files count as the files they lead to.

    Raises:
        NotFound: there is nothing at `path`.
        Invalid: something is neither a file nor a folder, or is a link to a folder below `path`.
        Conflict: a file keeps changing while it is read.
    """
    found: dict[str, SeenFile] = {}
    unread: list[tuple[str, Path]] = []
    for name, place, stat in _stats(path):
        before = known.get(name)
        if before is not None and before.stat == stat and trusted(before.digest):
            found[name] = before
        else:
            unread.append((name, Path(place)))
    if unread:
        now = _clock_of(path)
        for name, file in unread:
            found[name] = _read(file, read, now)
    return found


def _read(file: Path, read: Callable[[Path], Digest], now: int) -> SeenFile:
    for _ in range(_TRIES):
        before = _stat_of(file.stat())
        digest = read(file)
        if _stat_of(file.stat()) == before:
            newest = max(before[1], before[2])
            slack = _COARSE_SLACK_NS if newest % 1_000_000_000 == 0 else _SLACK_NS
            return SeenFile(before if newest < now - slack else (), before[0], digest)
    raise changed_meanwhile(file)


def changed_meanwhile(file: Path) -> Conflict:
    """Return what to raise for a file that did not stay as it was while it was read."""
    return Conflict(
        f"`{file.name}` changed while it was read", where=str(file), next_step="wait until it is written, and repeat"
    )


def _clock_of(path: Path) -> int:
    """Return the time in nanoseconds as the file system of `path` stamps it; a server's clock may differ from ours."""
    probe = path.parent / f".mainspring-{new_id()}"
    try:
        probe.touch()
        return probe.stat().st_mtime_ns
    except OSError:  # a folder we cannot write to tells no time: its files are read at each look
        return 0
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def _stat_of(found: os.stat_result) -> Stat:
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def _stats(path: Path) -> Iterator[tuple[str, str, Stat]]:
    """Yield (relative name, path, stat) of every file; `os.scandir` is what makes 10,000 files cheap."""
    try:
        if not path.is_dir():
            found = path.stat()
            if not S_ISREG(found.st_mode):  # a pipe would be waited for, and a device has no end
                raise _no_file(path.name, path.parent)
            yield "", str(path), _stat_of(found)
            return
        waiting = [("", str(path))]
        while waiting:
            prefix, folder = waiting.pop()
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = prefix + entry.name
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append((f"{name}/", entry.path))
                    elif entry.is_file():
                        yield name, entry.path, _stat_of(entry.stat())
                    else:
                        raise _no_file(name, path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"There is no file `{path}`", next_step="check the path") from error
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise Invalid(f"`{path.name}` is a link that leads back to itself", where=str(path.parent)) from error


def _no_file(name: str, folder: Path) -> Invalid:
    return Invalid(
        f"`{name}` is neither a file nor a folder",
        where=str(folder),
        next_step="replace a link to a folder by the folder itself, and remove pipes, sockets and broken links",
    )
