import os
import subprocess
import sys
from pathlib import Path

import pytest

from mainspring.artifacts.scratch import make_scratch, scratch_folder
from mainspring.loop.housekeeping import clean
from mainspring.workspace import Workspace

SPILL = """
import os, signal, sys
from mainspring.data.table import connect
with connect() as connection:
    connection.execute("CREATE TEMP TABLE t AS SELECT random() AS a, random() AS b FROM range(4000000)").fetchall()
    (folder,) = [each for each in os.scandir(os.environ["MAINSPRING_HOME"])]
    print(folder.path, len(os.listdir(folder)) > 0, oct(folder.stat().st_mode & 0o777), flush=True)
    if sys.argv[1:]:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("MAINSPRING_HOME", str(folder))
    monkeypatch.setenv("MAINSPRING_MEMORY", "40MB")
    return folder


def spill(*words: str) -> str:
    done = subprocess.run([sys.executable, "-c", SPILL, *words], capture_output=True, text=True, check=False)
    assert "Error" not in done.stderr, done.stderr
    return done.stdout


def test_what_does_not_fit_goes_to_the_workspace_and_is_gone_with_the_process(home: Path) -> None:
    assert spill().split()[1:] == ["True", "0o700"]
    assert list(home.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next(home: Path) -> None:
    left = Path(spill("die").split()[0])
    assert any(left.iterdir())
    assert spill().split()[1:] == ["True", "0o700"]
    assert list(home.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_a_collection(home: Path) -> None:
    left = Path(spill("die").split()[0])
    with Workspace() as workspace, scratch_folder() as mine:
        left.mkdir(exist_ok=True)
        clean(workspace, dry_run=True)
        assert left.exists()
        clean(workspace)
        assert (left.exists(), mine.exists()) == (False, True)


def test_a_folder_in_use_is_left_alone(home: Path) -> None:
    with scratch_folder() as mine:
        (mine / "rows").write_text("1")
        made = make_scratch()
        assert made is not None
        assert (mine / "rows").read_text() == "1"
        os.close(made[1])
    assert not mine.exists()


def test_without_a_workspace_it_lies_where_temporary_files_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "nowhere"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with scratch_folder() as mine:
        assert mine.parent == tmp_path
    assert list(tmp_path.iterdir()) == []
