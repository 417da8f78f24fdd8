"""Dataset versions: the same bytes for ever, a new number for new bytes only, and nothing written over."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mainspring.data.versions import add_dataset, checkout_dataset, find_dataset, list_datasets
from mainspring.errors import Conflict, Invalid, NotFound
from mainspring.store.events import events
from mainspring.workspace import Workspace

NOW = datetime(2013, 4, 1, tzinfo=UTC)

ADDER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from mainspring.data.versions import add_dataset
from mainspring.workspace import Workspace
home, name = Path(sys.argv[1]), sys.argv[2]
with Workspace(home / "home", actor=name) as workspace:
    for number in range(15):
        text = f"a\\n{name}{number}\\n" if sys.argv[3] == "own" else "a\\n1\\n"
        path = home / f"{name}.csv"
        path.write_text(text)
        print(add_dataset(workspace.store, workspace.artifacts, path, name="d", at=datetime.now(UTC)).version)
"""


@pytest.fixture
def add(workspace: Workspace, tmp_path: Path):
    def added(content: bytes | str, *, name: str = "flights", file: str = "f.csv"):
        path = tmp_path / file
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return add_dataset(workspace.store, workspace.artifacts, path, name=name, at=NOW)

    return added


def test_new_bytes_get_the_next_number_and_old_ones_none(add, workspace: Workspace) -> None:
    first = add("a,b\n1,x\n2,y\n")
    assert (first.reference, first.n_rows, first.columns) == ("flights/1", 2, {"a": "BIGINT", "b": "VARCHAR"})
    assert (first.file_name, first.size_bytes, first.source) == ("f.csv", 12, "f.csv")
    assert add("a,b\n1,x\n2,y\n") == first
    second = add("a,b\n1,x\n")
    assert second.version == 2
    assert add("a,b\n1,x\n2,y\n").version == 3  # the newest decides: going back is a change
    assert [each.version for each in list_datasets(workspace.store, "flights")] == [3, 2, 1]
    assert [event.details["version"] for event in events(workspace.store, verb="data.added")] == [1, 2, 3]


def test_versions_are_found_by_name_and_number(add, workspace: Workspace) -> None:
    add("a\n1\n"), add("a\n2\n")
    assert find_dataset(workspace.store, "flights").version == 2
    assert find_dataset(workspace.store, "flights/1").version == 1
    with pytest.raises(NotFound, match=r"no version 9(?s:.*)newest is 2"):
        find_dataset(workspace.store, "flights/9")
    with pytest.raises(NotFound, match=r"(?s)no dataset `fligths`.*Did you mean `flights`"):
        find_dataset(workspace.store, "fligths")
    for bad in ("flights/x", "flights/²", "flights/-1"):
        with pytest.raises(Invalid, match="not a dataset version"):
            find_dataset(workspace.store, bad)


@pytest.mark.parametrize("whose", ["own", "same"])
def test_adds_at_once_get_distinct_numbers_and_the_same_bytes_one(tmp_path: Path, whose: str) -> None:
    children = [
        subprocess.Popen([sys.executable, "-c", ADDER, str(tmp_path), name, whose], stdout=subprocess.PIPE, text=True)
        for name in "ab"
    ]
    numbers = [[int(line) for line in child.communicate(timeout=60)[0].split()] for child in children]
    assert [child.returncode for child in children] == [0, 0]
    if whose == "own":
        assert sorted(numbers[0] + numbers[1]) == list(range(1, 31))
    else:
        assert numbers == [[1] * 15] * 2
    with Workspace(tmp_path / "home") as workspace:
        assert len(events(workspace.store, verb="data.added")) == (30 if whose == "own" else 1)


