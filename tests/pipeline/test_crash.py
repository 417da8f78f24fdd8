"""What only real processes show: kills at any instant, two runs at once, and what a cached run imports."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

#: How often the run is killed; a long search for the one bad instant sets it to some hundreds.
KILLS = int(os.environ.get("MAINSPRING_KILLS", "25"))

_PIPE = """
import os, time

import numpy as np
import pandas as pd

import mainspring as ms


def note(what):
    # One write of one line is whole or absent, whatever happens to the process.
    handle = os.open("calls.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, (what + "\\n").encode())
    os.close(handle)


@ms.step
def first(n: int) -> pd.DataFrame:
    note("begin first")
    return pd.DataFrame({"x": np.arange(n) % 7, "w": [str(i % 5) for i in range(n)]})


@ms.step
def second(table: pd.DataFrame) -> pd.DataFrame:
    note("begin second")
    time.sleep(0.05)
    return table.assign(y=table["x"] * 2)


@ms.step
def third(table: pd.DataFrame) -> np.ndarray:
    note("begin third")
    time.sleep(0.1)
    return table["x"].to_numpy() * 3


@ms.step
def fourth(values: np.ndarray) -> dict[str, list[int]]:
    note("begin fourth")
    return {"all": values.tolist()}


@ms.step
def fifth(table: pd.DataFrame, values: dict[str, list[int]]) -> int:
    note("begin fifth")
    return int(table["y"].sum()) + sum(values["all"])


@ms.pipeline
def five(n: int = 20_000) -> int:
    # The second and the third run side by side, in workers.
    table = first(n)
    return fifth(second(table), fourth(third(table)))
"""

_RUN = """
import json
from pathlib import Path
from mainspring.artifacts.local import LocalArtifactStore
from mainspring.pipeline.context import PipelineContext
from mainspring.pipeline.processes import ProcessExecutor
from mainspring.store.sqlite import SqliteStore
from pipe import five, note


class Progress:
    def on_step(self, event):
        if event.status in ("finished", "cached"):
            note(f"end {event.name}")


store = SqliteStore(Path("state/store.db"))
print("ready", flush=True)
artifacts = LocalArtifactStore(Path("state/artifacts"))
out = five.run(PipelineContext(store, artifacts, progress=Progress(), executor=ProcessExecutor(2)))
print(json.dumps({"value": out.result, "cached": [row.cached for row in out.steps], "run": out.run_id}))
store.close()
"""

_VALUE = sum(5 * (i % 7) for i in range(20_000))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pipe.py").write_text(_PIPE)
    (tmp_path / "run.py").write_text(_RUN)
    return tmp_path


def _start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "run.py"], cwd=folder, stdout=subprocess.PIPE, text=True)


def _finish(child: subprocess.Popen[str]) -> dict[str, object]:
    said, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    found: dict[str, object] = json.loads(said.splitlines()[-1])
    return found


def _workers_of(parent: int) -> list[int]:
    """Return the worker processes that a process started; they name it on their command line."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "status"]):
        words = process.info["cmdline"] or []
        if words[-1:] == [str(parent)] and "_worker" in " ".join(words) and process.info["status"] != "zombie":
            found.append(process.info["pid"])
    return found


def _gone_in_time(parent: int) -> bool:
    until = time.monotonic() + 10
    while _workers_of(parent):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def test_kill_at_any_instant_costs_only_what_had_not_finished(folder: Path) -> None:
    rng = random.Random(9)
    finished: set[str] = set()
    kills = kills_with_workers = 0
    seconds = 0.7  # about what a whole run takes; measured as we go
    for number in range(KILLS):
        child = _start(folder)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        began = time.monotonic()
        try:  # the instant of the kill is the point of the test
            child.wait(rng.random() * seconds)
            seconds = max(time.monotonic() - began, 0.05)
        except subprocess.TimeoutExpired:
            kills_with_workers += bool(_workers_of(child.pid))
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read()
        child.stdout.close()
        killed = child.wait() == -signal.SIGKILL
        kills += killed
        assert _gone_in_time(child.pid), "a worker outlived the run"
        assert killed or json.loads(rest)["value"] == _VALUE
        log = (folder / "calls.log").read_text().splitlines() if (folder / "calls.log").exists() else []
        for line in log:
            what, name = line.split()
            assert what == "end" or name not in finished, f"{name} had finished and ran again"
        finished |= {line.split()[1] for line in log if line.startswith("end")}
        (folder / "calls.log").write_text("")
        if len(finished) == 5:
            # Start over with an empty cache: the kills shall fall on every step.
            (folder / "state").rename(folder / f"state-{number}")
            finished, seconds = set(), 0.7
    out = _finish(_start(folder))
    assert out["value"] == _VALUE
    assert _finish(_start(folder))["cached"] == [True] * 5
    assert kills > KILLS // 3
    assert kills_with_workers > 0


def test_two_runs_at_once_do_not_collide(folder: Path) -> None:
    one, two = _start(folder), _start(folder)
    first, second = _finish(one), _finish(two)
    assert first["value"] == second["value"]
    assert first["run"] != second["run"]
    assert _finish(_start(folder))["cached"] == [True] * 5


_LEAN = """
import sys
from pathlib import Path
from mainspring.artifacts.local import LocalArtifactStore
from mainspring.pipeline.context import PipelineContext
from mainspring.store.sqlite import SqliteStore
from lean import model
store = SqliteStore(Path("state/store.db"))
out = model.run(PipelineContext(store, LocalArtifactStore(Path("state/artifacts"))))
print(out.steps[0].cached, [name for name in ("numpy", "pandas", "sklearn", "duckdb", "skops") if name in sys.modules])
store.close()
"""


def test_fully_cached_run_imports_no_library(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(_LEAN)
    (tmp_path / "lean.py").write_text(
        "import mainspring as ms\n\n\n@ms.step\ndef fit(c: float) -> object:\n"
        "    from sklearn.linear_model import LogisticRegression\n"
        "    return LogisticRegression(C=c).fit([[0.0], [1.0]], [0, 1])\n\n\n"
        "@ms.step\ndef table(model: object) -> object:\n    import pandas as pd\n"
        "    return pd.DataFrame({'w': model.coef_.ravel()})\n\n\n"
        "@ms.pipeline\ndef model() -> object:\n    return table(fit(1.0))\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "run.py"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
        ).stdout.strip()
        for _ in range(2)
    ]
    assert said[0].startswith("False")
    assert said[1] == "True []"


def test_decorating_imports_only_the_standard_library() -> None:
    program = (
        "import sys; before = set(sys.modules); import mainspring as ms; ms.step; ms.pipeline\n"
        "print([name for name in sorted(set(sys.modules) - before)])"
    )
    said = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {os.fspath(_SOURCE)!r}); {program}"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    names = json.loads(said.replace("'", '"'))
    third = [
        name for name in names if name.partition(".")[0] not in sys.stdlib_module_names and "mainspring" not in name
    ]
    assert third == []
    assert len(names) <= 75, names  # bare Python without `site`, which has some of them already


_SOURCE = Path(__file__).parents[2] / "src"
