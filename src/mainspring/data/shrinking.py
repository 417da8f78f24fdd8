"""Older versions of datasets, kept as their difference to the next: the newest is whole and is read as fast as ever.

What people edit, append to and delete from then costs what changed. A version reads back bit by bit all the same.
"""

from contextlib import suppress
from datetime import datetime
from itertools import groupby, pairwise

from mainspring.artifacts.protocol import ArtifactStore
from mainspring.artifacts.trees import parse_tree
from mainspring.data.versions import DatasetVersion, list_datasets
from mainspring.domain.ids import Digest
from mainspring.errors import Corrupt, MainspringError, NotFound, Unavailable
from mainspring.store.protocol import Store

__all__ = ["shrink_versions"]

#: Of what a file held from version to version, one in so many stays whole; none is read through more differences.
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
        for contents in _contents(artifacts, versions):
            for number, (digest, like) in enumerate(pairwise(contents), start=1):
                if number % _WHOLE_EVERY and digest not in whole:
                    with suppress(Corrupt, NotFound, Unavailable):  # whoever reads it is told; the others go on
                        freed += artifacts.shrink(digest, like, unless_put_since=unless_put_since)
    return freed


def _contents(artifacts: ArtifactStore, versions: list[DatasetVersion]) -> list[list[Digest]]:
    """Return for each file name what it held, from version to version, without repeats."""
    held: dict[str, list[Digest]] = {}
    for version in versions:
        for path, digest in _files(artifacts, version).items():
            contents = held.setdefault(path, [])
            if contents[-1:] != [digest]:
                contents.append(digest)
    return list(held.values())


def _files(artifacts: ArtifactStore, version: DatasetVersion) -> dict[str, Digest]:
    """Return the files of a version by their relative paths; a lone file has none."""
    if not version.file_name.endswith("/"):
        return {"": version.digest}
    try:
        return {each.path: each.digest for each in parse_tree(artifacts.read_bytes(version.digest), version.digest)}
    except MainspringError:  # a damaged or missing list: whoever reads the version is told
        return {}