def test_a_checkout_gives_the_same_bytes(add, workspace: Workspace, tmp_path: Path) -> None:
    content = bytes(range(256)) * 1000
    add(content, file="model.bin", name="raw")
    into = tmp_path / "out"
    into.mkdir()
    path = checkout_dataset(workspace.store, workspace.artifacts, "raw/1", into)
    assert path == into / "model.bin"
    assert path.read_bytes() == content
    deep = checkout_dataset(workspace.store, workspace.artifacts, "raw", tmp_path / "new" / "named.bin")
    assert deep.read_bytes() == content
    deep.write_bytes(b"mine now")  # a checkout is an ordinary file
    assert sorted(each.name for each in (tmp_path / "new").iterdir()) == ["named.bin"]


def test_a_checkout_does_not_write_over_a_file_unless_told(add, workspace: Workspace, tmp_path: Path) -> None:
    add("a\n1\n")
    target = tmp_path / "t.csv"
    target.write_text("mine")
    with pytest.raises(Conflict, match="is there already"):
        checkout_dataset(workspace.store, workspace.artifacts, "flights", target)
    assert target.read_text() == "mine"
    checkout_dataset(workspace.store, workspace.artifacts, "flights", target, force=True)
    assert target.read_text() == "a\n1\n"


def test_a_folder_is_a_version_and_comes_back(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.bin").write_bytes(b"1")
    (folder / "deep" / "b.bin").write_bytes(b"22")
    first = add_dataset(workspace.store, workspace.artifacts, folder, name="images", at=NOW)
    assert (first.file_name, first.size_bytes, first.n_rows, first.columns) == ("images/", 3, None, None)
    assert add_dataset(workspace.store, workspace.artifacts, folder, name="images", at=NOW) == first
    (folder / "a.bin").write_bytes(b"x")
    assert add_dataset(workspace.store, workspace.artifacts, folder, name="images", at=NOW).version == 2
    target = checkout_dataset(workspace.store, workspace.artifacts, "images/1", tmp_path / "out")
    assert (target / "a.bin").read_bytes() + (target / "deep" / "b.bin").read_bytes() == b"122"
    (tmp_path / "file").write_text("mine")
    for taken in (target, tmp_path / "file"):
        with pytest.raises(Conflict):
            checkout_dataset(workspace.store, workspace.artifacts, "images/1", taken, force=True)


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a b", "-a", "é", "x" * 101, "a\n"])
def test_a_name_that_cannot_stand_in_a_path_is_refused(add, name: str) -> None:
    with pytest.raises(Invalid, match="not a dataset name"):
        add("a\n1\n", name=name)


def test_files_that_cannot_be_what_they_say_are_refused(add, workspace: Workspace, tmp_path: Path) -> None:
    for file, content, said in (
        ("e.csv", b"", "is empty"),
        ("p.parquet", b"no parquet", "cannot be read"),
        ("b.csv", b"a,b\n1,2\n1,2,3,4\n", "Line: 3"),
        ("x.bin", b"", "is empty"),
    ):
        with pytest.raises(Invalid, match=said):
            add(content, file=file)
    with pytest.raises(NotFound):
        add_dataset(workspace.store, workspace.artifacts, tmp_path / "none.csv", name="x", at=NOW)
    (tmp_path / "empty").mkdir()
    with pytest.raises(Invalid, match="holds no files"):
        add_dataset(workspace.store, workspace.artifacts, tmp_path / "empty", name="x", at=NOW)
    assert list_datasets(workspace.store) == []
    assert events(workspace.store) == []


def test_a_file_that_is_cut_while_it_is_read_is_told_and_ends_no_process(tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    path.touch()
    sizes = [256 << 20, 64 << 20]  # holes, which take no room
    os.truncate(path, sizes[0])
    environment = {**os.environ, "MAINSPRING_HOME": str(tmp_path / "home")}
    words = [sys.executable, "-m", "mainspring", "data", "add", str(path)]
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) as adding:
        while adding.poll() is None:
            sizes.reverse()
            os.truncate(path, sizes[0])
        assert adding.stderr is not None
        told = adding.stderr.read()
    assert adding.returncode > 0, adding.returncode
    assert "`large.bin` changed while it was read" in told
