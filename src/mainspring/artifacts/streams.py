"""Pieces of bytes that come one after the other, as a stream that is read from its beginning and not sought in."""

import io
from collections.abc import Iterator
from typing import Any, BinaryIO

__all__ = ["stream_of"]

_READ_BYTES = 1 << 20


def stream_of(pieces: Iterator[bytes], first: bytes = b"") -> BinaryIO:
    """Return a stream of `first` and all of `pieces`, each of which is asked for when it is needed."""
    return io.BufferedReader(_Reading(first, pieces), _READ_BYTES)


class _Reading(io.RawIOBase):
    """Pieces as a raw stream. Ranges of a bucket's objects are not asked for: some servers answer them wrongly."""

    def __init__(self, first: bytes, rest: Iterator[bytes]) -> None:
        self._piece, self._rest = memoryview(first), rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # Any: whatever takes bytes
        view = memoryview(buffer)
        if not self._piece:
            self._piece = memoryview(next(self._rest, b""))
        n_bytes = min(len(view), len(self._piece))
        view[:n_bytes] = self._piece[:n_bytes]
        self._piece = self._piece[n_bytes:]
        return n_bytes
