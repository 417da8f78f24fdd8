"""The artifact store in a bucket: S3 and what speaks like it, Google's and Azure's, by `obstore`.

    objects/ab/cdef...   one object each, named by its digest and put whole
    claims/ab/cdef...    empty; its time says when somebody last relied on the object
    removed/ab/cdef...   an object on its way out

Nothing is asked of the bucket but that a put is whole and is seen by whoever reads after it. Conditional writes are not
used, since some servers take the condition and ignore it. Bytes pass through a local store, the cache: it holds what
was put and read here, is verified as every local store is, and may be deleted at any time.

A put claims the object before it looks whether it is there. A removal moves the object aside before it looks at the
claims once more. Whichever comes first, the other sees it: a claim that a removal did not see finds the object gone,
and puts it anew.
"""

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from mainspring.artifacts.bucket import Bucket, Found
from mainspring.artifacts.digests import BY_DIGEST, Naming, require_digest
from mainspring.artifacts.local import SMALL_BYTES, LocalArtifactStore
from mainspring.artifacts.protocol import Incoming
from mainspring.artifacts.trees import parse_tree
from mainspring.domain.ids import Digest
from mainspring.errors import Corrupt, NotFound

__all__ = ["RemoteArtifactStore"]

#: Objects of one tree that are under way at once.
_AT_ONCE = 16
#: What came damaged is asked for again: the network may be at fault.
_DOWNLOADS = 2
_FOREVER = datetime.max.replace(tzinfo=UTC)


