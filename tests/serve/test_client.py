"""The client: our errors come through, and a connection that was closed while idle is opened again."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from mainspring.errors import CheckFailed, Conflict, Invalid, MainspringError, NotFound, Refused, Unavailable
from mainspring.serve.client import PredictionClient
from mainspring.serve.problems import InvalidRows, Place, error_of, problem_of

ANSWER = b'{"model":"m","version":1,"route":"champion","predictions":[]}'


@pytest.fixture
def one_answer_each() -> Iterator[tuple[str, list[int]]]:
    """A server that closes each connection after one answer without saying so."""
    counts: list[int] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                counts.append(1)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER))

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", counts
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_a_connection_closed_while_idle_is_opened_again(one_answer_each: tuple[str, list[int]]) -> None:
    url, counts = one_answer_each
    with PredictionClient(url) as client:
        for _ in range(3):
            assert client.predict("m", [{}]).version == 1
    assert len(counts) == 3


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with PredictionClient(f"http://127.0.0.1:{port}") as client, pytest.raises(Unavailable) as caught:
        client.metrics()
    assert caught.value.where == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("url", ["", "127.0.0.1:80", "https://example.org", "ftp://x"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Invalid, match="not the address"):
        PredictionClient(url)


@pytest.mark.parametrize("kind", [Invalid, NotFound, Conflict, Refused, CheckFailed, Unavailable, MainspringError])
def test_an_error_comes_through_as_it_was(kind: type[MainspringError]) -> None:
    error = error_of(problem_of(kind("what", where="rows[1].x", next_step="do")))
    assert (type(error), error.what, error.where, error.next_step) == (kind, "what", "rows[1].x", "do")


def test_every_place_of_a_bad_request_comes_through(client: PredictionClient, flight: dict[str, Any]) -> None:
    with pytest.raises(InvalidRows) as caught:
        client.predict("late-flights", [{**flight, "distance": "x", "carrier": 1}])
    assert caught.value.places == (
        Place("rows[0].distance", '"x" is not a number'),
        Place("rows[0].carrier", "1 is not a string"),
    )
