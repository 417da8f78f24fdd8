"""A receiver that really listens, and a store with a courier over it."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from mainspring.domain.moments import SimulatedClock
from mainspring.notify.courier import Courier
from mainspring.store.opening import open_store
from mainspring.store.protocol import Store

NOW = datetime(2026, 5, 1, tzinfo=UTC)


class Got(NamedTuple):
    """One request that came in."""

    headers: dict[str, str]
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """Listens on loopback; answers with the statuses it is given, then 200."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.statuses: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                receiver.got.append(Got({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(NOW)


@pytest.fixture
def store(store_address: str, clock: SimulatedClock) -> Iterator[Store]:
    opened = open_store(store_address, actor="ada", clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def courier(store: Store, clock: SimulatedClock) -> Courier:
    return Courier(store, clock, allow_private=True)
