"""Where a log journal goes: into the store of this workspace, or to a control server."""

import http.client
import json
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from mainspring.errors import Conflict, Denied, Invalid, Unavailable
from mainspring.tracking.batches import Batch, keep_batch, put_files
from mainspring.workspace import Workspace

__all__ = ["Destination", "ServerDestination", "WorkspaceDestination", "destination_of"]

_SECONDS = 30
_PATH = "/api/mainspring/v1/runs/batch"


class Destination(Protocol):
    """Keeps batches, each record once."""

    def send(self, batch: Batch) -> list[str]:
        """Keep a batch, and return what had to be left out of it.

        Raises:
            Unavailable: not now; the same batch may be sent again, and nothing is kept twice.
            MainspringError: not ever; somebody has to look.
        """

    def close(self) -> None:
        """Let go of the connection."""


def destination_of(home: Path, url: str, token: str) -> Destination:
    """Return the server at `url`, or without one the workspace in the folder `home`."""
    return ServerDestination(url, token) if url else WorkspaceDestination(home)


class WorkspaceDestination:
    """The store of a workspace, opened at the first batch."""

    def __init__(self, home: Path) -> None:
        self._workspace = Workspace(home)

    def send(self, batch: Batch) -> list[str]:
        """Keep a batch in one transaction."""
        author, files = self._workspace.actor, put_files(batch, self._workspace.artifacts)
        return self._workspace.store.record(
            lambda transaction: keep_batch(transaction, batch, author=author, files=files)
        )

    def close(self) -> None:
        """Close the workspace."""
        self._workspace.close()


class ServerDestination:
    """A control server. `token` says who sends; it goes nowhere else.

    Raises:
        Invalid: the URL is none.
    """

    def __init__(self, url: str, token: str) -> None:
        address = urlsplit(url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise Invalid(f"`{url}` is not the URL of a server", where="MAINSPRING_URL", next_step="http://HOST:PORT")
        kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
        self._place = f"{address.scheme}://{address.hostname}"  # without a password that may stand in the URL
        self._connection = kind(address.hostname, address.port, timeout=_SECONDS)
        self._path = address.path.rstrip("/") + _PATH
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})

    def send(self, batch: Batch) -> list[str]:
        """Post a batch; the connection stays open for the next."""
        try:
            self._connection.request("POST", self._path, body=msgspec.json.encode(batch), headers=self._headers)
            answer = self._connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()  # the next request opens it again
            raise Unavailable(f"The server cannot be reached: {error}", where=self._place) from error
        if answer.status == 200:
            left_out: list[str] = json.loads(body)["left_out"]
            return left_out
        raise _refusal(answer.status, body, self._place)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _refusal(status: int, body: bytes, place: str) -> Unavailable | Denied | Invalid | Conflict:
    said = f"The server answered {status}"
    try:
        problem = json.loads(body)
        said = str(problem.get("title") or problem.get("detail") or said)
    except (ValueError, AttributeError):
        pass
    if status in (408, 425, 429) or status >= 500:
        return Unavailable(said, where=place)
    if status in (401, 403):
        return Denied(said, where=place, next_step="check MAINSPRING_TOKEN")
    return Invalid(said, where=place, next_step="check that MAINSPRING_URL is a Mainspring server of this version")