class RemoteArtifactStore:
    """An `ArtifactStore` in a bucket, with a local one in front of it.

    Any number of threads, processes and machines may use one bucket at once, each machine with a cache of its own.
    """

    def __init__(self, address: str, cache: Path, naming: Naming = BY_DIGEST) -> None:
        """`address` is as in `bucket`; the folder `cache` is made when something is put or read."""
        self.bucket = Bucket(address)
        self.cache = LocalArtifactStore(cache, naming)

    def __reduce__(self) -> tuple[object, ...]:
        # A worker process opens the same bucket; keys are looked up where it runs.
        naming = self.cache.naming
        return (
            RemoteArtifactStore,
            (self.bucket.address, self.cache.root, *(() if naming is BY_DIGEST else (naming,))),
        )

    def put_bytes(self, data: bytes) -> Digest:
        """Keep `data` and return its digest."""
        return self._send(self.cache.put_bytes(data))

    def put_file(self, path: Path) -> Digest:
        """Keep the content of the file `path` and return its digest."""
        return self._send(self.cache.put_file(path))

    def incoming(self) -> "_Incoming":
        """Begin an object whose bytes come in piece by piece."""
        return _Incoming(self, self.cache.incoming())

    def put_tree(self, folder: Path) -> Digest:
        """Keep every file under `folder` and return the digest of the list of them, which is sent last."""
        tree = self.cache.put_tree(folder)
        _at_once(self._send, self._files_of(tree))
        return self._send(tree)

    def open(self, digest: Digest) -> BinaryIO:
        """Open an object for reading; one of at most 8 MiB is verified first, a larger one is read as it comes."""
        is_here = self.cache.exists(digest)
        size = self.cache.size_bytes(digest) if is_here else self.size_bytes(digest)
        if size <= SMALL_BYTES:
            return io.BytesIO(self.read_bytes(digest))
        return self.cache.open(digest) if is_here else self.bucket.open(_key("objects", digest))

    def read_bytes(self, digest: Digest) -> bytes:
        """Return the whole of an object, verified; a copy in the cache that is damaged is fetched anew."""
        with suppress(Corrupt, NotFound):
            data = self.cache.read_bytes(digest)
            self.cache.claim(digest)
            return data
        return self._fetched(digest).read_bytes()

    def path_of(self, digest: Digest) -> Path:
        """Return the cache's file of the object; it is read-only and must stay as it is."""
        return self.cache.path_of(digest) if self.cache.claim(digest) else self._fetched(digest)

    def checkout_tree(self, digest: Digest, target: Path) -> None:
        """Write the files of a tree as the new folder `target`, all of them or none."""
        self.read_bytes(digest)
        while True:
            _at_once(self.path_of, self._files_of(digest))
            try:
                return self.cache.checkout_tree(digest, target)
            except Corrupt as error:  # of a copy here, which has been set aside: it is fetched anew, and then told
                if not error.where.startswith(str(self.cache.root)):
                    raise

    def exists(self, digest: Digest) -> bool:
        """Whether the object is in the bucket; it is not read."""
        return self._find(digest) is not None

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """Return those of many digests that are not in the bucket; the keys beside them are listed, many at a time."""
        gone = set(digests)

        def listed(shelf: str) -> set[Digest]:
            return {_digest(key) for key in self.bucket.keys(f"objects/{shelf}")}

        from concurrent.futures import ThreadPoolExecutor  # refused while the interpreter ends and sends the last log

        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="artifacts") as pool:
            gone.difference_update(*pool.map(listed, {digest[:2] for digest in gone}))
        return {digest for digest in gone if not self.exists(digest)}

    def size_bytes(self, digest: Digest) -> int:
        """Return the size of an object."""
        found = self._find(digest)
        if found is None:
            raise self._absent(digest)
        return found.size_bytes

    def verify(self, digest: Digest) -> None:
        """Read the object out of the bucket and raise `Corrupt` if it is not what was put."""
        self._fetched(digest)

    def digests(self) -> Iterator[Digest]:
        """Yield the digest of every object in the bucket, those of removals that were killed half-way too."""
        aside = set(map(_digest, self.bucket.keys("removed")))
        for digest in map(_digest, self.bucket.keys("objects")):
            aside.discard(digest)
            yield digest
        yield from aside

    def claim(self, digest: Digest) -> bool:
        """Whether the object is there; if so its time becomes now, and `remove` leaves it alone."""
        self.bucket.put(_key("claims", digest), b"")
        return self.exists(digest)

    def put_at(self, digest: Digest) -> datetime:
        """Return when the object was put or claimed, for the last time; rather somewhat later than too early."""
        found = self._find(digest)
        if found is None:
            raise self._absent(digest)
        claimed = self.bucket.find(_key("claims", digest)) or found
        return max(found.at, claimed.at) + self._behind

    def base_of(self, digest: Digest) -> Digest | None:
        """Return None: in a bucket every object is whole."""
        return None

    def shrink(self, digest: Digest, like: Digest, *, unless_put_since: datetime) -> int:
        """Leave the object as it is: in a bucket every object is whole."""
        return 0

    def remove(self, digest: Digest, *, unless_put_since: datetime) -> bool:
        """Remove an object that is there and that nobody has put since that moment; say whether that was so."""
        try:
            if self.put_at(digest) >= unless_put_since:
                return False
            place, claims, aside = (_key(shelf, digest) for shelf in ("objects", "claims", "removed"))
            self.bucket.copy(place, aside)
            self.bucket.delete(place)
            claimed = self.bucket.find(claims)
            if claimed is not None and claimed.at + self._behind >= unless_put_since:
                self.bucket.copy(aside, place)
                self.bucket.delete(aside)
                return False
            self.bucket.delete(aside)  # the claim stays: another removal may be about to look for it
        except NotFound:  # another removal was faster
            return False
        self.cache.remove(digest, unless_put_since=unless_put_since)
        return True

    def trim(self, unused_since: datetime) -> int:
        """Take from the cache what was neither put nor read here since that moment; return the bytes that frees."""
        freed = 0
        for digest in self.cache.digests():
            with suppress(NotFound):  # another trim was faster
                size = self.cache.size_bytes(digest)
                freed += size if self.cache.remove(digest, unless_put_since=unused_since) else 0
        return freed

    def aside(self) -> list[str]:
        """Return the keys of damaged objects that were set aside, in the bucket and here."""
        return [*self.bucket.keys("corrupt"), *self.cache.aside()]

    def clear_aside(self) -> None:
        """Remove damaged objects that were set aside, and what dead writers left."""
        if keys := list(self.bucket.keys("corrupt")):
            self.bucket.delete(*keys)
        self.cache.clear_aside()

    @cached_property
    def _behind(self) -> timedelta:
        """What to add to the bucket's times, of its own clock and in whole seconds, to be late rather than early."""
        key = "claims/clock"
        self.bucket.put(key, b"")
        found = self.bucket.find(key)
        assert found is not None, "what was put just now is there"
        return datetime.now(UTC) - found.at + timedelta(seconds=1)

    def _send(self, digest: Digest) -> Digest:
        """Put what the cache holds into the bucket, unless it is there."""
        if not self.claim(digest):
            self.bucket.put(_key("objects", digest), self.cache.path_of(digest))
        return digest

    def _fetched(self, digest: Digest) -> Path:
        """Bring an object into the cache, verified, and return its file there."""
        place = _key("objects", digest)
        if self._find(digest) is None:
            raise self._absent(digest)
        for _ in range(_DOWNLOADS):
            incoming = self.cache.incoming()
            try:
                for piece in self.bucket.read(place):
                    incoming.write(piece)
                got = incoming.keep()
            finally:
                incoming.discard()
            if got == digest:
                return self.cache.path_of(digest)
            self.cache.remove(got, unless_put_since=_FOREVER)
        self.bucket.copy(place, _key("corrupt", digest))
        self.bucket.delete(place)
        raise Corrupt(
            f"The object {digest[:16]} is not what was put: its bytes have another digest",
            where=f"{self.bucket.address}/{_key('corrupt', digest)}",
            next_step="put the same bytes again (run the step, add the file); find out who writes into the bucket",
        )

    def _find(self, digest: Digest) -> Found | None:
        """Return what the bucket knows of an object. A removal that was killed half-way is undone."""
        place, aside = _key("objects", digest), _key("removed", digest)
        found = self.bucket.find(place)
        if found is None and self.bucket.find(aside) is not None:
            with suppress(NotFound):  # the removal was only slow, and is done
                self.bucket.copy(aside, place)
            found = self.bucket.find(place)
        return found

    def _absent(self, digest: Digest) -> NotFound:
        return NotFound(
            f"There is no object {digest[:16]} in the artifact store",
            where=self.bucket.address,
            next_step="check that MAINSPRING_ARTIFACTS names the store the object was put into",
        )

    def _files_of(self, tree: Digest) -> list[Digest]:
        return list(dict.fromkeys(each.digest for each in parse_tree(self.cache.read_bytes(tree), tree)))


class _Incoming:
    """Comes into the cache, and goes to the bucket when it is kept."""

    def __init__(self, store: RemoteArtifactStore, local: Incoming) -> None:
        self._store, self._local = store, local

    def write(self, data: bytes) -> None:
        self._local.write(data)

    def keep(self) -> Digest:
        return self._store._send(self._local.keep())

    def discard(self) -> None:
        self._local.discard()


def _at_once(work: Callable[[Digest], object], digests: Iterable[Digest]) -> None:
    from concurrent.futures import ThreadPoolExecutor  # refused while the interpreter ends and sends the last log

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="artifacts") as pool:
        for _ in pool.map(work, digests):
            pass


def _key(shelf: str, digest: Digest) -> str:
    require_digest(digest)
    return f"{shelf}/{digest[:2]}/{digest[2:]}"


def _digest(key: str) -> Digest:
    return Digest("".join(key.split("/")[-2:]))
