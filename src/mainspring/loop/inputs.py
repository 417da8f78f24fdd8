"""The files a training run was given, kept as dataset versions, so that every model can name the data it is made of."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mainspring.data.versions import add_dataset

if TYPE_CHECKING:
    from mainspring.workspace import Workspace

__all__ = ["keep_inputs"]


def keep_inputs(workspace: "Workspace", model: str, given: Mapping[str, object]) -> dict[str, str]:
    """Keep each file or folder among the parameters as a version of the dataset ``MODEL.PARAMETER``; name them."""
    kept = {}
    for name, value in given.items():
        if isinstance(value, Path) and value.exists():
            added = add_dataset(
                workspace.store, workspace.artifacts, value, name=f"{model}.{name}", at=workspace.clock.now()
            )
            kept[name] = added.reference
    return kept
