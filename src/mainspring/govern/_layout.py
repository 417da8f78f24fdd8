"""A kept run laid out on disk: its code and inputs below one folder, each at the path it had, so that relative paths,
``__file__`` and imports lead to the kept files and not to what stands in their place today.
"""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from mainspring.artifacts.digests import digest_of_file
from mainspring.artifacts.protocol import ArtifactStore
from mainspring.domain.ids import Digest
from mainspring.errors import NotFound
from mainspring.pipeline.provenance import Provenance

__all__ = ["Layout", "lay_out"]


@dataclass(slots=True)
class Layout:
    """Where things are. `changed` are files that were there already and are not the kept ones; `in_place` are inputs
    that are read where they lie, because they were too large to be kept and are still the same."""

    tree: Path
    changed: list[str] = field(default_factory=list)
    in_place: list[str] = field(default_factory=list)

    def place_of(self, path: str) -> Path:
        """Return where an absolute path stands in the tree."""
        return self.tree / Path(path).relative_to(Path(path).anchor)


def lay_out(provenance: Provenance, artifacts: ArtifactStore, tree: Path) -> Layout:
    """Write the kept code and inputs of a run below `tree`; a file that is there already is left as it is.

    Raises:
        NotFound: an input was not kept, and is not to be had unchanged.
    """
    layout = Layout(tree)
    for folder in (provenance.folder, *provenance.path):
        layout.place_of(folder).mkdir(parents=True, exist_ok=True)
    for path, digest in provenance.code.items():
        _place(layout, artifacts, path, digest)
    for each in provenance.inputs:
        path = os.path.normpath(os.path.join(provenance.folder, each.path))
        if artifacts.exists(each.digest) or layout.place_of(path).exists():
            _place(layout, artifacts, path, each.digest)
        else:
            _link(layout, path, each.digest)
        if each.modified_ns and not layout.place_of(path).is_symlink():
            # A step may have asked for it.
            os.utime(layout.place_of(path), ns=(each.modified_ns, each.modified_ns))
    return layout


def _place(layout: Layout, artifacts: ArtifactStore, path: str, digest: Digest) -> None:
    target = layout.place_of(path)
    if target.exists():
        if digest_of_file(target) != digest:
            layout.changed.append(path)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    artifacts.verify(digest)
    shutil.copyfile(artifacts.path_of(digest), target)


def _link(layout: Layout, path: str, digest: Digest) -> None:
    """Take an input that was not kept from where it was, if it is still the same."""
    source = Path(path)
    if not source.is_file() or digest_of_file(source) != digest:
        state = "has changed since" if source.is_file() else "is gone"
        raise NotFound(
            f"The input `{path}` {state}, and was too large to be kept with the run",
            where=path,
            next_step="bring the file back, and keep inputs of this size from now on: mainspring data add FILE"
            " --name NAME",
        )
    target = layout.place_of(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source)
    layout.in_place.append(path)
