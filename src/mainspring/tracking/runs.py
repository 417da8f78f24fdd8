"""Runs: what was tried, with which parameters, and what came of it. Owner of the tables `runs` and `run_*`.

Functions that take a transaction are for servers and larger changes; those that take a store are a whole write or read.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mainspring.domain.ids import RunId, new_id
from mainspring.domain.moments import iso_of, to_milliseconds
from mainspring.errors import Invalid, NotFound
from mainspring.store.outbox import tell
from mainspring.store.protocol import Row, Store, Transaction
from mainspring.tracking.experiments import Stage, active_experiment, named_experiment
from mainspring.tracking.metrics import Point, history, put_points

__all__ = [
    "RUN_COLUMNS",
    "Run",
    "RunStatus",
    "add_to_list_tag",
    "create_run",
    "find_run",
    "finish_run",
    "list_runs",
    "log_batch",
    "log_metrics",
    "metric_history",
    "move_run",
    "run_numbered",
    "run_with_id",
    "runs_numbered",
    "runs_of",
    "set_tags",
    "start_run",
    "unset_tag",
    "update_run",
]

RunStatus = Literal["running", "scheduled", "finished", "failed", "killed"]

#: What `runs_of` wants of each row, in its order; the tables are `runs r` and `experiments e`.
RUN_COLUMNS = (
    "r.number, r.run_id, e.name, r.experiment_id, r.name, r.status, r.stage, r.started_ms, r.ended_ms, r.author,"
    " r.artifact_uri"
)
_FROM = "FROM runs r JOIN experiments e ON e.experiment_id = r.experiment_id"
#: The tag by which MLflow's clients name a run.
NAME_TAG = "mlflow.runName"
#: A tag that grows is as long at most as MLflow lets a tag be.
_MOST_LIST = 8_000


@dataclass(frozen=True, slots=True)
class Run:
    """One run with its parameters, tags and latest metric values; `points` are these values with step and time."""

    run_id: RunId
    experiment: str
    name: str
    status: RunStatus
    started_at: str
    ended_at: str | None
    parameters: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    experiment_id: int = 0
    stage: Stage = "active"
    started_ms: int = 0
    ended_ms: int | None = None
    author: str = ""
    artifact_uri: str = ""
    points: tuple[Point, ...] = ()


def create_run(
    transaction: Transaction,
    *,
    run_id: RunId,
    experiment_id: int,
    name: str,
    started_ms: int,
    author: str = "",
    tags: Mapping[str, str] | None = None,
    parameters: Mapping[str, str] | None = None,
) -> Run:
    """Begin a run in an experiment that is active, and return it.

    Raises:
        NotFound: there is no such experiment.
        Invalid: the experiment is deleted.
    """
    experiment, location = active_experiment(transaction, experiment_id)
    uri = f"{location}/{run_id}/artifacts"
    number = transaction.execute(
        "INSERT INTO runs (run_id, experiment_id, name, status, stage, started_ms, author, artifact_uri)"
        " VALUES (?, ?, ?, 'running', 'active', ?, ?, ?) RETURNING number",
        (run_id, experiment_id, name, started_ms, author, uri),
    )[0][0]
    kept, marked = dict(parameters or {}), {key: str(value) for key, value in (tags or {}).items()}
    _write_parameters(transaction, run_id, number, kept.items())
    _write_tags(transaction, number, marked.items())
    return Run(
        run_id, experiment, name, "running", iso_of(started_ms), None, kept, {}, marked, experiment_id, "active",
        started_ms, None, author, uri,
    )  # fmt: skip


def start_run(
    store: Store,
    *,
    experiment: str,
    name: str,
    parameters: Mapping[str, object],
    at: datetime,
    tags: Mapping[str, str] | None = None,
) -> RunId:
    """Begin a run in the experiment of that name, made if need be, and return its id; parameters are kept as text."""
    run_id = RunId(new_id())

    def write(transaction: Transaction) -> RunId:
        create_run(
            transaction,
            run_id=run_id,
            experiment_id=named_experiment(transaction, experiment, at=at),
            name=name,
            started_ms=to_milliseconds(at),
            parameters={key: str(value) for key, value in parameters.items()},
            tags=tags,
        )
        return run_id

    return store.record(write)


def finish_run(store: Store, run_id: RunId, status: RunStatus, at: datetime) -> None:
    """End a run that is running; one that has ended keeps its first ending.

    Raises:
        NotFound: there is no such run.
    """

    def write(transaction: Transaction) -> None:
        number, _ = run_numbered(transaction, run_id)
        sql = "UPDATE runs SET status = ?, ended_ms = ? WHERE number = ? AND status = 'running' RETURNING number"
        if transaction.execute(sql, (status, to_milliseconds(at), number)):
            _tell_end(transaction, number, status)

    store.record(write)


def update_run(
    transaction: Transaction, run_id: str, *, status: RunStatus | None, ended_ms: int | None, name: str | None
) -> None:
    """Change what is given of an active run."""
    number, _ = run_numbered(transaction, run_id)
    if status is not None:
        sql = "UPDATE runs SET status = ? WHERE number = ? AND status != ? RETURNING number"
        if transaction.execute(sql, (status, number, status)):
            _tell_end(transaction, number, status)
    if ended_ms is not None:
        transaction.execute("UPDATE runs SET ended_ms = ? WHERE number = ?", (ended_ms, number))
    if name:
        transaction.execute("UPDATE runs SET name = ? WHERE number = ?", (name, number))
        _write_tags(transaction, number, [(NAME_TAG, name)])


def _tell_end(transaction: Transaction, number: int, status: RunStatus) -> None:
    """Leave the news that a run has ended, for who wants to be told."""
    if status not in ("finished", "failed", "killed"):
        return
    run_id, name, experiment = transaction.execute(
        "SELECT runs.run_id, runs.name, experiments.name FROM runs JOIN experiments USING (experiment_id)"
        " WHERE runs.number = ?",
        (number,),
    )[0]
    tell(transaction, "run.finished", {"run_id": run_id, "name": name, "experiment": experiment, "status": status})


def move_run(transaction: Transaction, run_id: str, stage: Stage, *, at: datetime) -> None:
    """Delete a run or restore it; what is so already stays so.

    Raises:
        NotFound: there is no such run.
    """
    gone = to_milliseconds(at) if stage == "deleted" else None
    done = transaction.execute(
        "UPDATE runs SET stage = ?, deleted_ms = ? WHERE run_id = ? RETURNING 1", (stage, gone, run_id)
    )
    if not done:
        raise _no_run(run_id)


def log_batch(
    transaction: Transaction,
    run_id: str,
    *,
    points: Sequence[tuple[str, float, int, int]] = (),
    parameters: Sequence[tuple[str, str]] = (),
    tags: Sequence[tuple[str, str]] = (),
) -> None:
    """Add points (what `Point` is), parameters and tags to an active run, all or none.

    Raises:
        NotFound: there is no such run.
        Invalid: the run is deleted, or a parameter has another value already.
    """
    number, experiment_id = run_numbered(transaction, run_id)
    _write_parameters(transaction, run_id, number, parameters)
    if points:
        put_points(transaction, number, experiment_id, points)
    _write_tags(transaction, number, tags)
    for key, value in tags:
        if key == NAME_TAG:
            transaction.execute("UPDATE runs SET name = ? WHERE number = ?", (value, number))


def log_metrics(store: Store, run_id: RunId, values: Mapping[str, float], at: datetime, step: int = 0) -> None:
    """Add one point to each metric in `values`.

    Raises:
        Invalid: a value is not a finite number.
        NotFound: there is no such run.
    """
    moment = to_milliseconds(at)
    points = [Point(key, _finite(run_id, key, value), moment, int(step)) for key, value in values.items()]
    store.record(lambda transaction: log_batch(transaction, run_id, points=points))


def metric_history(store: Store, run_id: RunId, key: str) -> list[tuple[int, str, float]]:
    """Return the points of one metric as (step, moment, value), in order of step."""
    found = [(each.step, iso_of(each.at_ms), each.value) for each in history(store, run_id, key)]
    return sorted(found, key=lambda each: each[:2])


def set_tags(store: Store, run_id: RunId, tags: Mapping[str, str]) -> None:
    """Set tags of a run; a tag that is there already takes the new value.

    Raises:
        NotFound: there is no such run.
    """
    store.record(lambda transaction: log_batch(transaction, run_id, tags=[(k, str(v)) for k, v in tags.items()]))


def add_to_list_tag(transaction: Transaction, run_id: str, key: str, item: object) -> None:
    """Add an item to the tag `key`, which holds a list as JSON.

    Raises:
        NotFound: there is no such run.
        Invalid: the run is deleted, or the tag holds no list or is full.
    """
    number, _ = run_numbered(transaction, run_id)
    rows = transaction.execute("SELECT value FROM run_tags WHERE run = ? AND key = ?", (number, key))
    try:
        items = json.loads(rows[0][0]) if rows else []
    except ValueError:
        items = None
    if not isinstance(items, list):
        raise Invalid(f"The tag `{key}` of run {run_id} holds no list", where="key", next_step="delete the tag")
    value = json.dumps([*items, item])
    if len(value) > _MOST_LIST:
        raise Invalid(f"'value' exceeds the maximum length of {_MOST_LIST} characters", where="value")
    _write_tags(transaction, number, [(key, value)])


def unset_tag(transaction: Transaction, run_id: str, key: str) -> None:
    """Take a tag of an active run away.

    Raises:
        NotFound: there is no such run or tag.
    """
    number, _ = run_numbered(transaction, run_id)
    if not transaction.execute("DELETE FROM run_tags WHERE run = ? AND key = ? RETURNING 1", (number, key)):
        raise NotFound(f"No tag with name: {key} in run with id {run_id}", where="key")


def find_run(store: Store, run_id: str) -> Run:
    """Return the run whose id is, or starts or ends with, `run_id` (at least four digits).

    Raises:
        NotFound: no run, or more than one, has such an id.
    """
    columns = f"SELECT {RUN_COLUMNS} {_FROM}"
    rows = store.read(f"{columns} WHERE r.run_id = ?", (run_id,))
    if not rows and len(run_id) >= 4:
        ends = "substr(r.run_id, 1, length(?)) = ? OR substr(r.run_id, length(r.run_id) - length(?) + 1) = ?"
        rows = store.read(f"{columns} WHERE {ends} LIMIT 2", (run_id,) * 4)
    if len(rows) != 1:
        what = "More than one run has" if rows else "No run has"
        raise NotFound(f"{what} the id `{run_id}`", next_step="list them: mainspring runs")
    return runs_of(store, rows)[0]


def run_with_id(store: Store, run_id: str) -> Run:
    """Return the run whose id this is, of either stage.

    Raises:
        NotFound: there is none.
    """
    rows = store.read(f"SELECT {RUN_COLUMNS} {_FROM} WHERE r.run_id = ?", (run_id,))
    if not rows:
        raise _no_run(run_id)
    return runs_of(store, rows)[0]


def runs_numbered(store: Store, numbers: Sequence[int]) -> list[Run]:
    """Return the runs with these numbers, in this order."""
    found: dict[int, Row] = {}
    for start in range(0, len(numbers), 500):
        some = numbers[start : start + 500]
        marks = ",".join("?" * len(some))
        rows = store.read(f"SELECT {RUN_COLUMNS} {_FROM} WHERE r.number IN ({marks})", some)
        found |= {row[0]: row for row in rows}
    return runs_of(store, [found[each] for each in numbers])


def list_runs(store: Store, *, experiment: str | None = None, limit: int = 100) -> list[Run]:
    """Return the newest active runs first."""
    named = "" if experiment is None else " AND e.name = ?"
    rows = store.read(
        f"SELECT {RUN_COLUMNS} {_FROM} WHERE r.stage = 'active'{named}"
        " ORDER BY r.started_ms DESC, r.run_id DESC LIMIT ?",
        (*(() if experiment is None else (experiment,)), limit),
    )
    return runs_of(store, rows)


def runs_of(store: Store, rows: Iterable[Row]) -> list[Run]:
    """Return the runs of rows that hold `RUN_COLUMNS`, with their parameters, tags and latest metric values."""
    found = list(rows)
    numbers = [row[0] for row in found]
    parameters = _details(store, "SELECT run, key, value FROM run_parameters WHERE run IN ({}) ORDER BY key", numbers)
    tags = _details(store, "SELECT run, key, value FROM run_tags WHERE run IN ({}) ORDER BY key", numbers)
    latest = _details(
        store,
        "SELECT l.run, n.key, l.value, l.is_nan, l.at_ms, l.step FROM latest_metrics l JOIN metric_names n"
        " ON n.metric = l.metric WHERE l.run IN ({}) ORDER BY n.key",
        numbers,
    )
    made = []
    for row in found:
        number, run_id, experiment, experiment_id, name, status, stage, started, ended, author, uri = row
        points = tuple(
            Point(key, math.nan if is_nan else value, at_ms, step) for key, value, is_nan, at_ms, step in latest[number]
        )
        run = Run(
            RunId(run_id), experiment, name, status, iso_of(started), None if ended is None else iso_of(ended),
            dict(parameters[number]), {each.key: each.value for each in points}, dict(tags[number]), experiment_id,
            stage, started, ended, author, uri, points,
        )  # fmt: skip
        made.append(run)
    return made


def run_numbered(transaction: Transaction, run_id: str) -> tuple[int, int]:
    """Return the number and the experiment of a run that may be written to.

    Raises:
        NotFound: there is no such run.
        Invalid: the run is deleted.
    """
    rows = transaction.execute("SELECT number, experiment_id, stage FROM runs WHERE run_id = ?", (run_id,))
    if not rows:
        raise _no_run(run_id)
    number, experiment_id, stage = rows[0]
    if stage != "active":
        raise Invalid(
            f"The run {run_id} must be in the 'active' state. Current state is {stage}.", next_step="restore it first"
        )
    return number, experiment_id


def _no_run(run_id: str) -> NotFound:
    return NotFound(f"Run with id={run_id} not found", where="run_id", next_step="list them: mainspring runs")


def _finite(run_id: str, key: str, value: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise Invalid(f"The metric `{key}` is {value}", where=f"run {run_id}", next_step="log finite numbers only")
    return number


def _details(store: Store, query: str, numbers: list[int]) -> dict[int, list[Row]]:
    grouped: dict[int, list[Row]] = defaultdict(list)
    # SQLite binds at most 32,766 parameters a statement; 500 keeps the statement cache useful
    for start in range(0, len(numbers), 500):
        some = numbers[start : start + 500]
        for number, *rest in store.read(query.format(",".join("?" * len(some))), some):
            grouped[number].append(tuple(rest))
    return grouped


def _write_parameters(
    transaction: Transaction, run_id: str, number: int, parameters: Iterable[tuple[str, str]]
) -> None:
    given = list(parameters)
    if not given:
        return
    transaction.execute_many(
        "INSERT INTO run_parameters (run, key, value) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        [(number, key, value) for key, value in given],
    )
    marks = ",".join("?" * len(given))
    kept: dict[str, str] = dict(
        transaction.execute(
            f"SELECT key, value FROM run_parameters WHERE run = ? AND key IN ({marks})",
            (number, *(key for key, _ in given)),
        )
    )
    changed = [{"key": key, "old_value": kept[key], "new_value": value} for key, value in given if kept[key] != value]
    if changed:
        told = f"Params were already logged='{changed}' for run ID='{run_id}'."
        if len(given) == 1:
            (key, value), old = given[0], kept[given[0][0]]
            told = (
                f"Param with key='{key}' was already logged with value='{old}' for run ID='{run_id}'."
                f" Attempted logging new value '{value}'."
            )
        raise Invalid(f"Changing param values is not allowed. {told}", where="params")


def _write_tags(transaction: Transaction, number: int, tags: Iterable[tuple[str, str]]) -> None:
    rows = [(number, key, str(value)) for key, value in tags]
    if rows:
        transaction.execute_many(
            "INSERT INTO run_tags (run, key, value) VALUES (?, ?, ?)"
            " ON CONFLICT (run, key) DO UPDATE SET value = excluded.value",
            rows,
        )
