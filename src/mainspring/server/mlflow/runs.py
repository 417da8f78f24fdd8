"""Runs and metrics on MLflow's wire. Source: service.proto, messages CreateRun to GetMetricHistory."""

import math

import msgspec

from mainspring.domain.ids import RunId, new_id
from mainspring.errors import Invalid
from mainspring.server.call import Call, Route
from mainspring.server.mlflow.experiments import Pair, experiment_number
from mainspring.store.events import Event
from mainspring.tracking.experiments import Stage
from mainspring.tracking.metrics import Point
from mainspring.tracking.names import random_name
from mainspring.tracking.runs import NAME_TAG, Run, RunStatus, create_run, find_run, log_batch, move_run, update_run

__all__ = ["ROUTES", "run_on_wire"]

_STATUSES: dict[str, RunStatus] = {
    "RUNNING": "running",
    "SCHEDULED": "scheduled",
    "FINISHED": "finished",
    "FAILED": "failed",
    "KILLED": "killed",
}


class _Create(msgspec.Struct):
    experiment_id: str = "0"
    user_id: str = ""
    run_name: str = ""
    start_time: int = 0
    tags: list[Pair] = []


class _Chosen(msgspec.Struct):
    run_id: str = ""
    run_uuid: str = ""

    @property
    def run(self) -> str:
        """The id under its new name or its old one."""
        return _run_named(self.run_id, self.run_uuid)


class _Update(_Chosen):
    status: str = ""
    end_time: int | None = None
    run_name: str = ""


class _Metric(msgspec.Struct):
    key: str
    value: float | str
    timestamp: int = 0
    step: int = 0

    def point(self) -> Point:
        """Return the point; JSON has no NaN, so clients send it as text."""
        return Point(self.key, float(self.value), self.timestamp, self.step)


class _LogMetric(_Metric):
    run_id: str = ""
    run_uuid: str = ""


class _LogPair(_Chosen):
    key: str = ""
    value: str = ""


class _Batch(msgspec.Struct):
    run_id: str
    metrics: list[_Metric] = []
    params: list[Pair] = []
    tags: list[Pair] = []


def run_on_wire(run: Run) -> dict[str, object]:
    """Return a run as MLflow's clients read it."""
    info: dict[str, object] = {
        "run_id": run.run_id,
        "run_uuid": run.run_id,
        "run_name": run.name,
        "experiment_id": str(run.experiment_id),
        "user_id": run.author,
        "status": run.status.upper(),
        "start_time": run.started_ms,
        "artifact_uri": run.artifact_uri,
        "lifecycle_stage": run.stage,
    }
    if run.ended_ms is not None:
        info["end_time"] = run.ended_ms
    data = {
        "metrics": [point_on_wire(each) for each in run.points],
        "params": [{"key": key, "value": value} for key, value in run.parameters.items()],
        "tags": [{"key": key, "value": value} for key, value in run.tags.items()],
    }
    return {"info": info, "data": data, "inputs": {}}


def point_on_wire(point: Point) -> dict[str, object]:
    """Return a point as MLflow's clients read it; NaN travels as text."""
    value: float | str = "NaN" if math.isnan(point.value) else point.value
    return {"key": point.key, "value": value, "timestamp": point.at_ms, "step": point.step}


async def create(call: Call) -> object:
    """Begin a run."""
    given = await call.read(_Create)
    tags = {each.key: each.value for each in given.tags}
    named = tags.get(NAME_TAG, "")
    if given.run_name and named and given.run_name != named:
        raise Invalid(
            f"Both 'run_name' argument and '{NAME_TAG}' tag are specified, but with different values"
            f" (run_name='{given.run_name}', {NAME_TAG}='{named}').",
            where="run_name",
        )
    name = given.run_name or named or random_name()
    run_id = RunId(new_id())
    number = experiment_number(given.experiment_id)
    await call.write(
        lambda t: create_run(
            t,
            run_id=run_id,
            experiment_id=number,
            name=name,
            started_ms=given.start_time,
            author=given.user_id,
            tags={**tags, NAME_TAG: name},
        )
    )
    return {"run": run_on_wire(await call.ask(find_run, call.store, run_id))}


async def get(call: Call) -> object:
    """Return a run."""
    given = await call.read(_Chosen)
    return {"run": run_on_wire(await call.ask(find_run, call.store, given.run))}


async def update(call: Call) -> object:
    """Change a run's status, end and name."""
    given = await call.read(_Update)
    if given.status and given.status not in _STATUSES:
        raise Invalid(f"Invalid value '{given.status}' for parameter 'status' supplied", where="status")
    status = _STATUSES[given.status] if given.status else None
    await call.write(
        lambda t: update_run(t, given.run, status=status, ended_ms=given.end_time, name=given.run_name or None)
    )
    return {"run_info": run_on_wire(await call.ask(find_run, call.store, given.run))["info"]}


async def delete(call: Call) -> object:
    """Delete a run."""
    return await _move(call, "deleted")


async def restore(call: Call) -> object:
    """Restore a deleted run."""
    return await _move(call, "active")


async def _move(call: Call, stage: Stage) -> object:
    run_id = (await call.read(_Chosen)).run
    verb = "run.deleted" if stage == "deleted" else "run.restored"
    await call.change(
        Event(verb, f"runs/{run_id}", actor=call.actor), lambda t: move_run(t, run_id, stage, at=call.now)
    )
    return {}


async def log_metric(call: Call) -> object:
    """Add one point."""
    given = await call.read(_LogMetric)
    run_id = _run_named(given.run_id, given.run_uuid)
    await call.write(lambda t: log_batch(t, run_id, points=[given.point()]))
    return {}


async def log_parameter(call: Call) -> object:
    """Set a parameter, for ever."""
    given = await call.read(_LogPair)
    await call.write(lambda t: log_batch(t, given.run, parameters=[(given.key, given.value)]))
    return {}


async def set_tag(call: Call) -> object:
    """Set a tag."""
    given = await call.read(_LogPair)
    await call.write(lambda t: log_batch(t, given.run, tags=[(given.key, given.value)]))
    return {}


async def batch(call: Call) -> object:
    """Add points, parameters and tags, all or none."""
    given = await call.read(_Batch)
    points = [each.point() for each in given.metrics]
    await call.write(
        lambda t: log_batch(
            t,
            given.run_id,
            points=points,
            parameters=[(each.key, each.value) for each in given.params],
            tags=[(each.key, each.value) for each in given.tags],
        )
    )
    return {}


def _run_named(run_id: str, run_uuid: str) -> str:
    if not (run_id or run_uuid):
        raise Invalid("Missing value for required parameter 'run_id'.", where="run_id")
    return run_id or run_uuid


ROUTES = (
    Route("POST", "runs/create", create, "runs.write"),
    Route("GET", "runs/get", get, "runs.read"),
    Route("POST", "runs/update", update, "runs.write"),
    Route("POST", "runs/delete", delete, "runs.delete"),
    Route("POST", "runs/restore", restore, "runs.write"),
    Route("POST", "runs/log-metric", log_metric, "runs.write"),
    Route("POST", "runs/log-parameter", log_parameter, "runs.write"),
    Route("POST", "runs/set-tag", set_tag, "runs.write"),
    Route("POST", "runs/log-batch", batch, "runs.write"),
)
