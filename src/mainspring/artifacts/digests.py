"""BLAKE3 of bytes and files as 64 hexadecimal digits: the function that names an object.

Source: the BLAKE3 specification, 256-bit output, no key (https://github.com/BLAKE3-team/BLAKE3-specs).
"""

from pathlib import Path
from typing import Protocol

from blake3 import blake3

from mainspring.domain.ids import Digest
from mainspring.errors import Invalid

__all__ = [
    "BY_DIGEST",
    "CHUNK_BYTES",
    "Hasher",
    "Naming",
    "digest_of_bytes",
    "digest_of_file",
    "is_digest",
    "require_digest",
]

#: How much of a file is in memory at a time.
CHUNK_BYTES = 1 << 20

# Up to this a file is read at once; beyond, this much is what all cores get at a time. A mapped file would cost the
# same, but one that somebody shortens meanwhile would end the process by a signal.
_MANY_BYTES = 1 << 22


def digest_of_bytes(data: bytes | memoryview) -> Digest:
    """Return the digest of `data`.

    >>> digest_of_bytes(b"")[:16]
    'af1349b9f5f9a1a6'
    """
    return Digest(blake3(data).hexdigest())


def digest_of_file(path: Path) -> Digest:
    """Return the digest of what was read of a file; a large one is hashed on every core.

    Raises:
        OSError: the file cannot be read.
    """
    if path.stat().st_size < _MANY_BYTES:
        return Digest(blake3(path.read_bytes()).hexdigest())
    hasher = blake3(max_threads=blake3.AUTO)
    piece = memoryview(bytearray(_MANY_BYTES))
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(piece):
            hasher.update(piece[:size])
    return Digest(hasher.hexdigest())


def is_digest(text: str) -> bool:
    """Whether `text` is 64 lower-case hexadecimal digits."""
    return len(text) == 64 and not text.strip("0123456789abcdef")


def require_digest(text: str) -> str:
    """Return `text` when it is a digest; nothing else may become part of a path.

    Raises:
        Invalid: it is not.
    """
    if not is_digest(text):
        shown = text if len(text) <= 80 else text[:77] + "..."
        raise Invalid(f"`{shown}` is not a digest", next_step="a digest is 64 hexadecimal digits in lower case")
    return text


class Hasher(Protocol):
    """Takes the bytes of an object piece by piece, and knows its name at the end."""

    def update(self, data: bytes, /) -> object:
        """Take the next bytes."""

    def hexdigest(self) -> str:
        """Return the name of what was taken."""


class Naming(Protocol):
    """How a store names what lies in it: 64 hexadecimal digits that follow from the bytes alone."""

    def hasher(self) -> Hasher:
        """Begin the name of an object that comes in piece by piece."""

    def of_bytes(self, data: bytes, /) -> Digest:
        """Return the name of an object."""

    def of_file(self, path: Path, /) -> Digest:
        """Return the name of an object that is a file."""


class _ByDigest:
    def hasher(self) -> Hasher:
        return blake3()

    def of_bytes(self, data: bytes, /) -> Digest:
        return digest_of_bytes(data)

    def of_file(self, path: Path, /) -> Digest:
        return digest_of_file(path)


#: Objects that lie as they are, under their digest.
BY_DIGEST: Naming = _ByDigest()
