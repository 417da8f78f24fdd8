"""What carries a connection, and the sweep that lets slow clients go.

The fast lane does where httptools is installed. Where it cannot be had, uvicorn's h11 protocol carries every path: the
application answers predictions too, by the same service, at a higher cost a request. h11 is written in Python and comes
with uvicorn, so nothing is left below it to fall back to.

One sweep a second, instead of timers for each request, closes connections that idle, and those that send their request
a byte at a time.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from mainspring.serve.paths import Target
from mainspring.serve.service import PredictionService
from mainspring.serve.streaming import STREAM

__all__ = ["protocol_for", "sweep"]

_log = logging.getLogger(__name__)


def protocol_for(
    service: PredictionService, find: Callable[[bytes], Target | None], body_limit: int
) -> type[asyncio.Protocol]:
    """Return the protocol class for one server.

    `find` gives what a raw path and query asks for, or None where the application is to answer; bodies up to
    `body_limit` bytes may take the fast lane.
    """
    try:
        from mainspring.serve.lane import lane_protocol  # compiled below, and not to be had on every system
    except ImportError as error:
        _log.warning("%s: predictions are answered without the fast lane; pip install httptools", error)
        return _PlainProtocol
    return lane_protocol(service, find, body_limit)


def sweep(state: ServerState, request_seconds: float, idle_seconds: float) -> None:
    """Close the connections that are too slow, or have been idle for too long.

    A request must be here `request_seconds` after its first byte, a stream's next piece after the one before, and
    an open connection must have sent a byte.
    """
    now = time.monotonic()
    connections: list[Any] = list(state.connections)  # Any: uvicorn knows of its own protocols only
    for connection in connections:
        reading, idle = connection.reading_since, connection.idle_since
        if (reading and now - reading > request_seconds) or (idle and now - idle > idle_seconds):
            connection.transport.close()


class _PlainProtocol(H11Protocol):
    """A connection: uvicorn's, which knows since when its client keeps it waiting."""

    #: uvicorn has a timer of its own for the time between two requests.
    idle_since = 0.0

    def __init__(self, *words: Any, **options: Any) -> None:  # Any: handed on to uvicorn's own
        super().__init__(*words, **options)
        #: When the request that is being read began, or the connection was made; 0 when none is.
        self.reading_since = time.monotonic()

    def handle_events(self) -> None:
        """Read on. A request has begun when there is a byte of it, and has come when h11 saw its end."""
        super().handle_events()
        state = self.conn.their_state
        is_coming = state is h11.SEND_BODY or (state is h11.IDLE and bool(self.conn.trailing_data[0]))
        if state not in (h11.IDLE, h11.SEND_BODY):
            self.reading_since = 0.0
        elif is_coming and (not self.reading_since or self._is_stream()):
            self.reading_since = time.monotonic()

    def _is_stream(self) -> bool:
        is_body = self.conn.their_state is h11.SEND_BODY
        return is_body and any(name == b"content-type" and value.startswith(STREAM) for name, value in self.headers)
