"""The cache is never stale: every edit that changes a result must miss, every edit that cannot must hit.

Each edit is made between two runs of a small project in fresh processes, with different hash seeds.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

_PROJECT = {
    "steps.py": '''
import functools
from dataclasses import dataclass
from pathlib import Path

import fakelib
import mainspring as ms
from near import scale
from shapes import Scaler, Settings

FACTOR = 2
WORDS = {"b", "a", "c"}


def here(x):
    return x + FACTOR


def make(offset):
    def add(x):
        return x + offset
    return add


def twice(function):
    @functools.wraps(function)
    def call(*args, **kwargs):
        return function(*args, **kwargs) * 2
    return call


bump = make(10)
shift = functools.partial(pow, 2)


def text():
    return int(Path("data.txt").read_text())


@twice
def doubled(x):
    return x + 1


@dataclass(frozen=True)
class Result:
    value: int
    words: str


def with_default(x, extra=5):
    return x + extra


@ms.step
def compute(x: int, settings: Settings) -> Result:
    """Compute it."""
    Path("runs.log").open("a").write("ran\\n")
    total = here(x) + bump(x) + scale(x) + text() + shift(3) + doubled(x) + with_default(x)
    if x in {3, 1, 2}:
        total += fakelib.VERSION
    return Result(total + Scaler(3).apply(x) + settings.weight(), "".join(sorted(WORDS)))


@ms.pipeline
def main(x: int = 1) -> Result:
    return compute(x, Settings(4))
''',
    "near.py": "from far import deep\nLIMIT = 100\n\ndef scale(x):\n    return min(deep(x), LIMIT)\n",
    "far.py": "def deep(x):\n    return x * 3\n",
    "shapes.py": """
from dataclasses import dataclass


class Base:
    unit = 1

    def apply(self, x):
        return self.step(x) * self.unit


class Scaler(Base):
    def __init__(self, n):
        self.n = n

    def step(self, x):
        return x * self.n

    @property
    def unused(self):
        return 7


@dataclass(frozen=True)
class Settings:
    w: int

    def weight(self):
        return self.w * 2
""",
    "data.txt": "7",
    "lib/fakelib/__init__.py": "VERSION = 1\n",
    "lib/fakelib-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: fakelib\nVersion: 1.0\n\n",
    "lib/fakelib-1.0.dist-info/RECORD": "fakelib/__init__.py,,\n",
    "run.py": """
import json, sys
from pathlib import Path
from mainspring.artifacts.local import LocalArtifactStore
from mainspring.pipeline.context import PipelineContext
from mainspring.store.sqlite import SqliteStore
from steps import main
context = PipelineContext(SqliteStore(Path("state/store.db")), LocalArtifactStore(Path("state/artifacts")))
out = main.run(context)
print(json.dumps({"value": out.result["value"], "cached": out.steps[0].cached, "reason": out.steps[0].reason,
                  "key": out.steps[0].key, "opaque": out.steps[0].opaque}))
