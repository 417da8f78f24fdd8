"""Keys and rows of the online store as bytes: MessagePack, one packed row for each entity.

A row is a list: the moment of its source row in microseconds since 1970, then the features in the order of the view,
moments in microseconds too. Beside the rows lies one header, which a reader gets with every answer: until when what is
there is complete, and of what kinds the features are.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec

from mainspring.domain.moments import to_iso
from mainspring.domain.signature import ColumnType
from mainspring.errors import Corrupt, Invalid

__all__ = ["HEADER", "Header", "decode_header", "decode_key", "decode_row", "encode_header", "encode_key", "encode_row"]

#: The key of the header; no list of keys packs to nothing.
HEADER = b""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Header(NamedTuple):
    """Until when the rows of a view are complete (ISO 8601), and the kinds of its features."""

    until: str
    kinds: tuple[ColumnType, ...]


_encoder = msgspec.msgpack.Encoder()
_rows = msgspec.msgpack.Decoder(list[int | float | bool | str | None])
_keys = msgspec.msgpack.Decoder(list[int | str])
_headers = msgspec.msgpack.Decoder(Header)


def encode_key(keys: Sequence[object], kinds: Sequence[ColumnType], *, where: str = "") -> bytes:
    """Return the keys of an entity as bytes.

    Raises:
        Invalid: a key is not of its kind.
    """
    packed: list[object] = []
    for value, kind in zip(keys, kinds, strict=True):
        whole = int(value) if isinstance(value, float) and value.is_integer() else value
        if type(whole) is not (int if kind == "integer" else str):
            wanted = "a whole number" if kind == "integer" else "a text"
            raise Invalid(f"The key is {wanted}, not {value!r}", where=where, next_step=f"send {wanted}")
        packed.append(whole)
    try:
        return _encoder.encode(packed)
    except OverflowError:
        raise Invalid(f"The key {keys[0]!r} is no number of 64 bits", where=where) from None


def decode_key(packed: bytes) -> list[int | str]:
    """Return the keys that `encode_key` packed.

    Raises:
        Corrupt: the bytes are no key.
    """
    try:
        return _keys.decode(packed)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Corrupt(f"A key of the online features cannot be read: {error}") from error


def encode_row(microseconds: int, values: Sequence[object]) -> bytes:
    """Return a row as bytes; `values` are as the engine gives them, moments in microseconds."""
    return _encoder.encode([microseconds, *(None if value != value else value for value in values)])


def decode_row(packed: bytes | None, header: Header, *, at: datetime, ttl: timedelta | None) -> list[object] | None:
    """Return the features of a row, moments as ISO 8601 text; None where there is none or it is too old at `at`.

    Raises:
        Corrupt: the bytes are no row.
    """
    if packed is None:
        return None
    try:
        moment, *values = _rows.decode(packed)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Corrupt(f"A row of the online features cannot be read: {error}") from error
    if len(values) != len(header.kinds) or not isinstance(moment, int):
        raise Corrupt(f"A row of the online features has {len(values)} values and not {len(header.kinds)}")
    if ttl is not None and _moment(moment) < at - ttl:
        return None
    if "timestamp" not in header.kinds:
        return list(values)
    return [
        to_iso(_moment(value)) if kind == "timestamp" and isinstance(value, int) else value
        for value, kind in zip(values, header.kinds, strict=True)
    ]


def encode_header(header: Header) -> bytes:
    """Return the header as bytes."""
    return _encoder.encode(header)


def decode_header(packed: bytes) -> Header:
    """Read what `encode_header` wrote.

    Raises:
        Corrupt: the bytes are no header.
    """
    try:
        return _headers.decode(packed)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"The header of online features cannot be read: {error}") from error


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
