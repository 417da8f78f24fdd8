"""The fields of a Protocol Buffers message, as numbers and raw values: enough to read what other trackers write.

Source: https://protobuf.dev/programming-guides/encoding/
"""

import struct
from collections.abc import Iterator

__all__ = ["Field", "fields_of", "signed"]

#: Number, and value: an unsigned integer, a piece of bytes, or the bytes of a fixed-width number.
Field = tuple[int, "int | bytes"]
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def fields_of(data: bytes) -> Iterator[Field]:
    """Yield the fields of a message in order; what cannot be read raises ValueError."""
    place, end = 0, len(data)
    while place < end:
        key, place = _varint(data, place)
        kind = key & 7
        value: int | bytes
        if kind == _VARINT:
            value, place = _varint(data, place)
        elif kind in (_FIXED64, _FIXED32, _BYTES):
            size = 8 if kind == _FIXED64 else 4
            if kind == _BYTES:
                size, place = _varint(data, place)
            if place + size > end:
                raise ValueError("the message ends within a field")
            value, place = data[place : place + size], place + size
        else:
            raise ValueError(f"wire type {kind} is not known")
        yield key >> 3, value


def signed(value: int) -> int:
    """Return an int64 that was sent as an unsigned varint."""
    return struct.unpack("<q", struct.pack("<Q", value & (1 << 64) - 1))[0]  # type: ignore[no-any-return]


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= len(data) or shift > 63:
            raise ValueError("a number does not end")
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:
            return value, place
        shift += 7
