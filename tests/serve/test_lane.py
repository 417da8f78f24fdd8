"""The fast lane on the wire: it answers as the application would, in order, and keeps slow clients in bounds."""

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from mainspring.errors import MainspringError, Unavailable
from mainspring.predictions.records import PredictionRecord
from mainspring.serve.client import PredictionClient
from mainspring.serve.process import ServerProcess

PATH = "/models/late-flights/predict"


class Wire:
    """A raw connection."""

    def __init__(self, server: ServerProcess) -> None:
        parts = urlsplit(server.url)
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=30)
        self._read = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        status = int(self._read.readline().split()[1])
        headers: dict[str, str] = {}
        while line := self._read.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return status, headers, self._read.read(int(headers["content-length"]))

    def is_closed(self) -> bool:
        return self._read.read(1) == b""

    def close(self) -> None:
        self._read.close()
        self.socket.close()


@pytest.fixture
def wire(server: ServerProcess) -> Iterator[Wire]:
    one = Wire(server)
    yield one
    one.close()


def post(body: bytes, *headers: str, path: str = PATH, version: str = "1.1") -> bytes:
    lines = [f"POST {path} HTTP/{version}", "host: x", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def body_of(flight: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"rows": [flight], **more}).encode()


def test_pipelined_requests_are_answered_in_order(wire: Wire, flight: dict[str, Any]) -> None:
    requests = [post(body_of(flight, id=f"r{number}")) for number in range(5)]
    health = b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n"
    wire.send(b"".join([*requests[:2], health, *requests[2:], health]))
    answers = [json.loads(wire.answer()[2]) for _ in range(7)]
    assert [each.get("id", "live") for each in answers] == ["r0", "r1", "live", "r2", "r3", "r4", "live"]


def test_a_request_may_come_byte_by_byte(wire: Wire, flight: dict[str, Any]) -> None:
    for byte in post(body_of(flight)):
        wire.send(bytes([byte]))
    assert wire.answer()[0] == 200


