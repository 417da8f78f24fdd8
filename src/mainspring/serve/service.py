"""One request, from its body to its answer; knows nothing of HTTP.

The order never changes: choose the route, decode, score, write to the journal, answer. An answer that could not be
written down is not given, so that whatever a client was told can be explained, labelled and replayed later.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus

import numpy as np
from numpy.typing import NDArray

from mainspring.domain.ids import new_id
from mainspring.domain.moments import Clock, from_iso, to_iso
from mainspring.errors import Invalid, MainspringError, NotFound, Unavailable
from mainspring.predictions.journal import JournalWriter
from mainspring.predictions.records import PredictionRecord, encode_record
from mainspring.serve import bodies
from mainspring.serve.answers import check_outputs, infer_answer, label_record, predict_answer
from mainspring.serve.decode import Decoded, RowDecoder
from mainspring.serve.endpoint import Active, Endpoints, LoadedVersion
from mainspring.serve.metrics import ServerMetrics
from mainspring.serve.problems import HttpRefusal, problem_of
from mainspring.serve.routes import Route, choose, is_chosen, route_for
from mainspring.serve.wire import Answer, FeedbackAnswer, InferAnswer, WantedOutput

__all__ = ["MOST_ROWS", "Asked", "PredictionService", "Received", "Scored"]

_log = logging.getLogger(__name__)
#: Rows of one request; more belong into a batch job.
MOST_ROWS = 10_000
#: Requests that may wait for a shadow; behind that it sees none, so that it can never slow the answers down.
_MOST_SHADOWED = 64
_Decode = Callable[[RowDecoder], Decoded]


@dataclass(frozen=True, slots=True)
class Received:
    """What came beside the body: the path's model and version, the two headers, and when the last byte was here."""

    model: str
    version: str | None
    event_at: str | None
    route_key: str | None
    started: float


@dataclass(frozen=True, slots=True)
class Asked:
    """What the body asks for, with its values not looked at yet."""

    request_id: str | None
    decode: _Decode
    outputs: Sequence[WantedOutput] | None = None


@dataclass(frozen=True, slots=True)
class Scored:
    """A request that was decoded, scored and written down."""

    route: Route
    loaded: LoadedVersion
    decoded: Decoded
    ids: list[str]
    scores: NDArray[np.float64]
    asked: Asked


