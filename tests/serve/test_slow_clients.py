"""Clients that are too slow, too large, or gone in the middle: they are let go, and nobody else notices."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from mainspring.serve.client import PredictionClient
from mainspring.serve.process import ServerProcess

PATH = "/models/late-flights/predict"
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode()


@pytest.fixture(scope="module", params=["httptools", "h11"])
def hasty(request: pytest.FixtureRequest, shared_site: Any, without_httptools: Path) -> Iterator[ServerProcess]:
    """A server that waits one second for a request to arrive whole."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "h11":
            patch.setenv("PYTHONPATH", str(without_httptools))
        server = shared_site.start("--request-seconds", "1")
    with server:
        assert ("without the fast lane" in server.log.read_text()) == (request.param == "h11")
        yield server


def connected(server: ServerProcess) -> socket.socket:
    address = urlsplit(server.url)
    return socket.create_connection((address.hostname, address.port or 0), 20)


def end_of(connection: socket.socket) -> bytes:
    """Return all that comes until the other side closes; TimeoutError when it does not."""
    pieces = []
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(1 << 16):
            pieces.append(piece)
    return b"".join(pieces)


def answers(server: ServerProcess, flight: dict[str, Any]) -> bool:
    with PredictionClient(server.url) as client:
        return len(client.predict("late-flights", [flight]).predictions) == 1


@pytest.mark.parametrize(
    "beginning",
    [b"", b"POST /mod", HEAD, HEAD + b"Content-Length: 500\r\n\r\n", HEAD + b'Content-Length: 500\r\n\r\n{"rows'],
    ids=["nothing", "half a line", "half a head", "no body", "half a body"],
)
def test_requests_that_never_end_are_let_go(hasty: ServerProcess, flight: dict[str, Any], beginning: bytes) -> None:
    """Slow loris: many connections with the beginning of a request each."""
    with contextlib.ExitStack() as open_ones:
        waiting = [open_ones.enter_context(connected(hasty)) for _ in range(60)]
        for each in waiting:
            each.sendall(beginning)
        assert answers(hasty, flight)
        assert {end_of(each)[:12] for each in waiting} <= {b"", b"HTTP/1.1 400"}
    assert answers(hasty, flight)


def test_a_byte_now_and_then_does_not_keep_a_request_alive(hasty: ServerProcess, flight: dict[str, Any]) -> None:
    with connected(hasty) as drop:
        drop.settimeout(0.1)
        drop.sendall(HEAD)
        began, closed = time.monotonic(), False
        while not closed and time.monotonic() < began + 15:
            try:
                drop.sendall(b"X-A: b\r\n")
                closed = drop.recv(1) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                closed = True
    assert closed
    assert answers(hasty, flight)


def test_a_stream_may_take_as_long_as_it_likes(hasty: ServerProcess, flight: dict[str, Any]) -> None:
    line = json.dumps(flight).encode() + b"\n"
    kind = "Content-Type: application/x-ndjson\r\nConnection: close\r\n"
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{kind}Content-Length: {5 * len(line)}\r\n\r\n"
    with connected(hasty) as stream:
        stream.sendall(head.encode())
        for _ in range(5):
            time.sleep(0.6)  # how slow the client is, not a wait for the server
            stream.sendall(line)
        assert end_of(stream).count(b'"score"') == 5


@pytest.mark.parametrize("size", [600_000, 3_000_000])
def test_a_head_that_is_too_large_is_refused(hasty: ServerProcess, flight: dict[str, Any], size: int) -> None:
    with connected(hasty) as large:
        with contextlib.suppress(ConnectionError):
            large.sendall(HEAD + b"X-A: " + b"b" * size + b"\r\nContent-Length: 2\r\n\r\n[]")
        assert end_of(large)[:12] in (b"", b"HTTP/1.1 400")
    assert answers(hasty, flight)


@pytest.mark.parametrize("kept", [0, 10, 400])
def test_a_client_that_hangs_up_in_its_body_is_forgotten(
    hasty: ServerProcess, flight: dict[str, Any], kept: int
) -> None:
    body = json.dumps([flight] * 20).encode()
    for _ in range(30):
        with connected(hasty) as gone:
            gone.sendall(HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body[:kept])
    assert answers(hasty, flight)


def test_what_is_no_http_ends_its_connection(hasty: ServerProcess, flight: dict[str, Any]) -> None:
    body = json.dumps([flight]).encode()
    with connected(hasty) as liar:
        liar.sendall(HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body + b"and more, no HTTP\r\n\r\n")
        assert end_of(liar).count(b"HTTP/1.1 400 ") == 1
    assert answers(hasty, flight)
