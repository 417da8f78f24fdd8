"""A run is made again from what was kept of it, and the first step that comes out otherwise is named."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mainspring.artifacts.scratch import sweep_scratch
from mainspring.artifacts.secret_keys import make_key
from mainspring.errors import Invalid, NotFound
from mainspring.govern.reproduce import Reproduction, reproduce
from mainspring.pipeline.ledger import steps_of
from mainspring.tracking.runs import find_run, finish_run, start_run
from mainspring.workspace import Workspace

FLOW = '''"""A small pipeline with a helper, an input and random numbers."""

import random
from pathlib import Path

import numpy as np
from helpers import scaled

import mainspring as ms


@ms.step
def numbers(path: Path) -> list[float]:
    return [float(line) for line in path.read_text().split()]


@ms.step
def noise(count: int) -> list[float]:
    return [random.random() + float(np.random.normal()) for _ in range(count)]


@ms.step
def scale(values: list[float]) -> list[float]:
    return [scaled(value) for value in values]


@ms.step
def total(values: list[float], noise: list[float]) -> dict[str, float]:
    return {"total": sum(values), "noise": sum(noise)}


@ms.pipeline
def flow(path: Path) -> dict[str, float]:
    return total(scale(numbers(path)), noise(3))
'''
HELPERS = """FACTOR = 3.0


def scaled(value: float) -> float:
    return value * FACTOR
