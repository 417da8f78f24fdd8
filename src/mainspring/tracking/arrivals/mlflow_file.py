"""Runs in the SQLite database of an MLflow server, with their files where those lie on this machine."""

import contextlib
import math
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import quote, unquote, urlsplit

from mainspring.errors import Invalid, NotFound
from mainspring.tracking.arrivals.arrival import (
    Arrival,
    ArrivingExperiment,
    ArrivingModel,
    ArrivingRegistered,
    ArrivingVersion,
    open_file,
)
from mainspring.tracking.experiments import Stage
from mainspring.tracking.inputs import Input, InputDataset, ModelUse
from mainspring.tracking.logged_models import LoggedModel, ModelPoint, ModelStatus
from mainspring.tracking.metrics import Point
from mainspring.tracking.runs import RunStatus

__all__ = ["arrivals_in_database", "experiments_in_database", "models_in_database", "registered_in_database"]


def arrivals_in_database(path: Path, artifacts: Path | None = None) -> Iterator[Arrival]:
    """Yield every run, oldest first. `artifacts` is the folder that the server keeps ``mlflow-artifacts:/`` in.

    Raises:
        NotFound: there is no such file.
        Invalid: it is no database of MLflow.
    """
    if not path.is_file():
        raise NotFound(f"There is no file `{path}`", next_step="name the file behind --backend-store-uri sqlite:///...")
    with _opened(path) as connection:
        try:
            runs = connection.execute(
                "SELECT r.run_uuid, e.name, r.name, r.status, r.start_time, r.end_time, r.lifecycle_stage, r.user_id,"
                " r.artifact_uri FROM runs r JOIN experiments e USING (experiment_id) ORDER BY r.start_time, r.run_uuid"
            ).fetchall()
        except sqlite3.Error as error:
            raise Invalid(f"`{path}` is no database of MLflow: {error}", where=str(path)) from error
        for run_id, experiment, name, status, started, ended, stage, author, uri in runs:
            root = _folder_of(uri or "", path, artifacts)
            yield Arrival(
                run_id=run_id,
                experiment=experiment,
                name=name or run_id[:8],
                status=cast(RunStatus, (status or "FINISHED").lower()),
                started_ms=started or 0,
                ended_ms=ended,
                stage=cast(Stage, stage or "active"),
                author=author or "",
                parameters=_pairs(connection, "params", run_id),
                tags=_pairs(connection, "tags", run_id),
                inputs=_inputs(connection, run_id),
                made=_made(connection, run_id),
                points=_points(connection, run_id),
                files=partial(_files, root),
            )


def experiments_in_database(path: Path) -> Iterator[ArrivingExperiment]:
    """Yield every experiment with its tags."""
    with _opened(path) as connection:
        if not _has(connection, "experiment_tags"):
            return
        for number, name in connection.execute("SELECT experiment_id, name FROM experiments").fetchall():
            rows = connection.execute("SELECT key, value FROM experiment_tags WHERE experiment_id = ?", (number,))
            yield ArrivingExperiment(name, {key: value or "" for key, value in rows})


def _has(connection: sqlite3.Connection, table: str) -> bool:
    return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchall())


def _inputs(connection: sqlite3.Connection, run_id: str) -> list[Input]:
    """Return the datasets that a run read; a database before MLflow 2.4 knows none."""
    if not _has(connection, "input_tags"):
        return []
    found = connection.execute(
        "SELECT i.input_uuid, d.name, d.digest, d.dataset_source_type, d.dataset_source, d.dataset_schema,"
        " d.dataset_profile FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id WHERE i.source_type ="
        " 'DATASET' AND i.destination_type = 'RUN' AND i.destination_id = ?",
        (run_id,),
    ).fetchall()
    of_input = "SELECT name, value FROM input_tags WHERE input_uuid = ? ORDER BY name"
    return [
        Input(InputDataset(*dataset), tuple(connection.execute(of_input, (number,)).fetchall()))
        for number, *dataset in found
    ]


def _made(connection: sqlite3.Connection, run_id: str) -> list[ModelUse]:
    """Return the logged models that a run made; a database before MLflow 3 knows none."""
    if not _has(connection, "logged_models"):
        return []
    rows = connection.execute(
        "SELECT destination_id, step FROM inputs WHERE source_type = 'RUN_OUTPUT' AND source_id = ?", (run_id,)
    )
    return [ModelUse(model_id, step) for model_id, step in rows]


