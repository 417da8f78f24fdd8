"""HTTP: paths to the service, bodies in and out, errors as problem documents. A raw ASGI application.

Raw, because on this path a framework's request and response objects cost more than our own work. Everything a request
means is decided in `service` and `metadata`; this module only carries.
"""

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import msgspec

from mainspring.errors import Invalid, MainspringError, nearest
from mainspring.serve import bodies
from mainspring.serve.asking import Dialect, Received
from mainspring.serve.dialects import PredictDialect
from mainspring.serve.endpoint import Endpoints
from mainspring.serve.explaining import ExplainDialect
from mainspring.serve.form import form_page, models_page, row_of_form
from mainspring.serve.guard import Guard
from mainspring.serve.limits import too_large, unpacked
from mainspring.serve.metadata import gauges, index, model_metadata, server_metadata, told_from_zero
from mainspring.serve.metrics import ServerMetrics
from mainspring.serve.openapi import openapi_document
from mainspring.serve.paths import PREDICTION_PATHS, PredictionPaths, Target
from mainspring.serve.problems import HttpRefusal, Problem, reply_of
from mainspring.serve.reply import Reply
from mainspring.serve.service import PredictionService
from mainspring.serve.streaming import STREAM, answer_lines, lines_of
from mainspring.serve.wire import Answer, ExplainedAnswer

__all__ = ["PredictionApp"]

#: What anybody may ask: whether the server lives.
_OPEN = frozenset({"/v2/health/live", "/v2/health/ready", "/ping", "/health"})
_HTML = b"text/html; charset=utf-8"
_log = logging.getLogger(__name__)
#: So many times the allowed size is read before the connection is simply closed.
_PATIENCE = 4
# Any: the ASGI interface gives and takes untyped dictionaries.
_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


class _Request(NamedTuple):
    """What an endpoint function is given: the names in its path, the headers, the body."""

    names: dict[str, str]
    headers: dict[bytes, bytes]
    body: bytes


class _Path(NamedTuple):
    method: str
    parts: tuple[str, ...]
    answer: Callable[[_Request], Awaitable[Reply]]