"""


class Project:
    """A folder with a pipeline, under git, changed since its commit; and its workspace."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "flow.py").write_text(FLOW)
        (folder / "helpers.py").write_text(HELPERS.replace("3.0", "2.0"))
        (folder / "numbers.txt").write_text("1 2 3\n")
        git = ["git", "-C", str(folder), "-c", "user.name=ada", "-c", "user.email=ada@localhost"]
        for words in (["init", "--quiet"], ["add", "-A"], ["commit", "--quiet", "-m", "first"]):
            subprocess.run([*git, *words], check=True, capture_output=True)
        (folder / "helpers.py").write_text(HELPERS)
        self.workspace = Workspace(folder / ".mainspring")

    def run(self, path: str = "numbers.txt") -> str:
        """Run the pipeline as a user does and return the run's id."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        done = subprocess.run(
            [sys.executable, "-m", "mainspring", "run", "flow.py", "-p", f"path={path}", "--json"],
            cwd=self.folder, capture_output=True, text=True, check=True, env=environment,
        )  # fmt: skip
        run_id: str = json.loads(done.stdout.splitlines()[-1])["run_id"]
        return run_id

    def again(self, what: str, **choices: object) -> Reproduction:
        """Make a run again in the present environment."""
        return reproduce(self.workspace.store, self.workspace.artifacts, what, here=True, **choices)  # type: ignore[arg-type]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path / "project")
    yield made
    made.workspace.close()


def test_run_from_a_dirty_checkout_is_the_same_to_the_byte(project: Project) -> None:
    run_id = project.run()
    for name in ("flow.py", "helpers.py", "numbers.txt"):
        (project.folder / name).unlink()
    found = project.again(run_id)
    assert (found.level, found.same, found.steps, found.diverged) == ("bytes", 4, 4, None)
    assert found.holds
    assert find_run(project.workspace.store, run_id).tags["git_dirty"] == "true"


def test_a_run_whose_artifacts_are_encrypted_is_made_again(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cryptography", reason="pip install 'mainspring[encryption]'")
    monkeypatch.setenv("MAINSPRING_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("MAINSPRING_ENCRYPTION", "one")
    make_key("one")
    run_id = project.run()
    (project.folder / "numbers.txt").unlink()
    assert project.again(run_id).level == "bytes"
    assert not (project.folder / ".mainspring" / "artifacts" / "objects").exists()


def test_steps_found_in_the_cache_are_made_again(project: Project) -> None:
    project.run()
    second = project.run()
    assert all(
        row.cached for row in steps_of(project.workspace.store, find_run(project.workspace.store, second).run_id)
    )
    assert project.again(second).level == "bytes"


def test_changed_line_of_a_helper_names_its_step(project: Project, tmp_path: Path) -> None:
    run_id = project.run()
    kept = tmp_path / "again"
    assert project.again(run_id, folder=kept).level == "bytes"
    helpers = kept / "tree" / (project.folder / "helpers.py").relative_to("/")
    helpers.write_text(helpers.read_text().replace("value * FACTOR", "value * FACTOR + 1"))
    found = project.again(run_id, folder=kept)
    assert found.level == "none"
    assert found.diverged is not None
    assert found.diverged.name == "scale"
    assert "helpers.scaled" in found.diverged.because
    assert any("helpers.py" in each for each in found.remarks)
    assert found.figures["total.total"] == (18.0, 21.0)


def test_figures_within_the_tolerance_are_the_third_level(project: Project, tmp_path: Path) -> None:
    run_id = project.run()
    kept = tmp_path / "again"
    project.again(run_id, folder=kept)
    helpers = kept / "tree" / (project.folder / "helpers.py").relative_to("/")
    helpers.write_text(helpers.read_text().replace("3.0", "3.0001"))
    found = project.again(run_id, folder=kept)
    assert (found.level, found.holds) == ("metrics", False)


def test_step_that_asks_for_entropy_is_named_without_a_cause(project: Project) -> None:
    flow = project.folder / "flow.py"
    flow.write_text(flow.read_text().replace("random.random()", "random.SystemRandom().random()"))
    found = project.again(project.run())
    assert found.diverged is not None
    assert (found.diverged.name, found.diverged.because) == ("noise", "")


def test_absolute_input_outside_the_project_is_kept(project: Project, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere.txt"
    outside.write_text("4 5\n")
    run_id = project.run(str(outside))
    outside.unlink()
    assert project.again(run_id).level == "bytes"


def test_input_that_is_gone_and_was_not_kept_is_named(project: Project) -> None:
    run_id = project.run()
    numbers = project.folder / "numbers.txt"
    digest = project.workspace.artifacts.put_file(numbers)
    project.workspace.artifacts.path_of(digest).unlink()
    assert project.again(run_id).level == "bytes"
    numbers.write_text("7\n")
    with pytest.raises(NotFound, match=r"numbers\.txt"):
        project.again(run_id)


def test_run_without_provenance_cannot_be_made_again(project: Project) -> None:
    store, now = project.workspace.store, project.workspace.clock.now()
    run_id = start_run(store, experiment="e", name="n", parameters={}, at=now)
    with pytest.raises(Invalid, match="running"):
        project.again(run_id)
    finish_run(store, run_id, "finished", now)
    with pytest.raises(NotFound, match="Nothing was kept"):
        project.again(run_id)


HELD = """
@ms.step
def held() -> int:
    mark = Path(os.environ["HELD"])
    if mark.exists():
        mark.write_text(str(os.getpid()))
        while True:
            time.sleep(0.02)
    return 1


@ms.pipeline
def waits(path: Path) -> int:
    return held()
"""


def test_a_killed_command_leaves_no_process_and_what_it_laid_out_is_swept(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark, scratch = tmp_path / "held", tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("HELD", str(mark))
    flow = FLOW.partition("@ms.step")[0].replace("import random", "import os\nimport time")
    (project.folder / "flow.py").write_text(flow + HELD)
    run_id = project.run()
    mark.touch()
    words = [sys.executable, "-m", "mainspring", "reproduce", run_id, "--here"]
    environment = os.environ | {"TMPDIR": str(scratch), "MAINSPRING_HOME": str(project.workspace.home)}
    with subprocess.Popen(words, cwd=project.folder, env=environment) as killed:
        wait_until(lambda: mark.read_text() != "" or killed.poll() is not None)
        step = int(mark.read_text())
        (left,) = scratch.glob("mainspring-scratch-*")
        killed.kill()
    wait_until(lambda: not Path(f"/proc/{step}").exists())
    assert left.exists()
    sweep_scratch([scratch])
    assert not left.exists()


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
