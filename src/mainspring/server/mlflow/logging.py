"""What a run logs, on MLflow's wire: points, parameters, tags, inputs and outputs.

Source: service.proto, messages LogMetric to LogOutputs.
"""

import json
from collections.abc import Sequence
from operator import attrgetter

import msgspec

from mainspring.errors import Invalid
from mainspring.server.call import Call, Route
from mainspring.server.decoding import missing_value
from mainspring.server.mlflow.shapes import Chosen, Pair, pairs_of
from mainspring.store.protocol import Transaction
from mainspring.tracking.inputs import Input, InputDataset, ModelUse, log_inputs, log_models
from mainspring.tracking.limits import (
    check_batch_size,
    check_points,
    check_run_id,
    fitting_parameters,
    fitting_tags,
    invalid_value,
)
from mainspring.tracking.logged_models import ModelPoint, log_model_points
from mainspring.tracking.metrics import Point
from mainspring.tracking.runs import add_to_list_tag, log_batch, unset_tag

__all__ = ["ROUTES"]

#: The tag in which old clients keep the models of a run.
_MODELS_TAG = "mlflow.log-model.history"
_POINT_OF = attrgetter("key", "value", "timestamp", "step")


class _Metric(msgspec.Struct, gc=False):  # no cycle goes through text and numbers, and there may be a thousand
    key: str
    value: float
    timestamp: int
    step: int = 0
    model_id: str = ""
    dataset_name: str = ""
    dataset_digest: str = ""


class _LogMetric(msgspec.Struct):
    key: str
    value: float
    timestamp: int
    step: int = 0
    run_id: str = ""
    run_uuid: str = ""
    model_id: str = ""
    dataset_name: str = ""
    dataset_digest: str = ""


class _LogPair(Chosen):
    key: str = ""
    value: str = ""


class _Batch(msgspec.Struct):
    run_id: str
    metrics: list[_Metric] = []
    params: list[Pair] = []
    tags: list[Pair] = []


class _Dataset(msgspec.Struct):
    name: str
    digest: str
    source_type: str
    source: str
    schema: str = ""
    profile: str = ""


class _DatasetInput(msgspec.Struct):
    dataset: _Dataset
    tags: list[Pair] = []


class _ModelUse(msgspec.Struct):
    model_id: str
    step: int = 0


class _LogInputs(msgspec.Struct):
    run_id: str
    datasets: list[_DatasetInput] = []
    models: list[_ModelUse] = []


class _LogOutputs(msgspec.Struct):
    run_id: str
    models: list[_ModelUse]


class _LogModel(msgspec.Struct):
    run_id: str
    model_json: str


async def log_metric(call: Call) -> object:
    """Add one point."""
    given = await call.read(_LogMetric)
    run_id = Chosen(given.run_id, given.run_uuid).run
    if given.key == "":
        raise missing_value("key")
    point = Point(given.key, given.value, given.timestamp, given.step)
    check_points([point], place_of="")
    models = _of_models(run_id, [given])
    await call.write(lambda t: _log(t, run_id, [point], models))
    return {}


async def log_parameter(call: Call) -> object:
    """Set a parameter, for ever."""
    given = await _pair(call)
    parameters = fitting_parameters([(given.key, given.value)], place="")
    await call.write(lambda t: log_batch(t, given.run, parameters=parameters))
    return {}


async def set_tag(call: Call) -> object:
    """Set a tag."""
    given = await _pair(call)
    tags = fitting_tags([(given.key, given.value)], place="")
    await call.write(lambda t: log_batch(t, given.run, tags=tags))
    return {}


async def delete_tag(call: Call) -> object:
    """Take a tag away."""
    given = await _pair(call)
    await call.write(lambda t: unset_tag(t, given.run, given.key))
    return {}


