"""A file behind an HTTP or HTTPS address as a source; one that did not change is asked for, and not sent again.

Nothing but http and https is followed, a login does not travel to another host, and what comes is taken up to a limit.
"""

import contextlib
import http.client
import re
import socket
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping
from email.message import Message
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from mainspring.data.sources.files import too_large
from mainspring.data.sources.protocol import LOGIN_SIGNS, FileSource, SourceFile, Wanted
from mainspring.errors import Invalid, NotFound, Unavailable

__all__ = ["web"]

_SECONDS = 60
_PIECE_BYTES = 1 << 20
_FOLLOWED = "give the address it leads to; only http and https are followed, and never from https to http"
_ENDINGS = {
    "text/csv": ".csv", "text/tab-separated-values": ".tsv", "application/json": ".json",
    "application/x-ndjson": ".jsonl", "application/jsonl": ".jsonl", "application/vnd.apache.parquet": ".parquet",
    "application/vnd.apache.arrow.file": ".arrow",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
}  # fmt: skip


def web(address: str, wanted: Wanted) -> FileSource:
    """Return the source ``https://host/path``, with the sheet of a workbook behind a `#`."""
    if wanted.cursor:
        raise Invalid("A file has no cursor", where="--cursor", next_step="leave it out")
    parts = urlsplit(address)
    try:
        place = f"{parts.hostname}{f':{parts.port}' if parts.port else ''}"
        odd = "@" in parts.netloc.rpartition("@")[0] + parts.fragment or (parts.port and "@" in parts.path)
    except ValueError:
        odd, place = True, ""
    if odd:
        raise Invalid("The address cannot be taken apart", where="SOURCE", next_step=LOGIN_SIGNS)
    if not parts.hostname or any(ord(each) < 33 for each in address):
        raise Invalid("The address names no host", where="SOURCE", next_step="write it as https://host/file.csv")
    # what stands in a query is often a key or a signature
    told = urlunsplit((parts.scheme, place, parts.path, "..." if parts.query else "", ""))
    asked = urlunsplit((parts.scheme, place, parts.path or "/", parts.query, ""))
    request = urllib.request.Request(asked)  # noqa: S310  # asked by an opener that knows http and https alone
    if parts.username:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_unredirected_header("Authorization", f"Basic {b64encode(login.encode()).decode()}")
    name = Path(unquote(parts.path)).name or "index"
    sheet = f"#{unquote(parts.fragment)}" if parts.fragment else ""

    def files(seen: Mapping[str, str]) -> Iterator[SourceFile]:
        # a query is not kept, for it may be a secret, so nobody knows whether a stamp is of the same one
        stamp = "" if parts.query else seen.get(name + sheet, "")
        kind, _, value = stamp.partition(" ")
        if kind in ("etag", "modified") and value:
            request.add_header("If-None-Match" if kind == "etag" else "If-Modified-Since", value)
        answer = _asked(request, told)
        if answer is None:
            yield SourceFile(name + sheet, stamp, lambda _: Path())
            return
        with contextlib.closing(answer):
            made = "" if parts.query else _stamp(answer.headers)
            yield SourceFile(
                name + sheet,
                made,
                lambda folder: _saved(answer, folder / _named(name, answer.headers, wanted), told, wanted),
            )

    return FileSource(told + sheet, files)


class _OnlyWeb(urllib.request.HTTPRedirectHandler):
    """Follows to http and https alone, and never from https to http."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> urllib.request.Request | None:
        scheme = urlsplit(newurl).scheme
        if scheme not in ("http", "https") or (scheme == "http" and req.type == "https"):
            raise urllib.error.HTTPError(req.full_url, code, "not followed", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _asked(request: urllib.request.Request, told: str) -> Any:  # a response, None where nothing changed
    # no handlers for ftp, file and data addresses: whatever an address says, only the web is asked
    opener = urllib.request.OpenerDirector()
    for handler in (urllib.request.ProxyHandler, urllib.request.HTTPHandler, urllib.request.HTTPSHandler, _OnlyWeb,
                    urllib.request.HTTPErrorProcessor, urllib.request.HTTPDefaultErrorHandler):  # fmt: skip
        opener.add_handler(handler())
    try:
        return opener.open(request, timeout=_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.client.NOT_MODIFIED:
            return None
        if error.code in (http.client.NOT_FOUND, http.client.GONE):
            raise NotFound("There is no such file", where=told, next_step="check the address") from error
        if 300 <= error.code < 400:
            raise Unavailable("It leads to a place that is not followed", where=told, next_step=_FOLLOWED) from error
        raise Unavailable(
            f"The server answers {error.code} {error.reason}", where=told, next_step="check address and login"
        ) from error
    except (urllib.error.URLError, OSError, http.client.HTTPException, ValueError) as error:
        raise _outage(error, told) from error


def _stamp(headers: Message) -> str:
    for kind, header in (("etag", "ETag"), ("modified", "Last-Modified")):
        if value := headers.get(header, ""):
            return f"{kind} {value}" if value.isprintable() and len(value) < 500 else ""
    return ""


def _named(name: str, headers: Message, wanted: Wanted) -> str:
    """Return the name to save a file under; its ending says how it is read."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".")[-100:] or "file"
    if wanted.form:
        return f"{safe}.{wanted.form}"
    if re.search(r"\.(csv|tsv|json|jsonl|ndjson|parquet|arrow|feather|xlsx)(\.gz)?$", safe.lower()):
        return safe
    return safe + _ENDINGS.get(headers.get_content_type(), "")


def _saved(answer: Any, target: Path, told: str, wanted: Wanted) -> Path:
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        said = f"The server packs the file as {answer.headers['Content-Encoding']}, unasked"
        raise Unavailable(said, where=told, next_step="ask for the packed file by its own name")
    said = answer.headers.get("Content-Length") or "-1"
    length = int(said) if re.fullmatch("[0-9]{1,18}", said) else -1
    if length > wanted.most_bytes:
        raise too_large(told, wanted.most_bytes)
    taken = 0
    with target.open("wb") as file:
        try:
            while piece := answer.read(_PIECE_BYTES):
                taken += file.write(piece)
                if taken > wanted.most_bytes:
                    raise too_large(told, wanted.most_bytes)
        except (OSError, http.client.HTTPException) as error:
            raise _outage(error, told) from error
    if 0 <= taken < length:
        what = f"The file broke off after {taken:,} of {length:,} bytes"
        raise Unavailable(what, where=told, next_step="pull again")
    return target


def _outage(error: Exception, told: str) -> Unavailable:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    said = "no answer in time" if isinstance(reason, socket.timeout) else str(reason)
    return Unavailable(f"The file cannot be fetched: {said}", where=told, next_step="check address and network")
