"""What lies beside a pin: seen without reading, brought back bit by bit, and never lost unsaved."""

import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mainspring.artifacts import digests
from mainspring.data import file_index, pin_status, pinned
from mainspring.data.file_index import read_index
from mainspring.data.pin_status import status_of
from mainspring.data.pinned import checkout_pin
from mainspring.data.pins import pin_of, read_pin, write_pin
from mainspring.data.versions import DatasetVersion, add_dataset, count_files, find_dataset, pin_for
from mainspring.errors import Conflict, Corrupt, Invalid, NotFound
from mainspring.workspace import Workspace

NOW = datetime(2013, 4, 1, tzinfo=UTC)


class Tree:
    """A folder with a pin beside it, in a workspace."""

    def __init__(self, workspace: Workspace, root: Path) -> None:
        self.workspace, self.root = workspace, root
        self.folder = root / "images"
        self.pin = pin_of(self.folder)

    def write(self, **files: str) -> "Tree":
        for name, text in files.items():
            place = self.folder / name.replace("__", "/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        return self

    def add(self) -> DatasetVersion:
        added = add_dataset(
            self.workspace.store, self.workspace.artifacts, self.folder, name="images", at=NOW,
            indexes=self.workspace.indexes,
        )  # fmt: skip
        write_pin(self.pin, pin_for(added, "images", count_files(self.workspace.artifacts, added)))
        return added

    def settle(self) -> None:
        """Wait until the times of all files are so old that they can be trusted."""
        for place in [*self.folder.rglob("*"), self.folder]:
            os.utime(place, (1, 1))
        stamp = time.time_ns()
        while time.time_ns() < stamp + 2 * file_index._SLACK_NS:
            os.stat(self.folder)

    def status(self):
        return status_of(self.pin, lambda: self.workspace.artifacts, self.workspace.indexes)

    def checkout(self, *, force: bool = False) -> dict[str, str]:
        checkout_pin(self.pin, self.workspace.artifacts, self.workspace.indexes, force=force)
        return self.files()

    def files(self) -> dict[str, str]:
        return {
            each.relative_to(self.folder).as_posix(): each.read_text()
            for each in self.folder.rglob("*")
            if each.is_file()
        }


@pytest.fixture
def tree(workspace: Workspace, tmp_path: Path) -> Tree:
    return Tree(workspace, tmp_path).write(a="1", deep__b="2")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read to be hashed."""
    found: list[str] = []

    def counted(path: Path):
        found.append(path.name)
        return digests.digest_of_file(path)

    monkeypatch.setattr(pin_status, "digest_of_file", counted)
    return found


def test_status_tells_what_was_added_changed_and_removed(tree: Tree) -> None:
    tree.add()
    assert tree.status().state == "unchanged"
    tree.write(a="x", new="n")
    (tree.folder / "deep" / "b").unlink()
    found = tree.status()
    assert (found.state, found.added, found.changed, found.removed) == ("changed", ("new",), ("a",), ("deep/b",))
    tree.write(a="1", deep__b="2")
    (tree.folder / "new").unlink()
    assert tree.status().state == "unchanged"  # the bytes decide, not the times


def test_files_that_did_not_change_are_not_read_again(tree: Tree, reads: list[str]) -> None:
    tree.settle()
    tree.add()
    assert (tree.status().state, reads) == ("unchanged", [])
    tree.write(a="x")
    tree.status()
    assert reads == ["a"]


def test_a_write_within_the_clock_tick_of_the_add_is_seen(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_index, "_SLACK_NS", 3_600_000_000_000)  # however long a busy machine takes
    tree.add()
    index = read_index(tree.workspace.indexes, tree.folder)
    assert all(each.stat == () for each in index.files().values())  # just written: their times say nothing yet
    before = (tree.folder / "a").stat()
    tree.write(a="9")  # as long as before
    os.utime(tree.folder / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert tree.status().changed == ("a",)


def test_a_file_that_goes_before_it_is_read_is_told_as_a_change(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.add()
    tree.write(a="x", deep__b="y")

    def gone(path: Path):
        path.unlink()
        return digests.digest_of_file(path)

    monkeypatch.setattr(pin_status, "digest_of_file", gone)
    with pytest.raises(Conflict, match="changed while it was read"):
        tree.status()


def test_a_file_whose_times_were_put_back_is_seen(tree: Tree) -> None:
    tree.settle()
    tree.add()
    tree.write(a="9")
    os.utime(tree.folder / "a", (1, 1))
    assert tree.status().changed == ("a",)


def test_what_was_only_touched_is_read_once(tree: Tree, reads: list[str]) -> None:
    tree.settle()
    tree.add()
    tree.settle()
    assert tree.status().state == "unchanged"
    assert sorted(reads) == ["a", "b"]
    assert tree.status().state == "unchanged"
    assert sorted(reads) == ["a", "b"]


def test_a_damaged_index_costs_time_and_nothing_else(tree: Tree) -> None:
    tree.add()
    (place,) = tree.workspace.indexes.glob("*.index")
    whole = place.read_bytes()
    torn = [whole[: len(whole) // 2], whole[:100] + bytes(len(whole) - 100), whole + b"x", whole[:-1] + b"z"]
    for data in [b"", b"{}", whole.replace(b"index 2", b"index 9"), *torn]:
        place.write_bytes(data)
        assert read_index(tree.workspace.indexes, tree.folder) == file_index.NOTHING_SEEN
        assert tree.status().state == "unchanged"
        assert read_index(tree.workspace.indexes, tree.folder).n_files == 2


def test_a_readd_makes_no_version_of_what_is_unchanged_and_reads_only_what_changed(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.settle()
    tree.add()
    kept: list[str] = []
    store = type(tree.workspace.artifacts)
    put = store.put_file
    monkeypatch.setattr(store, "put_file", lambda self, path: kept.append(path.name) or put(self, path))
    assert tree.add().version == 1
    assert kept == []
    tree.write(a="x")
    assert tree.add().version == 2
    assert kept == ["a"]


@pytest.mark.parametrize("harm", ["deleted", "damaged"])
def test_a_readd_of_what_is_unchanged_puts_back_what_the_store_has_lost(tree: Tree, tmp_path: Path, harm: str) -> None:
    tree.settle()
    first = tree.add()
    artifacts = tree.workspace.artifacts
    lost = artifacts.path_of(digests.digest_of_file(tree.folder / "deep" / "b"))
    if harm == "deleted":
        lost.unlink()
    else:
        lost.chmod(0o644)
        lost.write_text("?")
    with pytest.raises(Corrupt if harm == "damaged" else NotFound):
        artifacts.checkout_tree(first.digest, tmp_path / "out")
    assert tree.add() == first
    artifacts.checkout_tree(first.digest, tmp_path / "out")
    assert (tmp_path / "out" / "deep" / "b").read_text() == "2"


def test_an_index_of_another_artifact_store_is_not_believed(tree: Tree, tmp_path: Path) -> None:
    tree.settle()
    tree.add()
    with Workspace(tmp_path / "other", actor="ada") as other:
        added = add_dataset(other.store, other.artifacts, tree.folder, name="i", at=NOW, indexes=tree.workspace.indexes)
        other.artifacts.checkout_tree(added.digest, tmp_path / "out")
    assert (tmp_path / "out" / "deep" / "b").read_text() == "2"


def test_a_checkout_goes_between_versions_and_touches_only_what_differs(tree: Tree) -> None:
    first = tree.add()
    old = tree.pin.read_text()
    tree.write(a="x", c="3")
    (tree.folder / "deep" / "b").unlink()
    tree.add()
    new = tree.pin.read_text()
    tree.pin.write_text(old)
    assert tree.checkout() == {"a": "1", "deep/b": "2"}
    assert tree.status().state == "unchanged"
    tree.pin.write_text(new)
    assert tree.checkout() == {"a": "x", "c": "3"}
    assert not (tree.folder / "deep").exists()
    kept = (tree.folder / "c").stat()
    assert tree.checkout() == {"a": "x", "c": "3"}
    assert (tree.folder / "c").stat().st_ctime_ns == kept.st_ctime_ns
    assert sorted(each.name for each in tree.root.iterdir()) == ["home", "images", "images.pin"]
    assert find_dataset(tree.workspace.store, "images/1") == first


def test_a_checkout_refuses_to_lose_what_no_version_holds(tree: Tree) -> None:
    tree.add()
    tree.write(a="mine", new="also mine")
    with pytest.raises(Conflict, match=r"`a`, `new` would be lost(?s:.*)--force"):
        tree.checkout()
    assert tree.files() == {"a": "mine", "deep/b": "2", "new": "also mine"}
    assert tree.checkout(force=True) == {"a": "1", "deep/b": "2"}


def test_what_is_missing_comes_back(tree: Tree) -> None:
    tree.add()
    (tree.folder / "a").unlink()
    assert tree.checkout() == {"a": "1", "deep/b": "2"}
    shutil.rmtree(tree.folder)
    assert tree.status().state == "missing"
    assert tree.checkout() == {"a": "1", "deep/b": "2"}


def test_a_damaged_object_changes_nothing(tree: Tree) -> None:
    tree.add()
    old = tree.pin.read_text()
    tree.write(a="x", deep__b="y")
    tree.add()
    tree.pin.write_text(old)
    damaged = tree.workspace.artifacts.path_of(digests.digest_of_bytes(b"2"))
    damaged.chmod(0o644)
    damaged.write_text("?")
    with pytest.raises(Corrupt):
        tree.checkout()
    assert tree.files() == {"a": "x", "deep/b": "y"}
    assert sorted(each.name for each in tree.root.iterdir()) == ["home", "images", "images.pin"]


def test_links_are_never_written_through(tree: Tree, tmp_path: Path) -> None:
    tree.add()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "b").write_text("theirs")
    (tree.folder / "deep" / "b").unlink()
    (tree.folder / "deep" / "b").symlink_to(outside / "b")
    with pytest.raises(Conflict, match="would be lost"):
        tree.checkout()
    assert tree.checkout(force=True) == {"a": "1", "deep/b": "2"}
    assert (outside / "b").read_text() == "theirs"
    (tree.folder / "deep" / "b").unlink()
    (tree.folder / "deep").rmdir()
    (tree.folder / "deep").symlink_to(outside)
    for force in (False, True):
        with pytest.raises(Invalid, match="`deep` is neither a file nor a folder"):
            tree.checkout(force=force)
    assert (outside / "b").read_text() == "theirs"


def test_the_target_itself_may_be_no_link(tree: Tree, tmp_path: Path) -> None:
    tree.add()
    outside = tree.folder.rename(tmp_path / "outside")
    (outside / "a").write_text("theirs")
    tree.folder.symlink_to(outside)
    with pytest.raises(Conflict, match="is no folder"):
        tree.checkout()
    assert tree.checkout(force=True) == {"a": "1", "deep/b": "2"}
    assert (outside / "a").read_text() == "theirs"


def test_a_file_becomes_a_folder_and_a_folder_a_file(tree: Tree) -> None:
    tree.write(x__y="deep")
    tree.add()
    first = tree.pin.read_text()
    (tree.folder / "x" / "y").unlink()
    (tree.folder / "x").rmdir()
    tree.write(x="flat")
    tree.add()
    second = tree.pin.read_text()
    tree.pin.write_text(first)
    assert tree.checkout()["x/y"] == "deep"
    tree.pin.write_text(second)
    assert tree.checkout()["x"] == "flat"


def test_a_lone_file_is_pinned_too(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a\n1\n")
    added = add_dataset(workspace.store, workspace.artifacts, path, name="t", at=NOW, indexes=workspace.indexes)
    write_pin(pin_of(path), pin_for(added, "t.csv", 1))
    path.write_text("a\n2\n")
    assert status_of(pin_of(path), lambda: workspace.artifacts, workspace.indexes).changed == ("",)
    with pytest.raises(Conflict, match=r"`t\.csv` would be lost"):
        checkout_pin(pin_of(path), workspace.artifacts, workspace.indexes)
    checkout_pin(pin_of(path), workspace.artifacts, workspace.indexes, force=True)
    assert path.read_text() == "a\n1\n"


def test_a_pin_of_another_store_cannot_be_compared_nor_checked_out(tree: Tree, tmp_path: Path) -> None:
    tree.add()
    tree.write(a="x")
    with Workspace(tmp_path / "other", actor="ada") as other:
        assert status_of(tree.pin, lambda: other.artifacts, other.indexes).state == "unknown"
        with pytest.raises(NotFound, match="no object"):
            checkout_pin(tree.pin, other.artifacts, other.indexes)
    assert tree.files()["a"] == "x"


def test_a_file_that_is_written_while_the_copies_are_made_is_not_overwritten(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.add()
    first = read_pin(tree.pin)
    tree.write(a="9").add()
    write_pin(tree.pin, first)
    copy = pinned._copy_out

    def meanwhile(*words) -> None:
        copy(*words)
        tree.write(a="of somebody")

    monkeypatch.setattr(pinned, "_copy_out", meanwhile)
    with pytest.raises(Conflict, match="was changed meanwhile"):
        tree.checkout()
    assert tree.files() == {"a": "of somebody", "deep/b": "2"}


def test_a_file_that_is_written_behind_the_checkout_is_no_versions(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.add()
    first = read_pin(tree.pin)
    tree.write(a="9").add()
    second = read_pin(tree.pin)
    write_pin(tree.pin, first)
    move = pinned._move_in

    def meanwhile(*words, **options) -> None:
        move(*words, **options)
        tree.write(a="of somebody")

    with monkeypatch.context() as patch:
        patch.setattr(pinned, "_move_in", meanwhile)
        tree.checkout()
    assert tree.status().changed == ("a",)
    write_pin(tree.pin, second)
    with pytest.raises(Conflict, match="no version holds"):
        tree.checkout()
    assert tree.files()["a"] == "of somebody"
    assert tree.add().version == 3
    assert tree.status().state == "unchanged"


@pytest.mark.parametrize("name", ["C:x.txt", "a\\b.txt"])
def test_a_name_that_could_not_be_given_back_is_refused_before_a_version_is_made(tree: Tree, name: str) -> None:
    (tree.folder / name).write_text("x")
    with pytest.raises(Invalid, match="cannot be kept under the name"):
        tree.add()
    with pytest.raises(NotFound):
        find_dataset(tree.workspace.store, "images")


def test_names_with_colons_are_given_back(tree: Tree) -> None:
    tree.write(**{"run_12:30.csv": "x"}).add()
    shutil.rmtree(tree.folder)
    assert tree.checkout()["run_12:30.csv"] == "x"


def test_a_missing_key_is_told_and_not_taken_for_a_pin_of_another_store(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.add()
    tree.write(a="x")
    monkeypatch.setenv("MAINSPRING_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("MAINSPRING_ENCRYPTION", "lost")
    with Workspace(tmp_path / "other") as other, pytest.raises(NotFound, match="There is no key `lost`"):
        status_of(tree.pin, lambda: other.artifacts, other.indexes)
