"""Model versions on MLflow's wire. Source: model_registry.proto, CreateModelVersion to DeleteModelVersionTag."""

import posixpath
from dataclasses import replace

import msgspec

from mainspring.access.roles import Resource
from mainspring.artifacts.trees import parse_tree
from mainspring.deploy.promotion import erase_version, move_stage
from mainspring.errors import Conflict, Invalid, NotFound
from mainspring.registry.models import find_model
from mainspring.registry.search import search_versions
from mainspring.registry.versions import (
    create_version,
    describe_version,
    set_version_tag,
    unset_version_tag,
)
from mainspring.server.artifact_root import open_local
from mainspring.server.call import Call, Reply, Route
from mainspring.server.mlflow.model_sources import note_version, resolve_source
from mainspring.server.mlflow.registry_shapes import (
    Tag,
    allowed_model,
    allowed_version,
    check_name,
    check_tag,
    number_of,
    stage_named,
    tags_of,
    version_named,
    version_on_wire,
)
from mainspring.server.transfer import send_file, send_stream
from mainspring.tracking.files import LoggedFile
from mainspring.tracking.limits import check_path

__all__ = ["PAGE_ROUTES", "ROUTES"]

_MOST_RESULTS = 200_000


class _Create(msgspec.Struct):
    name: str
    source: str
    run_id: str | None = None
    tags: list[Tag] = []
    run_link: str = ""
    description: str = ""
    model_id: str | None = None


class _Chosen(msgspec.Struct):
    name: str
    version: str


class _Update(msgspec.Struct):
    name: str
    version: str
    description: str = ""


class _Stage(msgspec.Struct):
    name: str
    version: str
    stage: str
    archive_existing_versions: bool = False


class _Search(msgspec.Struct):
    filter: str = ""
    max_results: int = 200_000
    order_by: list[str] = []
    page_token: str = ""


class _File(msgspec.Struct):
    name: str
    version: str
    path: str


class _SetTag(msgspec.Struct):
    name: str
    version: str
    key: str
    value: str = ""


class _UnsetTag(msgspec.Struct):
    name: str
    version: str
    key: str


async def create(call: Call) -> object:
    """Register a version of a model from where it lies."""
    given = await call.read(_Create)

    def answer() -> object:
        check_name(given.name)
        tags = tags_of(given.tags)
        source = resolve_source(call, given.source, run_id=given.run_id, model_id=given.model_id, tags=tags)
        allowed_model(call, "write", given.name)
        version = create_version(
            call.store,
            given.name,
            source=source.source,
            location=source.location,
            bundle=source.bundle,
            run_id=source.run_id or None,
            run_link=given.run_link,
            logged_model=source.model_id,
            description=given.description,
            tags=tags,
            author=call.actor,
            at=call.now,
        )
        if source.model_id:
            note_version(call, source.model_id, version)
        return {"model_version": version_on_wire(version)}

    return await call.ask(answer)


async def get(call: Call) -> object:
    """Return a version."""
    given = await call.read(_Chosen)
    return await call.ask(lambda: _shown(call, allowed_version(call, "read", given.name, given.version).reference))


def _shown(call: Call, reference: str) -> dict[str, object]:
    name, _, number = reference.rpartition("/")
    return {"model_version": version_on_wire(version_named(call.store, name, number))}


async def update(call: Call) -> object:
    """Change a version's description."""
    given = await call.read(_Update)

    def answer() -> object:
        version = allowed_version(call, "write", given.name, given.version)
        describe_version(call.store, version, given.description, actor=call.actor, at=call.now)
        return _shown(call, version.reference)

    return await call.ask(answer)


async def transition(call: Call) -> object:
    """Move a version to a stage; `Production` under the rules of the champion."""
    given = await call.read(_Stage)
    stage = stage_named(given.stage)
    if given.archive_existing_versions and stage not in ("Staging", "Production"):
        raise Invalid(
            "Model version transition cannot archive existing model versions because"
            f" '{given.stage}' is not an Active stage. Valid stages are ['Staging', 'Production']",
            where="archive_existing_versions",
        )

    def answer() -> object:
        alias = "champion" if stage == "Production" else stage
        version = allowed_version(call, "move", given.name, given.version, alias)
        move_stage(
            call.store,
            version,
            stage,
            archive_others=given.archive_existing_versions,
            mover=call.mover,
            at=call.now,
        )
        return _shown(call, version.reference)

    return await call.ask(answer)


