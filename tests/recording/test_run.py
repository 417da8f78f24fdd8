"""`ms.start_run` and `ms.log`: kept at return, whatever happens to the process, the disk or the server."""

import logging
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
from tests.server.conftest import Server

import mainspring as ms
from mainspring.errors import Conflict, Invalid, NotFound
from mainspring.recording.journal import left_behind
from mainspring.recording.run import log_journals, send_left_behind
from mainspring.tracking import Run, find_run, list_runs, metric_history
from mainspring.tracking.files import find_file, list_folder, root_of
from mainspring.workspace import Workspace

# Logs for ever, and says each number once it was logged.
LOGGER = """
import os, sys
import mainspring as ms
with ms.start_run("killed", name=sys.argv[1], watch_machine=False) as run:
    os.write(1, (run.run_id + "\\n").encode())
    for number in range(100_000):
        ms.log(loss=number, step=number)
        os.write(1, f"{number}\\n".encode())
"""
# A run whose server is not there.
ALONE = """
import mainspring as ms
import mainspring.recording.run as recording
recording._END_SECONDS = 0.2
with ms.start_run("e", watch_machine=False) as run:
    ms.log(loss=1)
print(run.run_id)
"""
NOBODY = "http://127.0.0.1:1"
SCRIPT = """
import mainspring as ms
ms.log(loss=0.5)
ms.log({"loss": 0.25}, parameters={"c": 1})
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def found(home: Path, run_id: str) -> Run:
    with Workspace(home) as workspace:
        return find_run(workspace.store, run_id)


def points(home: Path, run_id: str) -> list[float]:
    with Workspace(home) as workspace:
        return [value for _, _, value in metric_history(workspace.store, run_id, "loss")]


def killed_after(count: int, name: str, **environment: str) -> tuple[str, int]:
    """Run the logger, kill it after it said `count` numbers, and return its run and the last number it said."""
    command = [sys.executable, "-c", LOGGER, name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **environment}) as child:
        assert child.stdout is not None
        run_id = child.stdout.readline().decode().strip()
        for _ in range(count):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        said = [line for line in child.stdout.read().split(b"\n")[:-1] if line]
        return run_id, int(said[-1]) if said else count - 1


def test_a_run_needs_no_server_and_keeps_what_was_logged(home: Path) -> None:
    with ms.start_run("e", name="n", parameters={"c": 1}, tags={"a": "b"}) as run:
        ms.log(loss=0.5)
        ms.log({"loss": 0.25, "f1": 1}, tags={"stage": "late"})
        run.log(loss=float("nan"), step=7)
        assert run.flush()
        assert found(home, run.run_id).status == "running"
    kept = found(home, run.run_id)
    assert (kept.experiment, kept.name, kept.status) == ("e", "n", "finished")
    assert kept.parameters == {"c": "1"}
    assert kept.tags["a"] == "b"
    assert kept.tags["stage"] == "late"
    assert points(home, run.run_id)[:2] == [0.5, 0.25]
    assert kept.metrics["system/process_memory_usage_megabytes"] > 1
    assert list(log_journals(home).iterdir()) == []


def test_an_error_in_the_block_fails_the_run(home: Path) -> None:
    for error, status in ((LookupError, "failed"), (KeyboardInterrupt, "killed")):
        with pytest.raises(error), ms.start_run("e", watch_machine=False) as run:
            raise error
        assert found(home, run.run_id).status == status


def test_what_cannot_be_logged_is_said_at_once(home: Path) -> None:
    with ms.start_run("e", parameters={"c": 1}, watch_machine=False) as run:
        with pytest.raises(Invalid, match="`loss` is 'low'"):
            ms.log(loss="low")  # type: ignore[arg-type]
        with pytest.raises(Conflict, match="cannot become '2'"):
            ms.log(parameters={"c": 2})
        ms.log(parameters={"c": 1, "d": 2})
    with pytest.raises(Invalid, match="has ended"):
        run.log(loss=1)
    assert found(home, run.run_id).parameters == {"c": "1", "d": "2"}


def test_runs_inside_each_other_are_told_apart(home: Path) -> None:
    with ms.start_run("e", watch_machine=False) as outer:
        ms.log(loss=1)
        with ms.start_run("e", watch_machine=False) as inner:
            ms.log(loss=2)
        ms.log(loss=3)
    assert points(home, outer.run_id) == [1, 3]
    assert points(home, inner.run_id) == [2]


LATER = """
import threading
main = threading.main_thread()
threading.Thread(target=lambda: (main.join(), ms.log(loss=0.125))).start()
"""


def test_a_thread_that_outlives_the_script_still_logs(home: Path, tmp_path: Path) -> None:
    script = tmp_path / "training.py"
    script.write_text(SCRIPT + LATER)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, timeout=60, text=True)
    assert done.stderr == ""
    with Workspace(home) as workspace:
        (run,) = list_runs(workspace.store)
    assert run.status == "finished"
    assert points(home, run.run_id) == [0.5, 0.25, 0.125]


@pytest.mark.parametrize(("ending", "status"), [("", "finished"), ("raise LookupError", "failed")])
def test_a_script_that_only_logs_is_a_run(home: Path, tmp_path: Path, ending: str, status: str) -> None:
    script = tmp_path / "training.py"
    script.write_text(SCRIPT + ending)
    subprocess.run([sys.executable, str(script)], capture_output=True, timeout=60)
    with Workspace(home) as workspace:
        (run,) = list_runs(workspace.store)
    assert (run.experiment, run.status, run.parameters) == ("training", status, {"c": "1"})
    assert points(home, run.run_id) == [0.5, 0.25]


def test_the_commit_of_the_code_is_kept(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q", "-b", "trunk"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    with ms.start_run("e", watch_machine=False) as run:
        pass
    tags = found(home, run.run_id).tags
    assert tags["mlflow.source.git.commit"] == commit
    assert tags["mlflow.source.git.branch"] == "trunk"
    assert tags["mainspring.git.dirty"] == "true"  # the workspace lies in the folder


def test_forked_children_log_into_their_parents_run_and_do_not_end_it(home: Path) -> None:
    with ms.start_run("e", watch_machine=False) as run:
        children = []
        for number in range(3):
            child = os.fork()
            if child == 0:
                for step in range(50):
                    ms.log(loss=number, step=100 * number + step)
                run.end()
                os._exit(0)
            children.append(child)
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * 3
        ms.log(loss=9, step=999)
    assert len(points(home, run.run_id)) == 151
    assert found(home, run.run_id).status == "finished"


def test_a_kill_at_any_moment_loses_nothing_that_was_logged(home: Path) -> None:
    chance = random.Random(5)
    killed = [killed_after(chance.randrange(1, 3000), str(number)) for number in range(4)]
    assert 1 <= send_left_behind(home) <= len(killed)  # each that started has begun to send what the last one left
    for run_id, last in killed:
        kept = points(home, run_id)
        assert kept == [float(number) for number in range(len(kept))]
        assert last + 1 <= len(kept) <= last + 2  # one more may have been logged and not said
        assert found(home, run_id).status == "killed"
    assert list(log_journals(home).iterdir()) == []


def test_the_next_run_sends_what_a_killed_one_left(home: Path, wait: Callable[[Callable[[], bool]], None]) -> None:
    run_id, last = killed_after(100, "first")
    with ms.start_run("e", watch_machine=False):
        wait(lambda: len(list(log_journals(home).iterdir())) == 1)
    assert len(points(home, run_id)) >= last + 1


def test_a_journal_that_somebody_writes_is_left_alone(home: Path) -> None:
    with ms.start_run("e", watch_machine=False) as run:
        ms.log(loss=1)
        assert list(left_behind(log_journals(home))) == []
        assert send_left_behind(home) == 0
    assert points(home, run.run_id) == [1]


def test_a_line_that_was_never_finished_is_passed_over(home: Path) -> None:
    run_id, _ = killed_after(10, "torn")
    (path,) = log_journals(home).iterdir()
    whole = path.read_bytes()
    with path.open("ab") as stream:
        stream.write(b'{"type":"log","at_ms":1,"metr')
    assert send_left_behind(home) == 1
    assert len(points(home, run_id)) == whole.count(b'"type":"log"')
    assert found(home, run_id).status == "killed"


class TestServer:
    @pytest.fixture
    def wide(self, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The workspace of the server; the client has its own."""
        return tmp_path / "wide"

    def test_a_run_goes_to_the_server_that_the_setting_names(
        self, home: Path, wide: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = Server(wide)
        try:
            monkeypatch.setenv("MAINSPRING_URL", server.url)
            with ms.start_run("e", watch_machine=False) as run:
                for number in range(2500):
                    ms.log(loss=number, step=number)
            assert points(wide, run.run_id) == [float(number) for number in range(2500)]
            assert found(wide, run.run_id).status == "finished"
            assert not (home / "store.sqlite").exists()
        finally:
            server.stop()

    def test_a_server_that_is_killed_gets_the_rest_when_it_is_back(
        self, home: Path, wide: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = Server(wide)
        port = server.url.rpartition(":")[2]
        monkeypatch.setenv("MAINSPRING_URL", server.url)
        with ms.start_run("e", watch_machine=False) as run:
            for round_ in range(3):
                for number in range(200):
                    ms.log(loss=number, step=1000 * round_ + number)
                if round_ == 0:
                    assert run.flush()
                server.kill()
                ms.log(loss=0, step=1000 * round_ + 999)
                server = Server(wide, "--port", port)
        server.stop()
        assert len(points(wide, run.run_id)) == 3 * 201

    def test_a_run_that_ends_without_its_server_is_sent_at_the_next_start(self, home: Path, wide: Path) -> None:
        command = [sys.executable, "-c", ALONE]
        child = subprocess.run(command, env={**os.environ, "MAINSPRING_URL": NOBODY}, capture_output=True, text=True)
        run_id = child.stdout.strip()
        assert "sent at the next start" in child.stderr
        (path,) = log_journals(home).iterdir()
        server = Server(wide)
        try:
            path.write_bytes(path.read_bytes().replace(NOBODY.encode(), server.url.encode()))
            assert send_left_behind(home, server.url) == 1
        finally:
            server.stop()
        assert points(wide, run_id) == [1]
        assert found(wide, run_id).status == "finished"

    def test_a_server_that_refuses_is_told_and_the_journal_stays(self, home: Path, wide: Path) -> None:
        server = Server(wide)
        try:
            environment = {**os.environ, "MAINSPRING_URL": f"{server.url}/nowhere"}
            child = subprocess.run([sys.executable, "-c", ALONE], env=environment, capture_output=True, text=True)
        finally:
            server.stop()
        assert child.returncode == 0
        assert "stays in" in child.stderr
        assert len(list(log_journals(home).iterdir())) == 1

    def test_a_server_sends_what_killed_runs_of_its_workspace_left(
        self, home: Path, wait: Callable[[Callable[[], bool]], None]
    ) -> None:
        run_id, last = killed_after(50, "left")
        server = Server(home)
        try:
            wait(lambda: not any(log_journals(home).iterdir()))
        finally:
            server.stop()
        assert len(points(home, run_id)) >= last + 1
        assert found(home, run_id).status == "killed"


def test_console_output_packages_and_the_uncommitted_difference_are_kept(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("rate = 1\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "train.py"], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    (tmp_path / "train.py").write_text("rate = 2\n")
    with ms.start_run("e", watch_machine=False) as run:
        print("epoch 1 é")
        print("and a warning", file=sys.stderr)
        logging.getLogger("trainer").warning("slow")
    print("not of the run")
    assert "epoch 1" in capfd.readouterr().out
    with Workspace(home) as workspace:
        root = root_of(find_run(workspace.store, run.run_id).artifact_uri)
        kept = {
            each.name: workspace.artifacts.read_bytes(find_file(workspace.store, f"{root}/{each.name}").digest).decode()
            for each in list_folder(workspace.store, root)
        }
    assert kept["console.txt"] == "epoch 1 é\nand a warning\nWARNING trainer: slow\n"
    assert "-rate = 1\n+rate = 2\n" in kept["uncommitted.diff"]
    assert "\npytest==" in kept["requirements.txt"]


def test_files_bytes_and_figures_are_logged_and_what_cannot_be_is_said(home: Path, tmp_path: Path) -> None:
    class Figure:
        def savefig(self, target: IO[bytes], **options: object) -> None:
            target.write(f"drawn as {options['format']}".encode())

    (tmp_path / "weights.bin").write_bytes(bytes(range(256)) * 10_000)
    with ms.start_run("e", watch_machine=False) as run:
        ms.log(files={"model/weights.bin": tmp_path / "weights.bin", "a.txt": b"old", "roc.png": Figure()})
        ms.log(files={"a.txt": b"new"})
        with pytest.raises(NotFound, match="no file"):
            ms.log(files={"b": tmp_path / "absent"})
        with pytest.raises(Invalid, match="Invalid path"):
            ms.log(files={"../b": b""})
        with pytest.raises(Invalid, match="16"):
            ms.log(files={"b": bytes(17 << 20)})
    with Workspace(home) as workspace:
        root = root_of(find_run(workspace.store, run.run_id).artifact_uri)

        def read(path: str) -> bytes:
            return workspace.artifacts.read_bytes(find_file(workspace.store, f"{root}/{path}").digest)

        assert read("model/weights.bin") == (tmp_path / "weights.bin").read_bytes()
        assert read("a.txt") == b"new"
        assert read("roc.png") == b"drawn as png"
