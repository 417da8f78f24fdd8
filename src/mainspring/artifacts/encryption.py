"""How an encrypted object lies on a disk that somebody else may read, and under which name.

An object is ``mspring`` and a 1, 32 random bytes (the salt), and segments: 1 MiB of plain bytes each, the last one any
length, by AES-256-GCM with a tag of 16 bytes. The key of the object and the first 7 bytes of each nonce are HKDF-SHA256
(RFC 5869) of the store's key and the salt; behind them stand the number of the segment, in 4 bytes, and a 1 for the
last one. So no segment can be cut off, left out, repeated, moved, or taken from another object unseen.
Source: STREAM of Hoang, Reyhanitabar, Rogaway and Vizar, "Online Authenticated-Encryption and its Nonce-Reuse
Misuse-Resistance" (CRYPTO 2015), laid out as AES-GCM-HKDF of Google's Tink.

The name of an object is its digest by AES-256-XTS (NIST SP 800-38E) with a tweak of zeros: 32 bytes stay 32 bytes, who
has the key turns the name back into the digest, which is how a listing becomes one of digests, and who has not learns
nothing of a file by knowing its digest. A digest's halves are as good as random, so equal blocks do not come up.
The same key makes the same name, so that the same bytes are kept once.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from mainspring.artifacts.digests import CHUNK_BYTES, Hasher, require_digest
from mainspring.artifacts.secret_keys import read_key
from mainspring.domain.ids import Digest
from mainspring.errors import Corrupt, MissingExtra

__all__ = ["StoreKey", "Writer", "plain_bytes"]

_MAGIC = b"mspring\x01"
_SALT_BYTES = 32
_HEAD_BYTES = len(_MAGIC) + _SALT_BYTES
_SEGMENT_BYTES = 1 << 20
_TAG_BYTES = 16
_PREFIX_BYTES = 7
#: The name of what is no object of ours; nobody's digest becomes it.
_NO_NAME = "0" * 64
#: The number of a segment, whether it is the last one, its bytes.
_Work = Callable[[int, bool, bytes], bytes]


def plain_bytes(n_bytes: int) -> int:
    """Return how long an object is whose encrypted form takes `n_bytes`."""
    body = n_bytes - _HEAD_BYTES
    return max(0, body - _TAG_BYTES * max(1, -(-body // (_SEGMENT_BYTES + _TAG_BYTES))))


class _Derived(NamedTuple):
    id: str
    objects: bytes
    names: bytes
    records: bytes


class StoreKey:
    """A secret key and what follows from it; a pickled one is read again, where it is needed, from the folder of keys.

    It is the `Naming` of the store in which the encrypted objects lie: what comes in is decrypted, and the digest of
    that gives the name. What does not decrypt has no name that anybody asks for.
    """

    def __init__(self, name: str) -> None:
        """Read the key `name`.

        Raises:
            NotFound: there is none of that name.
            Refused: others may read its file.
            Invalid: the file holds no key.
            MissingExtra: the library that encrypts is not installed.
        """
        self.name = name
        self._secret = read_key(name)
        assert self.id  # derived here, so that a missing library is told here

    def __reduce__(self) -> tuple[object, ...]:
        return (StoreKey, (self.name,))

    @property
    def id(self) -> str:
        """What tells this key from others and says nothing else of it: 16 hexadecimal digits."""
        return self._derived.id

    @property
    def for_records(self) -> bytes:
        """The part of the key, 32 bytes for a hash and 64 for a cipher, for the names of small files."""
        return self._derived.records

    def name_of(self, digest: str) -> Digest:
        """Return under which name an object lies.

        Raises:
            Invalid: `digest` is none.
        """
        return self._turned(digest, encrypt=True)

    def digest_of(self, name: str) -> Digest:
        """Return the digest of the object that lies under a name."""
        return self._turned(name, encrypt=False)

    def writer(self) -> "Writer":
        """Begin to encrypt an object."""
        salt = os.urandom(_SALT_BYTES)
        return Writer(_MAGIC + salt, self._work(salt, encrypt=True), _SEGMENT_BYTES)

    def encrypt(self, data: bytes) -> bytes:
        """Return the encrypted form of an object."""
        writer = self.writer()
        return b"".join([writer.head, *writer.feed(data), writer.end()])

    def decrypt(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield an object piece by piece; none is empty, and the last one comes only if the object is whole.

        Raises:
            Corrupt: the bytes are not what this key encrypted, or not all of it.
        """
        reader = _Reader(self)
        for piece in pieces:
            yield from reader.feed(piece)
        if last := reader.end():
            yield last

    def hasher(self) -> Hasher:
        """Begin the name of an encrypted object that comes in piece by piece."""
        return _NameHasher(self)

    def of_bytes(self, data: bytes, /) -> Digest:
        """Return the name of an encrypted object."""
        return self._name([data])

    def of_file(self, path: Path, /) -> Digest:
        """Return the name of an encrypted object that is a file."""
        with path.open("rb") as file:
            return self._name(iter(lambda: file.read(CHUNK_BYTES), b""))

    def _name(self, pieces: Iterable[bytes]) -> Digest:
        hasher = _NameHasher(self)
        for piece in pieces:
            hasher.update(piece)
        return Digest(hasher.hexdigest())

    def _turned(self, text: str, *, encrypt: bool) -> Digest:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        require_digest(text)
        cipher = Cipher(algorithms.AES(self._derived.names), modes.XTS(bytes(16)))
        turn = cipher.encryptor() if encrypt else cipher.decryptor()
        return Digest((turn.update(bytes.fromhex(text)) + turn.finalize()).hex())

    def _work(self, salt: bytes, *, encrypt: bool) -> _Work:
        """Return what turns the segments of the object with this salt."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        both = _hkdf(self._derived.objects, b"mainspring object", 32 + _PREFIX_BYTES, salt)
        cipher = AESGCM(both[:32])
        work = cipher.encrypt if encrypt else cipher.decrypt

        def segment(number: int, is_last: bool, data: bytes) -> bytes:
            return work(both[32:] + number.to_bytes(4, "big") + bytes([is_last]), data, _MAGIC)

        return segment

    @cached_property
    def _derived(self) -> _Derived:
        return _Derived(
            _hkdf(self._secret, b"mainspring key id", 8).hex(),
            _hkdf(self._secret, b"mainspring objects", 32),
            _hkdf(self._secret, b"mainspring names", 64),
            _hkdf(self._secret, b"mainspring records", 96),
        )


class _Segments:
    """Cuts a stream into segments of `size`, the last one shorter or as long, and puts each through `work`."""

    def __init__(self, work: _Work, size: int) -> None:
        self._work, self._size = work, size
        self._waiting, self._number = bytearray(), 0

    def feed(self, data: bytes) -> list[bytes]:
        self._waiting += data
        done = []
        while len(self._waiting) > self._size:
            done.append(self._work(self._number, False, bytes(self._waiting[: self._size])))
            del self._waiting[: self._size]
            self._number += 1
        return done

    def end(self) -> bytes:
        return self._work(self._number, True, bytes(self._waiting))


class Writer(_Segments):
    """Encrypts an object piece by piece: `head`, then what `feed` returns, then `end`."""

    def __init__(self, head: bytes, work: _Work, size: int) -> None:
        super().__init__(work, size)
        self.head = head


class _Reader:
    """Decrypts an object that comes in piece by piece."""

    def __init__(self, key: StoreKey) -> None:
        self._key, self._head = key, bytearray()
        self._segments: _Segments | None = None

    def feed(self, data: bytes) -> list[bytes]:
        if self._segments is None:
            self._head += data
            if len(self._head) < _HEAD_BYTES:
                return []
            if not self._head.startswith(_MAGIC):
                raise _broken()
            work = self._key._work(bytes(self._head[len(_MAGIC) : _HEAD_BYTES]), encrypt=False)
            self._segments = _Segments(work, _SEGMENT_BYTES + _TAG_BYTES)
            data = bytes(self._head[_HEAD_BYTES:])
        with _authentic():
            return self._segments.feed(data)

    def end(self) -> bytes:
        if self._segments is None:
            raise _broken()
        with _authentic():
            return self._segments.end()


class _NameHasher:
    """Names an encrypted object that comes in piece by piece: by the digest of what it decrypts to."""

    def __init__(self, key: StoreKey) -> None:
        self._key, self._reader, self._digest = key, _Reader(key), blake3()
        self._is_broken = False

    def update(self, data: bytes, /) -> None:
        if not self._is_broken:
            try:
                for piece in self._reader.feed(data):
                    self._digest.update(piece)
            except Corrupt:
                self._is_broken = True

    def hexdigest(self) -> str:
        try:
            if self._is_broken:
                raise _broken()
            self._digest.update(self._reader.end())
        except Corrupt:
            return _NO_NAME
        return self._key.name_of(self._digest.hexdigest())


@contextmanager
def _authentic() -> Iterator[None]:
    from cryptography.exceptions import InvalidTag

    try:
        yield
    except (InvalidTag, ValueError) as error:  # ValueError: shorter than a tag
        raise _broken() from error


def _broken() -> Corrupt:
    return Corrupt(
        "The encrypted bytes are not what was written, or not all of it",
        next_step="put the same bytes again (run the step, add the file); check the disk",
    )


def _hkdf(secret: bytes, purpose: bytes, n_bytes: int, salt: bytes | None = None) -> bytes:
    try:
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    except ImportError as error:
        raise MissingExtra.of("encryption", "cryptography", "Encryption at rest") from error
    return HKDF(SHA256(), n_bytes, salt, purpose).derive(secret)
