"""A request from its body to its answer; knows nothing of HTTP.

The order never changes: choose the route, decode, wait for the model, score, write to the journal, answer. An answer
that could not be written down is not given, so that whatever a client was told can be explained, labelled and replayed
later. Everything runs in the event loop but a slow model's own work, a shadow's, and look-ups over a network.
"""

import asyncio
import logging
import math
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np

from mainspring.domain.ids import new_ids
from mainspring.domain.moments import Clock, to_iso
from mainspring.errors import MainspringError, Unavailable
from mainspring.predictions.journal import JournalWriter
from mainspring.predictions.records import BatchRecord, FeatureLookup, encode_record
from mainspring.serve import bodies
from mainspring.serve.access_log import AccessLog
from mainspring.serve.answers import label_record, labels_of
from mainspring.serve.asking import Ask, Dialect, Question, Received
from mainspring.serve.batching import BatchQueue
from mainspring.serve.broken_rules import BROKEN_RULE, rule_warnings
from mainspring.serve.decode import MOST_PLACES
from mainspring.serve.endpoint import Endpoints, LoadedVersion
from mainspring.serve.guard import Guard
from mainspring.serve.keeping import Keeping
from mainspring.serve.limits import check_size
from mainspring.serve.lost import LostRequests
from mainspring.serve.metrics import ServerMetrics
from mainspring.serve.problems import RulesBroken, reply_of
from mainspring.serve.reading import RemoteReads
from mainspring.serve.recheck import Recheck
from mainspring.serve.refusals import Refusals
from mainspring.serve.reply import Reply, Tell
from mainspring.serve.routes import Route, is_chosen
from mainspring.serve.scoring import Outcome, ScoredBlock, score
from mainspring.serve.slow import SlowAnswers
from mainspring.serve.taking import asked, chosen, told_at
from mainspring.serve.wire import FeedbackAnswer

if TYPE_CHECKING:
    from mainspring.serve.spans import Spans

__all__ = ["PredictionService"]

_log = logging.getLogger(__name__)
#: Requests that may wait for a shadow; behind that it sees none, so that it can never slow the answers down.
_MOST_SHADOWED = 64
_CLOSE_POLL_SECONDS = 0.005
#: Requests that may wait for models to be loaded.
_MOST_COLD = 256
_Queue = BatchQueue[Ask, Outcome]


