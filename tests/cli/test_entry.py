"""The process of the command line: the shortcut says what the command says, and does without what reads options."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mainspring.cli.main import main


def _process(cwd: Path, *words: str, **options: object) -> tuple[int, bytes, bytes]:
    environment = os.environ | {"MAINSPRING_HOME": str(cwd / "home")}
    command = [sys.executable, "-m", "mainspring", *words]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "check": False, "env": environment} | options
    done = subprocess.run(command, cwd=cwd, **options)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the pins of two folders, in a workspace of its own."""
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for name in ("images", "b\u00fccher"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text("1")
        assert main(["data", "add", name, "--name", "some", "--pin"]) == 0
    return tmp_path


def _nothing(_: Path) -> None: ...


def _without_pins(project: Path) -> None:
    for pin in project.glob("*.pin"):
        pin.unlink()


def _change(project: Path) -> None:
    for number in range(30):
        (project / "images" / f"{number}").write_text("new")
    (project / "images" / "a").unlink()


def _break_one(project: Path) -> None:
    (project / "images.pin").write_text("no pin")


def _break_all(project: Path) -> None:
    _without_pins(project)
    (project / "images.pin").write_text("no pin")


def _close_home(project: Path) -> None:
    (project / "images").rename(project / "aside")
    (project / "images").symlink_to("images")


@pytest.mark.parametrize("state", [_nothing, _without_pins, _change, _break_one, _break_all, _close_home])
def test_status_says_the_same_with_and_without_what_reads_options(
    project: Path, state: Callable[[Path], None], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    state(project)
    capfdbinary.readouterr()
    code = main(["data", "status"])
    said = capfdbinary.readouterr()
    assert _process(project, "data", "status") == (code, said.out, said.err)
    assert code == {_nothing: 0, _without_pins: 0, _change: 1, _break_one: 1, _break_all: 2, _close_home: 1}[state]


def test_a_reader_that_went_away_is_no_error(project: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        assert _process(project, "data", "status", stdout=theirs)[::2] == (0, b"")
    finally:
        os.close(theirs)


@pytest.mark.parametrize(
    ("words", "said", "absent"),
    [
        ("status", 2, {"click", "dataclasses", "duckdb", "inspect", "shutil", "sqlite3"}),
        ("add images --pin", 1, {"click", "concurrent.futures", "duckdb", "logging", "shutil", "tempfile"}),
    ],
)
def test_the_shortcuts_import_neither_options_nor_engines(
    project: Path, words: str, said: int, absent: set[str]
) -> None:
    code = f"""
import sys
from mainspring.cli.entry import entry
sys.argv = ["mainspring", "data", *{words.split()!r}]
try:
    entry()
except SystemExit as ended:
    assert ended.code == 0
print(*{absent!r} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[said:] == [""]


@pytest.mark.parametrize("options", [[], ["--pin"]])
@pytest.mark.parametrize("path", ["new", "one.bin", "nowhere", "-x"])
def test_add_says_and_does_the_same_with_and_without_what_reads_options(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
    path: str,
    options: list[str],
) -> None:
    (project / "new").mkdir()
    (project / "new" / "a.bin").write_bytes(b"a")
    (project / "one.bin").write_bytes(b"one")
    quick = _process(project, "data", "add", path, *options)
    pins = {each.name: each.read_bytes() for each in project.glob("*.pin")}
    for each in ("new.pin", "one.bin.pin"):
        (project / each).unlink(missing_ok=True)
    monkeypatch.setenv("MAINSPRING_HOME", str(project / "other"))
    capfdbinary.readouterr()
    code = main(["data", "add", path, *options])
    said = capfdbinary.readouterr()
    assert quick == (code, said.out, said.err)
    assert pins == {each.name: each.read_bytes() for each in project.glob("*.pin")}
    assert code == {"new": 0, "one.bin": 0, "nowhere": 3, "-x": 2}[path]


def test_garbage_is_looked_for_while_a_command_works() -> None:
    code = """
import gc, sys
from mainspring.cli.entry import entry
from mainspring.cli import data_status
sys.argv = ["mainspring", "data", "status", "nowhere.pin"]
def report(*words, **options):
    assert gc.isenabled() and gc.get_freeze_count() > 10_000
    return 7
data_status.report_pins = report
entry()
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 7


def test_status_without_words_is_stopped_without_a_trace() -> None:
    code = """
import signal, sys
from mainspring.cli.entry import entry
from mainspring.cli import pin_report
sys.argv = ["mainspring", "data", "status"]
signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs the tests in the background ignores it
pin_report.report_pins = lambda: signal.raise_signal(signal.SIGINT)
entry()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Stopped.\n")
