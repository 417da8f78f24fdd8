"""Older versions as differences: what they cost, that they read back to the bit, and which stay whole."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mainspring.artifacts.deltas import DeltaShelf
from mainspring.artifacts.digests import digest_of_bytes
from mainspring.data.shrinking import shrink_versions
from mainspring.data.versions import add_dataset, checkout_dataset
from mainspring.workspace import Workspace

LATER = datetime.max.replace(tzinfo=UTC)


@pytest.fixture
def workspace(tmp_path: Path):
    with Workspace(tmp_path / "home") as opened:
        yield opened


def rows(version: int) -> bytes:
    rng = random.Random(0)
    lines = [f"{number},{rng.gauss(0, 1):.6f}" for number in range(3000 + 30 * version)]
    for at in random.Random(version).sample(range(3000), 40 * version):
        lines[at] = f"{at},0.{version}"
    return "\n".join(["id,x", *lines, ""]).encode()


def kept_bytes(workspace: Workspace) -> int:
    return sum(each.stat().st_size for each in (workspace.home / "artifacts").rglob("*") if each.is_file())


def add(workspace: Workspace, path: Path, name: str) -> None:
    add_dataset(workspace.store, workspace.artifacts, path, name=name, at=workspace.clock.now())


def test_five_versions_of_a_table_cost_little_more_than_one_and_read_back(workspace: Workspace, tmp_path: Path) -> None:
    for version in range(5):
        (tmp_path / "table.csv").write_bytes(rows(version))
        add(workspace, tmp_path / "table.csv", "table")
    before = kept_bytes(workspace)
    assert shrink_versions(workspace.store, workspace.artifacts, unless_put_since=LATER) > 0.7 * before
    assert kept_bytes(workspace) < 1.3 * len(rows(4))
    assert shrink_versions(workspace.store, workspace.artifacts, unless_put_since=LATER) == 0
    for version in range(5):
        target = tmp_path / f"{version}.csv"
        checkout_dataset(workspace.store, workspace.artifacts, f"table/{version + 1}", target)
        assert target.read_bytes() == rows(version)


def test_files_of_folders_too_and_what_the_newest_holds_stays_whole(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "same.csv").write_bytes(rows(9))
    for version in range(3):
        (folder / "a.csv").write_bytes(rows(version))
        (folder / f"only-{version}.csv").write_bytes(rows(20 + version))
        add(workspace, folder, "folder")
        (folder / f"only-{version}.csv").unlink()
    (tmp_path / "b.csv").write_bytes(rows(0))  # what a folder's first version held is another dataset's newest
    add(workspace, tmp_path / "b.csv", "b")
    shrink_versions(workspace.store, workspace.artifacts, unless_put_since=LATER)
    assert len(list((workspace.home / "artifacts" / "deltas").glob("??/*"))) == 1  # a.csv of the second version
    for version in range(3):
        checkout_dataset(workspace.store, workspace.artifacts, f"folder/{version + 1}", tmp_path / f"{version}")
        assert (tmp_path / f"{version}" / "a.csv").read_bytes() == rows(version)


def test_what_was_used_within_the_grace_stays_whole(workspace: Workspace, tmp_path: Path) -> None:
    for version in range(2):
        (tmp_path / "table.csv").write_bytes(rows(version))
        add(workspace, tmp_path / "table.csv", "table")
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    assert shrink_versions(workspace.store, workspace.artifacts, unless_put_since=hour_ago) == 0


def test_a_file_of_a_folder_is_never_read_through_many_differences(workspace: Workspace, tmp_path: Path) -> None:
    """Also where its content stays the same from some versions of the folder to the next."""
    folder = tmp_path / "folder"
    folder.mkdir()
    contents = [rows(version) for version in range(25)]
    for version in range(33):
        (folder / "a.csv").write_bytes(contents[version - version // 4])  # every fourth changes only b.txt
        (folder / "b.txt").write_text(str(version))
        add(workspace, folder, "folder")
        shrink_versions(workspace.store, workspace.artifacts, unless_put_since=LATER)
    shelf = DeltaShelf(workspace.home / "artifacts")
    assert max(len(shelf.steps_to(digest_of_bytes(each))) for each in contents) <= 11
    checkout_dataset(workspace.store, workspace.artifacts, "folder/1", tmp_path / "first")
    assert (tmp_path / "first" / "a.csv").read_bytes() == contents[0]


def test_every_tenth_version_stays_whole(workspace: Workspace, tmp_path: Path) -> None:
    for version in range(13):
        (tmp_path / "table.csv").write_bytes(rows(version))
        add(workspace, tmp_path / "table.csv", "table")
        shrink_versions(workspace.store, workspace.artifacts, unless_put_since=LATER)
    assert len(list((workspace.home / "artifacts" / "deltas").glob("??/*"))) == 11
    checkout_dataset(workspace.store, workspace.artifacts, "table/1", tmp_path / "first.csv")
    assert (tmp_path / "first.csv").read_bytes() == rows(0)
