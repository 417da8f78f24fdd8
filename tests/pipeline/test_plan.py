"""A plan says what a run would do and why, runs no step, writes nothing, and is right."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mainspring.cli.main import main
from mainspring.errors import Invalid
from mainspring.pipeline.context import PipelineContext
from mainspring.pipeline.plan import Plan
from mainspring.pipeline.step import pipeline, step

_STEPS = '''"""A project of a few steps."""

import time
from pathlib import Path

import mainspring as ms
from helpers import FACTOR, scale

LABELS = ("a", "b")


@ms.step
def load(n: int) -> list[int]:
    Path("ran.log").open("a").write("load\\n")
    return list(range(n)) + [len(Path("weather.csv").read_text())]


@ms.step
def grow(numbers: list[int], c: float = 1.0) -> list[float]:
    Path("ran.log").open("a").write("grow\\n")
    return [scale(each) * c * FACTOR for each in numbers]


@ms.step
def total(numbers: list[float]) -> float:
    Path("ran.log").open("a").write("total\\n")
    return sum(numbers) + len(LABELS)


@ms.step(cache=False)
def tell(value: float) -> None:
    time.time()


@ms.pipeline
def train(n: int = 3, c: float = 1.0) -> float:
    found = total(grow(load(n), c))
    tell(found)
    return found


@ms.pipeline
def forks(n: int = 3) -> float:
    numbers = load(n)
    if len(numbers) > 2:
        return total(grow(numbers))
    return 0.0
'''
_HELPERS = "FACTOR = 2\n\n\ndef scale(x):\n    y = x + 1\n    return y * 3\n"


class Project:
    """A project in a folder, planned and run in fresh processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def call(self, *words: str) -> Any:
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "MAINSPRING_HOME": str(self.folder / "home")}
        done = subprocess.run(
            [sys.executable, "-m", "mainspring", *words, "--json"],
            cwd=self.folder, env=environment, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def plan(self, *words: str, target: str = "steps.py:train") -> dict[str, dict[str, Any]]:
        before = (self.folder / "ran.log").read_text()
        made = self.call("plan", target, *words)
        assert (self.folder / "ran.log").read_text() == before, "a plan runs no step"
        return {each["name"]: each for each in made["steps"]} | {"": made}

    def replace(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text()
        assert old in text
        (self.folder / name).write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planned")
    (folder / "steps.py").write_text(_STEPS)
    (folder / "helpers.py").write_text(_HELPERS)
    (folder / "weather.csv").write_text("rain")
    Project(folder).call("run", "steps.py:train")
    return folder


@pytest.fixture
def project(warm: Path, tmp_path: Path) -> Project:
    shutil.copytree(warm, tmp_path / "project")
    return Project(tmp_path / "project")


def test_nothing_changed_is_all_hits(project: Project) -> None:
    made = project.plan()
    assert [made[name]["verdict"] for name in ("load", "grow", "total", "tell")] == ["hit", "hit", "hit", "run"]
    assert len(made["load"]["from_run"]) == 32
    assert made["tell"]["reason"] == "its results are not kept"
    assert made["tell"]["always"]


def test_a_changed_helper_is_shown_with_its_line(project: Project) -> None:
    project.replace("helpers.py", "    return y * 3", "    # more\n    return y * 4")
    made = project.plan()
    assert made["load"]["verdict"] == "hit"
    assert made["grow"]["reason"] == "code of `helpers.scale` changed (helpers.py:7): `return y * 3` -> `return y * 4`"
    assert made["total"]["verdict"] == "maybe"
    assert made["total"]["reason"] == "if its input changes (early cut-off possible)"
    ran = {each["name"]: each for each in project.call("run", "steps.py:train")["steps"]}
    assert [ran[name]["cached"] for name in ("load", "grow", "total")] == [True, False, False]


def test_a_changed_constant_is_shown_with_both_values(project: Project) -> None:
    project.replace("helpers.py", "FACTOR = 2", "FACTOR = 5")
    assert project.plan()["grow"]["reason"].endswith("2 -> 5")
    project.replace("steps.py", '("a", "b")', '("a", "c")')
    made = project.plan()
    assert "('a', 'b') -> ('a', 'c')" in made["total"]["reason"]
    assert made["total"]["verdict"] == "run", "its own code changed, whatever its input comes out as"


def test_a_changed_file_is_named_and_cut_off_is_possible(project: Project) -> None:
    (project.folder / "weather.csv").write_text("snow")
    made = project.plan()
    assert (made["load"]["verdict"], made["load"]["reason"]) == ("run", "file `weather.csv` changed")
    assert [made[name]["verdict"] for name in ("grow", "total")] == ["maybe", "maybe"]
    ran = {each["name"]: each for each in project.call("run", "steps.py:train")["steps"]}
    assert [ran[name]["cached"] for name in ("load", "grow", "total")] == [False, True, True], "same length: cut off"


def test_a_changed_argument_is_shown_with_both_values(project: Project) -> None:
    made = project.plan("-p", "c=0.5")
    assert made["grow"]["reason"] == "argument `c` changed: 1.0 -> 0.5"
    assert made["grow"]["changes"] == [
        {"kind": "argument", "name": "c", "what": "changed", "where": "", "old": "1.0", "new": "0.5"}
    ]


def test_a_body_that_forces_an_unknown_value_ends_the_plan(project: Project) -> None:
    assert project.plan(target="steps.py:forks")[""]["undecided"] == "", "the value is known: it was kept"
    made = project.plan("-p", "n=7", target="steps.py:forks")
    assert [name for name in made if name] == ["load"]
    assert made[""]["undecided"].startswith("decided at run time: steps.py:")
    assert made[""]["undecided"].endswith("needs the result of `load`")


def test_the_whole_command_prints_a_table_and_what_is_not_covered(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAINSPRING_HOME", str(project.folder / "home"))
    monkeypatch.syspath_prepend(str(project.folder))
    monkeypatch.chdir(project.folder)
    project.replace("steps.py", "    return sum(numbers)", "    time.time()\n    return sum(numbers)")
    assert main(["plan", "steps.py:train"]) == 0
    printed = capsys.readouterr().out
    assert "hit   load   from run" in printed
    assert "run   total  code of `steps.total` changed" in printed
    assert "the clock (time.time) in steps.total" in printed
    for name in ("steps", "helpers"):
        sys.modules.pop(name, None)


def test_first_run_is_planned_and_writes_nothing(context: PipelineContext) -> None:
    ran = []

    @step
    def one(x: int) -> int:
        ran.append(x)
        return x

    @step
    def two(x: int) -> int:
        return x

    @pipeline
    def both(x: int = 1) -> int:
        return two(one(x))

    made = both.plan(context)
    assert [(each.name, each.verdict, each.reason) for each in made.steps] == [
        ("one", "run", "first run"),
        ("two", "run", "first run"),
    ]
    assert not made.is_current
    assert ran == []
    for table in ("runs", "run_steps", "step_results", "file_stamps", "step_code", "events"):
        assert context.store.read(f"SELECT count(*) FROM {table}") == [(0,)]
    assert list(context.artifacts.digests()) == []


def test_plan_agrees_with_the_run(context: PipelineContext) -> None:
    @step
    def one(x: int) -> int:
        return x // 10

    @step
    def two(x: int) -> int:
        return x + 1

    @pipeline
    def both(x: int) -> int:
        return two(one(x))

    def verdicts(plan: Plan) -> list[str]:
        return [each.verdict for each in plan.steps]

    both.run(context, 11)
    assert verdicts(both.plan(context, 11)) == ["hit", "hit"]
    assert both.plan(context, 11).is_current
    assert verdicts(both.plan(context, 12)) == ["run", "maybe"]
    assert [row.cached for row in both.run(context, 12).steps] == [False, True]
    assert verdicts(both.plan(context, 12)) == ["hit", "hit"]


def test_a_body_that_fails_is_told_with_its_line(context: PipelineContext) -> None:
    @pipeline
    def broken() -> int:
        return {}["no"]  # type: ignore[no-any-return]

    with pytest.raises(Invalid, match=r"The body of `broken` failed: KeyError: 'no' \(at test_plan.py:\d+\)"):
        broken.plan(context)


def test_a_body_cannot_swallow_the_end_of_the_plan(context: PipelineContext) -> None:
    @step
    def one() -> int:
        return 1

    @pipeline
    def careful() -> int:
        try:
            return one() + 1
        except Exception:
            return 0

    assert "decided at run time" in careful.plan(context).undecided
