"""Registered models on MLflow's wire. Source: model_registry.proto, CreateRegisteredModel to GetModelVersionByAlias."""

from dataclasses import replace

import msgspec

from mainspring.access.roles import Resource
from mainspring.deploy.promotion import erase_model, move_alias, rename
from mainspring.domain.version import STAGES, check_alias
from mainspring.errors import Conflict, Invalid, NotFound
from mainspring.registry.models import (
    ModelChange,
    create_model,
    find_model,
    set_model_tag,
    unset_model_tag,
    update_model,
)
from mainspring.registry.search import PROMPT_TAG, search_models
from mainspring.registry.versions import find_version, latest_versions
from mainspring.server.call import Call, Route
from mainspring.server.mlflow.registry_shapes import (
    Tag,
    allowed_model,
    allowed_version,
    check_name,
    check_tag,
    model_on_wire,
    stage_named,
    tags_of,
    version_on_wire,
)

__all__ = ["ROUTES", "check_alias_name"]

_MOST_RESULTS = 1000
_MOST_ALIAS = 255


class _Create(msgspec.Struct):
    name: str
    tags: list[Tag] = []
    description: str = ""


class _Named(msgspec.Struct):
    name: str


class _Rename(msgspec.Struct):
    name: str
    new_name: str


class _Update(msgspec.Struct):
    name: str
    description: str = ""


class _Search(msgspec.Struct):
    filter: str = ""
    max_results: int = 100
    order_by: list[str] = []
    page_token: str = ""


class _Latest(msgspec.Struct):
    name: str
    stages: list[str] = []


class _SetTag(msgspec.Struct):
    name: str
    key: str
    value: str = ""


class _UnsetTag(msgspec.Struct):
    name: str
    key: str


class _SetAlias(msgspec.Struct):
    name: str
    alias: str
    version: str


class _Alias(msgspec.Struct):
    name: str
    alias: str


async def create(call: Call) -> object:
    """Register a model."""
    given = await call.read(_Create)
    name, tags = check_name(given.name), tags_of(given.tags)

    def answer() -> object:
        call.allow("write", Resource("models", name, tags))
        try:
            model = create_model(
                call.store, name, description=given.description, tags=tags, actor=call.actor, at=call.now
            )
        except Conflict as error:
            raise _taken(call, name, tags) from error
        return {"registered_model": model_on_wire(model, [])}

    return await call.ask(answer)


def _taken(call: Call, name: str, tags: dict[str, str]) -> Conflict:
    """Tell that a name is taken, and by what: prompts and models share their names."""
    kinds = [
        "Prompt" if found.get(PROMPT_TAG, "").lower() == "true" else "Registered Model"
        for found in (find_model(call.store, name).tags, tags)
    ]
    if kinds[0] != kinds[1]:
        return Conflict(
            f"Tried to create a {kinds[1].lower()} with name {name!r}, but the name is already taken by a"
            f" {kinds[0].lower()}. MLflow does not allow creating a model and a prompt with the same name."
        )
    return Conflict(f"{kinds[1]} (name={name}) already exists.")


async def get(call: Call) -> object:
    """Return a model."""
    name = (await call.read(_Named)).name
    return await call.ask(lambda: _shown(call, allowed_model(call, "read", name).name))


def _shown(call: Call, name: str) -> dict[str, object]:
    return {"registered_model": model_on_wire(find_model(call.store, name), latest_versions(call.store, name))}


async def update(call: Call) -> object:
    """Change a model's description."""
    given = await call.read(_Update)

    def answer() -> object:
        allowed_model(call, "write", given.name)
        update_model(call.store, given.name, ModelChange(given.description), actor=call.actor, at=call.now)
        return _shown(call, given.name)

    return await call.ask(answer)


async def rename_(call: Call) -> object:
    """Give a model another name."""
    given = await call.read(_Rename)

    def answer() -> object:
        check_name(given.new_name, "new_name")
        allowed_model(call, "delete", given.name)
        call.allow("write", Resource("models", given.new_name))
        if call.store.read("SELECT 1 FROM models WHERE name = ?", (given.new_name,)) and given.new_name != given.name:
            raise Conflict(f"Registered Model (name={given.new_name}) already exists.")
        rename(call.store, call.workspace.endpoints, given.name, given.new_name, actor=call.actor, at=call.now)
        return _shown(call, given.new_name)

    return await call.ask(answer)


async def delete(call: Call) -> object:
    """Delete a model with its versions."""
    name = (await call.read(_Named)).name

    def answer() -> object:
        allowed_model(call, "delete", name)
        erase_model(call.store, name, actor=call.actor, at=call.now)
        return {}

    return await call.ask(answer)


async def search(call: Call) -> object:
    """Return a page of models."""
    given = await call.read(_Search)
    if not 0 < given.max_results <= _MOST_RESULTS:
        raise Invalid(
            f"Invalid value {given.max_results} for parameter 'max_results' supplied. It must be at most"
            f" {_MOST_RESULTS}, but got value {given.max_results}",
            where="max_results",
        )

    def answer() -> object:
        found, token = search_models(
            call.store, given.filter, order_by=given.order_by, limit=given.max_results, token=given.page_token
        )
        may = [each for each in found if call.may("read", Resource("models", each.name, each.tags))]
        page: dict[str, object] = {}
        if may:
            page["registered_models"] = [model_on_wire(each, latest_versions(call.store, each.name)) for each in may]
        return {**page, "next_page_token": token} if token else page

    return await call.ask(answer)