def test_a_chunked_body_is_taken(wire: Wire, flight: dict[str, Any]) -> None:
    body = body_of(flight)
    wire.send(f"POST {PATH} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode())
    for part in (body[:10], body[10:]):
        wire.send(b"%x\r\n%s\r\n" % (len(part), part))
    wire.send(b"0\r\n\r\n")
    assert wire.answer()[0] == 200


def test_a_client_that_waits_for_leave_to_send_gets_it(wire: Wire, flight: dict[str, Any]) -> None:
    whole = post(body_of(flight), "expect: 100-continue")
    head, _, body = whole.partition(b"\r\n\r\n")
    wire.send(head + b"\r\n\r\n")
    assert wire.socket.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.send(body)
    assert wire.answer()[0] == 200


@pytest.mark.parametrize(("header", "version"), [("connection: close", "1.1"), ("x: y", "1.0")])
def test_a_connection_that_is_to_be_closed_is_closed_behind_its_answer(
    wire: Wire, flight: dict[str, Any], header: str, version: str
) -> None:
    wire.send(post(body_of(flight), header, version=version))
    status, headers, _ = wire.answer()
    assert (status, headers["connection"]) == (200, "close")
    assert wire.is_closed()


def test_a_connection_is_kept_and_answers_are_dated(wire: Wire, flight: dict[str, Any]) -> None:
    for _ in range(3):
        wire.send(post(body_of(flight)))
        status, headers, _ = wire.answer()
        assert status == 200
        assert headers["content-type"] == "application/json"
        assert headers["date"].endswith("GMT")
        assert "connection" not in headers


def test_a_client_that_goes_away_harms_nobody(server: ServerProcess, wire: Wire, flight: dict[str, Any]) -> None:
    for cut in (1, 60, 200):
        gone = Wire(server)
        gone.send(post(body_of(flight))[:cut])
        gone.close()
    gone = Wire(server)
    gone.send(post(body_of(flight)))
    gone.close()
    wire.send(post(body_of(flight)))
    assert wire.answer()[0] == 200


def test_names_in_the_path_are_unquoted(wire: Wire, flight: dict[str, Any]) -> None:
    wire.send(post(body_of(flight), path="/models/late%2Dflights/predict?x=1"))
    assert wire.answer()[0] == 200
    wire.send(post(body_of(flight), path="/models/late%2fflights/predict"))
    status, _, content = wire.answer()
    assert (status, json.loads(content)["where"]) == (404, "models/late/flights")


def test_the_trace_is_the_clients_or_the_first_id(wire: Wire, flight: dict[str, Any]) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    wire.send(post(body_of(flight), f"traceparent: 00-{trace}-00f067aa0ba902b7-01"))
    assert json.loads(wire.answer()[2])["trace_id"] == trace
    for header in ("traceparent: 00-1-2-3", "traceparent: nonsense", f"traceparent: 00-{'0' * 32}-1-01", "x: y"):
        wire.send(post(body_of(flight), header))
        answer = json.loads(wire.answer()[2])
        assert answer["trace_id"] == answer["predictions"][0]["id"]


@pytest.mark.parametrize(("value", "where"), [("soon", "header x-timeout-ms"), ("0", "header x-timeout-ms")])
def test_a_time_to_wait_that_is_none_is_refused(wire: Wire, flight: dict[str, Any], value: str, where: str) -> None:
    wire.send(post(body_of(flight), f"x-timeout-ms: {value}"))
    status, _, content = wire.answer()
    assert (status, json.loads(content)["where"]) == (422, where)


def test_a_request_whose_time_is_over_is_not_scored(wire: Wire, flight: dict[str, Any], shared_site: Any) -> None:
    many = post(json.dumps([flight] * 9000).encode())  # the second waits behind it, longer than it allows
    wire.send(many + post(body_of(flight, id="too-late"), "x-timeout-ms: 1"))
    assert wire.answer()[0] == 200
    status, _, content = wire.answer()
    assert (status, json.loads(content)["code"]) == (429, "overloaded")
    wire.send(post(body_of(flight, id="in-time"), "x-timeout-ms: 30000"))
    assert wire.answer()[0] == 200
    ids = [each.request_id for each in shared_site.records() if isinstance(each, PredictionRecord)]
    assert "in-time" in ids
    assert "too-late" not in ids


def test_random_bad_rows_fail_alone_in_full_batches(server: ServerProcess) -> None:
    """LinearRegression cannot score a missing value, and the signature lets one pass: poison for its whole batch."""
    rounds, clients = 12, 16
    wrong: list[str] = []
    barrier = threading.Barrier(clients)

    def ask(number: int) -> None:
        with PredictionClient(server.url) as client:
            for turn in range(rounds):
                barrier.wait()
                bad = (number * 7 + turn * 3) % 5 == 0
                rows: list[dict[str, Any]] = [{"distance": float(number + at)} for at in range(3)]
                if bad:
                    rows[turn % 3] = {"distance": None}
                try:
                    scores = [each.score for each in client.predict("delay", rows).predictions]
                except MainspringError as error:
                    if not bad or error.where != f"rows[{turn % 3}]":
                        wrong.append(f"{number}.{turn}: {error}")
                    continue
                if bad or scores != pytest.approx([2.0 * (number + at) for at in range(3)]):
                    wrong.append(f"{number}.{turn}: {scores}")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_server_that_cannot_keep_up_says_so(site: Any, flight: dict[str, Any]) -> None:
    site.route((1, "champion", 100.0))
    refusals: list[Unavailable] = []
    answered: list[int] = []

    def ask(url: str) -> None:
        with PredictionClient(url) as client:
            for _ in range(6):
                try:
                    answered.append(len(client.predict("late-flights", [flight] * 500).predictions))
                except Unavailable as error:
                    refusals.append(error)

    with site.start("--longest-wait", "0.001") as server:
        threads = [threading.Thread(target=ask, args=(server.url,)) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answered
    assert refusals
    assert all("would wait" in error.what for error in refusals)
