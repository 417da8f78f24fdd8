"""Where a version that is registered from outside comes from: which address, whose run, which files.

MLflow's server checks that a source belongs to the run or the logged model that is named with it, so that nobody can
register, and then download, what is not theirs.
Source: mlflow/server/handlers.py, `_create_model_version` and what it calls, MLflow 3.17.
"""

import json
import re
from collections.abc import Mapping
from typing import NamedTuple, NoReturn
from urllib.parse import unquote, unquote_plus, urlsplit

from mainspring.artifacts.trees import tree_bytes
from mainspring.domain.ids import Digest
from mainspring.domain.version import ModelVersion
from mainspring.errors import Invalid, NotFound
from mainspring.registry.search import PROMPT_TAG
from mainspring.registry.versions import find_version, latest_versions
from mainspring.server.artifact_root import local_path
from mainspring.server.call import Call
from mainspring.server.mlflow.registry_shapes import model_named, stage_named, version_named
from mainspring.tracking.files import files_below, served_path
from mainspring.tracking.logged_models import LoggedModel, find_logged_model, set_model_tags
from mainspring.tracking.runs import find_run

__all__ = ["Source", "note_version", "resolve_source"]

#: What MLflow's clients and its server write for the source of a prompt.
_NOWHERE = ("dummy-source", "prompt-template")
_VERSIONS_TAG = "mlflow.modelVersions"


class Source(NamedTuple):
    """What a version is kept with."""

    source: str
    location: str
    run_id: str
    model_id: str
    bundle: Digest | None


def resolve_source(
    call: Call, source: str, *, run_id: str | None, model_id: str | None, tags: Mapping[str, str]
) -> Source:
    """Return what a version of this source, with these tags, is kept with, after making sure that it may be one.

    The text of a prompt is in its tags, so a prompt comes from nowhere.

    Raises:
        Invalid: the source leaves its folder, or does not belong to the run or the logged model named with it.
    """
    if tags.get(PROMPT_TAG, "").lower() == "true":
        if source not in _NOWHERE:
            raise Invalid(
                f"Invalid prompt source: '{source}'. Prompt sources must use an MLflow placeholder.", where="source"
            )
        return Source(source, "", run_id or "", model_id or "", None)
    parts = urlsplit(source)
    if parts.scheme == "models":
        return _of_model(call, source, run_id, model_id)
    if parts.scheme in ("", "file"):
        return _local(call, source, run_id, model_id)
    _check_path(source)
    if parts.scheme == "runs":
        named = parts.path.strip("/").split("/")[0]
        if parts.netloc or model_id or not run_id or named != run_id:
            _foreign(source, "model_id" if model_id else "run_id")
    if served_path(source) is not None:
        what = "model_id" if model_id else "run_id"
        root = _model_at(call, model_id, source).artifact_uri if model_id else _root_of_run(call, run_id or "", source)
        if not _is_within(source, root):
            _foreign(source, what)
    run = run_id or (_model_at(call, model_id, source).source_run if model_id else "")
    return Source(source, "", run, model_id or "", _kept(call, source, run))


def _local(call: Call, source: str, run_id: str | None, model_id: str | None) -> Source:
    """Return a source that is a folder of a machine: it has to lie where the run or logged model named with it does."""
    parts = urlsplit(source)
    if parts.netloc not in ("", "localhost"):
        raise Invalid(
            f"{source} is not a valid remote uri. For remote access on windows, please consider using a different"
            " scheme such as SMB (e.g. smb://<hostname>/<path>).",
            where="source",
        )
    what = "model_id" if model_id else "run_id"
    place, run = local_path(source), run_id or ""
    if place is not None and (run or model_id):
        found = _model_at(call, model_id, source) if model_id else None
        root = local_path(found.artifact_uri if found else _root_of_run(call, run, source))
        if root is not None and place.resolve().is_relative_to(root.resolve()):
            return Source(source, "", run or (found.source_run if found else ""), model_id or "", None)
    raise Invalid(
        f"Invalid model version source: '{source}'. To use a local path as a model version source, the {what} request"
        " parameter has to be specified and the local path has to be contained within the artifact directory of the"
        f" {'model' if model_id else 'run'} specified by the {what}.",
        where="source",
    )


def _kept(call: Call, source: str, run_id: str) -> Digest | None:
    """Return the digest of a source's folder, where its files are kept here; it stays what it is when they change."""
    address = source
    if source.startswith("runs:/"):
        try:
            address = source.replace(f"runs:/{run_id}", find_run(call.store, run_id).artifact_uri, 1)
        except NotFound:  # a run of another server: its files are there
            return None
    folder = served_path(address)
    if not folder:
        return None
    files = files_below(call.store, folder)
    return call.workspace.artifacts.put_bytes(tree_bytes(files)) if files else None


