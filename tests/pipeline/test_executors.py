"""The executors that are built in: the suite, and what is special about processes of this machine."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from mainspring.errors import Invalid
from mainspring.pipeline import processes
from mainspring.pipeline.context import PipelineContext
from mainspring.pipeline.executor import Executor, InProcessExecutor, executor_named
from mainspring.pipeline.ledger import steps_of
from mainspring.pipeline.outcome import RunFailed, StepEvent
from mainspring.pipeline.processes import ProcessExecutor
from mainspring.pipeline.step import pipeline, step
from mainspring.testing import _sample_steps as sample
from mainspring.testing.executor import ExecutorSuite


class TestInProcess(ExecutorSuite):
    survives_a_killed_worker = False

    def make_executor(self) -> Executor:
        return InProcessExecutor()


class TestProcesses(ExecutorSuite):
    def make_executor(self) -> Executor:
        return ProcessExecutor(2)


@step
def who(way: int) -> int:
    return os.getpid()


@step(cache=False)
def who_uncached(way: int) -> int:
    return os.getpid()


@step
def fill(way: int, table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(way=way)


@step
def mean(table: pd.DataFrame) -> float:
    return float(table["way"].mean())


@pipeline
def pids(ways: int = 3) -> list[int]:
    return [who(way) for way in range(ways)]


@step
def who_works(way: int) -> int:
    began = time.process_time()
    while time.process_time() - began < 0.12:
        pass
    return os.getpid()


@pipeline
def busy_pids(ways: int) -> list[int]:
    return [who_works(way) for way in range(ways)]


@pipeline
def chain() -> int:
    return who(who(1))


@pytest.fixture
def context(context: PipelineContext) -> PipelineContext:
    return PipelineContext(context.store, context.artifacts, executor=ProcessExecutor(2))


def _children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def test_chain_runs_in_the_process_of_the_pipeline(context: PipelineContext) -> None:
    assert chain.run(context).value == os.getpid()


def test_steps_side_by_side_share_few_warm_workers(context: PipelineContext) -> None:
    found = busy_pids.run(context, 5).value
    assert os.getpid() not in found
    assert 1 <= len(set(found)) <= 2


def test_cached_run_starts_no_worker(context: PipelineContext, monkeypatch: pytest.MonkeyPatch) -> None:
    pids.run(context)
    monkeypatch.setattr(processes, "_Worker", None)
    assert all(row.cached for row in pids.run(context).steps)


def test_run_leaves_no_process(context: PipelineContext) -> None:
    before = _children()
    pids.run(context)
    assert _children() <= before


def test_steps_known_to_be_short_are_not_worth_a_process(context: PipelineContext) -> None:
    assert os.getpid() not in pids.run(context, 2).value  # nothing is known of them
    assert pids.run(context, 5).value[2:] == [os.getpid()] * 3


def test_uncached_step_runs_here(context: PipelineContext) -> None:
    @pipeline
    def both() -> list[int]:
        return [who_uncached(1), who_uncached(2)]

    assert set(both.run(context).value) == {os.getpid()}


def test_local_step_says_why_it_runs_here(context: PipelineContext) -> None:
    @step
    def inner(number: int) -> int:
        return number

    @pipeline
    def local() -> list[int]:
        return [inner(1), inner(2)]

    assert "(in this process: `inner` is defined inside a function)" in local.run(context).steps[0].reason


def test_patched_code_runs_where_it_is_patched(context: PipelineContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "_FACTOR", 7)

    @pipeline
    def scaled() -> list[int]:
        return [scale(1), scale(2)]

    out = scaled.run(context)
    assert out.value == [7, 14]
    assert "the code of `scale` is not the same in a worker" in out.steps[0].reason


_FACTOR = 2


@step
def scale(number: int) -> int:
    return number * _FACTOR


def test_values_made_in_the_body_travel(context: PipelineContext) -> None:
    @pipeline
    def tables() -> list[float]:
        table = pd.DataFrame({"x": np.arange(3), "word": ["a", "b", None]})
        return [mean(fill(way, table)) for way in range(2)]

    assert tables.run(context).value == [0.0, 1.0]


def test_worker_that_dies_again_and_again_fails_the_step(context: PipelineContext, tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="died twice: its process was ended by signal 9") as caught:
        sample.absent_minded.run(context, str(tmp_path), 3)
    assert caught.value.code == "unavailable"


@step(timeout="200ms")
def stuck() -> int:
    return sum(range(10**10))  # one instruction of native code: no signal reaches it


def test_time_limit_ends_native_code(context: PipelineContext) -> None:
    @pipeline
    def hangs() -> int:
        return stuck()

    before, started = _children(), time.monotonic()
    with pytest.raises(RunFailed, match=r"took longer than 0:00:00\.2"):
        hangs.run(context)
    assert time.monotonic() - started < 20
    assert _children() <= before


def test_results_in_any_order_are_the_same_run(context: PipelineContext, tmp_path: Path) -> None:
    out = sample.diamond.run(context, 1000, 5)
    rows = steps_of(context.store, out.run_id)
    assert [row.number for row in rows] == list(range(8))
    assert rows == list(out.steps)


def test_equal_calls_run_once(context: PipelineContext) -> None:
    @pipeline
    def same() -> list[int]:
        return [who(1), who(1), who(1), who(2)]

    out = same.run(context)
    assert [row.cached for row in out.steps] == [False, True, True, False]
    assert len(set(out.value[:3])) == 1


def test_executors_are_found_by_name() -> None:
    with pytest.raises(Invalid, match="no executor `slurm`"):
        executor_named("slurm")


_SCRIPT = """
import os, sys, tempfile
from collections.abc import Callable
from pathlib import Path
import mainspring as ms
from mainspring.artifacts.local import LocalArtifactStore
from mainspring.pipeline.context import PipelineContext
from mainspring.pipeline.processes import ProcessExecutor
from mainspring.store.sqlite import SqliteStore
from typing import NamedTuple

