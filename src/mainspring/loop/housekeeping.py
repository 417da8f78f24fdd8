"""What a workspace does for its own sake: forget what was kept long enough, prove the rest to be sound, encrypt it."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mainspring.artifacts.opening import trim
from mainspring.artifacts.scratch import sweep_scratch
from mainspring.artifacts.settling import settle
from mainspring.config import value_of
from mainspring.data.shrinking import shrink_versions
from mainspring.deploy.rollout import champion_before
from mainspring.domain.moments import parse_duration
from mainspring.domain.version import ModelVersion
from mainspring.errors import Corrupt
from mainspring.govern.collect import Freed, collect_garbage
from mainspring.predictions.retention import Forgotten, forget_before
from mainspring.predictions.segments import encrypt_segments
from mainspring.registry.versions import find_version, list_versions
from mainspring.store.backup import back_up, check, is_copied_here
from mainspring.store.events import Event, verify_chain
from mainspring.store.opening import open_store

if TYPE_CHECKING:
    from mainspring.workspace import Workspace

__all__ = ["Drill", "Encrypted", "clean", "drill", "encrypt"]


class Drill(NamedTuple):
    """What a drill proved: entries of the audit chain, the size of the copy that was restored (0: the database has its
    own tools), and the seconds in which each version that serves, or would after a rollback, was ready to answer."""

    entries: int
    copy_bytes: int
    ready_seconds: dict[str, float]


class Encrypted(NamedTuple):
    """What was brought under the newest key: objects and bytes, objects that lay there, segments of the log.

    `damaged` objects, which had been set aside, were removed.
    """

    objects: int
    size_bytes: int
    already: int
    damaged: int
    segments: int


def encrypt(workspace: "Workspace", tell: Callable[[int, int], None] | None = None) -> Encrypted:
    """Bring all that is encrypted at rest under the newest key; `tell` hears how many objects of how many are done.

    Raises:
        Invalid: no key is named.
        Corrupt: something is damaged; what could be was brought over, and no artifact was removed.
    """
    settled = settle(workspace.artifacts, tell)
    segments = encrypt_segments(workspace.store, workspace.segments)
    if not workspace.republish():  # routes name folders in memory now; one that does not still needs its own
        shutil.rmtree(workspace.home / "bundles", ignore_errors=True)
    sweep_scratch()
    done = Encrypted(*settled, segments)
    workspace.store.change(Event("artifacts.encrypted", "artifacts", done._asdict()), lambda _: None)
    return done


def clean(
    workspace: "Workspace", *, grace: str = "1d", retention: str = "", predictions: str = "", dry_run: bool = False
) -> tuple[Freed, Forgotten | None]:
    """Erase what was deleted `retention` ago, free what nothing names, forget old `predictions`; settings are defaults.

    Older versions of datasets become differences to the next ones. What killed processes left in folders of their own
    goes too.

    Objects that were put within `grace` stay; copies here of a bucket's objects go when they were not used for as long.
    None of the prediction log is forgotten where nothing says for how long it is kept.
    """
    now = workspace.clock.now()
    freed = collect_garbage(
        workspace.store,
        workspace.artifacts,
        bundles=workspace.bundles,
        now=now,
        grace=parse_duration(grace),
        retention=parse_duration(retention or value_of("retention")),
        dry_run=dry_run,
    )
    if not dry_run:  # behind the collection, for it needs room
        since = now - parse_duration(grace)
        shrunk = shrink_versions(workspace.store, workspace.artifacts, unless_put_since=since)
        freed = freed._replace(shrunk_bytes=shrunk)
        trim(workspace.artifacts, since)
        sweep_scratch()
    kept_for = predictions or value_of("prediction_retention")
    if not kept_for:
        return freed, None
    before: timedelta = parse_duration(kept_for)
    return freed, forget_before(workspace.store, workspace.segments, now - before, dry_run=dry_run)


def drill(workspace: "Workspace") -> Drill:
    """Do what will be needed in an emergency, beside the work: restore a copy, and load what a rollback would serve.

    What was proven is an event, for whoever asks when it last was.

    Raises:
        Corrupt: the database, its copy or a bundle is damaged; the message says which, and what to do.
    """
    entries = check(workspace.store)
    size = _restore(workspace, entries) if is_copied_here(workspace.store) else 0
    ready = {version.reference: _seconds_to_load(workspace, version) for version in _needed(workspace)}
    done = Drill(entries, size, ready)
    workspace.store.change(Event("drill.passed", "store", done._asdict()), lambda _: None)
    return done


def _restore(workspace: "Workspace", entries: int) -> int:
    with tempfile.TemporaryDirectory(dir=workspace.home, prefix="drill-") as scratch:
        copy = Path(scratch) / "store.sqlite"
        size = back_up(workspace.store, copy)
        with contextlib.closing(open_store(f"sqlite:///{copy}")) as restored:
            found = verify_chain(restored)
    if found < entries:
        raise Corrupt(f"The copy holds {found} entries of the audit chain, the database {entries}", where="drill")
    return size


def _needed(workspace: "Workspace") -> list[ModelVersion]:
    """Return each champion, and the version that a rollback would make champion."""
    needed = []
    for version in list_versions(workspace.store):
        if "champion" in version.aliases:
            before = champion_before(workspace.store, version.model)
            needed.append(version)
            needed += [] if before is None else [find_version(workspace.store, f"{version.model}/{before}")]
    return needed


def _seconds_to_load(workspace: "Workspace", version: ModelVersion) -> float:
    began = time.perf_counter()
    workspace.served_bundle(version)
    workspace.predictor(version)
    return round(time.perf_counter() - began, 3)