def _model_at(call: Call, model_id: str, source: str) -> LoggedModel:
    try:
        return find_logged_model(call.store, model_id)
    except NotFound:
        _foreign(source, "model_id")


def note_version(call: Call, model_id: str, version: ModelVersion) -> None:
    """Note at a logged model that it has become a version: MLflow's clients find it by that tag."""
    known = json.loads(find_logged_model(call.store, model_id).tags.get(_VERSIONS_TAG, "[]"))
    entry = {"name": version.model, "version": version.version}
    if entry not in known:
        tags = {_VERSIONS_TAG: json.dumps([*known, entry])}
        call.store.record(lambda transaction: set_model_tags(transaction, model_id, tags))


def _of_model(call: Call, source: str, run_id: str | None, model_id: str | None) -> Source:
    parts = urlsplit(source)
    words = parts.path.lstrip("/").split("/")
    if parts.netloc or not parts.path.startswith("/") or len(words) > 2 or not all(each.strip() for each in words):
        _foreign(source, "model_id")
    if len(words) == 1 and "@" not in words[0]:
        if model_id != words[0]:
            _foreign(source, "model_id")
        logged = _model_at(call, model_id, source)
        run = run_id or logged.source_run
        return Source(source, logged.artifact_uri, run, model_id, _kept(call, logged.artifact_uri, run))
    name, version = _named_version(call, words)
    if model_named(call.store, name).tags.get(PROMPT_TAG, "").lower() == "true":
        raise Invalid(
            f"Invalid model version source: '{source}'. Prompt versions cannot be used as model version sources.",
            where="source",
        )
    found = version_named(call.store, name, version)
    if (run_id is not None and run_id != (found.run_id or "")) or (
        model_id is not None and model_id != found.logged_model
    ):
        raise Invalid(
            f"Invalid model version source: '{source}'. The run_id and model_id request parameters must match the"
            " referenced model version.",
            where="source",
        )
    location = found.location or found.source
    return Source(f"models:/{found.reference}", location, found.run_id or "", found.logged_model, found.bundle)


def _named_version(call: Call, words: list[str]) -> tuple[str, str]:
    """Return the model and the version that ``NAME/3``, ``NAME/latest``, ``NAME/Staging`` or ``NAME@alias`` names."""
    if len(words) == 1:
        name, _, alias = words[0].rpartition("@")
        model_named(call.store, name)
        try:
            return name, str(find_version(call.store, f"{name}@{alias}").version)
        except NotFound as error:
            raise Invalid(f"Registered model alias {alias} not found.", where="source") from error
    name, suffix = words
    if suffix.isdigit():
        return name, suffix
    model_named(call.store, name)
    stages = {} if suffix.lower() == "latest" else {"stages": (stage_named(suffix),)}
    found = latest_versions(call.store, name, **stages)
    if not found:
        raise NotFound(f"No versions of model with name '{name}' and stage '{suffix}' found", where="source")
    return name, str(max(each.version for each in found))


def _check_path(source: str) -> None:
    """Refuse a source whose path would be another one when it is followed."""
    decoded = source
    for _ in range(8):
        again = unquote_plus(decoded)
        if again == decoded:
            break
        decoded = again
    path = re.sub(r"/+", "/", urlsplit(decoded).path.rstrip("/"))
    if unquote_plus(decoded) != decoded or "\0" in path or {"..", "."} & set(decoded.split("/")):
        raise Invalid(
            f"Invalid model version source: '{source}'. If supplying a source as an http, https, local file path, ftp,"
            " objectstore, or mlflow-artifacts uri, an absolute path must be provided without relative path references"
            " present. Please provide an absolute path.",
            where="source",
        )


def _parts(address: str) -> tuple[str, str, tuple[str, ...]]:
    parsed = urlsplit(address)
    return (
        parsed.scheme.lower(),
        parsed.netloc.lower(),
        tuple(unquote(each) for each in parsed.path.split("/") if each),
    )


def _is_within(source: str, root: str) -> bool:
    scheme, authority, path = _parts(source)
    root_scheme, root_authority, root_path = _parts(root)
    same = (scheme, authority) == (root_scheme, root_authority) and bool(root_path)
    return same and path[: len(root_path)] == root_path


def _root_of_run(call: Call, run_id: str, source: str) -> str:
    try:
        return find_run(call.store, run_id).artifact_uri
    except NotFound:
        _foreign(source, "run_id")


def _foreign(source: str, what: str) -> NoReturn:
    raise Invalid(
        f"Invalid model version source: '{source}'. The {what} request parameter must identify the resource that"
        " contains the source.",
        where="source",
    )
