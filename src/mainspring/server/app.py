"""The ASGI application: finds the route, lets `access` decide, sends what the route answers, tells errors.

A raw ASGI application, as the prediction server's: nearly all paths are fixed and found by one look into a dictionary,
and a framework's request objects would cost more than the work behind them.
"""

import logging
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import msgspec

from mainspring.access.login import Login
from mainspring.errors import Invalid, MainspringError, Throttled, Unauthenticated
from mainspring.serve.problems import problem_of
from mainspring.server.admission import admit
from mainspring.server.artifact_root import ArtifactRoot
from mainspring.server.call import Call, Gone, Message, NoRoute, Receive, Reply, Route, Send, TooLarge, WrongMethod
from mainspring.server.mlflow import MLFLOW_ROUTES
from mainspring.server.mlflow.errors import mlflow_error
from mainspring.server.native import NATIVE_ROUTES
from mainspring.workspace import Workspace

__all__ = ["ControlApp"]

_log = logging.getLogger(__name__)
#: Threads for reading. A question runs in C for nearly all of its time, and SQLite lets many read at once.
_READERS = 4
#: Paths whose callers read errors as MLflow tells them; all others get problem documents.
_OF_MLFLOW = re.compile(r"/(ajax-)?api/(?!mainspring/)|/((model-versions/)?get-artifact|graphql)$")
_encode = msgspec.json.Encoder().encode


class ControlApp:
    """The application over one workspace."""

    def __init__(self, workspace: Workspace, login: Login, root: ArtifactRoot | None = None) -> None:
        self._workspace = workspace
        self._login = login
        self._root = root or ArtifactRoot()
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="reader")
        self._fixed: dict[tuple[str, str], Route] = {}
        self._open: list[tuple[str, re.Pattern[str], Route]] = []
        for route in (*MLFLOW_ROUTES, *NATIVE_ROUTES):
            if "{" in route.path:
                self._open.append((route.method, _pattern(route.path), route))
            else:
                self._fixed[route.method, route.path] = route

    def close(self) -> None:
        """Let the readers finish."""
        self._readers.shutdown(wait=True)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":
            return
        # an address kept with a slash at its end, and joined with a path, gives two
        scope["path"] = "/" + scope["path"].lstrip("/")
        try:
            reply = await self._reply(scope, receive)
        except Gone:
            return
        except MainspringError as error:
            reply = _told(scope["path"], error)
        except OverflowError:
            # a whole number of the request, maybe out of a forged token, for which the database has no room
            beyond = Invalid("A number in the request is beyond 64 bits", where="body", next_step="send a smaller one")
            reply = _told(scope["path"], beyond)
        except Exception:
            # The edge of the process: whatever was not foreseen becomes a 500, and the server goes on.
            _log.exception("%s %s failed", scope["method"], scope["path"])
            reply = _told(scope["path"], MainspringError("The server failed", next_step="its log has the trace"))
        await _send(reply, scope["method"] == "HEAD", send)

    async def _reply(self, scope: Message, receive: Receive) -> Reply:
        call = Call(
            workspace=self._workspace,
            readers=self._readers,
            method=scope["method"],
            path=scope["path"],
            query_string=scope["query_string"],
            headers=dict(scope["headers"]),
            receive=receive,
            login=self._login,
            address=(scope.get("client") or ("",))[0],
            scheme=scope.get("scheme", "http"),
            root=self._root,
        )
        route = self._find(call)
        call.who = await admit(call, route)
        answer = await route.answer(call)
        return answer if isinstance(answer, Reply) else Reply(_encode(answer))

    def _find(self, call: Call) -> Route:
        method = "GET" if call.method == "HEAD" else call.method
        found = self._fixed.get((method, call.path))
        if found is not None:
            return found
        for wanted, pattern, route in self._open:
            if wanted == method and (match := pattern.fullmatch(call.path)):
                call.names = match.groupdict()
                return route
        what = f"No endpoint answers {call.method} {call.path[:1000]}"
        allowed = {known for known, path in self._fixed if path == call.path}
        allowed |= {known for known, pattern, _ in self._open if pattern.fullmatch(call.path)}
        if allowed:
            raise WrongMethod(what, where="path", allowed=tuple(sorted(allowed)))
        raise NoRoute(what, where="path")


def _pattern(path: str) -> re.Pattern[str]:
    named = re.sub(r"\{(\w+)\.\.\.\}", r"(?P<\1>.+)", path)
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", named))


def _told(path: str, error: MainspringError) -> Reply:
    reply = _told_in_its_words(path, error)
    if isinstance(error, Unauthenticated):
        return replace(reply, headers=(*reply.headers, ("www-authenticate", 'Basic realm="mainspring"')))
    if isinstance(error, Throttled):
        return replace(reply, headers=(*reply.headers, ("retry-after", "5")))
    if isinstance(error, WrongMethod):
        return replace(reply, status=405, headers=(*reply.headers, ("allow", ", ".join(error.allowed))))
    return reply


def _told_in_its_words(path: str, error: MainspringError) -> Reply:
    if not _OF_MLFLOW.match(path):
        problem = problem_of(error)
        return Reply(_encode(problem), problem.status, "application/problem+json")
    status, body = mlflow_error(error)
    headers = (("retry-after", "1"),) if status == HTTPStatus.SERVICE_UNAVAILABLE else ()
    if isinstance(error, TooLarge):
        headers = (*headers, ("connection", "close"))  # the rest of the body is on its way, and nobody will read it
    return Reply(_encode(body), status, headers=headers)


async def _send(reply: Reply, is_head: bool, send: Send) -> None:
    headers = [(b"content-type", reply.content_type.encode("latin-1"))]
    headers += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
    start: dict[str, Any] = {"type": "http.response.start", "status": int(reply.status), "headers": headers}
    if isinstance(reply.body, bytes):
        headers.append((b"content-length", str(len(reply.body)).encode()))
        await send(start)
        await send({"type": "http.response.body", "body": b"" if is_head else reply.body})
        return
    await send(start)
    if not is_head:
        async for chunk in reply.body:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
