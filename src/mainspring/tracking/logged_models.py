"""Logged models: the models that runs leave behind before anybody registers one, with parameters, tags and metrics.

Owner of the tables `logged_models` and `logged_model_*`. Their files lie below `LoggedModel.artifact_uri`; see `files`.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

from mainspring.domain.ids import new_id
from mainspring.domain.moments import to_milliseconds
from mainspring.errors import Invalid, NotFound
from mainspring.store.protocol import Row, Store, Transaction, Value
from mainspring.tracking.experiments import active_experiment
from mainspring.tracking.files import forget_files
from mainspring.tracking.metrics import Point
from mainspring.tracking.names import random_name

__all__ = [
    "LoggedModel",
    "ModelPoint",
    "ModelStatus",
    "create_logged_model",
    "delete_logged_model",
    "erase_models",
    "finalize_logged_model",
    "find_logged_model",
    "log_model_parameters",
    "log_model_points",
    "logged_models_numbered",
    "put_logged_model",
    "set_model_tags",
    "unset_model_tag",
]

ModelStatus = Literal["unspecified", "pending", "ready", "failed"]

_COLUMNS = "model_id, experiment_id, name, status, stage, created_ms, updated_ms, model_type, source_run, artifact_uri"


class ModelPoint(NamedTuple):
    """One value of a metric of a model: of which run, and on which dataset if it was named."""

    point: Point
    run_id: str
    dataset_name: str | None = None
    dataset_digest: str | None = None


@dataclass(frozen=True, slots=True)
class LoggedModel:
    """One logged model; times are Unix milliseconds."""

    model_id: str
    experiment_id: int
    name: str
    status: ModelStatus
    stage: str
    created_ms: int
    updated_ms: int
    model_type: str
    source_run: str
    artifact_uri: str
    parameters: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    points: tuple[ModelPoint, ...] = ()


def create_logged_model(
    transaction: Transaction,
    *,
    experiment_id: int,
    at: datetime,
    name: str = "",
    model_type: str = "",
    source_run: str = "",
    parameters: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> LoggedModel:
    """Make a logged model that is pending until it is finalized; without a name it gets one.

    Raises:
        NotFound: there is no such experiment.
        Invalid: the experiment is deleted.
    """
    _, location = active_experiment(transaction, experiment_id)
    model_id = f"m-{new_id()}"
    moment = to_milliseconds(at)
    model = LoggedModel(
        model_id, experiment_id, name or random_name(), "pending", "active", moment, moment, model_type, source_run,
        f"{location}/models/{model_id}/artifacts", dict(parameters or {}), dict(tags or {}),
    )  # fmt: skip
    put_logged_model(transaction, model)
    return model


def put_logged_model(transaction: Transaction, model: LoggedModel) -> None:
    """Write a logged model down as it is, with its parameters, tags and points."""
    transaction.execute(
        f"INSERT INTO logged_models ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            model.model_id, model.experiment_id, model.name, model.status, model.stage, model.created_ms,
            model.updated_ms, model.model_type, model.source_run, model.artifact_uri,
        ),
    )  # fmt: skip
    _put(transaction, "logged_model_parameters", model.model_id, model.parameters)
    _put(transaction, "logged_model_tags", model.model_id, model.tags)
    log_model_points(transaction, [(model.model_id, each) for each in model.points])


def finalize_logged_model(transaction: Transaction, model_id: str, status: ModelStatus, *, at: datetime) -> None:
    """Say that a logged model is complete, or that it failed.

    Raises:
        NotFound: there is no such model.
    """
    _update(transaction, model_id, "status", status, at)


def delete_logged_model(transaction: Transaction, model_id: str, *, at: datetime) -> None:
    """Put a logged model out of sight.

    Raises:
        NotFound: there is no such model.
    """
    _update(transaction, model_id, "stage", "deleted", at)


def log_model_parameters(transaction: Transaction, model_id: str, parameters: Mapping[str, str]) -> None:
    """Add parameters to a logged model; one that is there never changes.

    Raises:
        NotFound: there is no such model.
        Invalid: a parameter has another value already.
    """
    _require(transaction, model_id)
    sql = "SELECT key, value FROM logged_model_parameters WHERE model_id = ?"
    kept: dict[str, str] = dict(transaction.execute(sql, (model_id,)))
    for key, value in parameters.items():
        if kept.get(key, value) != value:
            raise Invalid(
                f"Changing params of a logged model is not allowed. Param with key='{key}' was already logged with"
                f" value='{kept[key]}' for model ID='{model_id}'. Attempted logging new value '{value}'.",
                where="params",
            )
    _put(transaction, "logged_model_parameters", model_id, parameters)


def set_model_tags(transaction: Transaction, model_id: str, tags: Mapping[str, str]) -> None:
    """Set tags of a logged model.

    Raises:
        NotFound: there is no such model.
    """
    _require(transaction, model_id)
    _put(transaction, "logged_model_tags", model_id, tags)


def unset_model_tag(transaction: Transaction, model_id: str, key: str) -> None:
    """Take a tag of a logged model away.

    Raises:
        NotFound: there is no such model or tag.
    """
    _require(transaction, model_id)
    gone = transaction.execute(
        "DELETE FROM logged_model_tags WHERE model_id = ? AND key = ? RETURNING 1", (model_id, key)
    )
    if not gone:
        raise NotFound(f"No tag with key {key!r} found for model with ID {model_id!r}.", where="tag_key")


def log_model_points(transaction: Transaction, points: Sequence[tuple[str, ModelPoint]]) -> None:
    """Add points to logged models, each given with its model's id; one that is there already stays.

    Raises:
        NotFound: there is no such model.
    """
    for model_id in {each for each, _ in points}:
        _require(transaction, model_id)
    transaction.execute_many(
        "INSERT INTO logged_model_metrics (model_id, key, at_ms, step, run_id, value, is_nan, dataset_name,"
        " dataset_digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [_row_of(model_id, each) for model_id, each in points],
    )


def find_logged_model(store: Store, model_id: str, *, deleted_too: bool = False) -> LoggedModel:
    """Return a logged model by its id.

    Raises:
        NotFound: there is none.
    """
    sql = f"SELECT {_COLUMNS} FROM logged_models WHERE model_id = ?"
    rows = store.read(sql if deleted_too else f"{sql} AND stage != 'deleted'", (model_id,))
    if not rows:
        raise _no_model(model_id)
    return _with_details(store, rows)[0]


def logged_models_numbered(store: Store, model_ids: Sequence[str]) -> list[LoggedModel]:
    """Return the logged models with these ids, in this order."""
    found: dict[str, LoggedModel] = {}
    for start in range(0, len(model_ids), 500):
        some = model_ids[start : start + 500]
        marks = ",".join("?" * len(some))
        rows = store.read(f"SELECT {_COLUMNS} FROM logged_models WHERE model_id IN ({marks})", some)
        found |= {each.model_id: each for each in _with_details(store, rows)}
    return [found[each] for each in model_ids]


def erase_models(transaction: Transaction, where: str, values: Sequence[Value]) -> None:
    """Erase the logged models that a condition names, with their files."""
    for model_id, uri in transaction.execute(f"SELECT model_id, artifact_uri FROM logged_models WHERE {where}", values):
        for table in ("logged_model_parameters", "logged_model_tags", "logged_model_metrics", "logged_models"):
            transaction.execute(f"DELETE FROM {table} WHERE model_id = ?", (model_id,))
        forget_files(transaction, uri)


def _row_of(model_id: str, each: ModelPoint) -> Sequence[Value]:
    key, value, at_ms, step = each.point
    is_nan = math.isnan(value)
    kept = 0.0 if is_nan else value
    return (model_id, key, at_ms, step, each.run_id, kept, int(is_nan), each.dataset_name, each.dataset_digest)


def _with_details(store: Store, rows: Sequence[Row]) -> list[LoggedModel]:
    ids = [row[0] for row in rows]
    marks = ",".join("?" * len(ids))
    details: dict[str, dict[str, dict[str, str]]] = {}
    for table in ("logged_model_parameters", "logged_model_tags"):
        details[table] = defaultdict(dict)
        for model_id, key, value in store.read(
            f"SELECT model_id, key, value FROM {table} WHERE model_id IN ({marks}) ORDER BY key", ids
        ):
            details[table][model_id][key] = value
    points: dict[str, list[ModelPoint]] = defaultdict(list)
    for model_id, key, value, is_nan, at_ms, step, run_id, name, digest in store.read(
        "SELECT model_id, key, value, is_nan, at_ms, step, run_id, dataset_name, dataset_digest FROM"
        f" logged_model_metrics WHERE model_id IN ({marks}) ORDER BY model_id, key, at_ms, step, run_id",
        ids,
    ):
        points[model_id].append(
            ModelPoint(Point(key, math.nan if is_nan else value, at_ms, step), run_id, name, digest)
        )
    parameters, tags = details["logged_model_parameters"], details["logged_model_tags"]
    return [
        LoggedModel(
            model_id, experiment_id, name, status, stage, created, updated, model_type, source_run, uri,
            parameters[model_id], tags[model_id], tuple(points[model_id]),
        )
        for model_id, experiment_id, name, status, stage, created, updated, model_type, source_run, uri in rows
    ]  # fmt: skip


def _put(transaction: Transaction, table: str, model_id: str, values: Mapping[str, str]) -> None:
    transaction.execute_many(
        f"INSERT INTO {table} (model_id, key, value) VALUES (?, ?, ?)"
        " ON CONFLICT (model_id, key) DO UPDATE SET value = excluded.value",
        [(model_id, key, value) for key, value in values.items()],
    )


def _update(transaction: Transaction, model_id: str, column: str, value: str, at: datetime) -> None:
    done = transaction.execute(
        f"UPDATE logged_models SET {column} = ?, updated_ms = ? WHERE model_id = ? RETURNING 1",
        (value, to_milliseconds(at), model_id),
    )
    if not done:
        raise _no_model(model_id)


def _require(transaction: Transaction, model_id: str) -> None:
    if not transaction.execute("SELECT 1 FROM logged_models WHERE model_id = ?", (model_id,)):
        raise _no_model(model_id)


def _no_model(model_id: str) -> NotFound:
    return NotFound(f"Logged model with ID '{model_id}' not found.", where="model_id")