async def batch(call: Call) -> object:
    """Add points, parameters and tags, all or none."""
    given = await call.read(_Batch)
    check_run_id(given.run_id)
    points = list(map(_POINT_OF, given.metrics))  # the fastest way there is, for a thousand
    check_points(points)
    parameters = fitting_parameters(pairs_of(given.params))
    tags = fitting_tags(pairs_of(given.tags))
    check_batch_size(len(points), len(parameters), len(tags))
    models = _of_models(given.run_id, given.metrics)
    await call.write(lambda t: _log(t, given.run_id, points, models, parameters, tags))
    return {}


async def inputs(call: Call) -> object:
    """Note the datasets and models that a run reads."""
    given = await call.read(_LogInputs)
    check_run_id(given.run_id)
    used = [
        Input(
            InputDataset(
                each.dataset.name,
                each.dataset.digest,
                each.dataset.source_type,
                each.dataset.source,
                each.dataset.schema or None,
                each.dataset.profile or None,
            ),
            tuple(pairs_of(each.tags)),
        )
        for each in given.datasets
    ]

    def write(transaction: Transaction) -> None:
        log_inputs(transaction, given.run_id, used)
        log_models(transaction, given.run_id, "input", [ModelUse(each.model_id) for each in given.models])

    await call.write(write)
    return {}


async def outputs(call: Call) -> object:
    """Note the models that a run made."""
    given = await call.read(_LogOutputs)
    models = [ModelUse(each.model_id, each.step) for each in given.models]
    await call.write(lambda t: log_models(t, given.run_id, "output", models))
    return {}


async def log_model(call: Call) -> object:
    """Add a model to the history that clients before 3.0 keep in a tag."""
    given = await call.read(_LogModel)
    try:
        model = json.loads(given.model_json)
    except (ValueError, RecursionError) as error:
        raise Invalid(
            f"Malformed model info. \n {given.model_json[:1000]} \n is not a valid JSON.", where="model_json"
        ) from error
    if not isinstance(model, dict):
        raise invalid_value("model_json", model)
    missing = {"artifact_path", "flavors", "utc_time_created", "run_id"} - model.keys()
    if missing:
        raise Invalid(f"Model json is missing mandatory fields: {missing}", where="model_json")
    kept = {
        name: model[name] for name in ("run_id", "utc_time_created", "artifact_path", "model_uuid") if name in model
    }
    flavors = model["flavors"] if isinstance(model["flavors"], dict) else {}
    kept["flavors"] = {
        name: {key: value for key, value in each.items() if key != "config"} if isinstance(each, dict) else each
        for name, each in flavors.items()
    }
    await call.write(lambda t: add_to_list_tag(t, given.run_id, _MODELS_TAG, kept))
    return {}


async def _pair(call: Call) -> _LogPair:
    given = await call.read(_LogPair)
    _ = given.run
    if not given.key:
        raise missing_value("key")
    return given


def _of_models(run_id: str, logged: Sequence[_Metric | _LogMetric]) -> list[tuple[str, ModelPoint]]:
    """Return the points that were measured of a logged model, with its id."""
    return [
        (
            each.model_id,
            ModelPoint(Point(*_POINT_OF(each)), run_id, each.dataset_name or None, each.dataset_digest or None),
        )
        for each in logged
        if each.model_id
    ]


def _log(
    transaction: Transaction,
    run_id: str,
    points: Sequence[tuple[str, float, int, int]],
    models: list[tuple[str, ModelPoint]],
    parameters: list[tuple[str, str]] | None = None,
    tags: list[tuple[str, str]] | None = None,
) -> None:
    log_batch(transaction, run_id, points=points, parameters=parameters or (), tags=tags or ())
    if models:
        log_model_points(transaction, models)


ROUTES = (
    Route("POST", "runs/log-metric", log_metric, "runs.write"),
    Route("POST", "runs/log-parameter", log_parameter, "runs.write"),
    Route("POST", "runs/set-tag", set_tag, "runs.write"),
    Route("POST", "runs/delete-tag", delete_tag, "runs.write"),
    Route("POST", "runs/log-batch", batch, "runs.write"),
    Route("POST", "runs/log-inputs", inputs, "runs.write"),
    Route("POST", "runs/outputs", outputs, "runs.write"),
    Route("POST", "runs/log-model", log_model, "runs.write"),
)
