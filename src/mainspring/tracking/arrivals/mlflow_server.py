"""Runs of an MLflow server, over its REST API, with their histories and files.

A login comes from where MLflow's own clients take it: MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and
MLFLOW_TRACKING_PASSWORD.
"""

import base64
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, BinaryIO, NamedTuple, cast
from urllib.parse import urlencode

from mainspring.errors import Denied, Invalid, Unavailable
from mainspring.tracking.arrivals.arrival import (
    Arrival,
    ArrivingExperiment,
    ArrivingModel,
    ArrivingRegistered,
    ArrivingVersion,
)
from mainspring.tracking.inputs import Input, InputDataset, ModelUse
from mainspring.tracking.logged_models import LoggedModel, ModelPoint, ModelStatus
from mainspring.tracking.metrics import Point

__all__ = ["arrivals_from_server", "experiments_on_server", "models_from_server", "registered_on_server"]

_SECONDS = 120
_PAGE = 500
_HISTORY_PAGE = 25_000
# Any: documents of another program
_Document = dict[str, Any]


def arrivals_from_server(url: str) -> Iterator[Arrival]:
    """Yield every run of the server at `url`, experiment by experiment.

    Raises:
        Invalid: the address is none, or no MLflow answers there.
        Unavailable: nothing answers.
        Denied: it asks for a login.
    """
    if not url.startswith(("http://", "https://")):
        raise Invalid(f"`{url}` is no address of a server", next_step="write http://HOST:PORT, or name a file")
    ask = _asking(url.rstrip("/"))
    for experiment in _pages(ask, "experiments/search", {"max_results": 1000, "view_type": "ALL"}, "experiments"):
        wanted = {"experiment_ids": [experiment["experiment_id"]], "max_results": _PAGE, "run_view_type": "ALL"}
        for run in _pages(ask, "runs/search", {**wanted, "order_by": ["start_time ASC"]}, "runs"):
            yield _arrival(ask, experiment["name"], run)


def experiments_on_server(url: str) -> Iterator[ArrivingExperiment]:
    """Yield every experiment of the server at `url` with its tags."""
    ask = _asking(url.rstrip("/"))
    for each in _pages(ask, "experiments/search", {"max_results": 1000, "view_type": "ALL"}, "experiments"):
        yield ArrivingExperiment(each["name"], _pairs(each.get("tags", [])))


def models_from_server(url: str) -> Iterator[ArrivingModel]:
    """Yield every logged model of the server at `url`; a server before MLflow 3 has none."""
    ask = _asking(url.rstrip("/"))
    for experiment in _pages(ask, "experiments/search", {"max_results": 1000, "view_type": "ALL"}, "experiments"):
        wanted = {"experiment_ids": [experiment["experiment_id"]], "max_results": 50}
        try:
            found = list(_pages(ask, "logged-models/search", wanted, "models"))
        except Invalid:
            return
        for each in found:
            model = _model(each)
            files = partial(_files, ask, model.model_id, "", _MODEL_FILES)
            yield ArrivingModel(model, experiment["name"], files)


def registered_on_server(url: str) -> Iterator[ArrivingRegistered]:
    """Yield every registered model of the server at `url` with its versions and aliases."""
    ask = _asking(url.rstrip("/"))
    for each in _pages(ask, "registered-models/search", {"max_results": 100}, "registered_models", method="GET"):
        name = each["name"].replace("'", "''")
        wanted = {"filter": f"name='{name}'", "max_results": 1000}
        versions = [
            ArrivingVersion(
                int(version["version"]),
                version.get("source", ""),
                version.get("run_id", ""),
                version.get("description", ""),
                version.get("current_stage", "None"),
                _pairs(version.get("tags", [])),
            )
            for version in _pages(ask, "model-versions/search", wanted, "model_versions", method="GET")
        ]
        yield ArrivingRegistered(
            each["name"],
            each.get("description", ""),
            _pairs(each.get("tags", [])),
            sorted(versions, key=lambda version: version.number),
            {alias["alias"]: int(alias["version"]) for alias in each.get("aliases", [])},
        )


def _model(document: _Document) -> LoggedModel:
    info, data = document["info"], document.get("data", {})
    status = info.get("status", "").removeprefix("LOGGED_MODEL_").removeprefix("UPLOAD_").lower()
    points = tuple(
        ModelPoint(
            Point(each["key"], float(each["value"]), int(each["timestamp"]), int(each.get("step", 0))),
            each.get("run_id", ""),
            each.get("dataset_name"),
            each.get("dataset_digest"),
        )
        for each in data.get("metrics", [])
    )
    return LoggedModel(
        info["model_id"],
        0,
        info.get("name", ""),
        cast(ModelStatus, status if status in ("pending", "ready", "failed") else "unspecified"),
        "active",
        int(info.get("creation_timestamp_ms", 0)),
        int(info.get("last_updated_timestamp_ms", 0)),
        info.get("model_type", ""),
        info.get("source_run_id", ""),
        "",
        _pairs(data.get("params", [])),
        _pairs(info.get("tags", [])),
        points,
    )


