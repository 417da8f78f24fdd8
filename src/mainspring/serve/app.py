"""HTTP: paths to the service, bodies in and out, errors as problem documents. A raw ASGI application.

Raw, because on this path a framework's request and response objects cost more than our own work. Everything a request
means is decided in `service` and `metadata`; this module only carries.
"""

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any, NamedTuple

from mainspring.errors import MainspringError, Unavailable, nearest
from mainspring.serve import bodies
from mainspring.serve.endpoint import Endpoints
from mainspring.serve.metadata import gauges, index, model_metadata, server_metadata
from mainspring.serve.metrics import ServerMetrics
from mainspring.serve.problems import HttpRefusal, problem_of
from mainspring.serve.service import PredictionService, Received

__all__ = ["PredictionApp", "Response"]

_log = logging.getLogger(__name__)
_JSON = b"application/json"
#: So many times the allowed size is read before the connection is simply closed.
_PATIENCE = 4
# Any: the ASGI interface gives and takes untyped dictionaries.
_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


class Response(NamedTuple):
    """What is sent back."""

    body: bytes
    status: int = 200
    content_type: bytes = _JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


class _Request(NamedTuple):
    """What an endpoint function is given: the names in its path, the headers, the body."""

    names: dict[str, str]
    headers: dict[bytes, bytes]
    body: bytes
    started: float

    def received(self) -> Received:
        """Return what the service wants to know beside the body."""
        return Received(
            self.names["model"],
            self.names.get("version"),
            _text(self.headers.get(b"x-event-at")),
            _text(self.headers.get(b"x-route-key")),
            self.started,
        )


class _Path(NamedTuple):
    method: str
    parts: tuple[str, ...]
    answer: Callable[[_Request], Awaitable[Response]]


