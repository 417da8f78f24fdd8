"""Histories of metrics on MLflow's wire, straight from the rows to JSON.

Source: service.proto, GetMetricHistory and GetMetricHistoryBulkInterval; handlers.py for the bulk of several runs.
"""

import math
from collections.abc import Iterable
from typing import Any

import msgspec

from mainspring.errors import Invalid
from mainspring.server.call import Call, Reply, Route
from mainspring.server.decoding import missing_value
from mainspring.server.mlflow.shapes import Chosen, told
from mainspring.tracking.clauses import place_of, token_of
from mainspring.tracking.metrics import Point, histories, history, sampled_history

__all__ = ["ROUTES"]

_MOST_POINTS = 25_000
_MOST_RUNS = 100
_MOST_SAMPLES = 2_500
_encode = msgspec.json.Encoder().encode


class Sample(msgspec.Struct):
    """One point as it travels. `Any`: a number, or the text NaN."""

    key: str
    value: Any
    timestamp: int
    step: int


class RunSample(msgspec.Struct):
    """One point of one of several runs as it travels."""

    key: str
    value: Any
    timestamp: int
    step: int
    run_id: str


class _History(Chosen):
    metric_key: str = ""
    page_token: str = ""
    max_results: int | None = None


class _Bulk(msgspec.Struct):
    run_id: list[str] = []
    metric_key: str | None = None
    max_results: int = _MOST_POINTS


class _Interval(msgspec.Struct):
    run_ids: list[str]
    metric_key: str
    start_step: int | None = None
    end_step: int | None = None
    max_results: int = _MOST_SAMPLES


class _Page(msgspec.Struct, omit_defaults=True):
    metrics: list[Sample] = []
    next_page_token: str = ""


async def get_history(call: Call) -> object:
    """Return a page of a metric's points in a run, or all of them where no size is asked for."""
    given = await call.read(_History)
    run_id, limit = given.run, given.max_results
    if not given.metric_key:
        raise missing_value("metric_key")
    if limit is not None and limit <= 0:
        raise Invalid(
            f"Invalid value {limit} for parameter 'max_results' supplied. It must be a positive integer.",
            where="max_results",
        )

    def look() -> bytes:
        after = place_of(given.page_token) if given.page_token else ()
        more = None if limit is None else limit + 1
        points = history(call.store, run_id, given.metric_key, limit=more, after=after)
        token = ""
        if limit is not None and len(points) > limit:
            points = points[:limit]
            last = points[-1]
            is_nan = math.isnan(last.value)
            token = token_of((last.at_ms, last.step, 0.0 if is_nan else last.value, int(is_nan)))
        return _encode(_Page([Sample(*each) for each in _finite(points)], token))

    return Reply(await call.ask(look))


async def get_history_bulk(call: Call) -> object:
    """Return the points of a metric in several runs."""
    given = await call.read(_Bulk)
    if not given.run_id:
        raise Invalid("GetMetricHistoryBulk request must specify at least one run_id.", where="run_id")
    if len(given.run_id) > _MOST_RUNS:
        raise Invalid(
            f"GetMetricHistoryBulk request cannot specify more than {_MOST_RUNS} run_ids. Received"
            f" {len(given.run_id)} run_ids.",
            where="run_id",
        )
    key = given.metric_key
    if key is None:
        raise Invalid("GetMetricHistoryBulk request must specify a metric_key.", where="metric_key")
    limit = max(0, min(given.max_results, _MOST_POINTS))

    def look() -> bytes:
        found = histories(call.store, sorted(set(given.run_id)), key, limit=limit)
        samples = [
            RunSample(point.key, point.value, point.at_ms, point.step, run_id)
            for run_id, points in found.items()
            for point in _finite(points)
        ]
        return _encode({"metrics": samples})

    return Reply(await call.ask(look))


async def get_history_interval(call: Call) -> object:
    """Return some points of a metric in several runs, spread evenly over their steps."""
    given = await call.read(_Interval)
    if not given.run_ids:
        raise missing_value("run_ids")
    if len(given.run_ids) > _MOST_RUNS:
        raise Invalid(
            f"GetMetricHistoryBulkInterval request must specify at most {_MOST_RUNS} run_ids. Received"
            f" {len(given.run_ids)} run_ids.",
            where="run_ids",
        )
    if not 1 <= given.max_results <= _MOST_SAMPLES:
        raise Invalid(f"max_results must be between 1 and {_MOST_SAMPLES}.", where="max_results")
    start, end = given.start_step, given.end_step
    if (start is None) != (end is None):
        raise Invalid("If either start step or end step are specified, both must be specified.", where="start_step")
    if start is not None and end is not None and start > end:
        raise Invalid(
            f"end_step must be greater than start_step. Found start_step={start} and end_step={end}.",
            where="end_step",
        )
    steps = None if start is None or end is None else (start, end)

    def look() -> bytes:
        samples = [
            RunSample(point.key, point.value, point.at_ms, point.step, run_id)
            for run_id in given.run_ids
            for point in _finite(
                sampled_history(call.store, run_id, given.metric_key, most=given.max_results, steps=steps)
            )
        ]
        return _encode({"metrics": samples} if samples else {})

    return Reply(await call.ask(look))


def _finite(points: Iterable[Point]) -> list[Any]:
    """Return points with values that JSON can hold."""
    return [each if math.isfinite(each.value) else each._replace(value=told(each.value)) for each in points]  # type: ignore[arg-type]


ROUTES = (
    Route("GET", "metrics/get-history", get_history, "runs.read"),
    Route("GET", "metrics/get-history-bulk", get_history_bulk, "runs.read"),
    Route("GET", "metrics/get-history-bulk-interval", get_history_interval, "runs.read"),
)