async def delete(call: Call) -> object:
    """Delete a version, with its free aliases."""
    given = await call.read(_Chosen)

    def answer() -> object:
        version = allowed_version(call, "delete", given.name, given.version)
        erase_version(call.store, version, drop_aliases=True, actor=call.actor, at=call.now)
        return {}

    return await call.ask(answer)


async def search(call: Call) -> object:
    """Return a page of versions."""
    given = await call.read(_Search)
    if given.max_results < 1:
        raise Invalid(
            f"Invalid value for max_results. It must be a positive integer, but got {given.max_results}",
            where="max_results",
        )
    if given.max_results > _MOST_RESULTS:
        raise Invalid(
            "Invalid value for request parameter max_results. It must be at most"
            f" {_MOST_RESULTS}, but got value {given.max_results}",
            where="max_results",
        )

    def answer() -> object:
        found, token = search_versions(
            call.store, given.filter, order_by=given.order_by, limit=given.max_results, token=given.page_token
        )
        tags = {name: find_model(call.store, name).tags for name in {each.model for each in found}}
        may = [each for each in found if call.may("read", Resource("models", each.model, tags[each.model]))]
        page: dict[str, object] = {}
        if may:
            page["model_versions"] = [version_on_wire(replace(each, aliases=())) for each in may]
        return {**page, "next_page_token": token} if token else page

    return await call.ask(answer)


async def download_uri(call: Call) -> object:
    """Return where a version's files are read from."""
    given = await call.read(_Chosen)

    def answer() -> object:
        version = allowed_version(call, "read", given.name, given.version)
        uri = version.location or version.source
        if not uri:
            raise Conflict(f"{version.reference} is a bundle; its files are served by `mainspring serve`")
        return {"artifact_uri": uri}

    return await call.ask(answer)


async def set_tag(call: Call) -> object:
    """Put a tag on a version."""
    given = await call.read(_SetTag)

    def answer() -> object:
        check_name(given.name)
        number_of(given.version)
        check_tag(given.key, given.value)
        version = allowed_version(call, "write", given.name, given.version)
        set_version_tag(call.store, version, given.key, given.value, actor=call.actor)
        return {}

    return await call.ask(answer)


async def delete_tag(call: Call) -> object:
    """Take a tag off a version."""
    given = await call.read(_UnsetTag)

    def answer() -> object:
        check_name(given.name)
        number_of(given.version)
        check_tag(given.key)
        version = allowed_version(call, "write", given.name, given.version)
        unset_version_tag(call.store, version, given.key, actor=call.actor)
        return {}

    return await call.ask(answer)


async def get_file(call: Call) -> object:
    """Send a file of a version, as it was when the version was registered."""
    given = await call.read(_File)
    path = check_path(given.path)

    def found() -> Reply | LoggedFile:
        version = allowed_version(call, "read", given.name, given.version)
        if (local := call.root.local(version.location or version.source)) is not None:
            return send_stream(call, *open_local(local, path), posixpath.basename(path))
        if version.bundle is not None:
            for each in parse_tree(call.workspace.artifacts.read_bytes(version.bundle), version.bundle):
                if each.path == path:
                    return LoggedFile(each.digest, each.size_bytes)
        raise NotFound(f"No such artifact: '{path}'", where="path", next_step="see get-download-uri for the rest")

    file = await call.ask(found)
    return file if isinstance(file, Reply) else await send_file(call, file, posixpath.basename(path))


#: As MLflow's own pages ask, at the root.
PAGE_ROUTES = (Route("GET", "/model-versions/get-artifact", get_file, "models.read"),)
ROUTES = (
    Route("POST", "model-versions/create", create, "models.write"),
    Route("POST", "model-versions/transition-stage", transition, "models.move"),
    Route("PATCH", "model-versions/update", update, "models.write"),
    Route("DELETE", "model-versions/delete", delete, "models.delete"),
    Route("GET", "model-versions/get", get, "models.read"),
    Route("GET", "model-versions/search", search, "models.read"),
    Route("GET", "model-versions/get-download-uri", download_uri, "models.read"),
    Route("POST", "model-versions/set-tag", set_tag, "models.write"),
    Route("DELETE", "model-versions/delete-tag", delete_tag, "models.write"),
)
