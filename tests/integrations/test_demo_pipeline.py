"""The demo's own training pipeline, on a slice of its data, gives the same digests wherever its steps run.

Also when the process that fits the model is killed in the middle of it.
"""

import csv
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from mainspring.artifacts.local import LocalArtifactStore
from mainspring.cli.loading import load_file
from mainspring.pipeline.context import PipelineContext
from mainspring.pipeline.executor import Crew, Executor, InProcessExecutor
from mainspring.pipeline.outcome import RunOutcome, StepEvent
from mainspring.pipeline.processes import ProcessExecutor
from mainspring.store.sqlite import SqliteStore

pytest.importorskip("sklearn", reason="the demo trains with scikit-learn: pip install 'mainspring[demo]'")

# The libraries of the clusters warn of their own future.
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.slow]

UNTIL = datetime(2013, 2, 1, tzinfo=UTC)
#: CPU time by which a worker shows that it is at the step, and not only about to start.
BUSY_SECONDS = 0.3


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The demo's folder, with the flights of the fast demo's January alone."""
    from mainspring.demo import scene as demo

    folder = tmp_path_factory.mktemp("demo") / "flights"
    demo.set_scene(folder, fast=True, fresh=False)
    flights = folder / "data" / "flights.csv"
    with flights.open() as lines:
        header, *rows = csv.reader(lines)
    month = header.index("month")
    with flights.open("w", newline="") as out:
        csv.writer(out).writerows([header, *[row for row in rows if row[month] == "1"]])
    yield folder
    sys.modules.pop("loop", None)
    sys.path.remove(str(folder))


class Run:
    """Runs the demo's pipeline on an executor, each time in a new workspace; `on_step` is told of its steps."""

    def __init__(self, scene: Path, scratch: Path) -> None:
        self.scene, self.scratch = scene, scratch
        self.pipeline: Any = load_file(scene / "loop.py")["train"]

    def __call__(self, executor: Executor, on_step: Callable[[StepEvent], None] | None = None) -> RunOutcome[Any]:
        class Watcher:
            def on_step(self, event: StepEvent) -> None:
                if on_step is not None:
                    on_step(event)

        shutil.rmtree(self.scratch, ignore_errors=True)
        store = SqliteStore(self.scratch / "store.sqlite")
        context = PipelineContext(
            store, LocalArtifactStore(self.scratch / "artifacts"), executor=executor, progress=Watcher()
        )
        out: RunOutcome[Any] = self.pipeline.run(context, self.scene / "data", UNTIL)
        store.close()
        return out


def digests(out: RunOutcome[Any]) -> list[tuple[object, ...]]:
    return [(row.number, row.name, row.key, row.output_digest) for row in out.steps]


@pytest.fixture(scope="module")
def run(scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(scene, tmp_path_factory.mktemp("workspaces") / "one")


@pytest.fixture(scope="module")
def plain(run: Run) -> list[tuple[object, ...]]:
    """The digests of a run in this process."""
    found = digests(run(InProcessExecutor()))
    assert [each[1] for each in found] == ["flights", "check", "split", "boosted_trees", "fit", "evaluate"]
    return found


class EveryStepInAWorker(ProcessExecutor):
    """Local processes that take steps one after the other too, so that there is a worker to lose."""

    def crew(self) -> Crew:
        crew = super().crew()
        crew.wants = lambda *_: True  # type: ignore[method-assign]
        return crew


@pytest.fixture(params=["processes", "dask", "ray"])
def executor(request: pytest.FixtureRequest) -> Executor:
    if request.param == "processes":
        return EveryStepInAWorker(2)
    found: Executor = request.getfixturevalue(f"{request.param}_executor")
    return found


def workers() -> list[psutil.Process]:
    """Return the processes in which steps run, of whichever executor."""
    found = []
    for each in psutil.Process().children(recursive=True):
        try:
            words = " ".join(each.cmdline())
        except psutil.Error:
            continue
        if "pipeline._worker" in words or words.startswith("ray::perform_elsewhere") or "spawn_main" in words:
            found.append(each)
    return found


def cpu_of(process: psutil.Process) -> float:
    try:
        used = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(used.user + used.system)


class Killer:
    """Kills the worker that is busy with a step, once, in the middle of it."""

    def __init__(self, step: str) -> None:
        self.step = step
        self.killed: list[int] = []
        self._thread: threading.Thread | None = None

    def __call__(self, event: StepEvent) -> None:
        if event.name == self.step and event.status == "running" and self._thread is None:
            before = {each.pid: cpu_of(each) for each in workers()}
            self._thread = threading.Thread(target=self._hunt, args=(before,))
            self._thread.start()

    def _hunt(self, before: dict[int, float]) -> None:
        until = time.monotonic() + 60
        while not self.killed and time.monotonic() < until:
            for each in workers():
                if cpu_of(each) - before.setdefault(each.pid, cpu_of(each)) >= BUSY_SECONDS:
                    each.kill()
                    self.killed.append(each.pid)
                    return
            threading.Event().wait(0.02)

    def finish(self) -> None:
        assert self._thread is not None
        self._thread.join(timeout=60)


def test_digests_are_those_of_a_run_in_one_process(
    run: Run, plain: list[tuple[object, ...]], executor: Executor
) -> None:
    out = run(executor)
    assert digests(out) == plain
    assert not [row.reason for row in out.steps if "in this process" in row.reason]


def test_digests_stay_when_a_worker_is_killed_while_it_fits(
    run: Run, plain: list[tuple[object, ...]], executor: Executor
) -> None:
    killer = Killer("fit")
    out = run(executor, killer)
    killer.finish()
    assert killer.killed
    assert digests(out) == plain
    assert not [row.reason for row in out.steps if "in this process" in row.reason]
