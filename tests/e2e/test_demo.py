"""The main job, killed and started again until it is through: nothing acknowledged is lost, nothing torn is read."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from mainspring.demo.report import stage_rows
from mainspring.domain.moments import from_iso
from mainspring.store.events import verify_chain
from mainspring.workspace import Workspace

pytest.importorskip("sklearn", reason="the demo trains with scikit-learn: pip install 'mainspring[demo]'")

#: The stages that the demo's table must show, each with a figure of this run.
STAGES = [
    "data", "check", "split", "candidates", "evaluate", "bundle", "gates", "register", "serve", "replay", "labels",
    "monitor", "incident", "diagnosis", "retrain", "replay gate", "canary", "promote", "bad candidate", "rollback",
    "closed",
]  # fmt: skip
KILLS = 10


def _start(home: Path, acknowledged: Path) -> "subprocess.Popen[str]":
    words = ["demo", "--fast", "--home", str(home), "--acknowledged", str(acknowledged)]
    return subprocess.Popen(
        [sys.executable, "-m", "mainspring", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """Kill the demo at ten random moments, let the eleventh start run to its end; return home, answers and output."""
    folder = tmp_path_factory.mktemp("demo")
    home, acknowledged = folder / "demo", folder / "acknowledged.txt"
    rng = random.Random(20130401)
    for _ in range(KILLS):
        process = _start(home, acknowledged)
        try:
            output, _ = process.communicate(timeout=rng.uniform(0.3, 14.0))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            output, _ = process.communicate()
        assert process.returncode in (-signal.SIGKILL, 0), output
    process = _start(home, acknowledged)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    return home, acknowledged, output


def _run(home: Path, *words: str) -> str:
    environment = {**os.environ, "MAINSPRING_HOME": str(home / ".mainspring")}
    done = subprocess.run(
        [sys.executable, "-m", "mainspring", *words], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_every_stage_of_the_life_has_a_row_with_a_figure(lived: tuple[Path, Path, str]) -> None:
    home, _, output = lived
    with Workspace(home / ".mainspring") as workspace:
        rows = stage_rows(workspace, "late-flights")
    assert [row.stage for row in rows] == STAGES
    assert all(re.search(r"\d", row.figure) for row in rows if row.stage != "diagnosis")
    for stage in STAGES:
        assert re.search(rf"^\s*{stage}\s", output, re.MULTILINE), stage


@pytest.mark.slow
def test_no_acknowledged_prediction_is_lost_or_doubled(lived: tuple[Path, Path, str]) -> None:
    home, acknowledged, _ = lived
    answered = [identifier for line in acknowledged.read_text().splitlines() for identifier in line.split()[1:]]
    assert len(answered) > 1000
    with Workspace(home / ".mainspring") as workspace:
        workspace.seal()
        # a killed demo may have been answered without noting it, so the log may hold more, never less or twice
        logged = Counter(
            identifier
            for ids in workspace.log.answered(
                "late-flights", since=_moment("2013-01-01"), until=_moment("2014-02-01")
            ).values()
            for identifier in ids
        )
    assert not [identifier for identifier in answered if logged[identifier] != 1]


@pytest.mark.slow
def test_nothing_torn_is_left_behind(lived: tuple[Path, Path, str]) -> None:
    home, _, _ = lived
    with Workspace(home / ".mainspring") as workspace:
        assert workspace.store.read("PRAGMA integrity_check") == [("ok",)]
        assert verify_chain(workspace.store) > 20
        for digest in workspace.artifacts.digests():
            workspace.artifacts.verify(digest)


@pytest.mark.slow
def test_no_server_outlives_its_demo(lived: tuple[Path, Path, str]) -> None:
    home, _, _ = lived
    deadline = time.monotonic() + 30
    while left := _servers_of(home):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


@pytest.mark.slow
def test_the_timeline_tells_the_same_story(lived: tuple[Path, Path, str]) -> None:
    home, _, _ = lived
    told = json.loads(_run(home, "timeline", "--json"))
    stages = {each["stage"] for each in told}
    assert stages >= {
        "data", "check", "split", "candidates", "evaluate", "register", "gates", "approve", "serve", "traffic",
        "incident", "canary", "promote", "rollback",
    }  # fmt: skip
    assert [each["at"] for each in told if each["stage"] == "incident"] == sorted(
        each["at"] for each in told if each["stage"] == "incident"
    )
    assert any("resolved" in each["text"] for each in told)


@pytest.mark.slow
def test_why_explains_an_answer_down_to_code_and_data(lived: tuple[Path, Path, str]) -> None:
    home, acknowledged, _ = lived
    identifier = acknowledged.read_text().splitlines()[-1].split()[1]
    found = json.loads(_run(home, "why", identifier, "--json"))
    assert found["request"]["carrier"]
    assert found["transforms"]
    assert found["model_version"].startswith("late-flights/")
    assert found["run"]["run_id"]
    assert re.fullmatch(r"[0-9a-f]{40}", found["commit"])
    assert found["data"] == {"folder": "late-flights.folder/1"}
    assert [each["approver"] for each in found["approvals"]] == ["demo-reviewer"]
    text = _run(home, "why", identifier)
    for heading in ("request", "transforms", "model version", "run", "commit", "data version", "approver"):
        assert re.search(rf"^{heading}\b", text, re.MULTILINE), heading


@pytest.mark.slow
def test_a_finished_demo_shows_its_table_again_at_once(lived: tuple[Path, Path, str]) -> None:
    home, acknowledged, _ = lived
    before = acknowledged.stat().st_size
    process = _start(home, acknowledged)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert "bad candidate" in output
    assert acknowledged.stat().st_size == before


def _servers_of(home: Path) -> list[int]:
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        line = process.info["cmdline"] or []
        if "mainspring.serve" in line and any(str(home) in word for word in line):
            found.append(process.info["pid"])
    return found


def _moment(day: str) -> datetime:
    return from_iso(f"{day}T00:00:00Z")
