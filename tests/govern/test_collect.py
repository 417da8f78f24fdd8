"""Deleting for good: what each room still needs stays usable, what is gone is gone with its bytes."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import mainspring as ms
from mainspring.data.versions import add_dataset, checkout_dataset
from mainspring.domain.ids import Digest
from mainspring.errors import NotFound
from mainspring.govern.collect import collect_garbage
from mainspring.pipeline.ledger import Ledger, steps_of
from mainspring.registry.versions import delete_version, register_version
from mainspring.store.events import events
from mainspring.store.opening import open_store
from mainspring.store.protocol import Store
from mainspring.tracking import find_run, list_runs, log_metrics, start_run
from mainspring.tracking.experiments import move_experiment
from mainspring.tracking.runs import move_run
from mainspring.workspace import Workspace

NOW = datetime.now(UTC)
#: Columns that by their name may hold the digest of an object. Each was looked at: the ones that are True are read by
#: a room's `artifact_roots`, the others hold digests of something else. A new one belongs here, and into `ROOTS`.
DIGESTS = {
    "dataset_versions.digest": True,
    "file_stamps.digest": False,  # of files outside the store
    "input_datasets.digest": False,  # as the user of MLflow's client named it
    "logged_files.digest": True,
    "logged_model_metrics.dataset_digest": False,
    "model_versions.bundle": True,
    "run_provenance.document": True,
    "run_steps.log": True,
    "run_steps.output_digest": True,
    "step_code.digest": False,  # the text stands beside it
    "step_results.output": True,
    "step_results.output_digest": True,
    "step_results.reads_digest": False,  # of the list of reads
    "tokens.digest": False,  # of secrets
    "upload_parts.digest": True,
}


@ms.step
def squares(count: int) -> dict[str, object]:
    return {"numbers": b"\x00" * count, "text": "x" * 20_000}


@ms.pipeline
def counted(count: int = 50_000) -> dict[str, object]:
    return squares(count)


def collected(workspace: Workspace, *, days: float = 400, retention: float = 30, dry_run: bool = False):
    """Collect as if `days` had passed."""
    return collect_garbage(
        workspace.store,
        workspace.artifacts,
        bundles=workspace.home / "bundles",
        now=NOW + timedelta(days=days),
        grace=timedelta(days=1),
        retention=timedelta(days=retention),
        dry_run=dry_run,
    )


def test_every_column_that_may_hold_an_object_was_looked_at(workspace: Workspace) -> None:
    tables = workspace.store.read("SELECT name FROM sqlite_master WHERE type = 'table'")
    found = {
        f"{table}.{row[1]}"
        for (table,) in tables
        for row in workspace.store.read(f"SELECT * FROM pragma_table_info('{table}')")
        if any(word in row[1] for word in ("digest", "bundle", "document", "output", "blob", "content", "object"))
        or row[1] == "log"
    }
    assert found == set(DIGESTS), "is it the digest of an object? Then a room's `artifact_roots` must yield it"


def test_what_is_named_stays_usable_and_the_rest_is_freed(workspace: Workspace, tmp_path: Path) -> None:
    source = tmp_path / "data.csv"
    source.write_text("a,b\n1,2\n")
    add_dataset(workspace.store, workspace.artifacts, source, name="d", source="", at=NOW)
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "weights").write_bytes(b"weights")
    bundle = workspace.artifacts.put_tree(tmp_path / "bundle")
    version = register_version(workspace.store, "m", bundle=bundle, run_id=None, evidence={}, author="ada", at=NOW)
    first = counted.run(workspace.pipeline_context)
    workspace.artifacts.put_bytes(b"nobody names this")
    before = set(workspace.artifacts.digests())
    told = collected(workspace, dry_run=True)
    assert set(workspace.artifacts.digests()) == before
    freed = collected(workspace)
    assert freed == told
    assert (freed.objects, freed.size_bytes) == (1, 17)
    again = counted.run(workspace.pipeline_context)
    assert again.value == first.value
    assert [each.cached for each in again.steps] == [True]
    checkout_dataset(workspace.store, workspace.artifacts, "d", tmp_path / "out")
    assert (workspace.bundle_folder(version.bundle) / "weights").read_bytes() == b"weights"
    (event,) = events(workspace.store, verb="artifacts.collected")
    assert event.details == {"objects": 1, "size_bytes": 17, "bundle_folders": 0}


def test_a_deleted_version_takes_its_bytes_and_its_folder_with_it(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "weights").write_bytes(b"weights")
    bundle = workspace.artifacts.put_tree(tmp_path / "bundle")
    version = register_version(workspace.store, "m", bundle=bundle, run_id=None, evidence={}, author="ada", at=NOW)
    folder = workspace.bundle_folder(bundle)
    made = folder.with_name(f"{folder.name}-served")  # what was made of it to be served lives as long
    made.mkdir()
    assert collected(workspace).bundle_folders == 0
    assert made.is_dir()
    assert collected(workspace).objects == 0
    assert folder.exists()
    delete_version(workspace.store, version, actor="ada", at=NOW)
    freed = collected(workspace)
    assert (freed.objects, freed.bundle_folders) == (2, 2)
    assert not folder.exists()
    assert list(workspace.artifacts.digests()) == []


def test_deleted_runs_can_be_restored_for_their_retention_and_are_gone_after_it(workspace: Workspace) -> None:
    counted.run(workspace.pipeline_context)
    (run,) = list_runs(workspace.store)
    log_metrics(workspace.store, run.run_id, {"loss": 0.5}, NOW)
    workspace.store.record(lambda t: move_run(t, run.run_id, "deleted", at=NOW))
    assert collected(workspace, days=29).runs == 0
    assert find_run(workspace.store, run.run_id).metrics == {"loss": 0.5}
    assert collected(workspace, days=31, dry_run=True).runs == 1
    assert collected(workspace, days=31).runs == 1
    with pytest.raises(NotFound, match="No run has the id"):
        find_run(workspace.store, run.run_id)
    assert steps_of(workspace.store, run.run_id) == []
    # its results are the cache's, until that is cleared
    assert len(list(workspace.artifacts.digests())) > 0
    Ledger(workspace.store, workspace.artifacts).forget_older("9999")
    collected(workspace)
    assert list(workspace.artifacts.digests()) == []
    assert [event.details["runs"] for event in events(workspace.store, verb="runs.erased")] == [1]


def test_a_deleted_experiment_goes_with_its_runs_and_others_stay(store_address: str, tmp_path: Path) -> None:
    with Workspace(tmp_path / "home", actor="ada") as workspace:
        workspace.__dict__["store"] = store = open_store(store_address, actor="ada")
        for name in ("gone", "stays"):
            run = start_run(store, experiment=name, name="r", parameters={"a": 1}, at=NOW, tags={"b": "c"})
            log_metrics(store, run, {"loss": 1.0}, NOW)
        store.record(lambda t: move_experiment(t, experiment_named(store, "gone"), "deleted", at=NOW))
        assert collected(workspace).runs == 1
        assert [each.experiment for each in list_runs(store)] == ["stays"]
        assert store.read("SELECT count(*) FROM experiments WHERE name = 'gone'") == [(0,)]
        assert store.read("SELECT count(*) FROM metric_points") == [(1,)]


def experiment_named(store: Store, name: str) -> int:
    number: int = store.read("SELECT experiment_id FROM experiments WHERE name = ?", (name,))[0][0]
    return number


def test_an_object_that_cannot_be_read_stops_the_collection_before_anything_goes(workspace: Workspace) -> None:
    named = workspace.artifacts.put_bytes(json.dumps(["a" * 64]).encode())
    lonely = workspace.artifacts.put_bytes(b"lonely")
    register_version(workspace.store, "m", bundle=named, run_id=None, evidence={}, author="ada", at=NOW)
    path = workspace.artifacts.path_of(Digest(named))
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError):
        collected(workspace)
    assert workspace.artifacts.exists(lonely)