class PredictionService:
    """Answers predictions and takes labels. Its methods belong to the event loop."""

    def __init__(
        self,
        endpoints: Endpoints,
        journal: JournalWriter,
        metrics: ServerMetrics,
        clock: Clock,
        *,
        longest_wait_seconds: float = 5.0,
        answer_unlogged: bool = False,
        guard: Guard | None = None,
        access_log: AccessLog | None = None,
        recheck: Recheck | None = None,
        keeping: Keeping | None = None,
        spans: "Spans | None" = None,
    ) -> None:
        """`longest_wait_seconds` is the wait from which on requests are turned away.

        `answer_unlogged` gives answers that the journal did not take, and counts them, instead of withholding them.
        """
        self._endpoints = endpoints
        self._journal = journal
        self._metrics = metrics
        self._clock = clock
        self._longest_wait = longest_wait_seconds
        self._answer_unlogged = answer_unlogged
        self._guard = guard
        self._access_log = access_log
        self._recheck = recheck
        self._keeping = keeping or Keeping()
        self._lost = LostRequests()
        self._refusals = Refusals(journal, clock)
        self._spans = spans
        self._queues: WeakSet[_Queue] = WeakSet()  # a queue goes with its version
        self._waiting: set[asyncio.Task[None]] = set()  # for a model to be loaded
        self._slow = SlowAnswers(_answer_of)
        self._reads = RemoteReads()

    def submit(self, received: Received, dialect: Dialect, body: bytes, tell: Tell) -> None:
        """Take a request; `tell` is called with its reply, now or later, and in any case."""
        route = None
        try:
            if self._guard is not None:
                self._guard.identify(received.headers)  # before anything is said of what is served here
            endpoint = self._endpoints.find(received.model)
            received = received._replace(model=endpoint.model) if not received.model else received
            if self._guard is not None:
                consumer = self._guard.admit(received.headers, "predict", received.model)
                received = received._replace(consumer=consumer)
            if endpoint.cold is not None:
                if endpoint.active is None:
                    self._when_warm(received, dialect, body, tell)
                    return
                endpoint.used_at = received.started
            active = endpoint.serving()
            route, ids = chosen(active, received, dialect, body)
            if dialect.is_slow:
                tell = self._slow.begin(tell)
            self._read(
                active.loaded[route.version],
                received,
                dialect,
                body,
                lambda read: self._enqueue(
                    asked(active, route, ids, received, dialect, body, read, tell, self._clock.now)
                ),
                lambda error: self._fail(received, route, error, tell),
            )
        except Exception as error:
            self._fail(received, route, error, tell)

    def _read(
        self,
        loaded: LoadedVersion,
        received: Received,
        dialect: Dialect,
        body: bytes,
        then: Callable[[Question], None],
        fail: Callable[[Exception], None],
    ) -> None:
        """Read a body, beside the loop where that waits for a store on the network; what fails at once is raised."""
        if loaded.lookup is None or not loaded.lookup.is_remote:
            then(dialect.read(loaded, received, body))
        else:
            self._reads.run(partial(dialect.read, loaded, received, body), then, fail)

    def _enqueue(self, ask: Ask) -> None:
        if self._spans is not None:
            ask.read_at = time.perf_counter()
        (ask.loaded.queue or self._queue(ask.loaded)).submit(ask, ask.deadline)

    def _fail(self, received: Received, route: Route | None, error: Exception, tell: Tell) -> None:
        if isinstance(error, MainspringError):
            self._turn_away(received, route, error, tell)
        else:
            # The edge of the process: whatever was not foreseen becomes a 500, and the server goes on.
            _log.error("a request for %s failed", received.model, exc_info=error)
            self._refuse(received, route, _failed(), tell)

    def _when_warm(self, received: Received, dialect: Dialect, body: bytes, tell: Tell) -> None:
        """Let a request wait until its model is loaded."""
        if len(self._waiting) >= _MOST_COLD:
            what = "Too many requests wait for models that are being loaded"
            raise Unavailable(what, where=f"models/{received.model}", next_step="ask again in a moment")

        async def wait() -> None:
            try:
                await self._endpoints.warm(received.model)
            except MainspringError as error:
                self._refuse(received, None, error, tell)
            except Exception as error:
                self._fail(received, None, error, tell)
            else:
                self.submit(received, dialect, body, tell)

        task = asyncio.get_running_loop().create_task(wait())
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def answer(self, received: Received, dialect: Dialect, body: bytes) -> Reply:
        """Return the reply to a request, an error's too."""
        told: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.submit(received, dialect, body, lambda reply: None if told.done() else told.set_result(reply))
        return await told

    async def feedback(self, body: bytes) -> FeedbackAnswer:
        """Write labels down.

        Raises:
            MainspringError: none of them was written; the error says why and where.
        """
        feedback = bodies.decode_feedback(body)
        check_size(len(feedback.labels), "labels")
        await self._endpoints.warm(feedback.model)
        active = self._endpoints.find(feedback.model).serving()
        signature = active.loaded[active.table.champion.version].predictor.signature
        at = told_at(feedback, self._clock.now)
        record = label_record(feedback, signature, at)
        try:
            self._journal.append(encode_record(record))
        except Unavailable:
            self._metrics.count("prediction_log_dropped_total", feedback.model)
            raise
        self._metrics.count("model_feedback_labels_total", feedback.model, by=len(record.ids))
        return FeedbackAnswer(len(record.ids))

    def running_seconds(self) -> float:
        """Return how long the longest batch under way has been running."""
        return max((queue.running_seconds for queue in self._queues), default=0.0)

    async def close(self) -> None:
        """Wait for what is under way, the shadows too."""
        while self._waiting or not self._is_idle():
            await asyncio.sleep(_CLOSE_POLL_SECONDS)
        self._reads.close()
        self._slow.close()
        self._refusals.tell()
        for queue in self._queues:
            queue.close()
        if self._recheck is not None:
            self._recheck.close()
        if self._spans is not None:
            await asyncio.to_thread(self._spans.close)

    def _is_idle(self) -> bool:
        return self._reads.is_idle and self._slow.is_idle and all(queue.is_idle for queue in self._queues)

    def _queue(self, loaded: LoadedVersion) -> _Queue:
        queue = loaded.queue = BatchQueue(
            score, self._finish, longest_wait_seconds=self._longest_wait, pace=loaded.pace
        )
        self._queues.add(queue)
        return queue

    def _finish(self, asks: list[Ask], outcome: Outcome) -> None:
        for ask, error in outcome.failed:
            if isinstance(error, RulesBroken) and not ask.received.is_chunk:
                self._count_broken(ask.received.model, {(name, "stop"): n for name, n in error.counts.items()})
                self._metrics.count("model_rows_refused_total", ask.received.model, by=ask.n_rows)
            self._turn_away(ask.received, ask.route, error, ask.tell)
        for scored in outcome.scored:
            self._settle(scored)
            if self._spans is not None:
                self._spans.send(scored.asks, outcome.began, outcome.ended)
        model, version = asks[0].received.model, str(asks[0].loaded.version)
        self._metrics.observe("model_queue_seconds", [outcome.began - asks[0].received.started], model, version)
        self._metrics.observe("model_batch_seconds", [outcome.ended - outcome.began], model, version)

    def _settle(self, scored: ScoredBlock) -> None:
        """Write down what was scored, then answer."""
        _share(scored)
        try:
            self._record(scored)
        except MainspringError as error:
            if not self._answer_unlogged:
                for ask in scored.asks:
                    self._refuse(ask.received, ask.route, error, ask.tell, is_lost=True)
                return
        for ask in scored.asks:
            if ask.dialect.is_slow:
                self._slow.run(ask, self._answer)
            else:
                self._answer(ask, _answer_of(ask))
        self._count(scored)
        if self._recheck is not None:
            self._recheck.see(scored)
        for ask in scored.asks:
            if ask.active.has_shadow:
                self._shadow(ask)

    def _answer(self, ask: Ask, reply: Reply) -> None:
        ask.tell(reply)
        if self._access_log is not None:
            self._note(ask.received, str(ask.route.version), reply.status, ask.n_rows, ask.trace_id)

    def _record(self, scored: ScoredBlock) -> None:
        asks = scored.asks
        if self._keeping.keeps_all and len({ask.route.role for ask in asks}) == 1:
            self._write(scored)
            return
        # Only some are kept, or the version's role changed while these waited: each is written down by itself.
        start = 0
        for ask in asks:
            end = start + ask.n_rows
            if self._keeping.keeps(ask):
                values = [column[start:end] for column in scored.block.values]
                block = scored.block._replace(n_rows=ask.n_rows, values=values)
                self._write(ScoredBlock([ask], block, scored.scores[start:end]))
            else:
                self._metrics.count("prediction_log_left_out_total", ask.received.model)
            start = end

    def _write(self, scored: ScoredBlock) -> None:
        asks, now = scored.asks, time.perf_counter()
        first = asks[0]
        columns, redacted = self._keeping.columns(first.loaded.typed.names, scored.block.values)
        record = BatchRecord(
            model=first.received.model,
            version=first.route.version,
            route=first.route.role,
            received_at=to_iso(self._clock.now()),
            rows=[ask.n_rows for ask in asks],
            event_at=[ask.event_at for ask in asks],
            request_ids=[ask.question.request_id for ask in asks],
            trace_ids=[ask.client_trace for ask in asks],
            latency_ms=[round(1000 * (now - ask.received.started), 3) for ask in asks],
            warnings=[sum(ask.warning_counts.values()) if ask.warnings else 0 for ask in asks],
            ids=[identifier for ask in asks for identifier in ask.ids],
            columns=columns,
            scores=scored.scores.tolist(),
            redacted=redacted,
            lookups=[] if first.loaded.lookup is None else self._keeping.lookups(_lookups_of(asks)),
        )
        try:
            self._lost.tell(self._journal)
            self._refusals.tell(record.received_at)
            self._journal.append(encode_record(record))
        except Unavailable as error:
            self._metrics.count("prediction_log_dropped_total", first.received.model, by=len(asks))
            self._lost.note(asks, error.what, record.received_at)
            raise

    def _count(self, scored: ScoredBlock) -> None:
        now, metrics = time.perf_counter(), self._metrics
        for role, group in groupby(scored.asks, lambda ask: ask.route.role):
            asks = list(group)
            model, version = asks[0].received.model, str(asks[0].route.version)
            metrics.count("model_requests_total", model, version, role, "200", by=len(asks))
            metrics.count("model_rows_total", model, version, role, by=sum(ask.n_rows for ask in asks))
            seconds = [now - ask.received.started for ask in asks]
            metrics.observe("model_request_duration_seconds", seconds, model, version)
        metrics.observe("model_batch_rows", [scored.block.n_rows], model, version)
        if scored.block.surprising is not None or scored.broken is not None:
            for ask in scored.asks:
                for kind, count in ask.warning_counts.items():
                    metrics.count("model_warnings_total", model, kind, by=count)
                self._count_broken(model, ask.broken_rules)

    def _count_broken(self, model: str, counts: Mapping[tuple[str, str], int]) -> None:
        for (rule, severity), count in counts.items():
            self._metrics.count("model_rule_breaks_total", model, rule, severity, by=count)

    def _turn_away(self, received: Received, route: Route | None, error: MainspringError, tell: Tell) -> None:
        """Refuse; lines of a stream are asked again one by one, and what is then refused is counted."""
        if received.is_chunk:
            tell(reply_of(error))
        else:
            self._refuse(received, route, error, tell)

    def _refuse(
        self, received: Received, route: Route | None, error: MainspringError, tell: Tell, *, is_lost: bool = False
    ) -> None:
        """Answer with an error; one that `is_lost` is told to the journal with the other lost requests."""
        reply = reply_of(error)
        version, role = (str(route.version), route.role) if route else ("", "")
        # A name that is not served here is no label: anybody could make as many as they like.
        model = received.model if self._endpoints.knows(received.model) else ""
        if model and not is_lost and tell is not _tell_nobody:
            rules = error.counts if isinstance(error, RulesBroken) else ()
            self._refusals.note(model, reply.status, rules)
        self._metrics.count("model_requests_total", model, version, role, str(reply.status))
        tell(reply)
        if self._access_log is not None and tell is not _tell_nobody:
            self._note(received, version, reply.status, 0, "")

    def _note(self, received: Received, version: str, status: int, rows: int, trace: str) -> None:
        assert self._access_log is not None
        seconds = time.perf_counter() - received.started
        self._access_log.note(received.model, version, status, rows, seconds, received.consumer, trace)

    def _shadow(self, ask: Ask) -> None:
        """Let the shadows see a request, after its answer is settled and beside it."""
        key = ask.received.header(b"x-route-key") or ask.question.request_id or ask.ids[0]
        for route in ask.active.table.routes:
            if route.role == "shadow" and is_chosen(route, ask.received.model, key):
                self._shadow_one(route, ask.active.loaded[route.version], ask)

    def _shadow_one(self, route: Route, loaded: LoadedVersion, ask: Ask) -> None:
        model = ask.received.model
        queue = loaded.shadow_queue
        if queue is None:
            queue = loaded.shadow_queue = BatchQueue(
                score, self._finish_shadow, longest_wait_seconds=math.inf, pace=loaded.pace, inline=False
            )
            self._queues.add(queue)
        if queue.n_waiting >= _MOST_SHADOWED:
            self._metrics.count("shadow_dropped_total", model)
            return
        beside = ask.received._replace(started=time.perf_counter())
        active, at, n_rows = ask.active, ask.event_at, ask.n_rows

        def see(question: Question) -> None:
            seen = Ask(
                beside, ask.dialect, b"", question, active, route, loaded, _tell_nobody, at, math.inf, n_rows, ask.ids
            )
            seen.beside = ask
            queue.submit(seen)

        try:
            if loaded.decoder.signature.columns == ask.loaded.decoder.signature.columns:
                see(ask.question)
            else:  # what fits another signature is to be read anew
                fail = partial(self._fail, beside, route, tell=_tell_nobody)
                self._read(loaded, ask.received, ask.dialect, ask.body, see, fail)
        except MainspringError as error:
            self._refuse(beside, route, error, _tell_nobody)

    def _finish_shadow(self, asks: list[Ask], outcome: Outcome) -> None:
        for ask, error in outcome.failed:
            self._refuse(ask.received, ask.route, error, _tell_nobody)
        for scored in outcome.scored:
            _share(scored)
            try:
                self._record(scored)
            except MainspringError:
                continue  # counted where it was written
            first = scored.asks[0]
            labels = first.received.model, str(first.route.version)
            self._metrics.count("model_requests_total", *labels, "shadow", "200", by=len(scored.asks))
            for ask in scored.asks:
                self._compare(ask, *labels)

    def _compare(self, shadow: Ask, model: str, version: str) -> None:
        """Count how far a shadow's answer is from the one that was given."""
        assert shadow.beside is not None
        given, seen = np.asarray(shadow.beside.scores), np.asarray(shadow.scores)
        self._metrics.count("shadow_rows_total", model, version, by=len(seen))
        if given.shape != seen.shape:
            return  # classes of another number: nothing to compare
        apart = np.abs(given - seen)
        self._metrics.observe(
            "shadow_difference", (apart if apart.ndim == 1 else apart.max(axis=1)).tolist(), model, version
        )
        if shadow.beside.labels is not None and shadow.labels is not None:
            flips = sum(one != other for one, other in zip(shadow.beside.labels, shadow.labels, strict=True))
            self._metrics.count("shadow_flips_total", model, version, by=flips)


