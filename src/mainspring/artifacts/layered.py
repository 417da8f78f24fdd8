"""Several artifact stores as one: what is put goes into the first, what is asked for is looked for in all, in turn.

So a store may be given another key, or its first one, at any moment: what is new is encrypted with the new key, and
what is older is still read where it lies, until `settle` has brought it over.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, TypeVar

from mainspring.artifacts.digests import require_digest
from mainspring.artifacts.encrypted import EncryptedArtifactStore
from mainspring.artifacts.folders import check_out
from mainspring.artifacts.protocol import ArtifactStore, Incoming
from mainspring.artifacts.putting import pour
from mainspring.domain.ids import Digest
from mainspring.errors import Corrupt, NotFound

__all__ = ["LayeredArtifactStore", "copy_object"]

Answer = TypeVar("Answer")
#: An object that is brought over while it is looked for is found at the second look.
_LOOKS = 2


class LayeredArtifactStore:
    """An `ArtifactStore` of `layers`, which are stores; the first one is written."""

    def __init__(self, layers: Sequence[ArtifactStore]) -> None:
        self.layers = tuple(layers)
        self.first = self.layers[0]

    def put_bytes(self, data: bytes) -> Digest:
        """Keep `data` and return its digest."""
        return self.first.put_bytes(data)

    def put_file(self, path: Path) -> Digest:
        """Keep the content of the file `path` and return its digest."""
        return self.first.put_file(path)

    def incoming(self) -> Incoming:
        """Begin an object whose bytes come in piece by piece."""
        return self.first.incoming()

    def put_tree(self, folder: Path) -> Digest:
        """Keep every file under `folder` and return the digest of the list of them."""
        return self.first.put_tree(folder)

    def open(self, digest: Digest) -> BinaryIO:
        """Open an object for reading; a small one is verified first."""
        return self._asked(lambda layer: layer.open(digest))

    def read_bytes(self, digest: Digest) -> bytes:
        """Return the whole of an object, verified."""
        return self._asked(lambda layer: layer.read_bytes(digest))

    def path_of(self, digest: Digest) -> Path:
        """Return a local, read-only file with the object's bytes; it must not be altered, and counts as put now."""
        return self._asked(lambda layer: layer.path_of(digest))

    def checkout_tree(self, digest: Digest, target: Path) -> None:
        """Write the files of a tree as the new folder `target`, all of them or none."""
        check_out(self, digest, target)

    def exists(self, digest: Digest) -> bool:
        """Whether the object is there; it is not read."""
        return any(layer.exists(digest) for layer in self.layers)

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """Return those of many digests that are in no layer."""
        gone = set(digests)
        for layer in self.layers:
            gone = layer.missing(gone) if gone else gone
        return gone

    def size_bytes(self, digest: Digest) -> int:
        """Return the size of an object."""
        return self._asked(lambda layer: layer.size_bytes(digest))

    def verify(self, digest: Digest) -> None:
        """Read the whole object and raise `Corrupt` if it is not what was put."""
        self._asked(lambda layer: layer.verify(digest))

    def claim(self, digest: Digest) -> bool:
        """Whether the object is there; if so it counts as put now."""
        # looked for before it is claimed: a bucket notes a claim under the name of what may not even be there, and what
        # the plain layer would note is the digest
        return any(layer.exists(digest) and layer.claim(digest) for layer in self.layers)

    def put_at(self, digest: Digest) -> datetime:
        """Return when the object was put, for the last time where it was put again."""
        times = []
        for layer in self.layers:
            try:
                times.append(layer.put_at(digest))
            except NotFound as error:
                absent = error
        if not times:
            raise absent
        return max(times)

    def base_of(self, digest: Digest) -> Digest | None:
        """Return the object without which this one cannot be read, where it is kept as a difference to one."""
        require_digest(digest)
        return next((layer.base_of(digest) for layer in self.layers if layer.exists(digest)), None)

    def shrink(self, digest: Digest, like: Digest, *, unless_put_since: datetime) -> int:
        """Shrink the object where it was put last and the other one is there too."""
        both = (layer for layer in self.layers if layer.exists(digest) and layer.exists(like))
        return next((layer.shrink(digest, like, unless_put_since=unless_put_since) for layer in both), 0)

    def remove(self, digest: Digest, *, unless_put_since: datetime) -> bool:
        """Remove an object wherever it is, if nobody has put it since that moment; say whether that was so."""
        try:
            if self.put_at(digest) >= unless_put_since:
                return False
        except NotFound:
            return False
        removed = [layer.remove(digest, unless_put_since=unless_put_since) for layer in self.layers]
        return any(removed) and not self.exists(digest)

    def digests(self) -> Iterator[Digest]:
        """Yield the digest of every object once."""
        seen: set[Digest] = set()
        for layer in self.layers:
            for digest in layer.digests():
                if digest not in seen:
                    seen.add(digest)
                    yield digest

    def _asked(self, question: Callable[[ArtifactStore], Answer]) -> Answer:
        """Return the answer of the first layer that has the object."""
        for _ in range(_LOOKS):
            for layer in self.layers:
                try:
                    return question(layer)
                except NotFound as error:
                    absent = error
        raise absent


def copy_object(source: ArtifactStore, target: ArtifactStore, digest: Digest) -> int:
    """Copy an object and return its size in bytes; nothing decrypted touches a disk that did not hold it so.

    Raises:
        NotFound: there is no such object.
        Corrupt: what came out of `source` is not what its digest says.
    """
    if isinstance(source, LayeredArtifactStore):
        source = next((each for each in source.layers if each.exists(digest)), source.first)
    if isinstance(target, LayeredArtifactStore):
        target = target.first
    size = source.size_bytes(digest)
    put = _copied(source, target, digest)
    if put != digest:
        source.verify(digest)
        raise Corrupt(
            f"The object {digest[:16]} is not what was put: its bytes have the digest {put[:16]}",
            next_step="put the same bytes again",
        )
    return size


def _copied(source: ArtifactStore, target: ArtifactStore, digest: Digest) -> Digest:
    if isinstance(source, EncryptedArtifactStore) and isinstance(target, EncryptedArtifactStore):
        if source.key.id == target.key.id:
            lain = source.inner.path_of(source.key.name_of(digest))
            return target.key.digest_of(target.inner.put_file(lain))
    elif not isinstance(source, EncryptedArtifactStore) and not isinstance(target, EncryptedArtifactStore):
        return target.put_file(source.path_of(digest))
    with source.open(digest) as stream:
        return pour(stream, target.incoming())
