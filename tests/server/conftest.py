"""A real control server in a process of its own, and a client that speaks plain HTTP to it."""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import pytest


class Answer(NamedTuple):
    """What came back; `json` is the decoded body."""

    status: int
    json: Any
    headers: dict[str, str]
    body: bytes


class Server:
    """One control server over the workspace `home`."""

    def __init__(self, home: Path, *options: str, **environment: str) -> None:
        self.home = home
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mainspring", "server", "--port", "0", *options],
            env={**os.environ, "MAINSPRING_HOME": str(home), "MAINSPRING_ACTOR": "ada", **environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        assert "Control server at " in said, said
        self.url = said.split()[3].rstrip(".")
        self.pid = self._process.pid

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
        **query: object,
    ) -> Answer:
        """Send one request on a connection of its own."""
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
        target = f"{path}?{urlencode(query, doseq=True)}" if query else path
        sent = raw if raw is not None else None if body is None else json.dumps(body).encode()
        with contextlib.closing(connection):
            typed = {"content-type": "application/json"} if raw is None and sent is not None else {}
            connection.request(method, target, body=sent, headers={**typed, **(headers or {})})
            response = connection.getresponse()
            read = response.read()
            found = {name.lower(): value for name, value in response.getheaders()}
        is_json = "json" in found.get("content-type", "")
        return Answer(response.status, json.loads(read) if is_json and read else None, found, read)

    def post(self, path: str, **body: object) -> Answer:
        """Post a JSON object to a path of MLflow's."""
        return self.ask("POST", f"/api/2.0/mlflow/{path}", body)

    def get(self, path: str, **query: object) -> Answer:
        """Get a path of MLflow's."""
        return self.ask("GET", f"/api/2.0/mlflow/{path}", **query)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._close()

    def stop(self) -> None:
        """End it in order."""
        self._process.send_signal(signal.SIGTERM)
        self._close()

    def _close(self) -> None:
        self._process.wait(30)
        if self._process.stdout is not None:
            self._process.stdout.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server over a workspace of its own."""
    started = Server(tmp_path / "home")
    yield started
    started.stop()


class Receiver:
    """Listens on loopback and lets a test wait for what comes."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], str]] = []
        self.came = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                with receiver.came:
                    receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                    receiver.came.notify_all()
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def wait_for(self, enough: Callable[[list[tuple[dict[str, str], str]]], bool]) -> None:
        with self.came:
            assert self.came.wait_for(lambda: enough(self.got), timeout=30), self.got

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@contextlib.contextmanager
def running(*words: str | None) -> Iterator[str]:
    """Run a program until it says where on loopback it listens; yield that."""
    with subprocess.Popen([each for each in words if each], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = []
        try:
            for line in process.stderr:
                said.append(line)
                if found := re.search(r"Listening on.*?(127\.0\.0\.1:\d+)", line):
                    yield found[1]
                    return
            raise AssertionError("".join(said))
        finally:
            process.terminate()
