"""Experiments on MLflow's wire. Source: service.proto, messages CreateExperiment to DeleteExperimentTag."""

import os

import msgspec

from mainspring.server.call import Call, Route
from mainspring.server.mlflow.shapes import Pair, experiment_on_wire, page_size, page_with, pairs_of, stages_of
from mainspring.store.events import Event
from mainspring.tracking.experiment_search import search_experiments
from mainspring.tracking.experiments import (
    Stage,
    create_experiment,
    experiment_number,
    find_experiment,
    find_experiment_named,
    move_experiment,
    rename_experiment,
    set_experiment_tag,
    unset_experiment_tag,
)
from mainspring.tracking.limits import check_experiment_name, check_experiment_tags, check_location

__all__ = ["ROUTES"]


class _Create(msgspec.Struct):
    name: str
    artifact_location: str = ""
    tags: list[Pair] = []


class _Named(msgspec.Struct):
    experiment_name: str


class _One(msgspec.Struct):
    experiment_id: str


class _Update(msgspec.Struct):
    experiment_id: str
    new_name: str


class _Tag(msgspec.Struct):
    experiment_id: str
    key: str
    value: str = ""


class _Search(msgspec.Struct):
    max_results: int = 0
    page_token: str = ""
    filter: str = ""
    order_by: list[str] = []
    view_type: str | int = "ACTIVE_ONLY"


async def create(call: Call) -> object:
    """Make an experiment."""
    given = await call.read(_Create)
    tags = dict(pairs_of(given.tags))
    check_experiment_name(given.name)
    check_experiment_tags(tags)
    check_location(given.artifact_location)
    location = given.artifact_location
    if location and ":" not in location:
        location = os.path.abspath(location)  # a folder, as MLflow's server takes it: beside its own
    number = await call.change(
        lambda made: Event("experiment.created", f"experiments/{made}", {"name": given.name}, actor=call.actor),
        lambda t: create_experiment(
            t, given.name, at=call.now, tags=tags, artifact_location=location, root=call.root.location
        ),
    )
    return {"experiment_id": str(number)}


async def get(call: Call) -> object:
    """Return an experiment by its id."""
    number = experiment_number((await call.read(_One)).experiment_id)
    return {"experiment": experiment_on_wire(await call.ask(find_experiment, call.store, number))}


async def get_by_name(call: Call) -> object:
    """Return an experiment by its name."""
    name = (await call.read(_Named)).experiment_name
    return {"experiment": experiment_on_wire(await call.ask(find_experiment_named, call.store, name))}


async def search(call: Call) -> object:
    """Return a page of experiments."""
    given = await call.read(_Search)
    stages, limit = stages_of(given.view_type), page_size(given.max_results)
    found, token = await call.ask(
        lambda: search_experiments(
            call.store,
            filter=given.filter,
            order_by=given.order_by,
            stages=stages,
            limit=limit,
            token=given.page_token or None,
        )
    )
    return page_with("experiments", [experiment_on_wire(each) for each in found], token)


async def update(call: Call) -> object:
    """Rename an experiment."""
    given = await call.read(_Update)
    number = experiment_number(given.experiment_id)
    check_experiment_name(given.new_name)
    await call.change(
        Event("experiment.renamed", f"experiments/{number}", {"name": given.new_name}, actor=call.actor),
        lambda t: rename_experiment(t, number, given.new_name, at=call.now),
    )
    return {}


async def delete(call: Call) -> object:
    """Delete an experiment."""
    return await _move(call, "deleted")


async def restore(call: Call) -> object:
    """Restore a deleted experiment."""
    return await _move(call, "active")


async def _move(call: Call, stage: Stage) -> object:
    number = experiment_number((await call.read(_One)).experiment_id)
    verb = "experiment.deleted" if stage == "deleted" else "experiment.restored"
    await call.change(
        Event(verb, f"experiments/{number}", actor=call.actor),
        lambda t: move_experiment(t, number, stage, at=call.now),
    )
    return {}


async def set_tag(call: Call) -> object:
    """Set a tag of an experiment."""
    given = await call.read(_Tag)
    number = experiment_number(given.experiment_id)
    check_experiment_tags({given.key: given.value})
    await call.write(lambda t: set_experiment_tag(t, number, given.key, given.value))
    return {}


async def delete_tag(call: Call) -> object:
    """Take a tag of an experiment away."""
    given = await call.read(_Tag)
    number = experiment_number(given.experiment_id)
    await call.write(lambda t: unset_experiment_tag(t, number, given.key))
    return {}


ROUTES = (
    Route("POST", "experiments/create", create, "experiments.write"),
    Route("GET", "experiments/get", get, "experiments.read"),
    Route("GET", "experiments/get-by-name", get_by_name, "experiments.read"),
    Route("POST", "experiments/search", search, "experiments.read"),
    Route("GET", "experiments/search", search, "experiments.read"),
    Route("POST", "experiments/update", update, "experiments.write"),
    Route("POST", "experiments/delete", delete, "experiments.delete"),
    Route("POST", "experiments/restore", restore, "experiments.write"),
    Route("POST", "experiments/set-experiment-tag", set_tag, "experiments.write"),
    Route("POST", "experiments/delete-experiment-tag", delete_tag, "experiments.write"),
)