def models_in_database(path: Path, artifacts: Path | None = None) -> Iterator[ArrivingModel]:
    """Yield every logged model; a database before MLflow 3 has none."""
    statuses: dict[int, ModelStatus] = {1: "pending", 2: "ready", 3: "failed"}
    with _opened(path) as connection:
        if not _has(connection, "logged_models"):
            return
        rows = connection.execute(
            "SELECT m.model_id, e.name, m.name, m.status, m.lifecycle_stage, m.creation_timestamp_ms,"
            " m.last_updated_timestamp_ms, m.model_type, m.source_run_id, m.artifact_location FROM logged_models m"
            " JOIN experiments e USING (experiment_id) ORDER BY m.creation_timestamp_ms"
        ).fetchall()
        for model_id, experiment, name, status, stage, created, updated, kind, run_id, uri in rows:
            parameters, tags = (
                dict(connection.execute(f"SELECT {part}_key, {part}_value FROM logged_model_{part}s WHERE model_id = ?",
                                        (model_id,)).fetchall())
                for part in ("param", "tag")
            )  # fmt: skip
            points = connection.execute(
                "SELECT metric_name, metric_value, metric_timestamp_ms, metric_step, run_id, dataset_name,"
                " dataset_digest FROM logged_model_metrics WHERE model_id = ?",
                (model_id,),
            ).fetchall()
            model = LoggedModel(
                model_id, 0, name, statuses.get(status, "unspecified"), stage or "active", created, updated,
                kind or "", run_id or "", "", parameters, tags,
                tuple(ModelPoint(Point(*each[:4]), *each[4:]) for each in points),
            )  # fmt: skip
            yield ArrivingModel(model, experiment, partial(_files, _folder_of(uri, path, artifacts)))


def registered_in_database(path: Path) -> Iterator[ArrivingRegistered]:
    """Yield every registered model with its versions and aliases."""
    with _opened(path) as connection:
        for name, description in connection.execute("SELECT name, description FROM registered_models").fetchall():
            rows = connection.execute(
                "SELECT version, source, run_id, description, current_stage FROM model_versions WHERE name = ?"
                " AND current_stage != 'Deleted_Internal' ORDER BY version",
                (name,),
            ).fetchall()
            tags: dict[int, dict[str, str]] = {row[0]: {} for row in rows}
            for version, key, value in connection.execute(
                "SELECT version, key, value FROM model_version_tags WHERE name = ?", (name,)
            ):
                tags.setdefault(version, {})[key] = value or ""
            aliases = connection.execute("SELECT alias, version FROM registered_model_aliases WHERE name = ?", (name,))
            of_model = connection.execute("SELECT key, value FROM registered_model_tags WHERE name = ?", (name,))
            versions = [
                ArrivingVersion(number, source or "", run_id or "", about or "", stage or "None", tags[number])
                for number, source, run_id, about, stage in rows
            ]
            yield ArrivingRegistered(
                name, description or "", dict(of_model.fetchall()), versions, dict(aliases.fetchall())
            )


def _opened(path: Path) -> "contextlib.closing[sqlite3.Connection]":
    return contextlib.closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True))


def _pairs(connection: sqlite3.Connection, table: str, run_id: str) -> dict[str, str]:
    return dict(connection.execute(f"SELECT key, value FROM {table} WHERE run_uuid = ?", (run_id,)).fetchall())


def _points(connection: sqlite3.Connection, run_id: str) -> Callable[[], Iterable[Point]]:
    def read() -> Iterator[Point]:
        rows = connection.execute(
            "SELECT key, value, timestamp, step, is_nan FROM metrics WHERE run_uuid = ? ORDER BY key, timestamp, step",
            (run_id,),
        )
        for key, value, at_ms, step, is_nan in rows:
            yield Point(key, math.nan if is_nan else value, at_ms, step or 0)

    return read


def _folder_of(uri: str, database: Path, artifacts: Path | None) -> Path | None:
    """Return where a run's files lie on this machine; None where they do not."""
    address = urlsplit(uri)
    if address.scheme == "mlflow-artifacts":
        return None if artifacts is None else artifacts / unquote(address.path).strip("/")
    if address.scheme in ("", "file"):
        return database.absolute().parent / unquote(address.path)  # an absolute path stands by itself
    return None


def _files(root: Path | None) -> Iterator[tuple[str, Callable[[], BinaryIO]]]:
    """Yield what lies below a folder; links are passed over, for they may lead anywhere."""
    if root is None or not root.is_dir():
        return
    for folder, _, names in os.walk(root):
        for name in sorted(names):
            path = Path(folder) / name
            if path.is_file() and not path.is_symlink():
                yield path.relative_to(root).as_posix(), partial(open_file, path)
