"""How large a request may be, packed or not."""

import zlib
from http import HTTPStatus

from mainspring.serve.problems import HttpRefusal

__all__ = ["MOST_ROWS", "MOST_TABLE_ROWS", "check_size", "too_large", "unpacked"]

#: Rows of one request; more belong into a batch job, or into a stream.
MOST_ROWS = 10_000
#: Rows of a request that comes as columns, which cost less.
MOST_TABLE_ROWS = 100_000


def check_size(count: int, what: str, most: int = MOST_ROWS) -> None:
    """Check that a request is not larger than one may be.

    Raises:
        HttpRefusal: it is.
    """
    if count > most:
        raise HttpRefusal(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"{count} {what} in one request; at most {most} are taken",
            where=what,
            next_step="send them in several requests, or score files with `mainspring predict`",
        )


def too_large(limit: int) -> HttpRefusal:
    """Return the refusal of a body beyond `limit` bytes."""
    return HttpRefusal(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"The body is larger than {limit} bytes",
        where="body",
        next_step="send the rows in several requests",
    )


def unpacked(body: bytes, encoding: bytes, limit: int) -> bytes:
    """Return a body as it was before it was packed (gzip or deflate); never more than `limit` bytes.

    Raises:
        HttpRefusal: it is packed in another way, is damaged, or too large.
    """
    kind = encoding.strip().lower()
    if kind in (b"", b"identity"):
        return body
    if kind not in (b"gzip", b"deflate"):
        raise HttpRefusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"Bodies packed as `{encoding.decode('latin-1')}` are not read",
            where="header content-encoding",
            next_step="use gzip or deflate, or none",
        )
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16 if kind == b"gzip" else zlib.MAX_WBITS)
    try:
        plain = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise HttpRefusal(HTTPStatus.BAD_REQUEST, f"The packed body is damaged: {error}", where="body") from error
    if len(plain) > limit:
        raise too_large(limit)
    if not unpacker.eof:
        raise HttpRefusal(HTTPStatus.BAD_REQUEST, "The packed body ends too early", where="body")
    return plain
