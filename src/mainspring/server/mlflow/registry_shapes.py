"""Models and versions as they travel on MLflow's wire, and how they are found there, in MLflow's words.

Source: model_registry.proto, store/model_registry/sqlalchemy_store.py and utils/validation.py of MLflow 3.17.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

import msgspec

from mainspring.access.roles import Resource
from mainspring.domain.moments import from_iso, to_milliseconds
from mainspring.domain.version import STAGES, ModelVersion, RegisteredModel, Stage, check_model_name
from mainspring.errors import Invalid, NotFound
from mainspring.registry.models import find_model
from mainspring.registry.versions import find_version
from mainspring.server.call import Call
from mainspring.store.protocol import Store
from mainspring.tracking.limits import check_experiment_tags

__all__ = [
    "Tag",
    "allowed_model",
    "allowed_version",
    "check_name",
    "check_tag",
    "model_named",
    "model_on_wire",
    "number_of",
    "stage_named",
    "tags_of",
    "version_named",
    "version_on_wire",
]

_MOST_VALUE = 100_000


class Tag(msgspec.Struct):
    """A tag of a model or a version."""

    key: str
    value: str = ""


def model_on_wire(model: RegisteredModel, latest: list[ModelVersion]) -> dict[str, object]:
    """Return a model as MLflow's clients read it, with its newest version in each stage."""
    shown: dict[str, object] = {
        "name": model.name,
        "creation_timestamp": to_milliseconds(from_iso(model.created_at)),
        "last_updated_timestamp": to_milliseconds(from_iso(model.updated_at)),
    }
    if model.description:
        shown["description"] = model.description
    if latest:
        shown["latest_versions"] = [version_on_wire(replace(each, aliases=())) for each in latest]
    if model.tags:
        shown["tags"] = _pairs(model.tags)
    if model.aliases:
        shown["aliases"] = [{"alias": alias, "version": str(number)} for alias, number in model.aliases.items()]
    return shown


def version_on_wire(version: ModelVersion) -> dict[str, object]:
    """Return a version as MLflow's clients read it."""
    shown: dict[str, object] = {
        "name": version.model,
        "version": str(version.version),
        "creation_timestamp": to_milliseconds(from_iso(version.created_at)),
        "last_updated_timestamp": to_milliseconds(from_iso(version.updated_at)),
        "current_stage": version.stage,
        "description": version.description,
        "source": version.source or f"models:/{version.reference}",
        "run_id": version.run_id or "",
        "status": "READY",
        "run_link": version.run_link,
    }
    if version.tags:
        shown["tags"] = _pairs(version.tags)
    if version.aliases:
        shown["aliases"] = list(version.aliases)
    return shown


def _pairs(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]


def tags_of(tags: list[Tag]) -> dict[str, str]:
    """Return tags as a mapping, after each was looked at; of two with one key the last counts."""
    for tag in tags:
        check_tag(tag.key, tag.value)
    return {tag.key: tag.value for tag in tags}


def check_tag(key: str, value: str = "") -> None:
    """Refuse a tag that MLflow's registry refuses."""
    check_experiment_tags({key: ""})
    if len(value) > _MOST_VALUE:
        raise Invalid(f"'value' exceeds the maximum length of {_MOST_VALUE} characters", where="value")


def check_name(name: str, place: str = "name") -> str:
    """Return a model's name if it can be one, or refuse it in MLflow's words."""
    if not name.strip():
        raise Invalid(f"Missing value for required parameter '{place}'.", where=place)
    if "/" in name or ":" in name:
        raise Invalid(f"Invalid model name '{name[:300]}'. Names cannot contain '/' or ':'.", where=place)
    if name in (".", ".."):
        raise Invalid(
            f"Invalid value \"{name}\" for parameter '{place}' supplied: Names may be treated as files in certain"
            f" cases, and must not resolve to other names when treated as such. This name would resolve to {name!r}",
            where=place,
        )
    return check_model_name(name)


def number_of(text: str) -> int:
    """Return a version's number."""
    if re.fullmatch(r"-\d{1,18}", text, re.ASCII):
        raise NotFound(f"There is no version {text}", where="version")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Invalid(f"Parameter 'version' must be an integer, got '{text[:100]}'.", where="version")
    return int(text)


def stage_named(text: str) -> Stage:
    """Return a stage; case does not matter."""
    for stage in STAGES:
        if stage.lower() == text.lower():
            return stage
    raise Invalid(
        f"Invalid Model Version stage: {text[:100]}. Value must be one of {', '.join(STAGES)}.", where="stage"
    )


def model_named(store: Store, name: str) -> RegisteredModel:
    """Return a model."""
    try:
        return find_model(store, check_name(name))
    except NotFound as error:
        raise NotFound(f"Registered Model with name={name} not found", where="name") from error


def version_named(store: Store, name: str, number: str) -> ModelVersion:
    """Return a version."""
    check_name(name)
    try:
        return find_version(store, f"{name}/{number_of(number)}")
    except NotFound as error:
        raise NotFound(f"Model Version (name={name}, version={number}) not found", where="version") from error


def allowed_model(call: Call, verb: str, name: str, alias: str = "") -> RegisteredModel:
    """Return a model, if who asks may do this to it."""
    model = model_named(call.store, name)
    call.allow(verb, Resource("models", name, model.tags, alias))
    return model


def allowed_version(call: Call, verb: str, name: str, number: str, alias: str = "") -> ModelVersion:
    """Return a version, if who asks may do this to it; the tags of the model and its own count."""
    version = version_named(call.store, name, number)
    tags = {**find_model(call.store, name).tags, **version.tags}
    call.allow(verb, Resource("models", name, tags, alias))
    return version
