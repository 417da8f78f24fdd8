"""Shapes that several groups of endpoints share: pairs, points, runs, files, views and page sizes, as they travel.

Fields that MLflow's server leaves out when they are empty are left out here.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

import msgspec

from mainspring.errors import Invalid
from mainspring.server.decoding import missing_value
from mainspring.tracking.experiments import Experiment, Stage
from mainspring.tracking.inputs import Input, ModelUse
from mainspring.tracking.limits import invalid_value
from mainspring.tracking.metrics import Point
from mainspring.tracking.runs import Run

__all__ = [
    "MOST_RESULTS",
    "Chosen",
    "Pair",
    "WireInt",
    "experiment_on_wire",
    "page_size",
    "page_with",
    "pairs_of",
    "pairs_on_wire",
    "point_on_wire",
    "run_info_on_wire",
    "run_on_wire",
    "stages_of",
]

MOST_RESULTS = 50_000
#: A whole number that the wire and every database can carry: 64 bits with a sign.
WireInt = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_LARGEST = 1.7976931348623157e308
_VIEWS: dict[str, tuple[Stage, ...]] = {
    "ACTIVE_ONLY": ("active",),
    "DELETED_ONLY": ("deleted",),
    "ALL": ("active", "deleted"),
    "1": ("active",),
    "2": ("deleted",),
    "3": ("active", "deleted"),
}


class Pair(msgspec.Struct):
    """A tag or a parameter."""

    key: str
    value: str = ""


class Chosen(msgspec.Struct):
    """The words of a request about one run, which it may name in two ways."""

    run_id: str = ""
    run_uuid: str = ""

    @property
    def run(self) -> str:
        """The id under its new name or its old one."""
        if not (self.run_id or self.run_uuid):
            raise missing_value("run_id")
        return self.run_id or self.run_uuid


def pairs_of(pairs: Iterable[Pair]) -> list[tuple[str, str]]:
    """Return pairs as the rooms take them."""
    return [(each.key, each.value) for each in pairs]


def pairs_on_wire(pairs: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags or parameters as they travel."""
    return [{"key": key, "value": value} for key, value in pairs.items()]


def stages_of(view: str | int) -> tuple[Stage, ...]:
    """Return the stages that a view shows.

    Raises:
        Invalid: there is no such view.
    """
    found = _VIEWS.get(str(view))
    if found is None:
        raise invalid_value("view_type", view)
    return found


def page_size(wanted: int) -> int:
    """Return how many results a page may hold, as MLflow bounds it."""
    if wanted < 1:
        raise Invalid(
            f"Invalid value {wanted} for parameter 'max_results' supplied. It must be a positive integer",
            where="max_results",
        )
    if wanted > MOST_RESULTS:
        raise Invalid(
            f"Invalid value {wanted} for parameter 'max_results' supplied. It must be at most {MOST_RESULTS}",
            where="max_results",
        )
    return wanted


def page_with(name: str, items: Sequence[object], token: str | None) -> dict[str, object]:
    """Return a page as it travels: the items under their name, and the token where more follows."""
    page: dict[str, object] = {name: items} if items else {}
    return {**page, "next_page_token": token} if token else page


def point_on_wire(point: Point) -> dict[str, object]:
    """Return a point as MLflow's clients read it; NaN travels as text."""
    key, value, at_ms, step = point
    return {"key": key, "value": value if math.isfinite(value) else told(value), "timestamp": at_ms, "step": step}


def told(value: float) -> float | str:
    """Return a value that JSON cannot hold as it travels: NaN as text, an infinity as the largest double."""
    return "NaN" if math.isnan(value) else math.copysign(_LARGEST, value)


def experiment_on_wire(experiment: Experiment) -> dict[str, object]:
    """Return an experiment as MLflow's clients read it."""
    shown: dict[str, object] = {
        "experiment_id": str(experiment.experiment_id),
        "name": experiment.name,
        "artifact_location": experiment.artifact_location,
        "lifecycle_stage": experiment.stage,
        "last_update_time": experiment.updated_ms,
        "creation_time": experiment.created_ms,
        "workspace": "default",
    }
    return {**shown, "tags": pairs_on_wire(experiment.tags)} if experiment.tags else shown


def run_info_on_wire(run: Run) -> dict[str, object]:
    """Return what a run is, without what it logged."""
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
    return info


def run_on_wire(
    run: Run, inputs: Sequence[Input] = (), read: Sequence[ModelUse] = (), made: Sequence[ModelUse] | None = None
) -> dict[str, object]:
    """Return a run with what it logged, the datasets and models it read, and the models it made.

    A run that has just begun is told without the latter (`made` is None).
    """
    data: dict[str, object] = {}
    if run.points:
        data["metrics"] = [point_on_wire(each) for each in run.points]
    if run.parameters:
        data["params"] = pairs_on_wire(run.parameters)
    if run.tags:
        data["tags"] = pairs_on_wire(run.tags)
    into: dict[str, object] = {}
    if inputs:
        into["dataset_inputs"] = [_input_on_wire(each) for each in inputs]
    if read:
        into["model_inputs"] = [{"model_id": each.model_id} for each in read]
    shown: dict[str, object] = {"info": run_info_on_wire(run), "data": data, "inputs": into}
    if made is not None:
        models = [{"model_id": each.model_id, "step": each.step or 0} for each in made]
        shown["outputs"] = {"model_outputs": models} if models else {}
    return shown


def _input_on_wire(used: Input) -> dict[str, object]:
    dataset = {name: value for name, value in used.dataset._asdict().items() if value}
    tags = [{"key": key, "value": value} for key, value in used.tags]
    return {"tags": tags, "dataset": dataset} if tags else {"dataset": dataset}
