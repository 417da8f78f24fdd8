"""A small trained project, made once: what the commands are tried on."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from mainspring.cli.main import main
from mainspring.serve.client import PredictionClient

pytest.importorskip("sklearn", reason="training needs scikit-learn: pip install 'mainspring[ml]'")

LOOP = '''"""A loop small enough for a test."""

from pathlib import Path

import mainspring as ms

loop = ms.Loop("churn", data=Path(__file__).with_name("customers.csv"), target="churned", goal="roc_auc >= 0.6")
'''

SCHEMA = """columns:
  age: {type: number, nullable: true, min: 0, max: 120}
  plan: {type: string, categories: [basic, plus, pro]}
  spend: {type: number, min: 0}
  churned: {type: integer, min: 0, max: 1}
"""


class Ran(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


def customers(rows: int = 1500) -> str:
    """Return a CSV with a signal that a linear model finds."""
    rng = np.random.default_rng(7)
    age, spend = rng.integers(18, 90, rows), rng.gamma(2.0, 30.0, rows)
    plan = rng.choice(["basic", "plus", "pro"], rows)
    pull = 0.04 * (50 - age) + 1.2 * (plan == "basic") - 0.01 * spend
    churned = (rng.random(rows) < 1 / (1 + np.exp(-pull))).astype(int)
    shown = ["" if rng.random() < 0.03 else str(each) for each in age]
    lines = [f"{a},{p},{s:.2f},{c}" for a, p, s, c in zip(shown, plan, spend, churned, strict=True)]
    return "\n".join(["age,plan,spend,churned", *lines, ""])


@contextmanager
def running(*words: str, ready: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a command in a process of its own until the block ends; wait for its ready file."""
    process = subprocess.Popen([sys.executable, "-m", "mainspring", *words], stdout=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while not ready.exists():
            assert process.poll() is None, process.stdout.read() if process.stdout else ""
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


@contextmanager
def serving(*words: str, ready: Path) -> Iterator[PredictionClient]:
    """Run a server on a free port and give a client of it."""
    with (
        running(*words, "--port", "0", "--ready-file", str(ready), ready=ready),
        PredictionClient(json.loads(ready.read_text())["url"]) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train once; tests work on copies."""
    folder = tmp_path_factory.mktemp("trained") / "project"
    folder.mkdir()
    (folder / "loop.py").write_text(LOOP)
    (folder / "customers.csv").write_text(customers())
    (folder / "customers.schema.yaml").write_text(SCHEMA)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MAINSPRING_HOME", str(folder / ".mainspring"))
        assert main(["run", "loop.py"]) == 0
    return folder


@pytest.fixture
def project(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the trained project, entered."""
    folder = tmp_path / "project"
    shutil.copytree(trained, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MAINSPRING_HOME", str(folder / ".mainspring"))
    return folder


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process."""

    def call(*words: str) -> Ran:
        capfd.readouterr()
        code = main([str(word) for word in words])
        printed = capfd.readouterr()
        return Ran(code, printed.out, printed.err)

    return call