class PredictionService:
    """Answers predictions and takes labels. Its methods run in the event loop, the models in one worker thread."""

    def __init__(self, endpoints: Endpoints, journal: JournalWriter, metrics: ServerMetrics, clock: Clock) -> None:
        self._endpoints = endpoints
        self._journal = journal
        self._metrics = metrics
        self._clock = clock
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="predict")
        self._shadow_worker = ThreadPoolExecutor(1, thread_name_prefix="shadow")
        self._shadowing: set[asyncio.Task[None]] = set()

    async def predict(self, received: Received, body: bytes) -> Answer:
        """Answer rows.

        Raises:
            MainspringError: nothing was answered and nothing written; the error says why and where.
        """
        return predict_answer(received.model, await self._answered(received, lambda: _rows_of(body)))

    async def infer(self, received: Received, body: bytes) -> InferAnswer:
        """Answer Open Inference tensors; raises as `predict` does."""
        return infer_answer(received.model, await self._answered(received, lambda: _tensors_of(body)))

    def feedback(self, body: bytes) -> FeedbackAnswer:
        """Write labels down.

        Raises:
            MainspringError: none of them was written; the error says why and where.
        """
        feedback = bodies.decode_feedback(body)
        _check_size(len(feedback.labels), "labels")
        active = self._endpoints.find(feedback.model).serving()
        signature = active.loaded[active.table.champion.version].predictor.signature
        at = _moment(feedback.at, "at") or to_iso(self._clock.now())
        record = label_record(feedback, signature, at)
        self._write(encode_record(record), feedback.model)
        self._metrics.count("model_feedback_labels_total", feedback.model, by=len(record.ids))
        return FeedbackAnswer(len(record.ids))

    async def close(self) -> None:
        """Wait for the shadows that are under way."""
        if self._shadowing:
            await asyncio.wait(self._shadowing)
        self._worker.shutdown()
        self._shadow_worker.shutdown()

    async def _answered(self, received: Received, read: Callable[[], Asked]) -> Scored:
        """Score and write down, and count how it went."""
        model, version, role = "", "", ""
        try:
            active = self._endpoints.find(received.model).serving()
            model = received.model
            asked = read()
            first_id = new_id()
            key = received.route_key or asked.request_id or first_id
            route = _route_of(active, received.version, key)
            version, role = str(route.version), route.role
            event_at = _moment(received.event_at, "header x-event-at")
            scored = await self._scored(active, route, asked, first_id)
            self._record(received, scored, event_at)
        except MainspringError as error:
            self._metrics.count("model_requests_total", model, version, role, str(problem_of(error).status))
            raise
        self._metrics.count("model_requests_total", model, version, role, "200")
        self._metrics.count("model_rows_total", model, version, role, by=scored.decoded.n_rows)
        for kind, count in scored.decoded.warning_counts.items():
            self._metrics.count("model_warnings_total", model, kind, by=count)
        self._metrics.observe(model, version, time.perf_counter() - received.started)
        self._shadow(active, received, scored, event_at, key)
        return scored

    async def _scored(self, active: Active, route: Route, asked: Asked, first_id: str) -> Scored:
        loaded = active.loaded[route.version]
        decoded = asked.decode(loaded.decoder)
        scores = await self._run(self._worker, active.table.model, loaded, decoded)
        ids = [first_id, *(new_id() for _ in range(decoded.n_rows - 1))]
        return Scored(route, loaded, decoded, ids, scores, asked)

    async def _run(
        self, worker: ThreadPoolExecutor, model: str, loaded: LoadedVersion, decoded: Decoded
    ) -> NDArray[np.float64]:
        loop = asyncio.get_running_loop()
        try:
            scores = await loop.run_in_executor(worker, loaded.predictor.predict, decoded.columns)
        except Exception as error:
            # The model's own code may fail in any way; its request fails with it, and no other one.
            _log.exception("version %d of %s failed", loaded.version, model)
            raise MainspringError(
                f"Version {loaded.version} of `{model}` failed: {type(error).__name__}: {error}",
                where=f"models/{model}/versions/{loaded.version}",
                next_step="the server's log has the trace; roll the version back if it goes on",
            ) from error
        if len(scores) != decoded.n_rows or not np.isfinite(scores).all():
            raise MainspringError(
                f"Version {loaded.version} of `{model}` gave scores that are missing or not finite",
                where=f"models/{model}/versions/{loaded.version}",
                next_step="roll the version back, and test it on these rows",
            )
        return scores

    def _record(self, received: Received, scored: Scored, event_at: str | None) -> None:
        now = to_iso(self._clock.now())
        record = PredictionRecord(
            model=received.model,
            version=scored.route.version,
            route=scored.route.role,
            at=event_at or now,
            received_at=now,
            request_id=scored.asked.request_id,
            ids=scored.ids,
            columns=scored.decoded.values,
            scores=scored.scores.tolist(),
            latency_ms=round(1000 * (time.perf_counter() - received.started), 3),
            warnings=scored.decoded.warning_counts.total(),
        )
        self._write(encode_record(record), received.model)

    def _write(self, payload: bytes, model: str) -> None:
        try:
            self._journal.append(payload)
        except Unavailable:
            self._metrics.count("prediction_log_dropped_total", model)
            raise

    def _shadow(self, active: Active, received: Received, scored: Scored, event_at: str | None, key: str) -> None:
        """Let the shadows see the request, after its answer is settled and beside it."""
        for route in active.table.routes:
            if route.role != "shadow" or not is_chosen(route, active.table.model, key):
                continue
            if len(self._shadowing) >= _MOST_SHADOWED:
                self._metrics.count("shadow_dropped_total", active.table.model)
                continue
            task = asyncio.create_task(self._shadow_one(active, route, received, scored, event_at))
            self._shadowing.add(task)
            task.add_done_callback(self._shadowing.discard)

    async def _shadow_one(
        self, active: Active, route: Route, received: Received, scored: Scored, event_at: str | None
    ) -> None:
        model, loaded = active.table.model, active.loaded[route.version]
        started, status = time.perf_counter(), 200
        try:
            decoded = scored.asked.decode(loaded.decoder)  # its signature may be another
            scores = await self._run(self._shadow_worker, model, loaded, decoded)
            seen = Scored(route, loaded, decoded, scored.ids, scores, scored.asked)
            beside = Received(model, None, received.event_at, received.route_key, started)
            self._record(beside, seen, event_at)
        except MainspringError as error:
            status = problem_of(error).status
        self._metrics.count("model_requests_total", model, str(route.version), route.role, str(status))


def _moment(text: str | None, where: str) -> str | None:
    if text is None:
        return None
    try:
        return to_iso(from_iso(text))
    except Invalid as error:
        raise Invalid(error.what, where=where, next_step=error.next_step) from error


def _rows_of(body: bytes) -> Asked:
    request = bodies.decode_predict(body)
    _check_size(len(request.rows), "rows")
    return Asked(request.id, lambda decoder: decoder.rows(request.rows))


def _tensors_of(body: bytes) -> Asked:
    request = bodies.decode_infer(body)
    _check_size(max((len(tensor.data) for tensor in request.inputs), default=0), "rows")

    def decode(decoder: RowDecoder) -> Decoded:
        check_outputs(decoder.signature, request.outputs)
        return decoder.tensors(request.inputs)

    return Asked(request.id, decode, request.outputs)


def _check_size(count: int, what: str) -> None:
    if count > MOST_ROWS:
        raise HttpRefusal(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"{count} {what} in one request; at most {MOST_ROWS} are taken",
            where=what,
            next_step="send them in several requests, or score files with `mainspring predict`",
        )


def _route_of(active: Active, version: str | None, key: str) -> Route:
    if version is None:
        return choose(active.table, key)
    is_number = version.isascii() and version.isdigit() and len(version) < 10
    route = route_for(active.table, int(version)) if is_number else None
    if route is None or route.role == "shadow":
        answering = ", ".join(str(each.version) for each in active.table.routes if each.role != "shadow")
        raise NotFound(
            f"Version {version} of `{active.table.model}` does not answer here",
            where=f"models/{active.table.model}/versions/{version}",
            next_step=f"versions that do: {answering}",
        )
    return route
