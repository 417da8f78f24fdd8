"""Objects kept as their difference to another, so that versions of one table cost little more than the newest.

A delta is one line, ``BASE SIZE`` (the digest of the object it is a difference to, and its own size in bytes), and
behind it a Zstandard frame (RFC 8878) made with the base's bytes as prefix, as ``zstd --patch-from`` makes one. Rows
that were edited, added or removed anywhere cost what they changed, in any format that is not compressed itself.
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

from mainspring.artifacts.digests import is_digest
from mainspring.domain.ids import Digest
from mainspring.errors import Corrupt

__all__ = ["LEAST_BYTES", "MOST_BYTES", "MOST_STEPS", "Delta", "DeltaShelf", "delta_bytes", "head_of", "restored"]

#: Smaller objects are not worth the trouble, larger ones the memory: about three times their size.
LEAST_BYTES, MOST_BYTES = 4 << 10, 512 << 20
#: How many differences may lie between an object and one that is whole.
MOST_STEPS = 10
_LEVEL = 6
_MOST_HEAD_BYTES = 100
_LEAST_WINDOW_LOG = 20


class Delta(NamedTuple):
    """What the first line of a delta says."""

    base: Digest
    size_bytes: int


def delta_bytes(data: bytes, base: Digest, base_data: bytes) -> bytes:
    """Return `data` as its difference to the object `base`."""
    zstd = _zstd()
    parameter = zstd.CompressionParameter
    options = {
        parameter.compression_level: _LEVEL,
        parameter.enable_long_distance_matching: 1,
        parameter.window_log: _window_log(len(data) + len(base_data)),
    }
    frame: bytes = zstd.compress(data, options=options, zstd_dict=zstd.ZstdDict(base_data, is_raw=True).as_prefix)
    return f"{base} {len(data)}\n".encode() + frame


def head_of(file: Path) -> Delta:
    """Return the first line of a delta.

    Raises:
        Corrupt: it is none.
        FileNotFoundError: there is no such file.
    """
    with file.open("rb") as stream:
        head = stream.readline(_MOST_HEAD_BYTES)
    base, _, size = head.decode("latin-1").rstrip("\n").partition(" ")
    if not is_digest(base) or not size.isdecimal():
        raise Corrupt("The object is kept as no difference we know", where=str(file))
    return Delta(Digest(base), int(size))


def restored(file: Path, base_data: bytes) -> bytes:
    """Return the object that a delta stands for; the caller compares the digest.

    Raises:
        Corrupt: the delta is damaged, or is one to another object.
    """
    zstd = _zstd()
    delta = head_of(file)
    frame = file.read_bytes().partition(b"\n")[2]
    options = {zstd.DecompressionParameter.window_log_max: _window_log(delta.size_bytes + len(base_data))}
    try:
        data: bytes = zstd.decompress(frame, zstd.ZstdDict(base_data, is_raw=True).as_prefix, options)
    except zstd.ZstdError as error:
        raise Corrupt(f"The difference an object is kept as is damaged: {error}", where=str(file)) from error
    return data


class DeltaShelf:
    """The folder ``deltas/ab/cdef...`` beside a store's whole objects."""

    def __init__(self, root: Path) -> None:
        self.root = root / "deltas"

    def place_of(self, digest: Digest) -> Path:
        """Return where the delta of an object lies, if it has one."""
        return self.root / digest[:2] / digest[2:]

    def base_of(self, digest: Digest) -> Digest | None:
        """Return what an object is kept as a difference to; None when it is not."""
        try:
            return head_of(self.place_of(digest)).base
        except FileNotFoundError:
            return None

    def steps_to(self, digest: Digest) -> list[Digest]:
        """Return what has to be read for an object, itself first and a whole object last."""
        steps = [digest]
        while (base := self.base_of(steps[-1])) is not None and base not in steps:
            steps.append(base)
        return steps


def _window_log(size_bytes: int) -> int:
    return max(_LEAST_WINDOW_LOG, size_bytes.bit_length())


def _zstd() -> Any:  # Any: one of two modules with the same names
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd
