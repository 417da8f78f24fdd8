"""Logged models on MLflow's wire. Source: service.proto, messages CreateLoggedModel to ListLoggedModelArtifacts."""

import msgspec

from mainspring.errors import Invalid
from mainspring.server.call import Call, Route
from mainspring.server.decoding import missing_value
from mainspring.server.mlflow.shapes import Pair, page_with, pairs_of, pairs_on_wire, point_on_wire
from mainspring.store.events import Event
from mainspring.tracking.experiments import experiment_number
from mainspring.tracking.inputs import datasets_of_experiments
from mainspring.tracking.limits import check_model_name, invalid_value
from mainspring.tracking.logged_models import (
    LoggedModel,
    ModelPoint,
    ModelStatus,
    create_logged_model,
    delete_logged_model,
    finalize_logged_model,
    find_logged_model,
    log_model_parameters,
    set_model_tags,
    unset_model_tag,
)
from mainspring.tracking.model_search import DatasetName, ModelOrder, search_logged_models

__all__ = ["MISSPELT_ROUTES", "ROUTES"]

_STATUSES: dict[str, ModelStatus] = {
    "LOGGED_MODEL_STATUS_UNSPECIFIED": "unspecified",
    "LOGGED_MODEL_PENDING": "pending",
    "LOGGED_MODEL_READY": "ready",
    "LOGGED_MODEL_UPLOAD_FAILED": "failed",
    "0": "unspecified",
    "1": "pending",
    "2": "ready",
    "3": "failed",
}
_ON_WIRE = {status: word for word, status in reversed(_STATUSES.items()) if word.startswith("LOGGED")}
_MOST_EXPERIMENTS = 20
_PAGE = 100


class _Create(msgspec.Struct):
    experiment_id: str
    name: str = ""
    model_type: str = ""
    source_run_id: str = ""
    params: list[Pair] = []
    tags: list[Pair] = []


class _Finalize(msgspec.Struct):
    status: str | int = ""


class _Parameters(msgspec.Struct):
    params: list[Pair] = []


class _Tags(msgspec.Struct):
    tags: list[Pair] = []


class _Dataset(msgspec.Struct):
    dataset_name: str = ""
    dataset_digest: str = ""


class _Order(msgspec.Struct):
    field_name: str = ""
    ascending: bool = False
    dataset_name: str = ""
    dataset_digest: str = ""


#: So many come where the client names no number.
_MODELS_A_PAGE = 50


class _Search(msgspec.Struct):
    experiment_ids: list[str]
    filter: str = ""
    datasets: list[_Dataset] = []
    max_results: int = _MODELS_A_PAGE
    order_by: list[_Order] = []
    page_token: str = ""


class _Datasets(msgspec.Struct):
    experiment_ids: list[str] = []


async def create(call: Call) -> object:
    """Make a logged model."""
    given = await call.read(_Create)
    check_model_name(given.name)
    number = experiment_number(given.experiment_id)
    model = await call.write(
        lambda t: create_logged_model(
            t,
            experiment_id=number,
            at=call.now,
            name=given.name,
            model_type=given.model_type,
            source_run=given.source_run_id,
            parameters=dict(pairs_of(given.params)),
            tags=dict(pairs_of(given.tags)),
        )
    )
    return {"model": model_on_wire(model)}


async def get(call: Call) -> object:
    """Return a logged model."""
    allow = call.query.get("allow_deleted", ["false"])[-1].lower() == "true"
    model = await call.ask(lambda: find_logged_model(call.store, call.names["model_id"], deleted_too=allow))
    return {"model": model_on_wire(model)}


async def finalize(call: Call) -> object:
    """Say that a logged model is complete, or failed."""
    status = (await call.read(_Finalize)).status
    if status == "":
        raise missing_value("status")
    if str(status) not in _STATUSES:
        raise invalid_value("status", status, f" Hint: Value was of type '{type(status).__name__}'.")
    model_id = call.names["model_id"]
    await call.write(lambda t: finalize_logged_model(t, model_id, _STATUSES[str(status)], at=call.now))
    model = await call.ask(lambda: find_logged_model(call.store, model_id, deleted_too=True))
    return {"model": model_on_wire(model)}


async def delete(call: Call) -> object:
    """Put a logged model out of sight."""
    model_id = call.names["model_id"]
    await call.change(
        Event("logged_model.deleted", f"logged-models/{model_id}", actor=call.actor),
        lambda t: delete_logged_model(t, model_id, at=call.now),
    )
    return {}


async def set_tags(call: Call) -> object:
    """Set tags of a logged model."""
    tags = dict(pairs_of((await call.read(_Tags)).tags))
    await call.write(lambda t: set_model_tags(t, call.names["model_id"], tags))
    return {}


async def delete_tag(call: Call) -> object:
    """Take a tag of a logged model away."""
    await call.write(lambda t: unset_model_tag(t, call.names["model_id"], call.names["key"]))
    return {}


async def add_parameters(call: Call) -> object:
    """Add parameters to a logged model."""
    parameters = dict(pairs_of((await call.read(_Parameters)).params))
    await call.write(lambda t: log_model_parameters(t, call.names["model_id"], parameters))
    return {}


async def search(call: Call) -> object:
    """Return a page of logged models."""
    given = await call.read(_Search)
    if any(not each.dataset_name for each in given.datasets):
        raise Invalid("`dataset_name` in the `datasets` clause must be specified.", where="datasets")
    experiments = [experiment_number(each) for each in given.experiment_ids]
    datasets = [DatasetName(each.dataset_name, each.dataset_digest or None) for each in given.datasets]
    orders = [
        ModelOrder(
            each.field_name,
            each.ascending,
            DatasetName(each.dataset_name, each.dataset_digest or None) if each.dataset_name else None,
        )
        for each in given.order_by
    ]
    models, token = await call.ask(
        lambda: search_logged_models(
            call.store,
            experiments,
            filter=given.filter,
            datasets=datasets,
            order_by=orders,
            limit=min(given.max_results, 50_000) if given.max_results > 0 else _MODELS_A_PAGE,
            token=given.page_token or None,
        )
    )
    return page_with("models", [model_on_wire(each) for each in models], token)


async def search_datasets(call: Call) -> object:
    """Return the datasets that the runs of some experiments used."""
    given = await call.read(_Datasets)
    if not given.experiment_ids:
        raise Invalid("SearchDatasets request must specify at least one experiment_id.", where="experiment_ids")
    if len(given.experiment_ids) > _MOST_EXPERIMENTS:
        raise Invalid(
            f"SearchDatasets request cannot specify more than {_MOST_EXPERIMENTS} experiment_ids. Received"
            f" {len(given.experiment_ids)} experiment_ids.",
            where="experiment_ids",
        )
    numbers = [experiment_number(each) for each in given.experiment_ids]
    found = await call.ask(datasets_of_experiments, call.store, numbers)
    summaries = [
        {"experiment_id": str(number), "name": name, "digest": digest, **({"context": context} if context else {})}
        for number, name, digest, context in found
    ]
    return page_with("dataset_summaries", summaries, None)


def model_on_wire(model: LoggedModel) -> dict[str, object]:
    """Return a logged model as MLflow's clients read it."""
    info: dict[str, object] = {
        "model_id": model.model_id,
        "experiment_id": str(model.experiment_id),
        "name": model.name,
        "creation_timestamp_ms": model.created_ms,
        "last_updated_timestamp_ms": model.updated_ms,
        "artifact_uri": model.artifact_uri,
        "status": _ON_WIRE[model.status],
        "model_type": model.model_type,
        "source_run_id": model.source_run,
    }
    if model.tags:
        info["tags"] = pairs_on_wire(model.tags)
    data: dict[str, object] = {}
    if model.parameters:
        data["params"] = pairs_on_wire(model.parameters)
    if model.points:
        data["metrics"] = [_model_point_on_wire(model.model_id, each) for each in model.points]
    return {"info": info, "data": data}


def _model_point_on_wire(model_id: str, measured: ModelPoint) -> dict[str, object]:
    on: dict[str, object] = {"dataset_name": measured.dataset_name} if measured.dataset_name else {}
    if measured.dataset_digest:
        on["dataset_digest"] = measured.dataset_digest
    return {**point_on_wire(measured.point), **on, "model_id": model_id, "run_id": measured.run_id}


ROUTES = (
    Route("POST", "logged-models", create, "runs.write"),
    Route("POST", "logged-models/search", search, "runs.read"),
    Route("GET", "logged-models/{model_id}", get, "runs.read"),
    Route("PATCH", "logged-models/{model_id}", finalize, "runs.write"),
    Route("DELETE", "logged-models/{model_id}", delete, "runs.delete"),
    Route("POST", "logged-models/{model_id}/params", add_parameters, "runs.write"),
    Route("PATCH", "logged-models/{model_id}/tags", set_tags, "runs.write"),
    Route("DELETE", "logged-models/{model_id}/tags/{key}", delete_tag, "runs.write"),
    Route("POST", "experiments/search-datasets", search_datasets, "runs.read"),
)
#: MLflow 3.17 serves this one path without the slash, and its generated clients ask for it so.
MISSPELT_ROUTES = (Route("POST", "/api/2.0mlflow/experiments/search-datasets", search_datasets, "runs.read"),)
