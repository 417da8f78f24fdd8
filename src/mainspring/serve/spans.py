"""Traces of requests for an OpenTelemetry collector: how long one was read, waited, was scored and was answered.

A span is put together when its request is answered, from moments that were noted on the way, so that requests that are
not traced pay nothing. The trace's id is the one in the answer: the client's, or else the id of the first prediction.
Sources: OpenTelemetry specification, section "Tracing SDK"; W3C Trace Context, section "traceparent header".
"""

import time
from collections.abc import Sequence

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from mainspring.serve.asking import Ask

__all__ = ["Spans"]

#: The last digits of an id are random (RFC 9562, section 5.7).
_DIGITS = 8


class _Ids(RandomIdGenerator):
    """Gives the next root span the trace id that its request bears already."""

    trace_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id


class Spans:
    """Sends spans of some requests, in the background; when the collector is away they are dropped."""

    def __init__(self, collector: str, share: float, version: str) -> None:
        """`collector` is the base URL of OTLP over HTTP; `share` of the requests are traced.

        Those whose client has sampled its own trace are traced in any case.
        """
        self._ids = _Ids()
        resource = Resource.create({"service.name": "mainspring", "service.version": version})
        self._provider = TracerProvider(resource=resource, id_generator=self._ids)
        exporter = OTLPSpanExporter(endpoint=f"{collector.rstrip('/')}/v1/traces", timeout=5)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("mainspring.serve")
        self._limit = round(share * 16**_DIGITS)

    def send(self, asks: Sequence[Ask], began: float, ended: float) -> None:
        """Take requests that were scored together between `began` and `ended` (``time.perf_counter``), and answered."""
        now = time.perf_counter()
        offset = time.time_ns() - int(now * 1e9)
        for ask in asks:
            parent = _parent_of(ask)
            if parent is None and int(ask.ids[0][-_DIGITS:], 16) >= self._limit:
                continue
            if parent is not None and not parent.trace_flags:
                continue
            self._send_one(ask, parent, [ask.received.started, ask.read_at, began, ended, now], offset)

    def close(self) -> None:
        """Send what is left, for as long as a collector that is there needs."""
        self._provider.shutdown()

    def _send_one(self, ask: Ask, parent: trace.SpanContext | None, moments: list[float], offset: int) -> None:
        at = [offset + int(moment * 1e9) for moment in moments]
        if parent is None:
            self._ids.trace_id = int(ask.ids[0], 16)
            around = None
        else:
            around = trace.set_span_in_context(trace.NonRecordingSpan(parent))
        whole = self._tracer.start_span(
            f"predict {ask.received.model}",
            context=around,
            kind=trace.SpanKind.SERVER,
            start_time=at[0],
            attributes={
                "mainspring.model": ask.received.model,
                "mainspring.version": ask.route.version,
                "mainspring.route": ask.route.role,
                "mainspring.rows": ask.n_rows,
                "mainspring.prediction_id": ask.ids[0],
            },
        )
        inside = trace.set_span_in_context(whole)
        # `infer` holds the making of the model's columns too: they are made for the whole batch at once
        for name, start, end in zip(("decode", "queue", "infer", "encode"), at, at[1:], strict=False):
            self._tracer.start_span(name, context=inside, start_time=start).end(end_time=max(start, end))
        whole.end(end_time=at[-1])


def _parent_of(ask: Ask) -> trace.SpanContext | None:
    """Return the client's span, if the request names one."""
    trace_id, given = ask.client_trace, ask.received.headers.get(b"traceparent")
    if trace_id is None or given is None:
        return None
    parts = given.decode("latin-1").split("-")
    try:
        span_id, flags = int(parts[2], 16), int(parts[3][:2], 16)
        return trace.SpanContext(int(trace_id, 16), span_id, is_remote=True, trace_flags=trace.TraceFlags(flags & 1))
    except ValueError:
        return None
