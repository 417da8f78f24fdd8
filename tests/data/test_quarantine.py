"""Quarantine: accepted + quarantined = ingested, whatever happens, and a row leaves it by name and reason only."""

import os
import random
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mainspring.data.quarantine import Ingestion, ingest, list_ingestions, release, set_aside_rows
from mainspring.data.schema_file import read_schema
from mainspring.data.table import n_rows, read_columns
from mainspring.data.versions import add_dataset, checkout_dataset, find_dataset, list_datasets
from mainspring.errors import CheckFailed, Conflict, Invalid, NotFound
from mainspring.store.events import events
from mainspring.workspace import Workspace

NOW = datetime(2013, 4, 1, tzinfo=UTC)
RULES = "columns:\n  n: {type: integer, max: 9, severity: quarantine}\nclean: [{missing: ['?']}]\n"
FILE = "n,t\n1,a\n?,b\n30,c\nx,d\n2,e\n"

INGESTER = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from mainspring.data.quarantine import ingest
from mainspring.data.schema_file import read_schema
from mainspring.workspace import Workspace
home, name = Path(sys.argv[1]), sys.argv[2]
with Workspace(home / "home", actor=name) as workspace:
    for number in range(int(sys.argv[3])):
        path = home / f"{name}.csv"
        path.write_text("n,t\\n" + "".join(f"{n},{name}{number}\\n" for n in range(20)))
        if int(sys.argv[4]):
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), resource.RLIM_INFINITY))
        schema, at = read_schema(home / "s.yaml"), datetime.now(UTC)
        found = ingest(workspace.store, workspace.artifacts, path, schema, name="d", at=at)
        print(found.number, flush=True)
