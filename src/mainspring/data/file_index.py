"""What was last seen of a path's files: size, times, inode and digest, so that unchanged files are not read again.

One file a path, in the workspace; a cache, without which everything is read once more. It is kept in the form in which
`scanned` gives a path's files, so that of a tree that is as it was no file is looked at by itself. A file whose times
are so close to the moment it was looked at that a later write could leave them as they are (a racy stat) is remembered
without them, and is read again at the next look. Neighbours: `scanned` lists folders, `pinned` compares what is seen
here with what a pin names.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from mainspring.artifacts.digests import digest_of_bytes
from mainspring.artifacts.trees import TreeFile, tree_bytes
from mainspring.data.scanned import Scan, Stat, packed, scan, stat_of
from mainspring.domain.ids import Digest, new_id
from mainspring.errors import Conflict, NotFound

__all__ = [
    "NOTHING_SEEN",
    "FileIndex",
    "SeenFile",
    "changed_meanwhile",
    "index_of",
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

# An index file: this line, the digest of what follows, and that is: how many files, the digest that they have together,
# their stats and digests (64 digits each), and their names.
_FORMAT = f"mainspring index 2 {sys.byteorder}\n".encode()
_DIGITS = 64


class SeenFile(NamedTuple):
    """One file as it was seen; `stat` is empty when the file must be read again."""

    stat: Stat
    size_bytes: int
    digest: Digest


class FileIndex(NamedTuple):
    """The files of a path as they were seen; `digest` names all of them, `digests` (one behind the other) each."""

    digest: str
    scan: Scan
    digests: str

    @property
    def n_files(self) -> int:
        """How many files they are."""
        return len(self.digests) // _DIGITS

    def each_digest(self) -> Iterator[Digest]:
        """Yield the digest of each file, in the order of the scan."""
        return (Digest(self.digests[at : at + _DIGITS]) for at in range(0, len(self.digests), _DIGITS))

    def files(self) -> dict[str, SeenFile]:
        """Return the files by their relative name, or the path itself under ``""``."""
        seen = zip(self.scan.files(), self.each_digest(), strict=True)
        return {name: SeenFile(stat, size, digest) for (name, size, stat), digest in seen}


def index_of(digest: str, files: Mapping[str, SeenFile]) -> FileIndex:
    """Return files as an index."""
    scanned = packed([(name, each.size_bytes, each.stat) for name, each in files.items()])
    return FileIndex(digest, scanned, "".join(each.digest for each in files.values()))


NOTHING_SEEN = index_of("", {})


def _place(indexes: Path, path: Path) -> Path:
    return indexes / f"{digest_of_bytes(os.path.abspath(path).encode(errors='surrogateescape'))[:32]}.index"


def read_index(indexes: Path, path: Path) -> FileIndex:
    """Return what was last seen of `path`; nothing where that is not known, or cannot be read."""
    try:
        data = _place(indexes, path).read_bytes()
    except OSError:
        return NOTHING_SEEN
    if not data.startswith(_FORMAT):
        return NOTHING_SEEN
    whole = memoryview(data)  # spares copies of what may be megabytes
    start = len(_FORMAT) + _DIGITS
    if digest_of_bytes(whole[start:]).encode() != whole[len(_FORMAT) : start]:
        return NOTHING_SEEN
    stats = data.index(b"\n", data.index(b"\n", start) + 1) + 1
    count, digest, _ = data[start:stats].split(b"\n")
    digests = stats + int(count) * 32
    names = digests + int(count) * _DIGITS
    scanned = Scan(str(whole[names:], errors="surrogatepass"), data[stats:digests])
    return FileIndex(digest.decode(), scanned, str(whole[digests:names], "ascii"))


def write_index(indexes: Path, path: Path, index: FileIndex) -> None:
    """Remember what is in `path`; whoever reads meanwhile sees the old index or the new one."""
    indexes.mkdir(parents=True, exist_ok=True)
    place = _place(indexes, path)
    names = index.scan.names.encode(errors="surrogatepass")
    body = b"".join((f"{index.n_files}\n{index.digest}\n".encode(), index.scan.stats, index.digests.encode(), names))
    draft = place.with_name(f"{new_id()}.draft")
    try:
        draft.write_bytes(_FORMAT + digest_of_bytes(body).encode() + body)
        draft.replace(place)
    finally:
        draft.unlink(missing_ok=True)


def root_digest(files: Mapping[str, SeenFile]) -> Digest:
    """Return the digest that files have together: a lone file's own, or that of their tree."""
    if list(files) == [""]:
        return files[""].digest
    return digest_of_bytes(tree_of(files))


def tree_of(files: Mapping[str, SeenFile]) -> bytes:
    """Return the files of a folder as the bytes of a tree."""
    return tree_bytes([TreeFile(name, each.digest, each.size_bytes) for name, each in files.items()])


def look(
    path: Path,
    known: FileIndex,
    read: Callable[[Path], Digest],
    *,
    trusted: Callable[[Digest], bool] | None = None,
) -> FileIndex:
    """Return the files of `path`, calling `read` for those that changed since `known` or are not `trusted`.

    It is `known` itself when no file has changed, else it has no digest yet. Links to files count as the files they
    lead to.

    Raises:
        NotFound: there is nothing at `path`.
        Invalid: something is neither a file nor a folder, or is a link to a folder below `path`.
        Conflict: a file keeps changing while it is read, or files come and go.
    """
    scanned = scan(path)
    if scanned == known.scan and trusted is None:
        return known
    files = known.files()
    found: dict[str, SeenFile] = {}
    unread: list[str] = []
    for name, _, stat in scanned.files():
        before = files.get(name)
        if before is not None and before.stat == stat and (trusted is None or trusted(before.digest)):
            found[name] = before
        else:
            unread.append(name)
    if unread:
        now = _clock_of(path)
        for name in unread:
            found[name] = _read(path / name if name else path, read, now)
    return index_of("", found)


def _read(file: Path, read: Callable[[Path], Digest], now: int) -> SeenFile:
    for _ in range(_TRIES):
        try:
            before = stat_of(file.stat())
            digest = read(file)
            after = stat_of(file.stat())
        except (FileNotFoundError, NotFound) as error:
            if file.exists():
                raise
            raise changed_meanwhile(file) from error  # it was there when its folder was listed
        if after == before:
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
