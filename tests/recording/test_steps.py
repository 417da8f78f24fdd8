"""`ms.log` in a step: into the run of its pipeline, in whatever process the step is run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mainspring.recording.run import send_left_behind
from mainspring.tracking import list_runs, metric_history
from mainspring.workspace import Workspace

SCRIPT = """
import sys
import mainspring as ms

@ms.step
def train(rate: float) -> float:
    for step in range(20):
        ms.log(loss=1 / (step + 1), step=step)
    with ms.start_run("inner", watch_machine=False):
        ms.log(other=1)
    ms.log(rate=rate)
    return rate

@ms.step
def judge(value: float) -> float:
    ms.log(judged=value)
    return value

@ms.pipeline
def whole(rate: float = 0.5) -> float:
    return judge(train(rate))

with ms.Workspace() as workspace:
    for _ in range(2):
        outcome = whole.run(workspace.pipeline_context)
        print([each.cached for each in outcome.steps], [each.opaque for each in outcome.steps])
"""


@pytest.mark.parametrize("executor", ["in-process", "processes:2"])
def test_what_steps_log_is_in_the_run_of_their_pipeline(tmp_path: Path, executor: str) -> None:
    (tmp_path / "whole.py").write_text(SCRIPT)
    environment = {
        **os.environ, "MAINSPRING_HOME": str(tmp_path / "home"), "MAINSPRING_EXECUTOR": executor,
    }  # fmt: skip
    command = [sys.executable, "whole.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("[False, False]")
    assert second.startswith("[True, True]"), "logging makes no step read what it logs"
    send_left_behind(tmp_path / "home")
    with Workspace(tmp_path / "home") as workspace:
        again, run = list_runs(workspace.store, experiment="whole")
        assert run.status == again.status == "finished"
        assert len(metric_history(workspace.store, run.run_id, "loss")) == 20
        assert run.metrics["rate"] == run.metrics["judged"] == 0.5
        assert "other" not in run.metrics
        assert [each.metrics for each in list_runs(workspace.store, experiment="inner")] == [{"other": 1.0}]
    assert list((tmp_path / "home" / "runs").iterdir()) == []
