"""Searches that MLflow's wire has no words for: runs in groups, and SQL of a person's own."""

import msgspec

from mainspring.server.call import Call, Route
from mainspring.tracking.experiments import experiment_number
from mainspring.tracking.groups import Measure, RunGroup, group_runs
from mainspring.tracking.questions import ask_sql

__all__ = ["ROUTES"]

_MOST_ROWS = 100_000
#: A question holds one of the few threads that read.
_SECONDS = 5.0


class _Groups(msgspec.Struct):
    experiment_ids: list[str]
    group_by: list[str]
    filter: str = ""
    order_by: str = ""
    measure: Measure = "last"
    max_results: int = 1000


class _Question(msgspec.Struct):
    query: str
    max_rows: int = 1000


class _Groupings(msgspec.Struct):
    groups: list[RunGroup]


class _Rows(msgspec.Struct):
    columns: tuple[str, ...]
    rows: list[tuple[object, ...]]
    complete: bool


async def groups(call: Call) -> _Groupings:
    """Return the runs of some experiments in groups, with mean and deviation of each metric."""
    given = await call.read(_Groups)
    numbers = [experiment_number(each) for each in given.experiment_ids]
    limit = max(1, min(given.max_results, _MOST_ROWS))
    return _Groupings(
        await call.ask(
            lambda: group_runs(
                call.store,
                numbers,
                given.group_by,
                filter=given.filter,
                order_by=given.order_by,
                measure=given.measure,
                limit=limit,
            )
        )
    )


async def sql(call: Call) -> _Rows:
    """Return the rows of a query over runs, metrics and logged models."""
    given = await call.read(_Question)
    limit = max(1, min(given.max_rows, _MOST_ROWS))
    found = await call.ask(lambda: ask_sql(call.store, given.query, seconds=_SECONDS, limit=limit, by_stranger=True))
    return _Rows(found.columns, found.rows, found.complete)


ROUTES = (
    Route("POST", "/api/mainspring/v1/runs/groups", groups, "runs.read"),
    Route("POST", "/api/mainspring/v1/sql", sql, "runs.read"),
)
