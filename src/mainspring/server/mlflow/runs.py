"""Runs on MLflow's wire: begun, changed, found. Source: service.proto, messages CreateRun to SearchRuns."""

import msgspec

from mainspring.domain.ids import RunId, new_id
from mainspring.errors import Invalid
from mainspring.server.call import Call, Route
from mainspring.server.mlflow.shapes import (
    MOST_RESULTS,
    Chosen,
    Pair,
    WireInt,
    page_size,
    page_with,
    pairs_of,
    run_info_on_wire,
    run_on_wire,
    stages_of,
)
from mainspring.store.events import Event
from mainspring.store.protocol import Store
from mainspring.tracking.experiments import Stage, experiment_number
from mainspring.tracking.inputs import inputs_of, models_of
from mainspring.tracking.limits import fitting_tags, invalid_value
from mainspring.tracking.names import random_name
from mainspring.tracking.run_search import search_runs
from mainspring.tracking.runs import NAME_TAG, Run, RunStatus, create_run, move_run, run_with_id, update_run

__all__ = ["ROUTES"]

_STATUSES: dict[str, RunStatus] = {
    "RUNNING": "running",
    "SCHEDULED": "scheduled",
    "FINISHED": "finished",
    "FAILED": "failed",
    "KILLED": "killed",
    "1": "running",
    "2": "scheduled",
    "3": "finished",
    "4": "failed",
    "5": "killed",
}


class _Create(msgspec.Struct):
    experiment_id: str = ""
    user_id: str = ""
    run_name: str = ""
    start_time: WireInt = 0
    tags: list[Pair] = []


class _Update(Chosen):
    status: str | int = ""
    end_time: WireInt | None = None
    run_name: str = ""


class _Search(msgspec.Struct):
    experiment_ids: list[str] = []
    filter: str = ""
    run_view_type: str | int = "ACTIVE_ONLY"
    max_results: int = 1000
    order_by: list[str] = []
    page_token: str = ""


async def create(call: Call) -> object:
    """Begin a run."""
    given = await call.read(_Create)
    tags = dict(fitting_tags(pairs_of(given.tags)))
    named = tags.get(NAME_TAG, "")
    if given.run_name and named and given.run_name != named:
        raise Invalid(
            f"Both 'run_name' argument and '{NAME_TAG}' tag are specified, but with different values"
            f" (run_name='{given.run_name}', {NAME_TAG}='{named}').",
            where="run_name",
        )
    name = given.run_name or named or random_name()
    number = experiment_number(given.experiment_id or "0")
    run = await call.write(
        lambda t: create_run(
            t,
            run_id=RunId(new_id()),
            experiment_id=number,
            name=name,
            started_ms=given.start_time,
            author=given.user_id,
            tags={**tags, NAME_TAG: name},
        )
    )
    return {"run": run_on_wire(run)}


async def get(call: Call) -> object:
    """Return a run."""
    run_id = (await call.read(Chosen)).run
    return {"run": (await call.ask(_whole, call.store, [], run_id))[0]}


async def search(call: Call) -> object:
    """Return a page of runs."""
    given = await call.read(_Search)
    if given.max_results > MOST_RESULTS:
        hint = " Hint: Value was of type 'int'. See the API docs for more information about request parameters."
        raise invalid_value("max_results", given.max_results, hint)
    experiments = [experiment_number(each) for each in given.experiment_ids]
    stages, limit = stages_of(given.run_view_type), page_size(given.max_results)

    def look() -> tuple[list[dict[str, object]], str | None]:
        page = search_runs(
            call.store,
            experiments,
            filter=given.filter,
            order_by=given.order_by,
            stages=stages,
            limit=limit,
            token=given.page_token or None,
        )
        return _whole(call.store, page.runs), page.token

    runs, token = await call.ask(look)
    return page_with("runs", runs, token)


async def update(call: Call) -> object:
    """Change a run's status, end and name."""
    given = await call.read(_Update)
    if given.status and str(given.status) not in _STATUSES:
        hint = f" Hint: Value was of type '{type(given.status).__name__}'."
        raise invalid_value("status", given.status, hint)
    status = _STATUSES[str(given.status)] if given.status else None
    run_id = given.run
    await call.write(
        lambda t: update_run(t, run_id, status=status, ended_ms=given.end_time, name=given.run_name or None)
    )
    return {"run_info": run_info_on_wire(await call.ask(run_with_id, call.store, run_id))}


async def delete(call: Call) -> object:
    """Delete a run."""
    return await _move(call, "deleted")


async def restore(call: Call) -> object:
    """Restore a deleted run."""
    return await _move(call, "active")


async def _move(call: Call, stage: Stage) -> object:
    run_id = (await call.read(Chosen)).run
    verb = "run.deleted" if stage == "deleted" else "run.restored"
    await call.change(
        Event(verb, f"runs/{run_id}", actor=call.actor), lambda t: move_run(t, run_id, stage, at=call.now)
    )
    return {}


def _whole(store: Store, runs: list[Run], run_id: str = "") -> list[dict[str, object]]:
    """Return runs, or the one with an id, with what went into them and came out."""
    runs = [run_with_id(store, run_id)] if run_id else runs
    ids = [each.run_id for each in runs]
    inputs, made = inputs_of(store, ids), models_of(store, ids, "output")
    # pages leave out which models a run read, as MLflow's do
    read = models_of(store, ids, "input") if run_id else {}
    return [
        run_on_wire(each, inputs.get(each.run_id, ()), read.get(each.run_id, ()), made.get(each.run_id, ()))
        for each in runs
    ]


ROUTES = (
    Route("POST", "runs/create", create, "runs.write"),
    Route("GET", "runs/get", get, "runs.read"),
    Route("POST", "runs/search", search, "runs.read"),
    Route("POST", "runs/update", update, "runs.write"),
    Route("POST", "runs/delete", delete, "runs.delete"),
    Route("POST", "runs/restore", restore, "runs.write"),
)
