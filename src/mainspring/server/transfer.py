"""Bytes to and from the network, a piece at a time: no file ever lies in memory as a whole."""

import mimetypes
import re
import unicodedata
from collections.abc import AsyncIterator
from pathlib import PurePosixPath
from typing import BinaryIO
from urllib.parse import quote

from mainspring.errors import Invalid
from mainspring.server.call import Call, Reply
from mainspring.tracking.files import LoggedFile

__all__ = ["receive_object", "send_file", "send_stream"]

_PIECE_BYTES = 1 << 20
#: Endings, and names, of files that people want to read, whatever they mean to a browser; those of MLflow's server.
_TEXTS = frozenset({
    "cf", "cfg", "cnf", "conf", "csv", "err", "hocon", "ini", "ipynb", "js", "json", "log", "md", "mlmodel",
    "mlproject", "prop", "properties", "py", "py3", "rst", "toml", "tsv", "txt", "xml", "yaml", "yml",
})  # fmt: skip
#: What a file's name is without quotes in a header. Source: RFC 9110, section 5.6.2.
_TOKEN = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)


async def receive_object(call: Call) -> LoggedFile:
    """Keep the body of a request as an object, hashed while it comes in."""
    incoming = await call.ask(call.workspace.artifacts.incoming)
    pieces: list[bytes] = []
    held = size = 0
    try:
        async for chunk in call.chunks():
            pieces.append(chunk)
            held += len(chunk)
            if held >= _PIECE_BYTES:
                await call.ask(incoming.write, b"".join(pieces))
                size, held, pieces = size + held, 0, []
        if held:
            await call.ask(incoming.write, b"".join(pieces))
        digest = await call.ask(incoming.keep)
        return LoggedFile(digest, size + held)
    finally:
        await call.ask(incoming.discard)


async def send_file(call: Call, file: LoggedFile, name: str) -> Reply:
    """Return an object as the file `name`, or the range of it that was asked for."""
    stream = await call.ask(call.workspace.artifacts.open, file.digest)
    return send_stream(call, stream, file.size_bytes, file.digest, name)


def send_stream(call: Call, stream: BinaryIO, size_bytes: int, mark: str, name: str) -> Reply:
    """Return what is open for reading as the file `name`, or the range of it that was asked for; `mark` is its etag."""
    try:
        first, last = _range(call.headers.get(b"range"), size_bytes)
    except Invalid:
        stream.close()
        raise
    headers = [
        ("content-disposition", _attachment(name)),
        ("x-content-type-options", "nosniff"),
        ("accept-ranges", "bytes"),
        ("etag", f'"{mark}"'),
        ("content-length", str(last + 1 - first)),
    ]
    status = 200
    if (first, last) != (0, size_bytes - 1):
        status = 206
        headers.append(("content-range", f"bytes {first}-{last}/{size_bytes}"))
    return Reply(_pieces(call, stream, first, last + 1 - first), status, _type_of(name), tuple(headers))


async def _pieces(call: Call, stream: BinaryIO, first: int, count: int) -> AsyncIterator[bytes]:
    try:
        if first:
            await call.ask(stream.seek, first)
        while count > 0 and (piece := await call.ask(stream.read, min(_PIECE_BYTES, count))):
            count -= len(piece)
            yield piece
    finally:
        stream.close()


def _range(asked: bytes | None, size: int) -> tuple[int, int]:
    """Return the first and last byte of a range; everything where none, or more than one, is asked for."""
    found = re.fullmatch(rb"bytes=(\d{0,18})-(\d{0,18})", asked or b"")
    if not found or not (found[1] or found[2]):
        return 0, size - 1
    if not found[1]:
        return max(0, size - int(found[2])), size - 1
    first, last = int(found[1]), min(int(found[2]) if found[2] else size - 1, size - 1)
    if first > last:
        raise Invalid(f"The range begins behind the end of the file, which has {size} bytes", where="range")
    return first, last


def _type_of(name: str) -> str:
    if (PurePosixPath(name).suffix.removeprefix(".") or name).lower() in _TEXTS:
        return "text/plain"
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _attachment(name: str) -> str:
    """Return the header that makes a browser save a file and not show it. Source: RFC 6266."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode() or "download"
    quoted = plain if _TOKEN.fullmatch(plain) else f'"{re.sub(r"[^ -!#-~]", "_", plain)}"'
    shown = f"attachment; filename={quoted}"
    return shown if plain == name else f"{shown}; filename*=UTF-8''{quote(name, safe='')}"
