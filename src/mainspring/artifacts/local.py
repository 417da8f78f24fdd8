"""The artifact store in a folder: ``objects/ab/cdef...``, one read-only file an object, named by its digest.

A put writes a temporary file on the same disk, syncs it, renames it into place and syncs the folder; a kill at any
instant leaves either the whole object or a temporary file. A living writer holds a lock on its temporary file, so
whoever finds one without a lock may sweep it. An object found torn or altered is moved aside to ``corrupt/``, where a
person can look at it, and the next put of the same bytes heals the store.
"""

import contextlib
import io
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from mainspring.artifacts.deltas import LEAST_BYTES, MOST_BYTES, MOST_STEPS, DeltaShelf, delta_bytes, head_of, restored
from mainspring.artifacts.digests import (
    BY_DIGEST,
    Naming,
    digest_of_bytes,
    is_digest,
    require_digest,
)
from mainspring.artifacts.folders import check_out, put_folder
from mainspring.artifacts.putting import outage, pour, put_path
from mainspring.domain.ids import Digest, new_id
from mainspring.errors import Corrupt, NotFound

if sys.platform != "win32":
    import fcntl

__all__ = ["SMALL_BYTES", "LocalArtifactStore"]

#: Objects up to this size are verified whenever they are opened: 8 MiB take a few milliseconds.
SMALL_BYTES = 8 << 20

# An object that becomes whole, or a difference, while it is looked for is found at the next look.
_LOOKS = 5