"""


@pytest.fixture
def ingested(workspace: Workspace, tmp_path: Path) -> Ingestion:
    (tmp_path / "f.csv").write_text(FILE)
    (tmp_path / "s.yaml").write_text(RULES)
    schema = read_schema(tmp_path / "s.yaml")
    return ingest(workspace.store, workspace.artifacts, tmp_path / "f.csv", schema, name="d", at=NOW)


def check_accounts(workspace: Workspace, tmp_path: Path) -> int:
    """Count every ingestion again, from the bytes that were kept, and return how many there are."""
    found = list_ingestions(workspace.store)
    for each in found:
        assert each.n_accepted + each.n_set_aside == each.n_ingested
        target = tmp_path / f"check-{each.name}-{each.number}.parquet"
        checkout_dataset(workspace.store, workspace.artifacts, f"{each.name}/{each.version}", target)
        held = set_aside_rows(workspace.store, workspace.artifacts, each.name, each.number, at=workspace.clock.now())
        original = workspace.artifacts.read_bytes(each.original).decode().strip().splitlines()
        assert n_rows(read_columns(target)) == each.n_accepted
        assert len(held) == each.n_set_aside
        assert len(original) - 1 == each.n_ingested
    return len(found)


def test_every_row_is_in_the_version_or_in_quarantine(
    ingested: Ingestion, workspace: Workspace, tmp_path: Path
) -> None:
    assert (ingested.n_ingested, ingested.n_accepted, ingested.n_set_aside) == (5, 2, 3)
    held = set_aside_rows(workspace.store, workspace.artifacts, "d", at=workspace.clock.now())
    assert [(each.row, each.reasons, each.values) for each in held] == [
        (1, ("n nullable",), {"n": "?", "t": "b"}),
        (2, ("n max",), {"n": "30", "t": "c"}),
        (3, ("parse n",), {"n": "x", "t": "d"}),
    ]
    assert check_accounts(workspace, tmp_path) == 1


def test_a_row_is_released_by_name_and_reason(ingested: Ingestion, workspace: Workspace, tmp_path: Path) -> None:
    store, artifacts = workspace.store, workspace.artifacts
    found = release(store, artifacts, "d", [2], reason="30 is right, the scale was changed", by="ann", at=NOW)
    assert (found.version, found.n_accepted, found.n_set_aside, found.n_released) == (2, 3, 2, 1)
    checkout_dataset(store, artifacts, "d", tmp_path / "now.parquet")
    assert read_columns(tmp_path / "now.parquet")["n"].tolist() == [1, 2, 30]
    (event,) = events(store, verb="data.released")
    assert (event.actor, event.details["rows"]) == ("ann", [2])
    assert "scale" in str(event.details["reason"])
    assert check_accounts(workspace, tmp_path) == 1
    for rows, reason, error in (
        ([2], "again", NotFound),
        ([0], "why", NotFound),
        ([], "x", NotFound),
        ([1], " ", Invalid),
    ):
        with pytest.raises(error):
            release(store, artifacts, "d", rows, reason=reason, by="ann", at=NOW)
    assert find_dataset(store, "d").version == 2


def test_rows_do_not_go_into_a_version_they_are_not_of(
    ingested: Ingestion, workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "other.csv").write_text("n\n5\n")
    add_dataset(workspace.store, workspace.artifacts, tmp_path / "other.csv", name="d", at=NOW)
    with pytest.raises(Conflict, match=r"`d/2` is not of ingestion 1"):
        release(workspace.store, workspace.artifacts, "d", [2], reason="good", by="ann", at=NOW)


def test_a_batch_that_is_stopped_leaves_nothing(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text(FILE)
    (tmp_path / "s.yaml").write_text(RULES + "rows: {min: 3}\n")
    schema = read_schema(tmp_path / "s.yaml")
    with pytest.raises(CheckFailed, match="min_rows: 2 rows where at least 3"):
        ingest(workspace.store, workspace.artifacts, tmp_path / "f.csv", schema, name="d", at=NOW)
    assert (list_ingestions(workspace.store), list_datasets(workspace.store), events(workspace.store)) == ([], [], [])


def ingester(tmp_path: Path, name: str, count: int, most_bytes: int = 0) -> "subprocess.Popen[str]":
    (tmp_path / "s.yaml").write_text(RULES)
    words = [sys.executable, "-c", INGESTER, str(tmp_path), name, str(count), str(most_bytes)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_ingestions_at_once_lose_no_row(tmp_path: Path) -> None:
    children = [ingester(tmp_path, name, 6) for name in ("x", "y")]
    said = [child.communicate(timeout=60)[0].split() for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert sorted(int(each) for one in said for each in one) == list(range(1, 13))
    with Workspace(tmp_path / "home") as workspace:
        assert check_accounts(workspace, tmp_path) == 12
        assert {(each.n_accepted, each.n_set_aside) for each in list_ingestions(workspace.store)} == {(10, 10)}


def test_ingestions_that_are_killed_are_there_whole_or_not_at_all(tmp_path: Path) -> None:
    chance = random.Random(7)
    told = 0
    for _ in range(4):
        child = ingester(tmp_path, "x", 100)
        assert child.stdout is not None
        for _ in range(chance.randint(1, 4)):
            assert child.stdout.readline()
            told += 1
        os.kill(child.pid, signal.SIGKILL)  # somewhere inside the next ingestion
        with child:  # communicate() would pass over what the pipe's reader holds already
            told += len(child.stdout.read().split())
        with Workspace(tmp_path / "home") as workspace:
            found = list_ingestions(workspace.store)
            assert len(found) in (told, told + 1)  # the last may be kept and not yet told
            told = len(found)
            assert {each.version for each in found} <= {each.version for each in list_datasets(workspace.store, "d")}
    with Workspace(tmp_path / "home") as workspace:
        assert check_accounts(workspace, tmp_path) == told


def test_ingestions_on_a_full_disk_are_there_whole_or_not_at_all(tmp_path: Path) -> None:
    with ingester(tmp_path, "x", 1) as child:
        assert child.wait(60) == 0
    told = failed = 0
    for most_bytes in (100, 700, 3_000, 20_000, 60_000, 200_000):  # no file grows beyond it
        with ingester(tmp_path, "y", 3, most_bytes=most_bytes) as child:
            told += len(child.communicate(timeout=60)[0].split())
            failed += child.returncode != 0
        with Workspace(tmp_path / "home") as workspace:
            assert len(list_ingestions(workspace.store)) == told + 1
    with Workspace(tmp_path / "home") as workspace:
        assert check_accounts(workspace, tmp_path) == told + 1
    assert failed > 2  # else the disk was never full
    assert told >= 3
