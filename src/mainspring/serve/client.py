"""A small client for a prediction server: one kept connection, standard library, our errors.

It is for one thread; make one for each. A connection that the server closed while it was idle is opened again once.
"""

import http.client
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from mainspring.domain.moments import to_iso
from mainspring.errors import Invalid, Unavailable
from mainspring.serve.problems import Problem, error_of
from mainspring.serve.wire import Answer, FeedbackAnswer

__all__ = ["PredictionClient"]

_T = TypeVar("_T")
#: The server had closed the kept connection before it saw the request, or went away with it.
_HUNG_UP = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


class PredictionClient:
    """Talks to the prediction server at `url`."""

    def __init__(self, url: str, *, timeout_seconds: float = 30.0) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise Invalid(f"`{url}` is not the address of a server", next_step="write http://127.0.0.1:8000")
        self._url = url
        # http.client sets TCP_NODELAY and sends head and body together.
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=timeout_seconds)

    def predict(
        self,
        model: str,
        rows: Sequence[Mapping[str, object]],
        *,
        version: int | None = None,
        at: datetime | None = None,
        request_id: str | None = None,
        route_key: str | None = None,
    ) -> Answer:
        """Score rows; `at` is the time of the event, and one `route_key` gets one version while another is rolled out.

        Raises:
            Invalid: the rows do not fit the model; `where` names the first place.
            NotFound: that model or version is not served there.
            Unavailable: the server cannot be reached, or cannot write answers down.
        """
        path = f"/models/{quote(model, safe='')}" + (f"/versions/{version}" if version is not None else "") + "/predict"
        headers = {"x-event-at": to_iso(at)} if at is not None else {}
        if route_key is not None:
            headers["x-route-key"] = route_key
        body: dict[str, object] = {"rows": rows}
        if request_id is not None:
            body["id"] = request_id
        return msgspec.json.decode(self.send("POST", path, msgspec.json.encode(body), headers), type=Answer)

    def feedback(
        self,
        model: str,
        labels: Iterable[tuple[str, str | bool | float]],
        *,
        at: datetime | None = None,
        source: str | None = None,
    ) -> int:
        """Tell what came true, as pairs of prediction id and label; return how many labels were taken.

        Raises:
            Invalid: a label does not fit the model; `where` names the first place.
            NotFound: that model is not served there.
            Unavailable: the server cannot be reached, or cannot write labels down.
        """
        body = {
            "model": model,
            "labels": [{"id": identifier, "label": label} for identifier, label in labels],
            "at": None if at is None else to_iso(at),
            "source": source,
        }
        answer = self.send("POST", "/feedback", msgspec.json.encode(body))
        return msgspec.json.decode(answer, type=FeedbackAnswer).accepted

    def metadata(self, model: str) -> dict[str, Any]:
        """Return what the server says about a model: columns, outputs, and under ``serving`` its routes.

        Any: the document is open; Open Inference and our extras may grow.
        """
        return msgspec.json.decode(self.send("GET", f"/v2/models/{quote(model, safe='')}"), type=dict[str, Any])

    def metrics(self) -> str:
        """Return the server's metrics in the Prometheus text format."""
        return self.send("GET", "/metrics").decode()

    def send(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
        """Send one request and return the body of its answer.

        Raises:
            MainspringError: the answer is a problem document; the error is the one it tells of.
            Unavailable: the server cannot be reached.
        """
        kept = self._connection.sock is not None
        sent = {"content-type": "application/json", **(headers or {})}
        try:
            try:
                return self._exchange(method, path, body, sent)
            except _HUNG_UP:
                self._connection.close()
                if not kept:
                    raise
                return self._exchange(method, path, body, sent)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Unavailable(
                f"The prediction server does not answer: {str(error) or type(error).__name__}",
                where=self._url,
                next_step="check that it runs: GET /v2/health/live",
            ) from error

    def close(self) -> None:
        """Close the connection; the next request opens it again."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _exchange(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        self._connection.request(method, path, body or None, dict(headers))
        response = self._connection.getresponse()
        content = response.read()
        if response.status < HTTPStatus.BAD_REQUEST:
            return content
        if response.headers.get_content_type() == "application/problem+json":
            raise error_of(msgspec.json.decode(content, type=Problem))
        raise Unavailable(f"{method} {path} was answered with status {response.status}", where=self._url)
