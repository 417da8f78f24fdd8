"""A real control server in a process of its own, and a client that speaks plain HTTP to it."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
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
