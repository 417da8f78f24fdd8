"""Runs: what was tried, with which parameters, and what came of it. Owner of the tables `runs`, `run_*`, `*metric*`.

A metric's points are kept by step, its latest value beside them, so that listing runs never reads a history.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mainspring.domain.ids import RunId, new_id
from mainspring.domain.moments import to_iso
from mainspring.errors import Invalid, NotFound
from mainspring.store.protocol import Row, Store, Transaction

__all__ = [
    "Run",
    "RunStatus",
    "find_run",
    "finish_run",
    "list_runs",
    "log_metrics",
    "metric_history",
    "set_tags",
    "start_run",
]

RunStatus = Literal["running", "finished", "failed", "killed"]


@dataclass(frozen=True, slots=True)
class Run:
    """One run with its parameters, tags and latest metric values."""

    run_id: RunId
    experiment: str
    name: str
    status: RunStatus
    started_at: str
    ended_at: str | None
    parameters: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]


def start_run(
    store: Store,
    *,
    experiment: str,
    name: str,
    parameters: Mapping[str, object],
    at: datetime,
    tags: Mapping[str, str] | None = None,
) -> RunId:
    """Begin a run and return its id; parameters are kept as text."""
    run_id = RunId(new_id())

    def write(transaction: Transaction) -> RunId:
        transaction.execute(
            "INSERT INTO runs (run_id, experiment, name, status, started_at) VALUES (?, ?, ?, 'running', ?)",
            (run_id, experiment, name, to_iso(at)),
        )
        transaction.execute_many(
            "INSERT INTO run_parameters (run_id, key, value) VALUES (?, ?, ?)",
            [(run_id, key, str(value)) for key, value in parameters.items()],
        )
        _write_tags(transaction, run_id, tags or {})
        return run_id

    return store.record(write)


def finish_run(store: Store, run_id: RunId, status: RunStatus, at: datetime) -> None:
    """End a run that is running; one that has ended keeps its first ending.

    Raises:
        NotFound: there is no such run.
    """
    moment = to_iso(at)

    def write(transaction: Transaction) -> None:
        _require(transaction, run_id)
        sql = "UPDATE runs SET status = ?, ended_at = ? WHERE run_id = ? AND status = 'running'"
        transaction.execute(sql, (status, moment, run_id))

    store.record(write)


def log_metrics(store: Store, run_id: RunId, values: Mapping[str, float], at: datetime, step: int = 0) -> None:
    """Add one point to each metric in `values`.

    Raises:
        Invalid: a value is not a finite number.
        NotFound: there is no such run.
    """
    points = {key: _finite(run_id, key, value) for key, value in values.items()}
    moment, step = to_iso(at), int(step)

    def write(transaction: Transaction) -> None:
        _require(transaction, run_id)
        transaction.execute_many(
            "INSERT INTO metric_points (run_id, key, step, at, value) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (run_id, key, step, at) DO UPDATE SET value = excluded.value",
            [(run_id, key, step, moment, value) for key, value in points.items()],
        )
        transaction.execute_many(
            "INSERT INTO latest_metrics (run_id, key, value, step) VALUES (?, ?, ?, ?) ON CONFLICT (run_id, key)"
            " DO UPDATE SET value = excluded.value, step = excluded.step WHERE excluded.step >= latest_metrics.step",
            [(run_id, key, value, step) for key, value in points.items()],
        )

    store.record(write)


def metric_history(store: Store, run_id: RunId, key: str) -> list[tuple[int, str, float]]:
    """Return the points of one metric as (step, moment, value), in order of step."""
    rows = store.read(
        "SELECT step, at, value FROM metric_points WHERE run_id = ? AND key = ? ORDER BY step, at", (run_id, key)
    )
    return [(row[0], row[1], row[2]) for row in rows]


def set_tags(store: Store, run_id: RunId, tags: Mapping[str, str]) -> None:
    """Set tags of a run; a tag that is there already takes the new value.

    Raises:
        NotFound: there is no such run.
    """

    def write(transaction: Transaction) -> None:
        _require(transaction, run_id)
        _write_tags(transaction, run_id, tags)

    store.record(write)


def find_run(store: Store, run_id: str) -> Run:
    """Return the run whose id is, or starts or ends with, `run_id` (at least four digits).

    Raises:
        NotFound: no run, or more than one, has such an id.
    """
    columns = "SELECT run_id, experiment, name, status, started_at, ended_at FROM runs"
    rows = store.read(f"{columns} WHERE run_id = ?", (run_id,))
    if not rows and len(run_id) >= 4:
        ends = "substr(run_id, 1, length(?)) = ? OR substr(run_id, length(run_id) - length(?) + 1) = ?"
        rows = store.read(f"{columns} WHERE {ends} LIMIT 2", (run_id,) * 4)
    if len(rows) != 1:
        what = "More than one run has" if rows else "No run has"
        raise NotFound(f"{what} the id `{run_id}`", next_step="list them: mainspring runs")
    return _with_details(store, rows)[0]


def list_runs(store: Store, *, experiment: str | None = None, limit: int = 100) -> list[Run]:
    """Return the newest runs first."""
    where = "" if experiment is None else " WHERE experiment = ?"
    parameters = () if experiment is None else (experiment,)
    rows = store.read(
        "SELECT run_id, experiment, name, status, started_at, ended_at FROM runs"
        f"{where} ORDER BY started_at DESC, run_id DESC LIMIT ?",
        (*parameters, limit),
    )
    return _with_details(store, rows)


def _finite(run_id: str, key: str, value: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise Invalid(f"The metric `{key}` is {value}", where=f"run {run_id}", next_step="log finite numbers only")
    return number


def _require(transaction: Transaction, run_id: str) -> None:
    if not transaction.execute("SELECT 1 FROM runs WHERE run_id = ?", (run_id,)):
        raise NotFound(f"No run has the id `{run_id}`", next_step="list them: mainspring runs")


def _with_details(store: Store, rows: Iterable[Row]) -> list[Run]:
    found = list(rows)
    ids = [row[0] for row in found]
    details: dict[str, dict[str, dict[str, object]]] = {}
    for table in ("run_parameters", "run_tags", "latest_metrics"):
        grouped: dict[str, dict[str, object]] = defaultdict(dict)
        # SQLite binds at most 32,766 parameters a statement; 500 keeps the statement cache useful
        for start in range(0, len(ids), 500):
            some = ids[start : start + 500]
            marks = ",".join("?" * len(some))
            for run_id, key, value in store.read(
                f"SELECT run_id, key, value FROM {table} WHERE run_id IN ({marks}) ORDER BY key", some
            ):
                grouped[run_id][key] = value
        details[table] = grouped
    return [
        Run(
            RunId(run_id),
            experiment,
            name,
            status,
            started_at,
            ended_at,
            parameters={key: str(value) for key, value in details["run_parameters"][run_id].items()},
            metrics={key: float(str(value)) for key, value in details["latest_metrics"][run_id].items()},
            tags={key: str(value) for key, value in details["run_tags"][run_id].items()},
        )
        for run_id, experiment, name, status, started_at, ended_at in found
    ]


def _write_tags(transaction: Transaction, run_id: RunId, tags: Mapping[str, str]) -> None:
    transaction.execute_many(
        "INSERT INTO run_tags (run_id, key, value) VALUES (?, ?, ?)"
        " ON CONFLICT (run_id, key) DO UPDATE SET value = excluded.value",
        [(run_id, key, str(value)) for key, value in tags.items()],
    )
