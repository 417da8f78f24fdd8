"""Where the rows of views lie: in a file, or in a version of a dataset."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from mainspring.artifacts.protocol import ArtifactStore
from mainspring.data.version_terms import refuse_expired
from mainspring.data.versions import find_dataset
from mainspring.errors import Invalid
from mainspring.features.view import FeatureView
from mainspring.store.protocol import Store

__all__ = ["source_files"]


def source_files(
    views: Iterable[FeatureView], store: Store, artifacts: ArtifactStore, folder: Path, *, at: datetime
) -> dict[str, Path]:
    """Return the file of each view; a dataset version gets a link in `folder`, under its own file name.

    Raises:
        NotFound: there is no such dataset or version.
        Invalid: the dataset is a folder.
        Refused: a version is past its retention at the moment `at`.
    """
    files = {}
    for view in views:
        if (path := view.source_file) is None:
            found = find_dataset(store, str(view.source))
            refuse_expired(store, found.digest, at=at)
            if found.file_name.endswith("/"):
                raise Invalid(
                    f"The dataset `{found.reference}` is a folder", where=f"view {view.name}", next_step="name a file"
                )
            path = folder / view.name / found.file_name
            path.parent.mkdir(parents=True)
            path.symlink_to(artifacts.path_of(found.digest))
        files[view.name] = path
    return files
