"""What a request asks for beside its rows: which version, as of when, and until when it waits."""

import math

from mainspring.domain.ids import new_ids
from mainspring.domain.moments import from_iso, to_iso
from mainspring.errors import Invalid, NotFound
from mainspring.serve.asking import Ask, Dialect, Question, Received
from mainspring.serve.endpoint import Active
from mainspring.serve.reply import Tell
from mainspring.serve.routes import Route, choose, route_for

__all__ = ["asked", "chosen", "moment_of"]


def chosen(active: Active, received: Received, dialect: Dialect, body: bytes) -> tuple[Route, list[str]]:
    """Return the route that answers, and the request's first id where that decided.

    Raises:
        NotFound: the version that is asked for does not answer here.
    """
    if received.version is not None:
        return _route_of(active, received.version), []
    if not active.has_canary:
        return active.champion, []
    key = received.header(b"x-route-key") or dialect.request_id(body)
    ids = [] if key is not None else new_ids(1)
    return choose(active.table, key or ids[0]), ids


def asked(
    active: Active,
    route: Route,
    ids: list[str],
    received: Received,
    dialect: Dialect,
    body: bytes,
    question: Question,
    tell: Tell,
) -> Ask:
    """Return a request that was read, to be queued.

    Raises:
        Invalid: a header cannot be read.
    """
    loaded = active.loaded[route.version]
    headers, n_rows = received.headers, question.n_rows
    event_at = moment_of(received.header(b"x-event-at"), "header x-event-at") if b"x-event-at" in headers else None
    deadline = _deadline(received) if b"x-timeout-ms" in headers else math.inf
    if ids:
        ids += new_ids(n_rows - 1)
    return Ask(received, dialect, body, question, active, route, loaded, tell, event_at, deadline, n_rows, ids)


def moment_of(text: str | None, where: str) -> str | None:
    """Return a moment of the wire as it is kept; None for None.

    Raises:
        Invalid: it is none.
    """
    if text is None:
        return None
    try:
        return to_iso(from_iso(text))
    except Invalid as error:
        raise Invalid(error.what, where=where, next_step=error.next_step) from error


def _deadline(received: Received) -> float:
    text = received.header(b"x-timeout-ms") or ""
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 10**9):
        raise Invalid(f"`{text}` is no time to wait", where="header x-timeout-ms", next_step="whole milliseconds: 250")
    return received.started + int(text) / 1000


def _route_of(active: Active, version: str) -> Route:
    is_number = version.isascii() and version.isdigit() and len(version) < 10
    route = route_for(active.table, int(version)) if is_number else None
    if route is None or route.role == "shadow":
        answering = ", ".join(str(each.version) for each in active.table.routes if each.role != "shadow")
        raise NotFound(
            f"Version {version} of `{active.table.model}` does not answer here",
            where=f"models/{active.table.model}/versions/{version}",
            next_step=f"versions that do: {answering}",
        )
    return route