class LocalArtifactStore:
    """An `ArtifactStore` in the folder `root`, which is made when the first object is put.

    Its objects are named by their digest, or as another `naming` says; what is said here of digests holds for names.

    Any number of threads and processes may use the same folder at once.
    """

    def __init__(self, root: Path, naming: Naming = BY_DIGEST) -> None:
        self.root = root.absolute()
        self.naming = naming
        self._objects = self.root / "objects"
        self._incoming = self.root / "incoming"
        self._corrupt = self.root / "corrupt"
        self._deltas = DeltaShelf(self.root)
        self._prepare_lock = threading.Lock()
        self._prepared = False

    def __reduce__(self) -> tuple[object, ...]:
        # A worker process opens the same folder; the lock and what was prepared are this process's own.
        return (LocalArtifactStore, (self.root,) if self.naming is BY_DIGEST else (self.root, self.naming))

    def put_bytes(self, data: bytes) -> Digest:
        """Keep `data` and return its digest."""
        digest = self.naming.of_bytes(data)
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
        return put_path(path, self.naming.of_file, self._holds, self._write)

    def incoming(self) -> "_Incoming":
        """Begin an object whose bytes come in piece by piece."""
        return _Incoming(self)

    def put_tree(self, folder: Path) -> Digest:
        """Keep every file under `folder` and return the digest of the list of them."""
        return put_folder(self, folder)

    def open(self, digest: Digest) -> BinaryIO:
        """Open an object for reading; one of at most 8 MiB is verified first."""
        place = self._place_of(digest)
        try:
            return io.BytesIO(self.read_bytes(digest)) if place.stat().st_size <= SMALL_BYTES else place.open("rb")
        except FileNotFoundError:
            return io.BytesIO(self.read_bytes(digest))

    def read_bytes(self, digest: Digest) -> bytes:
        """Return the whole of an object, verified."""
        place = self._place_of(digest)
        for _ in range(_LOOKS):
            with contextlib.suppress(FileNotFoundError):
                data = place.read_bytes()
                break
            with contextlib.suppress(FileNotFoundError):
                data = self._undone(digest)
                break
        else:
            raise self._absent(digest)
        if self.naming.of_bytes(data) != digest:
            raise self._set_aside(digest)
        return data

    def path_of(self, digest: Digest) -> Path:
        """Return the object's own file; it is read-only, must stay as it is, and is left whole for a while."""
        path = self._place_of(digest)
        if not self._touch(path):
            self._write(io.BytesIO(self.read_bytes(digest)))
            with self._lock(shared=False):
                if path.exists():
                    self._deltas.place_of(digest).unlink(missing_ok=True)
        return path

    def checkout_tree(self, digest: Digest, target: Path) -> None:
        """Write the files of a tree as the new folder `target`, all of them or none."""
        check_out(self, digest, target)

    def exists(self, digest: Digest) -> bool:
        """Whether the object is there; it is not read."""
        return any(place.exists() for place in self._places_of(digest))

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """Return those of many digests that are not there, or are kept as a difference to what is not there."""
        gone, objects = set(digests), str(self._objects)
        for shelf in {digest[:2] for digest in gone}:  # a look at each would take three times as long
            with contextlib.suppress(FileNotFoundError):
                gone.difference_update([shelf + name for name in os.listdir(f"{objects}/{shelf}")])
        return {digest for digest in gone if not self._is_whole_or_difference(digest)}

    def size_bytes(self, digest: Digest) -> int:
        """Return the size of an object."""
        place, delta, _ = self._places_of(digest)
        for _ in range(_LOOKS):
            with contextlib.suppress(FileNotFoundError):
                return place.stat().st_size
            with contextlib.suppress(FileNotFoundError):
                return head_of(delta).size_bytes
        raise self._absent(digest)

    def verify(self, digest: Digest) -> None:
        """Read the whole object and raise `Corrupt` if it is not what was put."""
        try:
            is_sound = self.naming.of_file(self._place_of(digest)) == digest
        except FileNotFoundError:
            self.read_bytes(digest)
            return
        if not is_sound:
            raise self._set_aside(digest)

    def digests(self) -> Iterator[Digest]:
        """Yield the digest of every object."""
        seen: set[str] = set()
        for folder in (self._objects, self._deltas.root):
            for path in folder.glob("??/*"):
                digest = path.parent.name + path.name
                if is_digest(digest) and digest not in seen:
                    seen.add(digest)
                    yield Digest(digest)

    def claim(self, digest: Digest) -> bool:
        """Whether the object is there; if so its time becomes now, and `remove` leaves it alone.

        One that is kept as a difference is made whole, so that it needs no other object from then on.
        """
        place = self._place_of(digest)
        try:
            with self._lock(shared=True):
                os.utime(place)
        except FileNotFoundError:
            try:
                if self._deltas.base_of(digest) is None:
                    return False
                self.path_of(digest)
            except (Corrupt, NotFound):  # it cannot be made whole: then it is put anew
                return False
        except OSError:  # not ours to claim: then it is put anew
            return False
        return True

    def put_at(self, digest: Digest) -> datetime:
        """Return when the object was put, for the last time where it was put again."""
        times = self._times(digest)
        if not times:
            raise self._absent(digest)
        return datetime.fromtimestamp(max(times), UTC)

    def base_of(self, digest: Digest) -> Digest | None:
        """Return the object without which this one cannot be read, where it is kept as a difference to one."""
        require_digest(digest)
        return self._deltas.base_of(digest)

    def shrink(self, digest: Digest, like: Digest, *, unless_put_since: datetime) -> int:
        """Keep an object as its difference to another where that saves half of it; return the bytes that frees.

        It reads back as before, somewhat slower. Nothing is done to an object that was put or claimed since that
        moment, is a JSON document (what those name is read off their bytes), very small or very large, or is needed to
        read the other.
        """
        place, target = self._place_of(digest), self._deltas.place_of(digest)
        try:
            if not LEAST_BYTES <= place.stat().st_size <= MOST_BYTES >= self.size_bytes(like):
                return 0
        except FileNotFoundError:  # it is a difference already, or gone
            return 0
        data, base = self.read_bytes(digest), self.read_bytes(like)
        delta = b"" if data[:1] in (b"{", b"[") else delta_bytes(data, like, base)
        if not 0 < len(delta) < len(data) / 2:
            return 0
        try:
            with self._keeping(delta) as draft:
                if digest_of_bytes(restored(draft, base)) != digest:
                    raise Corrupt(f"The object {digest[:16]} does not read back from its difference", where=str(draft))
                with self._lock(shared=False):
                    steps = self._deltas.steps_to(like)
                    times = self._times(digest)
                    if digest in steps or len(steps) >= MOST_STEPS or not self.exists(like) or not place.exists():
                        return 0
                    if max(times) >= unless_put_since.timestamp():
                        return 0
                    os.utime(draft, (max(times), max(times)))
                    if not target.parent.is_dir():
                        target.parent.mkdir(parents=True, exist_ok=True)
                        _sync_folder(self._deltas.root)
                    draft.replace(target)
                    _sync_folder(target.parent)
                    place.unlink()
        except OSError as error:
            raise outage(error, self.root) from error
        return len(data) - len(delta)

    def remove(self, digest: Digest, *, unless_put_since: datetime) -> bool:
        """Remove an object that is there and that nobody has put since that moment; say whether that was so."""
        try:
            with self._lock(shared=False):
                times = self._times(digest)
                if not times or max(times) >= unless_put_since.timestamp():
                    return False
                self._place_of(digest).unlink(missing_ok=True)
                self._deltas.place_of(digest).unlink(missing_ok=True)
                return True
        except FileNotFoundError:  # a store into which nothing was ever put has no lock
            return False
        except OSError as error:
            raise outage(error, self.root) from error

    def aside(self) -> list[str]:
        """Return the names of damaged objects that were set aside."""
        return sorted(each.name for each in self._corrupt.glob("*"))

    def clear_aside(self) -> None:
        """Remove damaged objects that were set aside, and what dead writers left."""
        for name in self.aside():
            (self._corrupt / name).unlink(missing_ok=True)
        self._sweep()

    def _touch(self, place: Path) -> bool:
        """Whether a whole object is there; its time becomes now, where the disk takes that."""
        try:
            with self._lock(shared=True):
                os.utime(place)
        except FileNotFoundError:
            return False
        except OSError:  # not ours to touch, or a disk that takes no writes
            return place.exists()
        return True

    def _is_whole_or_difference(self, digest: Digest) -> bool:
        """Whether an object is there, and so is what it is kept as a difference to, as far as a look tells."""
        try:
            return self.exists(self._deltas.steps_to(digest)[-1])
        except Corrupt:
            return False

    def _undone(self, digest: Digest) -> bytes:
        """Return an object that is kept as a difference; what cannot be undone is set aside.

        Raises:
            FileNotFoundError: a step became whole, or a difference, meanwhile: look again.
        """
        *steps, whole = self._deltas.steps_to(digest)
        if not steps:
            raise FileNotFoundError(digest)
        data = self._place_of(whole).read_bytes()
        if digest_of_bytes(data) != whole:
            raise self._set_aside(whole)
        for each in reversed(steps):
            try:
                data = restored(self._deltas.place_of(each), data)
            except Corrupt as error:
                raise self._set_aside(each) from error
        return data

    def _times(self, digest: Digest) -> list[float]:
        """Return when each of an object's forms was put."""
        times = []
        for place in self._places_of(digest):
            with contextlib.suppress(FileNotFoundError):
                times.append(place.stat().st_mtime)
        return times

    def _places_of(self, digest: Digest) -> tuple[Path, Path, Path]:
        """Return where to look for an object: it may become whole, which is done first, between the first two looks."""
        place = self._place_of(digest)
        return place, self._deltas.place_of(digest), place

    def _absent(self, digest: Digest) -> NotFound:
        return NotFound(
            f"There is no object {digest[:16]} in the artifact store",
            where=str(self.root),
            next_step="check that MAINSPRING_ARTIFACTS names the store the object was put into",
        )

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
        try:
            return pour(source, self.incoming())
        except OSError as error:
            raise outage(error, self.root) from error

    @contextlib.contextmanager
    def _keeping(self, data: bytes) -> Iterator[Path]:
        """Give a temporary file with these bytes, synced and read-only, to be moved to its place."""
        self._prepare()
        with self._draft() as (path, stream):
            stream.write(data)
            stream.flush()
            os.fchmod(stream.fileno(), 0o444)
            os.fsync(stream.fileno())
            yield path

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
            self._sweep()
            self._prepared = True

    def _sweep(self) -> None:
        if sys.platform != "win32":
            for path in self._incoming.glob("*"):
                with contextlib.suppress(OSError), path.open("rb") as stream:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()

    def _set_aside(self, digest: Digest) -> Corrupt:
        """Move a damaged object out of the way, unless a put has healed it, and return the error to raise."""
        # A store on a read-only disk can still say what it found.
        with contextlib.suppress(OSError), self._lock(shared=False):
            place = self._place_of(digest)
            if place.exists() and self.naming.of_file(place) == digest:
                return Corrupt(
                    f"The object {digest[:16]} was not what was put, and has been healed since",
                    where=str(place),
                    next_step="ask again",
                )
            self._corrupt.mkdir(exist_ok=True)
            (place if place.exists() else self._deltas.place_of(digest)).replace(self._corrupt / digest)
        return Corrupt(
            f"The object {digest[:16]} is not what was put: its bytes have another digest",
            where=str(self._corrupt / digest),
            next_step="put the same bytes again (run the step, add the file); check the disk",
        )


class _Incoming:
    """A temporary file that is moved to the place its digest names when it is kept."""

    def __init__(self, store: LocalArtifactStore) -> None:
        self._store = store
        self._hasher = store.naming.hasher()
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
            raise outage(error, self._store.root) from error


def _sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable; Windows has no such call and needs none."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
