"""The head of a reply as bytes."""

from collections.abc import Sequence
from http import HTTPStatus

from mainspring.serve.reply import Reply

__all__ = ["head_of"]

_Headers = Sequence[tuple[bytes, bytes]]
_STATUS = {each.value: b"HTTP/1.1 %d %s\r\n" % (each.value, each.phrase.encode()) for each in HTTPStatus}
# The server's own headers (its date) change once a second; they are put together once for each change.
_common: tuple[_Headers, bytes] = ([], b"")


def head_of(reply: Reply, keep_alive: bool, common: _Headers) -> bytes:
    """Return everything before the body; `common` are headers of every reply."""
    global _common
    if common is not _common[0]:
        _common = (common, b"".join(b"%s: %s\r\n" % each for each in common))
    lines = b"".join(b"%s: %s\r\n" % each for each in reply.headers) if reply.headers else b""
    if not keep_alive and b"connection: close" not in lines:
        lines += b"connection: close\r\n"
    return b"%s%scontent-type: %s\r\ncontent-length: %d\r\n%s\r\n" % (
        _STATUS[reply.status],
        _common[1],
        reply.content_type,
        len(reply.body),
        lines,
    )
