"""Schedules on the command line: looks, and the housekeeping that every store begins with."""

import shutil
from pathlib import Path

import pytest
from tests.cli.conftest import Run, serving

from mainspring.pipeline.schedules import add_schedule
from mainspring.workspace import Workspace


def test_a_drill_restores_a_copy_and_loads_what_serves(project: Path, run: Run) -> None:
    with Workspace() as workspace:
        add_schedule(workspace.store, "drill", "0 0 * * *", "", now=workspace.clock.now(), duty="drill")
    done = run("schedule", "run", "drill")
    assert done.code == 0
    assert "ready to answer: churn/1" in done.err
    assert "drill.passed" in run("audit", "list").out
    (bundle,) = (project / ".mainspring" / "bundles").iterdir()
    (bundle / "bundle.json").write_text("{}")  # mended by the drill: laid out anew
    assert run("schedule", "run", "drill").code == 0
    stored = [each for each in (project / ".mainspring" / "artifacts").rglob("*") if each.is_file()]
    for each in stored:
        each.chmod(0o600)
        each.write_bytes(b"damaged")
    shutil.rmtree(bundle)
    assert run("schedule", "run", "drill").code == 3


def test_retention_seals_and_forgets(project: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_PREDICTION_RETENTION", "1ms")
    with serving("serve", "churn", ready=project / "ready.json") as client:
        client.predict("churn", [{"age": 41, "plan": "basic", "spend": 12.5}])
    with Workspace() as workspace:
        add_schedule(workspace.store, "retention", "0 0 * * *", "", now=workspace.clock.now(), duty="retention")
    done = run("schedule", "run", "retention")
    assert done.code == 0
    assert "forgot 1 predictions and labels" in done.err


def test_a_look_can_be_scheduled(project: Path, run: Run) -> None:
    assert run("schedule", "add", "watch", "every 10m", "loop.py", "--look").code == 0
    assert run("schedule", "add", "odd", "every now and then", "loop.py", "--look").code == 2
    assert run("schedule", "tick").out == "Nothing is due.\n"
    assert run("schedule", "run", "watch").code == 0
    assert "look of loop.py" in run("schedule", "list").out