""",
}


class Seen(NamedTuple):
    value: int
    cached: bool
    reason: str
    key: str
    opaque: list[str]


class Project:
    """The project in a folder, and how to edit and run it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in _PROJECT.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def replace(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def run(self, seed: int = 0) -> Seen:
        environment = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": f"{self.folder / 'lib'}"}
        # Edits within one second would meet byte code of the old source; that is Python's own cache, not ours.
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        done = subprocess.run(
            [sys.executable, "-W", "error", "run.py"],
            cwd=self.folder, env=environment, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return Seen(**json.loads(done.stdout))

    def fresh_value(self) -> int:
        """The right answer, from a run that has no cache."""
        (self.folder / "state").rename(self.folder / "kept")
        try:
            return self.run().value
        finally:
            shutil.rmtree(self.folder / "state")
            (self.folder / "kept").rename(self.folder / "state")


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("warm")
    project = Project(folder)
    first = project.run(1)
    assert not first.cached
    assert first.reason == "first run"
    assert project.run(2).cached
    return folder


@pytest.fixture
def project(warm: Path, tmp_path: Path) -> Project:
    shutil.copytree(warm, tmp_path / "project")
    made = Project.__new__(Project)
    made.folder = tmp_path / "project"
    return made


def _upgrade(project: Project) -> None:
    (project.folder / "lib/fakelib-1.0.dist-info").rename(project.folder / "lib/fakelib-1.1.dist-info")
    project.replace("lib/fakelib-1.1.dist-info/METADATA", "Version: 1.0", "Version: 1.1")
    project.replace("lib/fakelib/__init__.py", "VERSION = 1", "VERSION = 50")


_NEW_BASE = "class Other(Base):\n    unit = 9\n\n\nclass Scaler(Other)"
_CHANGES: dict[str, tuple[Callable[[Project], None], str]] = {
    "input value": (lambda p: p.replace("steps.py", "x: int = 1", "x: int = 2"), "argument `x` changed"),
    "body of the step": (lambda p: p.replace("steps.py", "total = here(x)", "total = 9 + here(x)"), "steps.compute"),
    "helper in the same file": (lambda p: p.replace("steps.py", "x + FACTOR", "x - FACTOR"), "steps.here"),
    "module constant": (lambda p: p.replace("steps.py", "FACTOR = 2", "FACTOR = 5"), "value of `steps.FACTOR`"),
    "closure value": (lambda p: p.replace("steps.py", "bump = make(10)", "bump = make(11)"), "offset"),
    "helper in an imported module": (lambda p: p.replace("near.py", "return min", "return 1 + min"), "near.scale"),
    "helper two imports away": (lambda p: p.replace("far.py", "x * 3", "x * 4"), "far.deep"),
    "file that is read": (lambda p: p.write("data.txt", "8"), "file `data.txt` changed"),
    "installed version": (_upgrade, "package `fakelib` changed from 1.0 to 1.1"),
    "constant one import away": (lambda p: p.replace("near.py", "LIMIT = 100", "LIMIT = 2"), "value of `near.LIMIT`"),
    "partial": (lambda p: p.replace("steps.py", "partial(pow, 2)", "partial(pow, 3)"), "steps.shift"),
    "decorator": (lambda p: p.replace("steps.py", "kwargs) * 2", "kwargs) * 3"), "twice"),
    "decorated function": (lambda p: p.replace("steps.py", "return x + 1", "return x + 2"), "steps.doubled"),
    "default": (lambda p: p.replace("steps.py", "extra=5", "extra=6"), "steps.with_default"),
    "set constant": (lambda p: p.replace("steps.py", '"c"}', '"d"}'), "value of `steps.WORDS`"),
    "set in the code": (lambda p: p.replace("steps.py", "{3, 1, 2}", "{3, 2}"), "steps.compute"),
    "method": (lambda p: p.replace("shapes.py", "return x * self.n", "return x * self.n + 1"), "shapes.Scaler.step"),
    "inherited method": (lambda p: p.replace("shapes.py", "* self.unit", "* self.unit + 1"), "shapes.Base.apply"),
    "class attribute": (lambda p: p.replace("shapes.py", "unit = 1", "unit = 2"), "shapes.Base.unit"),
    "method of an argument": (lambda p: p.replace("shapes.py", "self.w * 2", "self.w * 5"), "Settings.weight"),
    "base class": (lambda p: p.replace("shapes.py", "class Scaler(Base)", _NEW_BASE), "Other"),
}  # fmt: skip


@pytest.mark.parametrize("edit", _CHANGES)
def test_edit_that_changes_the_result_is_never_served_stale(project: Project, edit: str) -> None:
    change, named = _CHANGES[edit]
    change(project)
    seen = project.run(3)
    assert not seen.cached
    assert named in seen.reason
    assert seen.value == project.fresh_value()
    assert project.run(4).cached


_HARMLESS: dict[str, Callable[[Project], None]] = {
    "nothing": lambda p: None,
    "comment": lambda p: p.replace("steps.py", "    total = here", "    # a comment\n\n    total = here"),
    "comment in a helper": lambda p: p.replace("far.py", "def deep", "# far\n\n\ndef deep"),
    "docstring changed": lambda p: p.replace("steps.py", '"""Compute it."""', '"""Compute it all, and well."""'),
    "docstring removed": lambda p: p.replace("steps.py", '    """Compute it."""\n', ""),
    "docstring added": lambda p: p.replace("far.py", "    return", '    """Go deep."""\n    return'),
    "docstring of a class": lambda p: p.replace("shapes.py", "    unit = 1", '    """A base."""\n\n    unit = 1'),
    "layout": lambda p: p.replace("near.py", "min(deep(x), LIMIT)", "min(\n        deep(x),\n        LIMIT,\n    )"),
    "layout of a condition": lambda p: p.replace(
        "steps.py", "if x in {3, 1, 2}:\n", "if (\n        x\n        in {3, 1, 2}\n    ):\n\n"
    ),
    "name of a local variable": lambda p: p.replace("steps.py", "total", "everything"),
    "annotation": lambda p: p.replace("far.py", "def deep(x):", "def deep(x: int) -> int:"),
    "unused function": lambda p: p.replace("far.py", "def deep", "def unused(y):\n    return y\n\n\ndef deep"),
    "unused file": lambda p: p.write("other.txt", "1"),
    "data file touched": lambda p: os.utime(p.folder / "data.txt"),
}  # fmt: skip


@pytest.mark.parametrize("edit", _HARMLESS)
def test_edit_that_cannot_change_the_result_hits(project: Project, edit: str) -> None:
    _HARMLESS[edit](project)
    seen = project.run(5)
    assert seen.cached, seen.reason


def test_going_back_hits_the_older_result(project: Project) -> None:
    before = project.run(1)
    project.write("data.txt", "1000")
    project.replace("far.py", "x * 3", "x * 4")
    assert project.run(2).value != before.value
    project.write("data.txt", "7")
    project.replace("far.py", "x * 4", "x * 3")
    again = project.run(3)
    assert again.cached
    assert again.value == before.value


def test_file_that_was_missing_counts_when_it_comes(project: Project) -> None:
    reader = "    try:\n        return int(Path('override.txt').read_text())\n    except FileNotFoundError:\n        "
    project.replace("steps.py", "    return int(Path", f"{reader}return int(Path")
    assert not project.run(1).cached
    assert project.run(2).cached
    project.write("override.txt", "70")
    seen = project.run(3)
    assert not seen.cached
    assert seen.value == project.fresh_value()


def test_import_inside_a_function_is_followed_without_importing(project: Project) -> None:
    # The module says when it is imported: a run that hits must not have done so.
    project.write("late.py", "open('imports.log', 'a').write('x')\nimport later\n\ndef f(x):\n    return later.g(x)\n")
    project.write("later.py", "def g(x):\n    return x\n")
    project.replace("steps.py", "    return x + FACTOR", "    from late import f\n    return f(x) + FACTOR")
    assert not project.run(1).cached
    assert project.run(2).cached
    project.replace("later.py", "    return x", "    # a comment\n    return x")
    assert project.run(3).cached
    assert (project.folder / "imports.log").read_text() == "x"
    project.replace("later.py", "    return x", "    return x + 40")
    seen = project.run(4)
    assert not seen.cached
    assert "later" in seen.reason
    assert seen.value == project.fresh_value()


def test_two_names_swapped_are_noticed(project: Project) -> None:
    project.write("pair.py", "def a(x):\n    return x + 1\n\ndef b(x):\n    return x * 10\n\nfirst, second = a, b\n")
    project.replace("steps.py", "from near import scale", "import pair\nfrom near import scale")
    project.replace("steps.py", "    return x + FACTOR", "    return pair.first(pair.second(x)) + FACTOR")
    project.run(1)
    project.replace("pair.py", "= a, b", "= b, a")
    seen = project.run(2)
    assert not seen.cached
    assert seen.value == project.fresh_value()


def test_opaque_is_named(project: Project) -> None:
    project.replace("steps.py", "    return x + FACTOR", "    import time\n    return x + FACTOR + 0 * int(clock())")
    project.replace(
        "steps.py",
        "FACTOR = 2",
        "from time import time as clock\nextra_name = 'al'\nimport random, importlib\nFACTOR = 2",
    )
    project.replace(
        "steps.py",
        "def with_default(x, extra=5):",
        "def with_default(x, extra=5):\n    random.random()\n"
        "    importlib.import_module('json')\n    getattr(x, 're' + extra_name)",
    )
    opaque = " | ".join(project.run(1).opaque)
    assert "the clock (time.time) in steps.here" in opaque
    assert "random numbers without a seed (random.random) in steps.with_default" in opaque
    assert "code by a computed name (importlib.import_module)" in opaque
    assert "code by a computed name (getattr)" in opaque


def test_script_and_import_share_results(project: Project) -> None:
    """`python steps.py` and an importing process have one cache, though the module has another name in each."""
    tail = """
if __name__ == "__main__":
    import json, sys
    from mainspring.artifacts.local import LocalArtifactStore
    from mainspring.pipeline.context import PipelineContext
    from mainspring.store.sqlite import SqliteStore
    context = PipelineContext(SqliteStore(Path("state/store.db")), LocalArtifactStore(Path("state/artifacts")))
    out = main.run(context)
    print(json.dumps([out.steps[0].cached, out.steps[0].reason, type(out.value) is Result]))
"""
    project.write("steps.py", (project.folder / "steps.py").read_text() + tail)
    environment = {**os.environ, "PYTHONPATH": f"{project.folder / 'lib'}"}
    done = subprocess.run(
        [sys.executable, "steps.py"], cwd=project.folder, env=environment, capture_output=True, text=True, check=True
    )
    cached, reason, same_class = json.loads(done.stdout)
    assert cached, reason
    assert same_class
