"""The files a training run was given, kept as dataset versions, so that every model can name the data it is made of."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mainspring.artifacts.digests import digest_of_file
from mainspring.data.schema import Schema
from mainspring.data.schema_file import read_schema
from mainspring.data.terms import Terms
from mainspring.data.use import refuse_use
from mainspring.data.version_terms import keep_terms, refuse_expired, terms_of_bytes
from mainspring.data.versions import add_dataset

if TYPE_CHECKING:
    from mainspring.workspace import Workspace

__all__ = ["keep_inputs", "obey_terms"]

_log = logging.getLogger(__name__)


def obey_terms(workspace: "Workspace", given: Mapping[str, object], purposes: Sequence[str]) -> None:
    """Refuse files among the parameters that may not be used.

    The terms stand in the schema that lies beside a file, or else with the dataset versions that are the same bytes.

    Raises:
        Refused: a purpose is not allowed, or the same bytes are a dataset version past its retention.
    """
    for value in given.values():
        if not isinstance(value, Path) or not value.is_file():
            continue
        digest = digest_of_file(value)
        if schema := _schema_beside(value):
            asked = {f"{value.stem}.schema.yaml": schema}
        else:
            asked = {name: Schema(terms=terms) for name, terms in terms_of_bytes(workspace.store, digest).items()}
        for where, each in asked.items():
            for warning in refuse_use(each, purposes, where=where):
                _log.warning("%s", warning)
        refuse_expired(workspace.store, digest, at=workspace.clock.now())


def _schema_beside(path: Path) -> Schema | None:
    schema = path.with_name(path.stem + ".schema.yaml")
    return read_schema(schema) if schema.is_file() else None


def keep_inputs(workspace: "Workspace", model: str, given: Mapping[str, object]) -> dict[str, str]:
    """Keep each file or folder among the parameters as a version of the dataset ``MODEL.PARAMETER``; name them."""
    kept = {}
    for name, value in given.items():
        if isinstance(value, Path) and value.exists():
            added = add_dataset(
                workspace.store, workspace.artifacts, value, name=f"{model}.{name}", at=workspace.clock.now()
            )
            if value.is_file() and (schema := _schema_beside(value)) and schema.terms != Terms():
                keep_terms(workspace.store, added, schema.terms, at=workspace.clock.now())
            kept[name] = added.reference
    return kept