def _lookups_of(asks: list[Ask]) -> list[dict[str, FeatureLookup]]:
    return [row for ask in asks for row in ask.question.lookups or [{}] * ask.n_rows]


def _answer_of(ask: Ask) -> Reply:
    try:
        return ask.dialect.answer(ask)
    except Exception:
        # The edge of one request in a batch: the others are still to be answered.
        _log.exception("an answer of %s could not be put together", ask.received.model)
        return reply_of(_failed())


def _share(scored: ScoredBlock) -> None:
    """Give each request its part of what was scored, and its warnings."""
    unnamed = [ask for ask in scored.asks if not ask.ids]
    ids = new_ids(sum(ask.n_rows for ask in unnamed))
    start = 0
    for ask in unnamed:
        ask.ids = ids[start : start + ask.n_rows]
        start += ask.n_rows
    surprising, start = scored.block.surprising, 0
    scores: list[Any] = scored.scores.tolist()  # Any: a number a row, or one for each class
    labels = labels_of(scored.asks[0].loaded.predictor.manifest, scores)
    for ask in scored.asks:
        end = start + ask.n_rows
        most = sys.maxsize if ask.received.is_chunk else MOST_PLACES
        ask.scores = scores[start:end]
        ask.labels = None if labels is None else labels[start:end]
        if surprising is not None and surprising[start:end].any():
            values = [column[start:end] for column in scored.block.values]
            ask.warnings, ask.warning_counts = ask.loaded.decoder.warnings(values, ask.question.where, most)
        if scored.broken is not None and (broken := scored.broken.within(start, end)) is not None:
            values = [column[start:end] for column in scored.block.values]
            told, ask.broken_rules = rule_warnings(broken, ask.loaded.typed.names, values, ask.question.where, most)
            ask.warnings = [*told, *ask.warnings]
            ask.warning_counts = {**ask.warning_counts, BROKEN_RULE: sum(ask.broken_rules.values())}
        start = end


def _tell_nobody(reply: Reply) -> None:
    """Be the client of a shadow."""


def _failed() -> MainspringError:
    return MainspringError("The server failed", next_step="the server's log has the trace")
