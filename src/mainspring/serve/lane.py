"""The fast lane: prediction paths are answered from the HTTP parser's own callbacks, all others by the application.

It is uvicorn's httptools protocol with one fork in it. A POST on a prediction path becomes no ASGI scope, task and
messages, but one call of the service and one write of head and body: most of what a request costs is saved.
`connections` says what happens where httptools is not installed.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from mainspring.serve.asking import Received
from mainspring.serve.heads import head_of
from mainspring.serve.paths import Target
from mainspring.serve.reply import Reply
from mainspring.serve.service import PredictionService
from mainspring.serve.streaming import STREAM

__all__ = ["lane_protocol"]

_POST = b"POST"
#: A head that does not end in the piece where it has grown beyond this is refused.
_MOST_HEAD_BYTES = 64 << 10


class _Cycle:
    """One request on the lane. It stands where uvicorn expects a request and response cycle of its own."""

    __slots__ = ("_headers", "_protocol", "_target", "body", "disconnected", "has_turn", "keep_alive", "more_body",
                 "response_complete", "started")  # fmt: skip

    def __init__(
        self, protocol: "LaneProtocol", target: Target, headers: list[tuple[bytes, bytes]], keep_alive: bool
    ) -> None:
        self._protocol = protocol
        self._target = target
        self._headers = headers
        self.body = b""
        self.keep_alive = keep_alive
        self.has_turn = False
        self.more_body = True
        self.disconnected = False
        self.response_complete = False
        self.started = 0.0

    @property
    def message_event(self) -> "_Cycle":
        """Be the event that uvicorn sets when the client has gone; nobody waits for it."""
        return self

    def set(self) -> None:
        """See `message_event`."""

    def begin(self) -> None:
        """Hand the request, which is all here, to the service."""
        dialect, model, version, query = self._target
        received = Received(model, version, dict(self._headers), self.started, query)
        self._protocol.service.submit(received, dialect, self.body, self.tell)

    async def run_asgi(self, app: object) -> None:
        """Begin behind another request of the same connection; uvicorn calls it as it would its own cycle."""
        self.has_turn = True
        if not self.more_body:
            self.begin()

    def tell(self, reply: Reply) -> None:
        """Write the reply."""
        protocol = self._protocol
        self.response_complete = True
        if self.disconnected or protocol.transport.is_closing():
            return
        keep_alive = self.keep_alive and (b"connection", b"close") not in reply.headers
        protocol.transport.write(head_of(reply, keep_alive, protocol.server_state.default_headers) + reply.body)
        if not keep_alive:
            protocol.transport.close()
        protocol.on_response_complete()


class LaneProtocol(HttpToolsProtocol):
    """A connection: uvicorn's, with the lane in front."""

    service: PredictionService
    find: Callable[[bytes], Target | None]
    body_limit: int

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],  # Any: uvicorn's own
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._on_lane: _Cycle | None = None
        self._is_stream = False
        self._head_bytes = -1  # of a head that has not ended; -1 when none is being read
        #: When the request that is being read began, or the connection was made; 0 when none is.
        self.reading_since = time.monotonic()
        self.idle_since = 0.0

    def data_received(self, data: bytes) -> None:
        """Read on; a head must come to an end."""
        super().data_received(data)
        if self._head_bytes >= 0:
            self._head_bytes += len(data)
            if self._head_bytes > _MOST_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._head_bytes = 0
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._on_lane = None
        self.idle_since = 0.0
        self.reading_since = time.monotonic()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Fork: the lane, or the application."""
        self._head_bytes = -1
        if self.parser.get_method() == _POST:
            target = self.find(self.url)
            if target is not None and self._fits():
                self._begin_on_lane(target)
                return
        url, headers = self.url, self.headers
        self._is_stream = any(name == b"content-type" and value.startswith(STREAM) for name, value in headers)
        super().on_message_begin()
        self.url = url
        for name, value in headers:
            super().on_header(name, value)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        cycle = self._on_lane
        if cycle is None:
            if self._is_stream:
                self.reading_since = time.monotonic()
            super().on_body(body)
        elif cycle.body:
            cycle.body += body
        else:
            cycle.body = body

    def on_message_complete(self) -> None:
        """Ask the service, unless an earlier request of this connection is not answered yet."""
        self.reading_since = 0.0
        cycle = self._on_lane
        if cycle is None:
            super().on_message_complete()
            return
        cycle.started = time.perf_counter()
        cycle.more_body = False
        if cycle.has_turn:
            cycle.begin()

    def on_response_complete(self) -> None:
        """Go on with what the client sent meanwhile, or wait for it; the sweep closes who waits too long."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.flow.read_paused and not self.flow.write_paused:
            self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self.idle_since = time.monotonic()

    def pause_writing(self) -> None:
        """Read no more from a client that does not take its answers."""
        super().pause_writing()
        self.flow.pause_reading()

    def resume_writing(self) -> None:
        """Read on."""
        super().resume_writing()
        self.flow.resume_reading()

    def _fits(self) -> bool:
        """Tell whether the lane can take the body: its size is announced, and it is to be sent without asking."""
        size = 0
        for name, value in self.headers:
            if name == b"content-length":
                size = int(value) if value.isdigit() else -1
            elif name in (b"expect", b"transfer-encoding", b"content-encoding", b"upgrade") or (
                name == b"content-type" and value.startswith(STREAM)
            ):
                return False
        return 0 < size <= self.body_limit

    def _begin_on_lane(self, target: Target) -> None:
        keep_alive = self.parser.should_keep_alive() and self.parser.get_http_version() != "1.0"
        cycle: Any = _Cycle(self, target, self.headers, keep_alive)  # Any: stands where uvicorn expects its own
        before: Any = self.cycle
        self.cycle = self._on_lane = cycle
        if before is None or before.response_complete:
            cycle.has_turn = True
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))


def lane_protocol(
    service: PredictionService, find: Callable[[bytes], Target | None], body_limit: int
) -> type[asyncio.Protocol]:
    """Return the protocol class for one server; see `connections.protocol_for`."""
    shared = {"service": service, "find": staticmethod(find), "body_limit": body_limit}
    return type("LaneProtocol", (LaneProtocol,), shared)