class PredictionApp:
    """The ASGI application of one server."""

    def __init__(
        self, service: PredictionService, endpoints: Endpoints, metrics: ServerMetrics, *, version: str, body_limit: int
    ) -> None:
        self._service = service
        self._endpoints = endpoints
        self._metrics = metrics
        self._version = version
        self._body_limit = body_limit
        listed = [
            ("POST", "/models/{model}/predict", self._predict),
            ("POST", "/models/{model}/versions/{version}/predict", self._predict),
            ("POST", "/v2/models/{model}/infer", self._infer),
            ("POST", "/v2/models/{model}/versions/{version}/infer", self._infer),
            ("POST", "/feedback", self._feedback),
            ("GET", "/metrics", self._metrics_text),
            ("GET", "/v2/health/live", self._live),
            ("GET", "/v2/health/ready", self._ready),
            ("GET", "/v2/models/{model}/ready", self._model_ready),
            ("GET", "/v2/models/{model}/versions/{version}/ready", self._model_ready),
            ("GET", "/v2/models/{model}", self._model),
            ("GET", "/v2/models/{model}/versions/{version}", self._model),
            ("GET", "/v2", self._server),
            ("GET", "/", self._index),
        ]
        self._paths = [_Path(method, tuple(path.strip("/").split("/")), answer) for method, path, answer in listed]
        self._help = [f"{method} {path}" for method, path, _ in listed]

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":  # no websockets, no lifespan events
            return
        try:
            response = await self._respond(scope, receive)
        except _GoneError:
            return
        except MainspringError as error:
            response = _problem(error)
        except Exception:
            # The edge of the process: whatever was not foreseen becomes a 500, and the server goes on.
            _log.exception("%s %s failed", scope["method"], scope["path"])
            response = _problem(MainspringError("The server failed", next_step="the server's log has the trace"))
        headers = [
            (b"content-type", response.content_type),
            (b"content-length", str(len(response.body)).encode()),
            *response.headers,
        ]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})

    async def _respond(self, scope: _Message, receive: _Receive) -> Response:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        answer, names = self._find(scope["method"], scope["path"])
        body = await self._read(headers, receive)
        return await answer(_Request(names, headers, body, time.perf_counter()))

    def _find(self, method: str, path: str) -> tuple[Callable[[_Request], Awaitable[Response]], dict[str, str]]:
        parts = path.strip("/").split("/")
        allowed: list[str] = []
        for each in self._paths:
            names = _match(each.parts, parts)
            if names is not None:
                if each.method == method:
                    return each.answer, names
                allowed.append(each.method)
        if allowed:
            raise HttpRefusal(
                HTTPStatus.METHOD_NOT_ALLOWED,
                f"`{path}` does not take {method}",
                where="method",
                next_step=f"use {' or '.join(allowed)}",
            )
        known = {each.partition(" ")[2] for each in self._help}
        raise HttpRefusal(HTTPStatus.NOT_FOUND, f"There is no `{path}`", where="path", next_step=nearest(path, known))

    async def _read(self, headers: dict[bytes, bytes], receive: _Receive) -> bytes:
        announced = headers.get(b"content-length", b"0")
        size = int(announced) if announced.isdigit() else 0
        # A body that is somewhat too large is read to its end and thrown away: a client that is still sending would
        # see a broken connection instead of the answer.
        patience = _PATIENCE * self._body_limit
        chunks: list[bytes] = []
        read, more = 0, size <= patience
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _GoneError
            chunk: bytes = message.get("body", b"")
            read += len(chunk)
            if read <= self._body_limit:
                chunks.append(chunk)
            more = message.get("more_body", False) and read <= patience
        if max(size, read) > self._body_limit:
            raise HttpRefusal(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"The body is larger than {self._body_limit} bytes",
                where="body",
                next_step="send the rows in several requests",
            )
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _predict(self, request: _Request) -> Response:
        return Response(bodies.encode(await self._service.predict(request.received(), request.body)))

    async def _infer(self, request: _Request) -> Response:
        return Response(bodies.encode(await self._service.infer(request.received(), request.body)))

    async def _feedback(self, request: _Request) -> Response:
        return Response(bodies.encode(self._service.feedback(request.body)), HTTPStatus.ACCEPTED)

    async def _metrics_text(self, request: _Request) -> Response:
        text = self._metrics.text(gauges(self._endpoints))
        return Response(text.encode(), content_type=b"text/plain; version=0.0.4; charset=utf-8")

    async def _live(self, request: _Request) -> Response:
        return Response(bodies.encode({"live": True}))

    async def _ready(self, request: _Request) -> Response:
        ready = self._endpoints.is_ready
        waiting = [endpoint.model for endpoint in self._endpoints.all() if endpoint.active is None]
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return Response(bodies.encode({"ready": ready, "waiting_for": waiting}), status)

    async def _model_ready(self, request: _Request) -> Response:
        endpoint = self._endpoints.find(request.names["model"])
        endpoint.serving()
        model_metadata(endpoint, request.names.get("version"))
        return Response(bodies.encode({"name": endpoint.model, "ready": True}))

    async def _model(self, request: _Request) -> Response:
        endpoint = self._endpoints.find(request.names["model"])
        return Response(bodies.encode(model_metadata(endpoint, request.names.get("version"))))

    async def _server(self, request: _Request) -> Response:
        return Response(bodies.encode(server_metadata(self._version)))

    async def _index(self, request: _Request) -> Response:
        return Response(bodies.encode(index(self._endpoints, self._help)))


class _GoneError(Exception):
    """The client went away before its request was complete."""


def _match(pattern: tuple[str, ...], parts: list[str]) -> dict[str, str] | None:
    if len(pattern) != len(parts):
        return None
    names: dict[str, str] = {}
    for wanted, part in zip(pattern, parts, strict=True):
        if wanted.startswith("{"):
            names[wanted[1:-1]] = part
        elif wanted != part:
            return None
    return names


def _problem(error: MainspringError) -> Response:
    problem = problem_of(error)
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if isinstance(error, Unavailable):
        headers = ((b"retry-after", b"1"),)
    elif problem.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        headers = ((b"connection", b"close"),)  # the rest of the body is still on its way, and nobody will read it
    return Response(bodies.encode(problem), problem.status, b"application/problem+json", headers)


def _text(header: bytes | None) -> str | None:
    return None if header is None else header.decode("latin-1")
