"""What lies in a file or folder now: names, sizes, times and inodes, packed so that two scans are compared in one go.

Folders of 10,000 files are looked at often, so names and facts go through the interpreter's own loops, and each file is
asked for relative to its open folder, which spares the system the way there. Neighbour: `file_index` remembers a scan.
"""

import errno
import os
import sys
from array import array
from collections.abc import Iterator, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import NamedTuple

from mainspring.errors import Conflict, Invalid, NotFound

__all__ = ["Scan", "Stat", "packed", "scan", "stat_of"]

#: size in bytes, mtime_ns, ctime_ns, inode; () where they cannot be trusted
Stat = tuple[int, ...]

# What numbers of 64 bits hold. The first also stands for times that say nothing: no file is of the year 1677.
_EARLIEST, _LATEST = -(1 << 63), (1 << 63) - 1
_KINDS = "qqqQ"
#: How often a folder is listed in which files vanish between the listing and the look at them.
_LOOKS = 5

_facts_of = attrgetter("st_mode", "st_size", "st_mtime_ns", "st_ctime_ns", "st_ino")


class Scan(NamedTuple):
    """Files by their relative names, or a file itself as ``""``, in the order in which folders list them.

    `names` are joined by zero bytes; `stats` are four columns of numbers of 64 bits in the order of `Stat`.
    """

    names: str
    stats: bytes

    def files(self) -> Iterator[tuple[str, int, Stat]]:
        """Yield name, size in bytes and stat of every file."""
        count = len(self.stats) // 32
        signed, inodes = array("q", self.stats[: 24 * count]), array("Q", self.stats[24 * count :])
        columns = (signed[:count], signed[count : 2 * count], signed[2 * count :], inodes)
        names = self.names.split("\0") if count else []
        for name, stat in zip(names, zip(*columns, strict=True), strict=True):
            yield name, stat[0], () if stat[2] == _EARLIEST else stat


def packed(files: Sequence[tuple[str, int, Stat]]) -> Scan:
    """Return files, as `Scan.files` yields them, as a scan; none of a path is equal to one with an empty stat."""
    rows = [stat or (size, 0, _EARLIEST, 0) for _, size, stat in files]
    return Scan("\0".join(name for name, _, _ in files), _joined(_columns(rows)))


def stat_of(found: os.stat_result) -> Stat:
    """Return what is compared of a file."""
    return _within(_facts_of(found)[1:])


def scan(path: Path) -> Scan:
    """Return the files of `path`; links to files count as the files they lead to.

    Raises:
        NotFound: there is nothing at `path`.
        Invalid: something is neither a file nor a folder, or is a link to a folder below `path`.
        Conflict: files below `path` come and go all the time.
    """
    for _ in range(_LOOKS):
        try:
            return _scanned(path)
        except (FileNotFoundError, NotADirectoryError) as error:
            if str(error.filename) == str(path):
                raise NotFound(f"There is no file `{path}`", next_step="check the path") from error
            if os.path.islink(error.filename):
                raise _no_file(os.path.relpath(error.filename, path), path) from error
            gone = os.path.relpath(error.filename, path)  # a moment after it was listed: its new name was not
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise Invalid(f"`{path.name}` is a link that leads back to itself", where=str(path.parent)) from error
    raise Conflict(
        f"`{path.name}` changed while it was looked at, `{gone}` for one is gone",
        where=str(path),
        next_step="wait until what writes there is done, and repeat",
    )


def _scanned(path: Path) -> Scan:
    if path.is_dir():
        return _scan_folder(path)
    found = path.stat()
    if not S_ISREG(found.st_mode):  # a pipe would be waited for, and a device has no end
        raise _no_file(path.name, path.parent)
    return Scan("", _joined(_columns([stat_of(found)])))


def _scan_folder(path: Path) -> Scan:
    names: list[str] = []
    columns = [array(kind) for kind in _KINDS]
    waiting = [("", str(path))]
    while waiting:
        prefix, folder = waiting.pop()
        listed, facts = _listed(folder)
        if not all(map(S_ISREG, {each[0] for each in facts})):
            for name, each in zip(listed, facts, strict=True):
                place = os.path.join(folder, name)
                if S_ISDIR(each[0]) and not os.path.islink(place):
                    waiting.append((f"{prefix}{name}/", place))
                elif not S_ISREG(each[0]):
                    raise _no_file(prefix + name, path)
            listed = [name for name, each in zip(listed, facts, strict=True) if S_ISREG(each[0])]
            facts = [each for each in facts if S_ISREG(each[0])]
        names += [prefix + name for name in listed] if prefix else listed
        for column, more in zip(columns, _columns([each[1:] for each in facts]), strict=True):
            column += more
    return Scan("\0".join(names), _joined(columns))


def _listed(folder: str) -> tuple[list[str], list[Stat]]:
    """Return what is in a folder: names, and of each its mode and stat; links are followed."""
    if sys.platform == "win32":
        names = os.listdir(folder)
        return names, [_facts_of(os.stat(os.path.join(folder, name))) for name in names]
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        names = os.listdir(handle)
        return names, list(map(_facts_of, map(partial(os.stat, dir_fd=handle), names)))
    except OSError as error:  # its name is relative to the folder, and says too little
        raise OSError(error.errno, error.strerror, os.path.join(folder, os.fsdecode(error.filename))) from error
    finally:
        os.close(handle)


def _columns(rows: Sequence[Stat]) -> "list[array[int]]":
    columns = list(zip(*rows, strict=True)) or [()] * len(_KINDS)
    try:
        return [array(kind, each) for kind, each in zip(_KINDS, columns, strict=True)]
    except OverflowError:
        return _columns([_within(each) for each in rows])


def _joined(columns: "Sequence[array[int]]") -> bytes:
    return b"".join(each.tobytes() for each in columns)


def _within(stat: Stat) -> Stat:
    """Return a stat whose times 64 bits hold; those beyond lie in the future, and are not trusted anyway."""
    size, *times, inode = stat
    return (size, *(min(max(each, _EARLIEST + 1), _LATEST) for each in times), inode)


def _no_file(name: str, folder: Path) -> Invalid:
    return Invalid(
        f"`{name}` is neither a file nor a folder",
        where=str(folder),
        next_step="replace a link to a folder by the folder itself, and remove pipes, sockets and broken links",
    )