async def latest(call: Call) -> object:
    """Return the newest version of a model in each stage."""
    given = await call.read(_Latest)
    stages = tuple(dict.fromkeys(stage_named(each) for each in given.stages)) or STAGES

    def answer() -> object:
        allowed_model(call, "read", given.name)
        found = latest_versions(call.store, given.name, stages)
        return {"model_versions": [version_on_wire(each) for each in found]} if found else {}

    return await call.ask(answer)


async def set_tag(call: Call) -> object:
    """Put a tag on a model."""
    given = await call.read(_SetTag)

    def answer() -> object:
        check_name(given.name)
        check_tag(given.key, given.value)
        model = allowed_model(call, "write", given.name)
        call.allow("write", Resource("models", given.name, {**model.tags, given.key: given.value}))
        set_model_tag(call.store, given.name, given.key, given.value, actor=call.actor)
        return {}

    return await call.ask(answer)


async def delete_tag(call: Call) -> object:
    """Take a tag off a model."""
    given = await call.read(_UnsetTag)

    def answer() -> object:
        check_name(given.name)
        check_tag(given.key)
        allowed_model(call, "write", given.name)
        unset_model_tag(call.store, given.name, given.key, actor=call.actor)
        return {}

    return await call.ask(answer)


async def set_alias(call: Call) -> object:
    """Point an alias at a version, under its rules; a champion is a deployment."""
    given = await call.read(_SetAlias)

    def answer() -> object:
        check_name(given.name)
        check_alias_name(given.alias, to_set=True)
        version = allowed_version(call, "move", given.name, given.version, given.alias)
        reason = "by an MLflow client"
        move_alias(call.store, given.name, given.alias, version, mover=call.mover, reason=reason, at=call.now)
        if given.alias == "champion" and version.is_made_here:
            call.workspace.publish(given.name)
        return {}

    return await call.ask(answer)


async def delete_alias(call: Call) -> object:
    """Take an alias away."""
    given = await call.read(_Alias)

    def answer() -> object:
        check_name(given.name)
        check_alias_name(given.alias)
        allowed_model(call, "move", given.name, given.alias)
        reason = "by an MLflow client"
        move_alias(call.store, given.name, given.alias, None, mover=call.mover, reason=reason, at=call.now)
        return {}

    return await call.ask(answer)


async def by_alias(call: Call) -> object:
    """Return the version that an alias points at."""
    given = await call.read(_Alias)

    def answer() -> object:
        check_alias_name(given.alias)
        model = allowed_model(call, "read", given.name)
        if given.alias.lower() != "latest" and given.alias not in model.aliases:
            raise Invalid(f"Registered model alias {given.alias} not found.", where="alias")
        try:
            found = find_version(call.store, f"{given.name}@{given.alias}")
        except NotFound as error:
            raise NotFound(f"Latest version not found for model {given.name}.") from error
        aliases = tuple(alias for alias, number in model.aliases.items() if number == found.version)
        return {"model_version": version_on_wire(replace(found, aliases=aliases))}

    return await call.ask(answer)


def check_alias_name(alias: str, *, to_set: bool = False) -> None:
    """Refuse an alias in MLflow's words; only one that is to be set may not be a reserved one."""
    if len(alias) > _MOST_ALIAS:
        raise Invalid(
            f"'Registered model alias name' exceeds the maximum length of {_MOST_ALIAS} characters", where="alias"
        )
    if not alias.replace("-", "_").replace("_", "a").isalnum():
        raise Invalid(
            f"Invalid alias name: '{alias}'. Names may only contain alphanumerics, underscores (_), and dashes (-).",
            where="alias",
        )
    if to_set and alias.lower() == "latest":
        raise Invalid("'latest' alias name (case insensitive) is reserved.", where="alias")
    if to_set and alias[:1] in "vV" and alias[1:].isdigit():
        raise Invalid(f"Version alias name '{alias}' is reserved.", where="alias")
    if to_set:
        check_alias(alias)


ROUTES = (
    Route("POST", "registered-models/create", create, "models.write"),
    Route("POST", "registered-models/rename", rename_, "models.write"),
    Route("PATCH", "registered-models/update", update, "models.write"),
    Route("DELETE", "registered-models/delete", delete, "models.delete"),
    Route("GET", "registered-models/get", get, "models.read"),
    Route("GET", "registered-models/search", search, "models.read"),
    Route("POST", "registered-models/get-latest-versions", latest, "models.read"),
    Route("GET", "registered-models/get-latest-versions", latest, "models.read"),
    Route("POST", "registered-models/set-tag", set_tag, "models.write"),
    Route("DELETE", "registered-models/delete-tag", delete_tag, "models.write"),
    Route("POST", "registered-models/alias", set_alias, "models.move"),
    Route("DELETE", "registered-models/alias", delete_alias, "models.move"),
    Route("GET", "registered-models/alias", by_alias, "models.read"),
)
