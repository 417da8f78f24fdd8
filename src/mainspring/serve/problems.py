"""Errors as the wire carries them: ``application/problem+json`` (RFC 9457), with place and advice.

Server and client share these shapes: what `problem_of` writes, `error_of` turns back into the error it was, so that a
caller of the client sees the same classes as a caller of the library.
"""

import math
from collections.abc import Mapping
from http import HTTPStatus

import msgspec

from mainspring.errors import Denied, Invalid, MainspringError, NotFound, Refused, Unavailable, outcome_of
from mainspring.serve.reply import Reply

__all__ = [
    "HttpRefusal",
    "InvalidRows",
    "Overloaded",
    "Place",
    "Problem",
    "RulesBroken",
    "error_of",
    "problem_of",
    "reply_of",
]


#: Codes of our own, because the phrases of HTTPStatus change with the version of Python.
_CODES = {
    HTTPStatus.BAD_REQUEST: "malformed",
    HTTPStatus.UNAUTHORIZED: "unauthenticated",
    HTTPStatus.NOT_FOUND: "no_such_path",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too_large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported",
    HTTPStatus.UNPROCESSABLE_ENTITY: "unscorable",
    HTTPStatus.TOO_MANY_REQUESTS: "overloaded",
}
#: The kinds of error that a status means where its code is not one of the library's.
_BY_STATUS: dict[int, type[MainspringError]] = {
    401: Denied,
    403: Denied,
    404: NotFound,
    409: Refused,
    429: Unavailable,
    503: Unavailable,
}


class Place(msgspec.Struct, frozen=True):
    """One thing wrong, and where: ``rows[3].distance``."""

    where: str
    what: str


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """The body of an error. `error` repeats `detail` under the name that Open Inference clients look for."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    where: str = ""
    next: str = ""
    errors: list[Place] = []
    error: str = ""


class InvalidRows(Invalid):
    """A request with values that do not fit the model; `places` lists every one that was found, up to a limit."""

    def __init__(self, what: str, *, where: str = "", next_step: str = "", places: tuple[Place, ...] = ()) -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.places = places


class RulesBroken(InvalidRows):
    """A request with rows that rules of the model's schema stop; `counts` has the rows of each rule."""

    def __init__(self, places: tuple[Place, ...], counts: Mapping[str, int]) -> None:
        others = f" (and {sum(counts.values()) - 1} more)" if sum(counts.values()) > 1 else ""
        super().__init__(
            f"{places[0].what}{others}",
            where=places[0].where,
            next_step="mend the values named: the model was trained on rows that keep this rule",
            places=places,
        )
        self.counts = counts


class HttpRefusal(MainspringError):
    """A request that is wrong as a message, before its content matters; it carries its own HTTP status."""

    def __init__(self, status: HTTPStatus, what: str, *, where: str = "", next_step: str = "") -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.status = status
        self.code = _CODES[status]


class Overloaded(HttpRefusal):
    """A request that would wait too long; `wait_seconds` is when to ask again."""

    def __init__(self, wait_seconds: float, what: str = "") -> None:
        super().__init__(
            HTTPStatus.TOO_MANY_REQUESTS,
            what or f"The answer would wait {wait_seconds:.2f} seconds for its model",
            where="rate" if what else "queue",
            next_step="ask again after the time in the header retry-after",
        )
        self.wait_seconds = wait_seconds


def reply_of(error: MainspringError) -> Reply:
    """Return the reply that tells `error` to a client, with the headers it needs."""
    problem = problem_of(error)
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if isinstance(error, Overloaded):
        headers = ((b"retry-after", str(max(1, math.ceil(error.wait_seconds))).encode()),)
    elif isinstance(error, Unavailable):
        headers = ((b"retry-after", b"1"),)
    elif problem.status == HTTPStatus.UNAUTHORIZED:
        headers = ((b"www-authenticate", b"Bearer"),)
    elif problem.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        headers = ((b"connection", b"close"),)  # the rest of the body is still on its way, and nobody will read it
    return Reply(msgspec.json.encode(problem), problem.status, b"application/problem+json", headers)


def problem_of(error: MainspringError) -> Problem:
    """Return the body that tells `error` to a client."""
    status = error.status if isinstance(error, HttpRefusal) else HTTPStatus(outcome_of(error).http_status)
    return Problem(
        type=f"urn:mainspring:problem:{error.code}",
        title=status.phrase,
        status=status.value,
        detail=error.what,
        code=error.code,
        where=error.where,
        next=error.next_step,
        errors=list(error.places) if isinstance(error, InvalidRows) else [],
        error=error.what,
    )


def error_of(problem: Problem) -> MainspringError:
    """Return the error that `problem` tells of; one that is not known here becomes its nearest kind by status."""
    if problem.errors:
        return InvalidRows(problem.detail, where=problem.where, next_step=problem.next, places=tuple(problem.errors))
    kinds = {kind.code: kind for kind in _kinds(MainspringError)}
    by_status = _BY_STATUS.get(problem.status, Invalid if problem.status < 500 else MainspringError)
    kind = kinds.get(problem.code, by_status)
    return kind(problem.detail, where=problem.where, next_step=problem.next)


def _kinds(root: type[MainspringError]) -> list[type[MainspringError]]:
    # Those of the common tree: rooms refine them, and what a room happens to have loaded must not change an answer.
    below = [each for kind in root.__subclasses__() for each in _kinds(kind)]
    return [root, *below] if root.__module__ == MainspringError.__module__ else below
