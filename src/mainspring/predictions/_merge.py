"""Merging small segments into larger ones, so that years of sealing leave tens of files and not thousands.

Segments of one model, kind and version are merged when eight neighbours have about the same size, as in a
log-structured merge tree (O'Neil et al. 1996), so each row is rewritten once for each factor of eight.
"""

from pathlib import Path

from mainspring.data.table import connect
from mainspring.predictions._files import scan_of, write_segment
from mainspring.predictions._table import Segment, families, replace, segments
from mainspring.store.protocol import Store

__all__ = ["merge_small"]

#: How many segments of one size make one of the next.
_FAN = 8
#: Segments from 8 ** 6 = 262,144 rows on stay as they are.
_TOP = 6


def merge_small(store: Store, folder: Path) -> None:
    """Merge until nothing is left to merge. The caller holds the sealer's lock.

    The row of the new segment takes the place of the old rows in one transaction, so a reader counts each prediction
    once, and a kill at any instant leaves either the old segments or the new one; files without a row are swept.
    """
    for model, kind, version in families(store):
        while True:
            standing = [each for each in segments(store, model, kind) if each.model_version == version]
            run = _run_to_merge(standing)
            if not run:
                break
            _merge(store, folder, run)


def _run_to_merge(standing: list[Segment]) -> list[Segment]:
    """Return neighbours of which at least eight have the same size and none a larger one; none where nothing is due."""
    sizes = [_size(each) for each in standing]
    for size in range(_TOP):
        start = 0
        for end in range(len(standing) + 1):
            if end == len(standing) or sizes[end] > size:
                if sizes[start:end].count(size) >= _FAN:
                    return standing[start:end]
                start = end + 1
    return []


def _size(segment: Segment) -> int:
    """Return how often eight goes into the number of rows."""
    return (segment.n_rows.bit_length() - 1) // 3


def _merge(store: Store, folder: Path, run: list[Segment]) -> None:
    with connect() as connection:
        source = scan_of(folder, (each.path for each in run))
        path = write_segment(folder, run[0].kind, connection, f"SELECT * FROM {source}")
    merged = Segment(
        run[0].model,
        run[0].kind,
        path.name,
        sum(each.n_rows for each in run),
        min(each.first_at for each in run),
        max(each.last_at for each in run),
        min(each.first_id for each in run),
        max(each.last_id for each in run),
        run[0].model_version,
    )
    replace(store, run, merged)
    for each in run:
        (folder / each.path).unlink(missing_ok=True)
