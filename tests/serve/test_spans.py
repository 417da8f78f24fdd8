"""Traces: the spans of a request reach a collector under the trace id that its answer bears."""

import gzip
import json
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from mainspring.serve.client import PredictionClient

pytest.importorskip("opentelemetry.sdk", reason="pip install 'mainspring[otel]'")
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # behind the check above
    ExportTraceServiceRequest,
)

PARTS = ("decode", "queue", "infer", "encode")


class Collector:
    """Takes what is exported over HTTP."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        taken = self.spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    taken.extend(span for scope in resource.scope_spans for span in scope.spans)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


def test_each_part_of_a_request_is_a_span_of_the_trace_in_its_answer(
    site: Any, flight: dict[str, object], collector: Collector
) -> None:
    site.route((1, "champion", 100.0))
    options = ("--traces", collector.url, "--trace-share", "1")
    with site.start(*options) as server, PredictionClient(server.url) as client:
        answers = [client.predict("late-flights", [flight, flight]) for _ in range(5)]
    traces = {answer.trace_id: [] for answer in answers}
    for span in collector.spans:
        traces[span.trace_id.hex()].append(span)
    for answer in answers:
        (whole,) = [span for span in traces[answer.trace_id] if not span.parent_span_id]
        parts = [span for span in traces[answer.trace_id] if span.parent_span_id]
        assert whole.name == "predict late-flights"
        said = {each.key: each.value for each in whole.attributes}
        assert said["mainspring.prediction_id"].string_value == answer.predictions[0].id
        assert (said["mainspring.rows"].int_value, said["mainspring.version"].int_value) == (2, 1)
        assert tuple(span.name for span in parts) == PARTS
        assert {span.parent_span_id for span in parts} == {whole.span_id}
        moments = [whole.start_time_unix_nano, *(span.end_time_unix_nano for span in parts)]
        assert moments == sorted(moments)
        assert moments[-1] <= whole.end_time_unix_nano


def test_the_clients_own_trace_is_gone_on_with_and_its_choice_kept(
    site: Any, flight: dict[str, object], collector: Collector
) -> None:
    site.route((1, "champion", 100.0))
    with site.start("--traces", collector.url, "--trace-share", "0") as server:
        for number, flags in ((1, "01"), (2, "00")):
            request = urllib.request.Request(
                f"{server.url}/models/late-flights/predict",
                json.dumps([flight]).encode(),
                {"content-type": "application/json", "traceparent": f"00-{number:032x}-00f067aa0ba902b7-{flags}"},
            )
            with urllib.request.urlopen(request, timeout=20) as reply:
                assert json.load(reply)["trace_id"] == f"{number:032x}"
        with PredictionClient(server.url) as client:
            client.predict("late-flights", [flight])  # no client's trace, and none of the server's share
    assert {int.from_bytes(span.trace_id) for span in collector.spans} == {1}
    (whole,) = [span for span in collector.spans if span.name not in PARTS]
    assert whole.parent_span_id.hex() == "00f067aa0ba902b7"


def test_a_collector_that_is_away_costs_no_answer(site: Any, flight: dict[str, object]) -> None:
    site.route((1, "champion", 100.0))
    options = ("--traces", "http://127.0.0.1:9", "--trace-share", "1")
    with site.start(*options) as server, PredictionClient(server.url) as client:
        for _ in range(50):
            assert client.predict("late-flights", [flight]).version == 1
