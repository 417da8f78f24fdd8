"""An artifact store in which every object lies encrypted, under a name that tells nothing: `encryption` says how.

It wraps a store in a folder or a bucket that names its objects by the same key, and so has all of its promises: puts
that are whole or not there, removal beside writers, damage that is found and set aside. Callers name objects by the
BLAKE3 of their plain bytes, as in any other store. What is read was authenticated; a whole object was compared with its
digest as well. Readers that need a file get a copy of `copies`.
"""

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, TypeVar

from blake3 import blake3

from mainspring.artifacts.copies import copies_of_this_process
from mainspring.artifacts.digests import CHUNK_BYTES, digest_of_bytes, digest_of_file, require_digest
from mainspring.artifacts.encryption import StoreKey, plain_bytes
from mainspring.artifacts.folders import check_out, put_folder
from mainspring.artifacts.local import SMALL_BYTES, LocalArtifactStore
from mainspring.artifacts.protocol import Incoming
from mainspring.artifacts.putting import pour, put_path
from mainspring.artifacts.remote import RemoteArtifactStore
from mainspring.artifacts.streams import stream_of
from mainspring.domain.ids import Digest
from mainspring.errors import Corrupt, NotFound

__all__ = ["EncryptedArtifactStore"]

Answer = TypeVar("Answer")
_AT_ONCE = 8