def _pairs(listed: Iterable[_Document]) -> dict[str, str]:
    return {each["key"]: each.get("value", "") for each in listed}


def _arrival(ask: Callable[..., Any], experiment: str, run: _Document) -> Arrival:
    info, data = run["info"], run.get("data", {})
    run_id = info["run_id"]
    return Arrival(
        run_id=run_id,
        experiment=experiment,
        name=info.get("run_name") or run_id[:8],
        status=info.get("status", "FINISHED").lower(),
        started_ms=int(info.get("start_time", 0)),
        ended_ms=int(info["end_time"]) if info.get("end_time") else None,
        stage=info.get("lifecycle_stage", "active"),
        author=info.get("user_id", ""),
        parameters={each["key"]: each.get("value", "") for each in data.get("params", [])},
        tags={each["key"]: each.get("value", "") for each in data.get("tags", [])},
        inputs=[_input(each) for each in run.get("inputs", {}).get("dataset_inputs", [])],
        made=[
            ModelUse(each["model_id"], int(each.get("step", 0)))
            for each in run.get("outputs", {}).get("model_outputs", [])
        ],
        points=lambda: _points(ask, run_id, [each["key"] for each in data.get("metrics", [])]),
        files=partial(_files, ask, run_id, "", _RUN_FILES),
    )


def _input(used: _Document) -> Input:
    names = ("name", "digest", "source_type", "source", "schema", "profile")
    return Input(InputDataset(*map(used["dataset"].get, names)), tuple(_pairs(used.get("tags", [])).items()))


def _points(ask: Callable[..., Any], run_id: str, keys: Iterable[str]) -> Iterator[Point]:
    for key in keys:
        wanted = {"run_id": run_id, "metric_key": key, "max_results": _HISTORY_PAGE}
        for each in _pages(ask, "metrics/get-history", wanted, "metrics", method="GET"):
            yield Point(key, float(each["value"]), int(each["timestamp"]), int(each.get("step", 0)))


class _Places(NamedTuple):
    """Where a server lists the files of a thing and sends them, and by which word it is told the path."""

    folder: str
    folder_word: str
    file: str
    file_word: str


_RUN_FILES = _Places("api/2.0/mlflow/artifacts/list?run_id={}", "path", "get-artifact?run_uuid={}", "path")
_MODEL_FILES = _Places(
    "api/2.0/mlflow/logged-models/{}/artifacts/directories?",
    "artifact_directory_path",
    "ajax-api/2.0/mlflow/logged-models/{}/artifacts/files?",
    "artifact_file_path",
)


def _files(
    ask: Callable[..., Any], owner: str, folder: str, places: _Places
) -> Iterator[tuple[str, Callable[[], BinaryIO]]]:
    listed = ask("GET", places.folder.format(owner), {places.folder_word: folder} if folder else {})
    for each in json.load(listed).get("files", []):
        path = each["path"]
        if each.get("is_dir"):
            yield from _files(ask, owner, path, places)
        else:
            yield path, partial(ask, "GET", places.file.format(owner), {places.file_word: path})


def _pages(
    ask: Callable[..., Any], path: str, words: _Document, name: str, method: str = "POST"
) -> Iterator[_Document]:
    token = ""
    while True:
        page = json.load(ask(method, f"api/2.0/mlflow/{path}", {**words, **({"page_token": token} if token else {})}))
        yield from page.get(name, [])
        token = page.get("next_page_token", "")
        if not token:
            return


def _asking(url: str) -> Callable[..., BinaryIO]:
    headers = {"Content-Type": "application/json"}
    name, password = (os.environ.get(f"MLFLOW_TRACKING_{each}", "") for each in ("USERNAME", "PASSWORD"))
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    elif name:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()

    def ask(method: str, path: str, words: _Document) -> BinaryIO:
        more = urlencode(words) if method == "GET" else ""
        target = f"{url}/{path}{'&' if '?' in path else '?'}{more}" if more else f"{url}/{path}"
        body = None if method == "GET" else json.dumps(words).encode()
        request = urllib.request.Request(target, body, headers, method=method)  # noqa: S310  # http or https, as checked
        try:
            return cast(BinaryIO, urllib.request.urlopen(request, timeout=_SECONDS))  # noqa: S310
        except urllib.error.HTTPError as error:
            if error.code in (401, 403):
                raise Denied(
                    f"{url} asks for a login", next_step="set MLFLOW_TRACKING_TOKEN, or _USERNAME and _PASSWORD"
                ) from error
            raise Invalid(f"{target} answered {error.code} {error.reason}", where=url) from error
        except OSError as error:
            raise Unavailable(f"Nothing answers at {url}: {error}", where=url) from error

    return ask
