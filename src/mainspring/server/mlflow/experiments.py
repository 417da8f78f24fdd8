"""Experiments on MLflow's wire. Source: service.proto, messages CreateExperiment to DeleteExperimentTag."""

import msgspec

from mainspring.errors import Invalid
from mainspring.server.call import Call, Route
from mainspring.store.events import Event
from mainspring.tracking.experiments import (
    Experiment,
    Stage,
    create_experiment,
    find_experiment,
    find_experiment_named,
    move_experiment,
    rename_experiment,
    set_experiment_tag,
    unset_experiment_tag,
)

__all__ = ["ROUTES", "experiment_number", "experiment_on_wire"]

_MOST_NAME = 500


class Pair(msgspec.Struct):
    """A tag or a parameter."""

    key: str
    value: str = ""


class _Create(msgspec.Struct):
    name: str
    artifact_location: str = ""
    tags: list[Pair] = []


class _Named(msgspec.Struct):
    experiment_name: str


class _Chosen(msgspec.Struct):
    experiment_id: str


class _Update(msgspec.Struct):
    experiment_id: str
    new_name: str


class _Tag(msgspec.Struct):
    experiment_id: str
    key: str
    value: str = ""


def experiment_number(text: str) -> int:
    """Return an experiment id as the number it is here."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Invalid(f"Invalid experiment ID '{text}'. Experiment ID must be a valid integer.", where="experiment_id")
    return int(text)


def experiment_on_wire(experiment: Experiment) -> dict[str, object]:
    """Return an experiment as MLflow's clients read it."""
    return {
        "experiment_id": str(experiment.experiment_id),
        "name": experiment.name,
        "artifact_location": experiment.artifact_location,
        "lifecycle_stage": experiment.stage,
        "last_update_time": experiment.updated_ms,
        "creation_time": experiment.created_ms,
        "tags": [{"key": key, "value": value} for key, value in experiment.tags.items()],
    }


async def create(call: Call) -> object:
    """Make an experiment."""
    given = await call.read(_Create)
    if not given.name.strip():
        raise Invalid("Invalid value for parameter 'name' supplied: an experiment needs a name", where="name")
    if len(given.name) > _MOST_NAME:
        raise Invalid(f"'name' exceeds the maximum length of {_MOST_NAME} characters", where="name")
    tags = {each.key: each.value for each in given.tags}
    number = await call.change(
        lambda made: Event("experiment.created", f"experiments/{made}", {"name": given.name}, actor=call.actor),
        lambda t: create_experiment(t, given.name, at=call.now, tags=tags, artifact_location=given.artifact_location),
    )
    return {"experiment_id": str(number)}


async def get(call: Call) -> object:
    """Return an experiment by its id."""
    number = experiment_number((await call.read(_Chosen)).experiment_id)
    return {"experiment": experiment_on_wire(await call.ask(find_experiment, call.store, number))}


async def get_by_name(call: Call) -> object:
    """Return an experiment by its name."""
    name = (await call.read(_Named)).experiment_name
    return {"experiment": experiment_on_wire(await call.ask(find_experiment_named, call.store, name))}


async def update(call: Call) -> object:
    """Rename an experiment."""
    given = await call.read(_Update)
    number = experiment_number(given.experiment_id)
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
    number = experiment_number((await call.read(_Chosen)).experiment_id)
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
    await call.write(lambda t: set_experiment_tag(t, number, given.key, given.value, at=call.now))
    return {}


async def delete_tag(call: Call) -> object:
    """Take a tag of an experiment away."""
    given = await call.read(_Tag)
    number = experiment_number(given.experiment_id)
    await call.write(lambda t: unset_experiment_tag(t, number, given.key, at=call.now))
    return {}


ROUTES = (
    Route("POST", "experiments/create", create, "experiments.write"),
    Route("GET", "experiments/get", get, "experiments.read"),
    Route("GET", "experiments/get-by-name", get_by_name, "experiments.read"),
    Route("POST", "experiments/update", update, "experiments.write"),
    Route("POST", "experiments/delete", delete, "experiments.delete"),
    Route("POST", "experiments/restore", restore, "experiments.write"),
    Route("POST", "experiments/set-experiment-tag", set_tag, "experiments.write"),
    Route("POST", "experiments/delete-experiment-tag", delete_tag, "experiments.write"),
)