class EncryptedArtifactStore:
    """An `ArtifactStore` of encrypted objects in `inner`, under one key."""

    def __init__(self, inner: LocalArtifactStore | RemoteArtifactStore, key: StoreKey) -> None:
        """`inner` must have been made with `key` as its naming."""
        self.inner, self.key = inner, key

    def __reduce__(self) -> tuple[object, ...]:
        # The key itself never travels: a worker reads it from the folder of keys where it runs.
        return (EncryptedArtifactStore, (self.inner, self.key))

    def put_bytes(self, data: bytes) -> Digest:
        """Keep `data` and return its digest."""
        digest = digest_of_bytes(data)
        return digest if self._holds(digest, len(data)) else self._write(io.BytesIO(data))

    def put_file(self, path: Path) -> Digest:
        """Keep the content of the file `path` and return its digest, which is of the bytes that were read."""
        return put_path(path, digest_of_file, self._holds, self._write)

    def incoming(self) -> "_Incoming":
        """Begin an object whose bytes come in piece by piece."""
        return _Incoming(self)

    def put_tree(self, folder: Path) -> Digest:
        """Keep every file under `folder` and return the digest of the list of them."""
        return put_folder(self, folder, at_once=_AT_ONCE)

    def open(self, digest: Digest) -> BinaryIO:
        """Open an object for reading; one of at most 8 MiB is verified first, a larger one as it comes."""
        if self.size_bytes(digest) <= SMALL_BYTES:
            return io.BytesIO(self.read_bytes(digest))
        return stream_of(self._pieces(digest))

    def read_bytes(self, digest: Digest) -> bytes:
        """Return the whole of an object, verified."""
        return self._read(digest, lambda: b"".join(self._pieces(digest)))

    def path_of(self, digest: Digest) -> Path:
        """Return a decrypted copy, which is read-only and goes when this process ends."""
        if not self.claim(digest):
            raise self._absent(digest)
        copies, size = copies_of_this_process(), self.size_bytes(digest)
        return self._read(digest, lambda: copies.path_of(digest, size, lambda: self._pieces(digest)))

    def checkout_tree(self, digest: Digest, target: Path) -> None:
        """Write the files of a tree as the new folder `target`, all of them or none."""
        check_out(self, digest, target)

    def exists(self, digest: Digest) -> bool:
        """Whether the object is there; it is not read."""
        return self.inner.exists(self.key.name_of(digest))

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """Return those of many digests that are not there."""
        return set(map(self.key.digest_of, self.inner.missing(map(self.key.name_of, digests))))

    def size_bytes(self, digest: Digest) -> int:
        """Return the size of an object, without what its encryption takes."""
        with self._telling(digest) as name:
            return plain_bytes(self.inner.size_bytes(name))

    def verify(self, digest: Digest) -> None:
        """Decrypt the whole object and raise `Corrupt` if it is not what was put."""
        with self._telling(digest) as name:
            self.inner.verify(name)

    def claim(self, digest: Digest) -> bool:
        """Whether the object is there; if so it counts as put now."""
        return self.inner.claim(self.key.name_of(digest))

    def put_at(self, digest: Digest) -> datetime:
        """Return when the object was put, for the last time where it was put again."""
        with self._telling(digest) as name:
            return self.inner.put_at(name)

    def base_of(self, digest: Digest) -> Digest | None:
        """Return None: nothing is alike in two encrypted objects, so each is whole."""
        require_digest(digest)
        return None

    def shrink(self, digest: Digest, like: Digest, *, unless_put_since: datetime) -> int:
        """Leave the object as it is: each is whole."""
        return 0

    def remove(self, digest: Digest, *, unless_put_since: datetime) -> bool:
        """Remove an object that is there and that nobody has put since that moment; say whether that was so."""
        is_gone = self.inner.remove(self.key.name_of(digest), unless_put_since=unless_put_since)
        if is_gone:
            copies_of_this_process().forget(digest)
        return is_gone

    def digests(self) -> Iterator[Digest]:
        """Yield the digest of every object, which its name gives back."""
        return map(self.key.digest_of, self.inner.digests())

    def _holds(self, digest: Digest, size: int) -> bool:
        """Whether a put may be skipped; an object of the wrong size is torn, and the put must heal it."""
        return self.claim(digest) and self.size_bytes(digest) == size

    def _write(self, source: BinaryIO) -> Digest:
        return pour(source, self.incoming())

    def _pieces(self, digest: Digest) -> Iterator[bytes]:
        """Yield an object; its last piece comes only if it is the right object."""
        with self._telling(digest) as name, self.inner.open(name) as stream:
            hasher, before = blake3(), b""
            for piece in self.key.decrypt(iter(lambda: stream.read(CHUNK_BYTES), b"")):
                if before:
                    yield before
                hasher.update(piece)
                before = piece
            if hasher.hexdigest() != digest:
                raise Corrupt(
                    f"Under the name of the object {name[:16]} lies another one",
                    next_step="put the same bytes again (run the step, add the file); find out who writes there",
                )
            if before:
                yield before

    def _read(self, digest: Digest, read: Callable[[], Answer]) -> Answer:
        """Read an object; what was damaged is read once more, since a copy in a cache may have been at fault."""
        try:
            return read()
        except Corrupt as error:
            try:
                self.verify(digest)  # raises, unless what lies there is sound
            except NotFound:  # it was set aside
                raise error from None
            return read()

    @contextmanager
    def _telling(self, digest: Digest) -> Iterator[Digest]:
        """Give the name of an object; errors that tell the name then tell the digest, which its owner knows."""
        name = self.key.name_of(digest)
        try:
            yield name
        except NotFound as error:
            raise self._absent(digest) from error
        except Corrupt as error:
            raise Corrupt(
                error.what.replace(name[:16], digest[:16]), where=error.where, next_step=error.next_step
            ) from error

    def _absent(self, digest: Digest) -> NotFound:
        inner = self.inner
        return NotFound(
            f"There is no object {digest[:16]} in the encrypted artifact store",
            where=str(inner.root) if isinstance(inner, LocalArtifactStore) else inner.bucket.address,
            next_step="check that MAINSPRING_ARTIFACTS names the store the object was put into",
        )


class _Incoming:
    """Is encrypted as it comes, and lies in the inner store when it is kept."""

    def __init__(self, store: EncryptedArtifactStore) -> None:
        self._key = store.key
        self._inner: Incoming = store.inner.incoming()
        self._writer = store.key.writer()
        self._inner.write(self._writer.head)

    def write(self, data: bytes) -> None:
        self._put(self._writer.feed(data))

    def keep(self) -> Digest:
        self._inner.write(self._writer.end())
        return self._key.digest_of(self._inner.keep())

    def discard(self) -> None:
        self._inner.discard()

    def _put(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            self._inner.write(piece)
