"""Older versions of datasets, kept as their difference to the next: the newest is whole and is read as fast as ever.

What people edit, append to and delete from then costs what changed. A version reads back bit by bit all the same.
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import groupby, pairwise

from mainspring.artifacts.protocol import ArtifactStore
from mainspring.artifacts.trees import parse_tree
from mainspring.data.versions import DatasetVersion, list_datasets
from mainspring.domain.ids import Digest
from mainspring.errors import MainspringError
from mainspring.store.protocol import Store

__all__ = ["shrink_versions"]

#: Every so many versions one stays whole, so that none is read through more differences than that.
_WHOLE_EVERY = 10


def shrink_versions(store: Store, artifacts: ArtifactStore, *, unless_put_since: datetime) -> int:
    """Keep the files of older versions as their differences to the next version's; return the bytes that frees.

    Files that were put or used since that moment stay whole, and so do those of each dataset's newest version.
    """
    every = sorted(list_datasets(store), key=lambda version: (version.name, version.version))
    by_name = [list(each) for _, each in groupby(every, key=lambda version: version.name)]
    whole = {digest for versions in by_name for digest in _files(artifacts, versions[-1]).values()}
    freed = 0
    for versions in by_name:
        for older, newer in pairwise(versions):
            if older.version % _WHOLE_EVERY and artifacts.exists(older.digest) and artifacts.exists(newer.digest):
                for digest, like in _changed(artifacts, older, newer):
                    if digest not in whole:
                        freed += artifacts.shrink(digest, like, unless_put_since=unless_put_since)
    return freed


def _changed(artifacts: ArtifactStore, older: DatasetVersion, newer: DatasetVersion) -> Iterator[tuple[Digest, Digest]]:
    """Yield each file of a version with the file of the same name in the next, where they differ and are there."""
    after = _files(artifacts, newer)
    for path, digest in _files(artifacts, older).items():
        like = after.get(path, digest)
        if like != digest and artifacts.exists(digest) and artifacts.exists(like):
            yield digest, like


def _files(artifacts: ArtifactStore, version: DatasetVersion) -> dict[str, Digest]:
    """Return the files of a version by their relative paths; a lone file has none."""
    if not version.file_name.endswith("/"):
        return {"": version.digest}
    try:
        return {each.path: each.digest for each in parse_tree(artifacts.read_bytes(version.digest), version.digest)}
    except MainspringError:  # a damaged or missing list: whoever reads the version is told
        return {}