class Seen(NamedTuple):
    pid: int
    way: int

@ms.step
def look(way: int) -> Seen:
    return Seen(os.getpid(), way)

@ms.pipeline
def looks() -> list[Seen]:
    return [look(1), look(2)]

GUARD
    store = SqliteStore(Path("store.db"))
    out = looks.run(PipelineContext(store, LocalArtifactStore(Path("a")), executor=ProcessExecutor(2)))
    print([each.pid == os.getpid() for each in out.value], [type(each) is Seen for each in out.value])
    store.close()
"""


@pytest.mark.parametrize(("guard", "here"), [("if __name__ == '__main__':", False), ("if True:", True)])
def test_script_is_imported_in_workers_only_when_it_is_guarded(tmp_path: Path, guard: str, here: bool) -> None:
    (tmp_path / "script.py").write_text(_SCRIPT.replace("GUARD", guard))
    command = [sys.executable, "-W", "error", "script.py"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said == f"[{here}, {here}] [True, True]\n"


def test_memory_limit_that_is_no_size_is_refused() -> None:
    with pytest.raises(Invalid, match="`lots` is not a size"):
        step(memory="lots")


def test_step_stuck_in_native_code_ends_with_its_parent(tmp_path: Path) -> None:
    (tmp_path / "stuck.py").write_text(
        "import os\nfrom pathlib import Path\nimport mainspring as ms\n\n\n@ms.step(timeout='10m')\n"
        "def stuck() -> int:\n    Path('pid').write_text(str(os.getpid()))\n    return sum(range(10**12))\n\n\n"
        "@ms.pipeline\ndef hangs() -> int:\n    return stuck()\n"
    )
    (tmp_path / "run.py").write_text(
        "from pathlib import Path\nimport stuck\nfrom mainspring.artifacts.local import LocalArtifactStore\n"
        "from mainspring.pipeline.context import PipelineContext\nfrom mainspring.store.sqlite import SqliteStore\n"
        "stuck.hangs.run(PipelineContext(SqliteStore(Path('s.db')), LocalArtifactStore(Path('a'))))\n"
    )
    parent = subprocess.Popen([sys.executable, "run.py"], cwd=tmp_path)
    try:
        _wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
        worker = int((tmp_path / "pid").read_text())
        assert worker != parent.pid
    finally:
        parent.kill()
        parent.wait()
    _wait_until(lambda: not psutil.pid_exists(worker) or psutil.Process(worker).status() == "zombie")


def _wait_until(claim: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not claim():
        assert time.monotonic() < until
        time.sleep(0.01)


@step
def linger(folder: str, way: int) -> int:
    Path(folder, f"here-{way}").touch()
    time.sleep(600)
    return way


def test_interrupted_run_ends_what_runs(context: PipelineContext, tmp_path: Path) -> None:
    class Impatient:
        def on_step(self, event: StepEvent) -> None:
            if event.number == 1:
                _wait_until(lambda: (tmp_path / "here-0").exists())
                raise KeyboardInterrupt

    @pipeline
    def lingers() -> list[int]:
        return [linger(str(tmp_path), way) for way in range(2)]

    before = _children()
    impatient = PipelineContext(context.store, context.artifacts, executor=context.executor, progress=Impatient())
    with pytest.raises(KeyboardInterrupt):
        lingers.run(impatient)
    assert _children() <= before