class PredictionApp:
    """The ASGI application of one server."""

    def __init__(
        self,
        service: PredictionService,
        endpoints: Endpoints,
        metrics: ServerMetrics,
        *,
        version: str,
        body_limit: int,
        guard: Guard | None = None,
    ) -> None:
        self._service = service
        self._endpoints = endpoints
        self._metrics = metrics
        self._version = version
        self._body_limit = body_limit
        self._guard = guard
        self.prediction_paths = PredictionPaths()
        listed = [
            ("POST", "/feedback", self._feedback),
            ("GET", "/metrics", self._metrics_text),
            ("GET", "/v2/health/live", self._live),
            ("GET", "/v2/health/ready", self._ready),
            ("GET", "/v2/models/{model}/ready", self._model_ready),
            ("GET", "/v2/models/{model}/versions/{version}/ready", self._model_ready),
            ("GET", "/v2/models/{model}", self._model),
            ("GET", "/v2/models/{model}/versions/{version}", self._model),
            ("GET", "/v2", self._server),
            ("GET", "/models/{model}", self._form),
            ("POST", "/models/{model}", self._filled_form),
            ("GET", "/openapi.json", self._openapi),
            ("GET", "/ping", self._ping),
            ("GET", "/health", self._ping),
            ("GET", "/version", self._mlflow_version),
            ("GET", "/", self._index),
        ]
        self._paths = [_Path(method, tuple(path.strip("/").split("/")), answer) for method, path, answer in listed]
        self._paths += [_Path("POST", tuple(path.strip("/").split("/")), self._unreached) for path in PREDICTION_PATHS]
        self._help = [f"POST {path}" for path in PREDICTION_PATHS]
        self._help += [f"{method} {path}" for method, path, _ in listed]

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":  # no websockets, no lifespan events
            return
        try:
            streamed = await self._streamed(scope)
            if streamed is not None:
                await self._stream(streamed, receive, send)
                return
            response = await self._respond(scope, receive)
        except _GoneError:
            return
        except MainspringError as error:
            response = reply_of(error)
        except Exception:
            # The edge of the process: whatever was not foreseen becomes a 500, and the server goes on.
            _log.exception("%s %s failed", scope["method"], scope["path"])
            response = reply_of(MainspringError("The server failed", next_step="the server's log has the trace"))
        headers = [
            (b"content-type", response.content_type),
            (b"content-length", str(len(response.body)).encode()),
            *response.headers,
        ]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})

    async def _respond(self, scope: _Message, receive: _Receive) -> Reply:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        target = self._target(scope)
        if target is not None:
            body = await self._read(headers, receive)
            dialect, model, version, query = target
            received = Received(model, version, headers, time.perf_counter(), query)
            return await self._service.answer(received, dialect, body)
        if self._guard is not None and scope["path"] not in _OPEN:
            # The filled form asks by the service, which looks at its key anew.
            self._guard.admit(headers, "feedback" if scope["path"] == "/feedback" else "read")
        answer, names = self._find(scope["method"], scope["path"])
        body = await self._read(headers, receive)
        await self._endpoints.warm(names.get("model", ""))
        return await answer(_Request(names, headers, body))

    def _target(self, scope: _Message) -> Target | None:
        if scope["method"] != "POST":
            return None
        return self.prediction_paths.find(scope["raw_path"] + b"?" + scope["query_string"])

    async def _streamed(self, scope: _Message) -> tuple[Received, Dialect] | None:
        """Return what a stream of rows asks for; None when the request is none."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if not headers.get(b"content-type", b"").startswith(STREAM):
            return None
        target = self._target(scope)
        if target is None or not isinstance(target.dialect, PredictDialect):
            return None
        if self._guard is not None:
            self._guard.admit(headers, "predict", target.model)
        await self._endpoints.warm(target.model)
        self._endpoints.find(target.model).serving()
        return Received(target.model, target.version, headers, time.perf_counter(), target.query), target.dialect

    async def _stream(self, asked: tuple[Received, Dialect], receive: _Receive, send: _Send) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _GoneError
                yield message.get("body", b"")
                more = message.get("more_body", False)

        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", STREAM)]})
        async for lines in answer_lines(lines_of(pieces(), self._body_limit), *asked, self._service.answer):
            await send({"type": "http.response.body", "body": lines, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    def _find(self, method: str, path: str) -> tuple[Callable[[_Request], Awaitable[Reply]], dict[str, str]]:
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
            raise too_large(self._body_limit)
        return unpacked(b"".join(chunks), headers.get(b"content-encoding", b""), self._body_limit)

    async def _unreached(self, request: _Request) -> Reply:
        raise AssertionError("prediction paths are found before the others")

    async def _feedback(self, request: _Request) -> Reply:
        return Reply(bodies.encode(await self._service.feedback(request.body)), HTTPStatus.ACCEPTED)

    async def _metrics_text(self, request: _Request) -> Reply:
        text = self._metrics.text(gauges(self._endpoints), told_from_zero(self._endpoints))
        return Reply(text.encode(), content_type=b"text/plain; version=0.0.4; charset=utf-8")

    async def _live(self, request: _Request) -> Reply:
        return Reply(bodies.encode({"live": True}))

    async def _ready(self, request: _Request) -> Reply:
        ready = self._endpoints.is_ready
        waiting = [endpoint.model for endpoint in self._endpoints.all() if not (endpoint.active or endpoint.cold)]
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return Reply(bodies.encode({"ready": ready, "waiting_for": waiting}), status)

    async def _model_ready(self, request: _Request) -> Reply:
        endpoint = self._endpoints.find(request.names["model"])
        endpoint.serving()
        model_metadata(endpoint, request.names.get("version"))
        return Reply(bodies.encode({"name": endpoint.model, "ready": True}))

    async def _model(self, request: _Request) -> Reply:
        endpoint = self._endpoints.find(request.names["model"])
        names = {each: f"recheck_{each}_total" for each in ("rows", "flips", "failures")}
        rechecked = {each: self._metrics.totals(name, endpoint.model) for each, name in names.items()}
        return Reply(bodies.encode(model_metadata(endpoint, request.names.get("version"), rechecked)))

    async def _server(self, request: _Request) -> Reply:
        return Reply(bodies.encode(server_metadata(self._version)))

    async def _index(self, request: _Request) -> Reply:
        if b"text/html" in request.headers.get(b"accept", b""):
            return Reply(models_page([each.model for each in self._endpoints.all()]), content_type=_HTML)
        return Reply(bodies.encode(index(self._endpoints, self._help)))

    async def _openapi(self, request: _Request) -> Reply:
        return Reply(bodies.encode(openapi_document(self._endpoints, self._version)))

    async def _ping(self, request: _Request) -> Reply:
        """Answer MLflow's question: can this server predict?"""
        return Reply(b"\n", 200 if self._endpoints.is_ready else 503, b"text/plain; charset=utf-8")

    async def _mlflow_version(self, request: _Request) -> Reply:
        return Reply(self._version.encode(), content_type=b"text/plain; charset=utf-8")

    async def _form(self, request: _Request) -> Reply:
        loaded = self._endpoints.find(request.names["model"]).serving().champion_version
        row = loaded.predictor.signature.example
        return Reply(form_page(request.names["model"], loaded, row), content_type=_HTML)

    async def _filled_form(self, request: _Request) -> Reply:
        model = request.names["model"]
        loaded = self._endpoints.find(model).serving().champion_version
        try:
            fields = parse_qs(request.body.decode(), keep_blank_values=True, max_num_fields=10_000)
        except ValueError as error:  # not UTF-8, or a crowd of fields
            raise Invalid(f"This is no filled form: {error}", where="body") from error
        row = row_of_form(fields, loaded)
        received = Received(model, str(loaded.version), request.headers, time.perf_counter())
        explained = bool(loaded.predictor.signature.example)
        dialect = ExplainDialect() if explained else PredictDialect()
        reply = await self._service.answer(received, dialect, bodies.encode({"rows": [row]}))
        kind: type[Answer | ExplainedAnswer] = ExplainedAnswer if explained else Answer
        answer = msgspec.json.decode(reply.body, type=kind) if reply.status == HTTPStatus.OK else None
        problem = None if answer else msgspec.json.decode(reply.body, type=Problem)
        return Reply(form_page(model, loaded, row, answer, problem), reply.status, _HTML)


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
