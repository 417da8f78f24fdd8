"""What a store of bytes must do. A backend is done when it passes `mainspring.testing.artifact_store`.

Objects are immutable and named by the BLAKE3 of their bytes, so a put can be repeated, two writers cannot disagree, and
a reader can always tell whether it got what was put. The store knows nothing of what the bytes mean.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from mainspring.domain.ids import Digest

__all__ = ["ArtifactStore", "Incoming"]


class Incoming(Protocol):
    """An object that comes in piece by piece, and is visible once it is kept. One thread uses it at a time."""

    def write(self, data: bytes) -> None:
        """Add the next bytes."""

    def keep(self) -> Digest:
        """Keep what came in and return its digest; nothing can be added afterwards."""

    def discard(self) -> None:
        """Forget what came in; does nothing once it is kept."""


class ArtifactStore(Protocol):
    """Keeps bytes under their digest. Safe to share between threads and processes.

    What a put returned is durable: it survives the death of the process at any instant. A reader sees a whole object
    or none. Every method that takes a digest raises `Invalid` when the text is no digest, and, where it needs the
    object, `NotFound` when there is none; a put raises `Unavailable` when the bytes cannot be kept (a full disk). A
    pickled store opens the same objects in another process, which is how workers get at arguments and keep results.
    """

    def put_bytes(self, data: bytes) -> Digest:
        """Keep `data` and return its digest."""

    def put_file(self, path: Path) -> Digest:
        """Keep the content of the file `path` and return its digest; the file itself is left alone."""

    def incoming(self) -> Incoming:
        """Begin an object whose bytes come in piece by piece, from a network; `keep` or `discard` it."""

    def put_tree(self, folder: Path) -> Digest:
        """Keep every file under `folder` and return the digest of the list of them (see `trees`)."""

    def open(self, digest: Digest) -> BinaryIO:
        """Open an object for reading; a small one is verified first (`Corrupt`)."""

    def read_bytes(self, digest: Digest) -> bytes:
        """Return the whole of an object, verified (`Corrupt`)."""

    def path_of(self, digest: Digest) -> Path:
        """Return a local, read-only file with the object's bytes; it must not be altered, and counts as put now."""

    def checkout_tree(self, digest: Digest, target: Path) -> None:
        """Write the files of a tree as the new folder `target`, all of them or none; the bytes are verified.

        Raises:
            Conflict: `target` exists and is not an empty folder.
            Corrupt: the object is no tree, a path in it leaves the folder, or a file's bytes are not what was put.
        """

    def exists(self, digest: Digest) -> bool:
        """Whether the object is there; it is not read."""

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """Return those of many digests that are not there; none is read, and they are not asked for one by one."""

    def size_bytes(self, digest: Digest) -> int:
        """Return the size of an object."""

    def verify(self, digest: Digest) -> None:
        """Read the whole object and raise `Corrupt` if it is not what was put."""

    def claim(self, digest: Digest) -> bool:
        """Whether the object is there; if so it counts as put now, though nobody has its bytes at hand."""

    def put_at(self, digest: Digest) -> datetime:
        """Return when the object was put, for the last time where it was put again."""

    def base_of(self, digest: Digest) -> Digest | None:
        """Return the object without which this one cannot be read, where it is kept as a difference to one."""

    def shrink(self, digest: Digest, like: Digest, *, unless_put_since: datetime) -> int:
        """Keep an object as its difference to another where that pays; return the bytes that frees.

        It reads back as before. An object that was put or claimed since that moment is left whole.
        """

    def remove(self, digest: Digest, *, unless_put_since: datetime) -> bool:
        """Remove an object that is there and was not put since that moment, and say whether that was so.

        Safe beside writers: a put that returned after that moment finds, or makes, an object that stays.
        """

    def digests(self) -> Iterator[Digest]:
        """Yield the digest of every object, in no particular order."""
