"""The artifact store in a folder: ``objects/ab/cdef...``, one read-only file an object, named by its digest.

A put writes a temporary file on the same disk, syncs it, renames it into place and syncs the folder; a kill at any
instant leaves either the whole object or a temporary file. A living writer holds a lock on its temporary file, so
whoever finds one without a lock may sweep it. An object found torn or altered is moved aside to ``corrupt/``, where a
person can look at it, and the next put of the same bytes heals the store.
"""

import contextlib
import errno
import io
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from blake3 import blake3

from mainspring.artifacts.digests import CHUNK_BYTES, digest_of_bytes, digest_of_file, is_digest, require_digest
from mainspring.artifacts.trees import TreeFile, files_under, parse_tree, tree_bytes
from mainspring.domain.ids import Digest, new_id
from mainspring.errors import Conflict, Corrupt, NotFound, Unavailable

if sys.platform != "win32":
    import fcntl

__all__ = ["SMALL_BYTES", "LocalArtifactStore"]

#: Objects up to this size are verified whenever they are opened: 8 MiB take a few milliseconds.
SMALL_BYTES = 8 << 20

# Signs of a disk that is full, read-only, failing or out of bounds; anything else is a fault of ours.
_OUTAGES = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.EFBIG})


class LocalArtifactStore:
    """An `ArtifactStore` in the folder `root`, which is made when the first object is put.

    Any number of threads and processes may use the same folder at once.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._objects = self.root / "objects"
        self._incoming = self.root / "incoming"
        self._corrupt = self.root / "corrupt"
        self._prepare_lock = threading.Lock()
        self._prepared = False

    def __reduce__(self) -> tuple[object, ...]:
        # A worker process opens the same folder; the lock and what was prepared are this process's own.
        return (LocalArtifactStore, (self.root,))

    def put_bytes(self, data: bytes) -> Digest:
        """Keep `data` and return its digest."""
        digest = digest_of_bytes(data)
        if not self._holds(digest, len(data)):
            self._write(io.BytesIO(data))
        return digest

    def put_file(self, path: Path) -> Digest:
        """Keep the content of the file `path` and return its digest.

        The digest is of the bytes that were copied, so a file that changes meanwhile gives a whole object all the same.

        Raises:
            NotFound: there is no such file.
            Unavailable: it cannot be read, or the bytes cannot be kept.
        """
        try:
            digest, size = digest_of_file(path), path.stat().st_size
            if self._holds(digest, size):
                return digest
            with path.open("rb") as source:
                return self._write(source)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise NotFound(f"There is no file `{path}`", next_step="check the path; it must name a file") from error
        except PermissionError as error:
            raise Unavailable(f"The file `{path}` cannot be read: {error.strerror}") from error

    def incoming(self) -> "_Incoming":
        """Begin an object whose bytes come in piece by piece."""
        return _Incoming(self)

    def put_tree(self, folder: Path) -> Digest:
        """Keep every file under `folder` and return the digest of the list of them."""
        files = []
        for relative, path in files_under(folder):
            digest = self.put_file(path)
            files.append(TreeFile(relative, digest, self.size_bytes(digest)))
        return self.put_bytes(tree_bytes(files))

    def open(self, digest: Digest) -> BinaryIO:
        """Open an object for reading; one of at most 8 MiB is verified first."""
        path = self.path_of(digest)
        if path.stat().st_size <= SMALL_BYTES:
            return io.BytesIO(self.read_bytes(digest))
        return path.open("rb")

    def read_bytes(self, digest: Digest) -> bytes:
        """Return the whole of an object, verified."""
        data = self.path_of(digest).read_bytes()
        if digest_of_bytes(data) != digest:
            raise self._set_aside(digest)
        return data

    def path_of(self, digest: Digest) -> Path:
        """Return the object's own file; it is read-only and must stay as it is."""
        path = self._place_of(digest)
        if not path.exists():
            raise NotFound(
                f"There is no object {digest[:16]} in the artifact store",
                where=str(self.root),
                next_step="check that MAINSPRING_ARTIFACTS names the store the object was put into",
            )
        return path

    def checkout_tree(self, digest: Digest, target: Path) -> None:
        """Write the files of a tree as the new folder `target`, all of them or none."""
        files = parse_tree(self.read_bytes(digest), digest)
        target = target.absolute()
        if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
            raise Conflict(f"`{target}` exists already", next_step="name a folder that does not exist or is empty")
        draft = target.with_name(f".{target.name}.{new_id()}")
        try:
            draft.mkdir(parents=True)
            for each in files:
                self._copy_out(each.digest, draft / each.path)
            draft.rename(target)
        except OSError as error:
            raise _outage(error, target) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def exists(self, digest: Digest) -> bool:
        """Whether the object is there; it is not read."""
        return self._place_of(digest).exists()

    def size_bytes(self, digest: Digest) -> int:
        """Return the size of an object."""
        return self.path_of(digest).stat().st_size

    def verify(self, digest: Digest) -> None:
        """Read the whole object and raise `Corrupt` if it is not what was put."""
        if digest_of_file(self.path_of(digest)) != digest:
            raise self._set_aside(digest)

    def digests(self) -> Iterator[Digest]:
        """Yield the digest of every object."""
        if not self._objects.is_dir():
            return
        for shelf in self._objects.iterdir():
            for path in shelf.iterdir():
                if is_digest(shelf.name + path.name):
                    yield Digest(shelf.name + path.name)

    def claim(self, digest: Digest) -> bool:
        """Whether the object is there; if so its time becomes now, and `remove` leaves it alone."""
        place = self._place_of(digest)
        try:
            with self._lock(shared=True):
                os.utime(place)
        except OSError:  # not there, or not ours to claim: then it is put anew
            return False
        return True

    def put_at(self, digest: Digest) -> datetime:
        """Return when the object was put, for the last time where it was put again."""
        return datetime.fromtimestamp(self.path_of(digest).stat().st_mtime, UTC)

    def remove(self, digest: Digest, *, unless_put_since: datetime) -> bool:
        """Remove an object that is there and that nobody has put since that moment; say whether that was so."""
        place = self._place_of(digest)
        try:
            with self._lock(shared=False):
                if place.stat().st_mtime >= unless_put_since.timestamp():
                    return False
                place.unlink()
                return True
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _outage(error, self.root) from error

    def _place_of(self, digest: str) -> Path:
        require_digest(digest)
        return self._objects / digest[:2] / digest[2:]

    def _holds(self, digest: Digest, size: int) -> bool:
        """Whether a put may be skipped; a file of the wrong size is a torn object, and the put must heal it."""
        return self.claim(digest) and self._place_of(digest).stat().st_size == size

    @contextlib.contextmanager
    def _lock(self, *, shared: bool) -> Iterator[None]:
        """Keep `remove` from coming between a put's look at an object and its claim on it."""
        with (self.root / "remove.lock").open("ab") as stream:
            if sys.platform != "win32":
                fcntl.flock(stream, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            yield

    def _write(self, source: BinaryIO) -> Digest:
        incoming = self.incoming()
        try:
            while chunk := source.read(CHUNK_BYTES):
                incoming.write(chunk)
            return incoming.keep()
        except OSError as error:
            raise _outage(error, self.root) from error
        finally:
            incoming.discard()

    @contextlib.contextmanager
    def _draft(self) -> Iterator[tuple[Path, BinaryIO]]:
        """Give a new temporary file that no sweeper takes away while this process lives."""
        while True:
            path = self._incoming / new_id()
            stream = path.open("xb")
            if sys.platform != "win32":
                fcntl.flock(stream, fcntl.LOCK_EX)
            # A sweeper may have come between the opening and the lock; then the name is gone and we start over.
            if os.fstat(stream.fileno()).st_nlink:
                break
            stream.close()
        try:
            yield path, stream
        finally:
            path.unlink(missing_ok=True)
            # Closing flushes once more, which fails again on a full disk; the first error is the one to tell.
            with contextlib.suppress(OSError):
                stream.close()

    def _prepare(self) -> None:
        """Make the folders and sweep what dead writers left, once for each opened store."""
        with self._prepare_lock:
            if self._prepared:
                return
            self._objects.mkdir(parents=True, exist_ok=True)
            self._incoming.mkdir(exist_ok=True)
            if sys.platform != "win32":
                for path in self._incoming.iterdir():
                    with contextlib.suppress(OSError), path.open("rb") as stream:
                        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        path.unlink()
            self._prepared = True

    def _copy_out(self, digest: Digest, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with self.path_of(digest).open("rb") as source, target.open("xb") as stream:
            copied = _pour(source, stream)
        if copied != digest:
            raise self._set_aside(digest)

    def _set_aside(self, digest: Digest) -> Corrupt:
        """Move a damaged object out of the way and return the error to raise."""
        # A store on a read-only disk can still say what it found.
        with contextlib.suppress(OSError):
            self._corrupt.mkdir(exist_ok=True)
            self._place_of(digest).replace(self._corrupt / digest)
        return Corrupt(
            f"The object {digest[:16]} is not what was put: its bytes have another digest",
            where=str(self._corrupt / digest),
            next_step="put the same bytes again (run the step, add the file); check the disk",
        )


class _Incoming:
    """A temporary file that is moved to the place its digest names when it is kept."""

    def __init__(self, store: LocalArtifactStore) -> None:
        self._store = store
        self._hasher = blake3()
        self._open = contextlib.ExitStack()
        with self._outages():
            store._prepare()
            self._draft, self._stream = self._open.enter_context(store._draft())

    def write(self, data: bytes) -> None:
        self._hasher.update(data)
        with self._outages():
            self._stream.write(data)

    def keep(self) -> Digest:
        digest = Digest(self._hasher.hexdigest())
        with self._outages():
            self._stream.flush()
            os.fchmod(self._stream.fileno(), 0o444)
            os.fsync(self._stream.fileno())
            place = self._store._place_of(digest)
            if not place.parent.is_dir():
                place.parent.mkdir(exist_ok=True)
                _sync_folder(self._store._objects)
            self._draft.replace(place)
            _sync_folder(place.parent)
        self.discard()
        return digest

    def discard(self) -> None:
        self._open.close()

    @contextlib.contextmanager
    def _outages(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _outage(error, self._store.root) from error


def _pour(source: BinaryIO, target: BinaryIO) -> Digest:
    """Copy a stream and return the digest of what was copied."""
    hasher = blake3()
    while chunk := source.read(CHUNK_BYTES):
        hasher.update(chunk)
        target.write(chunk)
    return Digest(hasher.hexdigest())


def _sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable; Windows has no such call and needs none."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _outage(error: OSError, place: Path) -> Unavailable | OSError:
    """Return what to raise for a failed write: `Unavailable` where the disk is in trouble, else the error itself."""
    if error.errno not in _OUTAGES:
        return error
    return Unavailable(
        f"The bytes cannot be kept: {error.strerror}",
        where=str(place),
        next_step="make room or make the folder writable; nothing half-written is visible, so the same command can be"
        " run again",
    )
