"""Rows as a stream: NDJSON in, NDJSON out, as long as the client likes, in memory that does not grow.

Each line is a row and gets a line: its prediction with its warnings, or what is wrong with it and where; a bad line
stops nothing. Lines are asked in chunks, so a stream waits in the model's queue like everybody else and cannot starve
them.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus

import msgspec

from mainspring.serve.asking import Dialect, Received
from mainspring.serve.problems import Problem
from mainspring.serve.reply import Reply
from mainspring.serve.wire import Answer, Prediction, Warn

__all__ = ["STREAM", "answer_lines", "lines_of"]

STREAM = b"application/x-ndjson"
_CHUNK_ROWS = 256
_PAUSE_SECONDS = 0.1
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_Ask = Callable[[Received, Dialect, bytes], Awaitable[Reply]]


class _Line(Prediction, frozen=True, omit_defaults=True):
    warnings: list[Warn] = msgspec.field(default_factory=list)


async def lines_of(pieces: AsyncIterator[bytes], longest: int) -> AsyncIterator[list[bytes]]:
    """Yield the lines of a body in chunks, without empty ones; a line beyond `longest` bytes ends the stream."""
    rest = b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        full = [line for line in lines if line.strip()]
        for start in range(0, len(full), _CHUNK_ROWS):
            yield full[start : start + _CHUNK_ROWS]
        if len(rest) > longest:
            break
    if rest.strip():
        yield [rest]


async def answer_lines(
    chunks: AsyncIterator[list[bytes]], received: Received, dialect: Dialect, ask: _Ask
) -> AsyncIterator[bytes]:
    """Yield the answers to chunks of lines, each of them whole lines."""
    first, chunk = 1, received._replace(is_chunk=True)
    async for lines in chunks:
        # A line that is no JSON object by itself must not be put beside others: it could pass for two, or for none.
        reply = await _patiently(chunk, dialect, ask, lines) if all(map(_is_object, lines)) else None
        if reply is not None and reply.status == HTTPStatus.OK:
            yield _predictions(reply, first)
        else:  # one of them is wrong; alone, each of the others is answered
            answers = [await _one(received, dialect, ask, line, first + at) for at, line in enumerate(lines)]
            yield b"".join(answers)
        first += len(lines)


async def _patiently(received: Received, dialect: Dialect, ask: _Ask, lines: list[bytes]) -> Reply:
    """Ask; a stream has time, and waits until there is room for it."""
    while True:
        reply = await ask(received, dialect, b'{"rows":[' + b",".join(lines) + b"]}")
        if reply.status != HTTPStatus.TOO_MANY_REQUESTS:
            return reply
        await asyncio.sleep(_PAUSE_SECONDS)


async def _one(received: Received, dialect: Dialect, ask: _Ask, line: bytes, number: int) -> bytes:
    if not _is_object(line):
        return _told("This is no JSON object", "malformed", f"line {number}")
    reply = await _patiently(received, dialect, ask, [line])
    if reply.status == HTTPStatus.OK:
        return _predictions(reply, number)
    problem = msgspec.json.decode(reply.body, type=Problem)
    place = problem.where.replace("rows[0].", "", 1)
    return _told(problem.detail, problem.code, f"line {number}" + (f": {place}" if place else ""))


def _is_object(line: bytes) -> bool:
    try:
        _object.decode(line)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return False
    return True


def _predictions(reply: Reply, first: int) -> bytes:
    answer = msgspec.json.decode(reply.body, type=Answer)
    lines = [_Line(each.id, each.score, each.label, []) for each in answer.predictions]
    for warn in answer.warnings:
        row, _, column = warn.where.removeprefix("rows[").partition("].")
        where = f"line {first + int(row)}: {column}"
        lines[int(row)].warnings.append(msgspec.structs.replace(warn, where=where))
    return b"".join(msgspec.json.encode(each) + b"\n" for each in lines)


def _told(what: str, code: str, where: str) -> bytes:
    return msgspec.json.encode({"error": what, "code": code, "where": where}) + b"\n"
