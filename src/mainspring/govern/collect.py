"""Deleting for good: deleted runs past their retention, and the bytes that nothing names any more.

The rooms say what they need (`ROOTS`) and erase what they know of a run (`FORGET`); nothing here reads their tables.
"""

import shutil
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from mainspring.artifacts.collect import collect
from mainspring.artifacts.protocol import ArtifactStore
from mainspring.data import quarantine
from mainspring.data import versions as datasets
from mainspring.data.version_terms import Expired, expired_versions, remove_expired
from mainspring.domain.ids import Digest
from mainspring.pipeline import ledger, provenance
from mainspring.registry import versions as models
from mainspring.store.events import Event
from mainspring.store.protocol import Store, Transaction
from mainspring.tracking import files
from mainspring.tracking.batches import forget_journals
from mainspring.tracking.purge import count_deleted, purge_deleted

__all__ = ["FORGET", "ROOTS", "Freed", "collect_garbage"]

#: What each room needs of the artifact store. A room that writes down digests adds its function here; bytes that none
#: of these names are removed.
ROOTS: tuple[Callable[[Transaction], Iterable[Digest]], ...] = (
    datasets.artifact_roots,
    quarantine.artifact_roots,
    ledger.artifact_roots,
    provenance.artifact_roots,
    models.artifact_roots,
    files.artifact_roots,
)
#: What each room erases of a run, beside `tracking`, which owns it.
FORGET: tuple[Callable[[Transaction, str], None], ...] = (
    ledger.forget_run,
    provenance.forget_provenance,
    forget_journals,
)


class Freed(NamedTuple):
    """What a collection came to. `young` objects are named by nothing, and were put within the grace.

    `shrunk_bytes` is what older dataset versions take less, since they are kept as differences; `expired` are versions
    whose retention ended, which were let go of.
    """

    runs: int
    objects: int
    size_bytes: int
    bundle_folders: int
    kept: int
    young: int
    shrunk_bytes: int = 0
    expired: tuple[Expired, ...] = ()


def collect_garbage(
    store: Store,
    artifacts: ArtifactStore,
    *,
    bundles: Path,
    now: datetime,
    grace: timedelta,
    retention: timedelta,
    dry_run: bool = False,
) -> Freed:
    """Erase runs that have been deleted for `retention`, let go of dataset versions whose own retention ended, then
    remove the objects that nothing names.

    Objects put within the last `grace` stay: whoever put them may not have written down their digest yet. `bundles`
    holds laid-out copies of bundles; those of versions that are gone go too. A dry run changes nothing; what the runs
    it counts would let go of is not in its bytes.

    Raises:
        Unavailable: something that stays cannot be read. Nothing has been removed from the artifacts.
    """
    before = now - retention
    runs = count_deleted(store, before) if dry_run else len(purge_deleted(store, before, _forget))
    expired = tuple(expired_versions(store, now) if dry_run else remove_expired(store, now))
    roots, served = store.snapshot(_look)
    done = collect(artifacts, roots, put_before=now - grace, dry_run=dry_run)
    folders = [each for each in _unserved(bundles, served) if each.stat().st_mtime < (now - grace).timestamp()]
    if not dry_run:
        for folder in folders:
            shutil.rmtree(folder)
        if done.removed or folders:
            details = {"objects": done.removed, "size_bytes": done.removed_bytes, "bundle_folders": len(folders)}
            store.change(Event("artifacts.collected", "artifacts", details), lambda _: None)
    return Freed(runs, done.removed, done.removed_bytes, len(folders), done.kept, done.young, expired=expired)


def _forget(transaction: Transaction, run_id: str) -> None:
    for forget in FORGET:
        forget(transaction, run_id)


def _look(snapshot: Transaction) -> tuple[list[Digest], set[Digest]]:
    """Return all roots, and those of them that are bundles of versions."""
    return [digest for roots in ROOTS for digest in roots(snapshot)], set(models.artifact_roots(snapshot))


def _unserved(bundles: Path, served: set[Digest]) -> list[Path]:
    if not bundles.is_dir():
        return []
    # a folder is named by the beginning of its digest; behind a dash it may say what was made of it
    return [
        each
        for each in bundles.iterdir()
        if not any(digest.startswith(each.name.partition("-")[0]) for digest in served)
    ]
