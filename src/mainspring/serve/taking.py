"""What a request asks for beside its rows: which version, as of when, and until when it waits."""

import math
from collections.abc import Callable
from datetime import datetime, timedelta

from mainspring.domain.ids import new_ids
from mainspring.domain.moments import from_iso, to_iso
from mainspring.errors import Invalid, NotFound
from mainspring.serve.asking import Ask, Dialect, Question, Received
from mainspring.serve.endpoint import Active
from mainspring.serve.reply import Tell
from mainspring.serve.routes import Route, choose, route_for
from mainspring.serve.wire import Feedback

__all__ = ["asked", "chosen", "told_at"]

#: By how much a sender's clock may be ahead of ours.
_APART = timedelta(hours=1)
#: So far ahead a prediction may be: a row is kept by retention for as long after the moment that it is about.
_MOST_AHEAD = timedelta(days=366)


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
    now: Callable[[], datetime],
) -> Ask:
    """Return a request that was read, to be queued.

    Raises:
        Invalid: a header cannot be read.
    """
    loaded = active.loaded[route.version]
    headers, n_rows = received.headers, question.n_rows
    event_at = _event_of(received, now) if b"x-event-at" in headers else None
    deadline = _deadline(received) if b"x-timeout-ms" in headers else math.inf
    if ids:
        ids += new_ids(n_rows - 1)
    return Ask(received, dialect, body, question, active, route, loaded, tell, event_at, deadline, n_rows, ids)


def _event_of(received: Received, now: Callable[[], datetime]) -> str | None:
    """Return the moment that a request is about, where it names one.

    Raises:
        Invalid: it is none, or more than a year ahead of `now`.
    """
    return _moment(received.header(b"x-event-at"), "header x-event-at", now, _MOST_AHEAD)


def told_at(feedback: Feedback, now: Callable[[], datetime]) -> str:
    """Return the moment that labels bear: now, where they name none.

    Raises:
        Invalid: it is no moment, or ahead of `now` by more than clocks differ: what is yet to come is no outcome.
    """
    return _moment(feedback.at, "at", now, _APART) or to_iso(now())


def _moment(text: str | None, where: str, now: Callable[[], datetime], ahead: timedelta) -> str | None:
    if text is None:
        return None
    try:
        moment = from_iso(text)
        if moment - now() > ahead:
            raise Invalid(f"`{text}` is yet to come", next_step="check the clock and the time zone of who asks")
        return to_iso(moment)
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
