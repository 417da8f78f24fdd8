"""`reproduce`, `logs`, `graph`, and what `runs` tells of the steps of a run."""

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mainspring.cli import progress
from mainspring.cli.progress import LiveTree, StepPrinter, progress_for_people
from mainspring.domain.ids import RunId
from mainspring.pipeline.outcome import StepEvent

from .conftest import Run

TALKING = """
import mainspring as ms

@ms.step
def talk(name: str) -> str:
    print("hello", name)
    return name

@ms.pipeline
def talking(name: str) -> str:
    return talk(name)
"""


def last(run: Run) -> Any:
    return json.loads(run("runs", "--limit", "1", "--json").out)[0]


def test_champion_is_made_again_to_the_byte(project: Path, run: Run) -> None:
    done = run("reproduce", "churn@champion", "--here", "--json")
    found = json.loads(done.out.splitlines()[-1])
    assert (done.code, found["level"], found["holds"], found["environment"]) == (0, "bytes", True, "present")
    assert found["model_files"]["model.skops"]
    assert found["predictions"] > 0
    assert found["diverged"] is None


def test_changed_data_moves_the_first_step_and_the_metrics(project: Path, run: Run, tmp_path: Path) -> None:
    kept = tmp_path / "again"
    assert run("reproduce", "churn/1", "--here", "--folder", str(kept)).code == 0
    (table,) = kept.rglob("customers.csv")
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines[:-100], ""]))
    done = run("reproduce", "churn/1", "--here", "--folder", str(kept))
    assert done.code == 1
    assert "First other step: `read_table` (number 0) came out otherwise" in done.out
    assert "roc_auc" in done.out
    assert "customers.csv" in done.out


def test_what_is_not_there_cannot_be_made_again(project: Path, run: Run) -> None:
    assert run("reproduce", "churn/9", "--here").code == 3
    assert run("reproduce", "ffffffff", "--here").code == 3


def test_logs_of_a_found_step_are_those_of_its_making(project: Path, run: Run) -> None:
    (project / "talking.py").write_text(TALKING)
    for _ in range(2):
        assert run("run", "talking.py", "-p", "name=ada").code == 0
    run_id = last(run)["run_id"]
    said = run("logs", run_id)
    assert "hello ada" in said.out
    assert "cached, said in run" in said.out
    (document,) = json.loads(run("logs", run_id, "talk", "--json").out)
    assert document["cached"]
    assert document["run_id"] != run_id
    assert [line["text"] for line in document["lines"]] == ["hello ada"]
    assert run("logs", run_id, "tlak").code == 3


def test_run_tells_what_its_steps_took_and_saved(project: Path, run: Run) -> None:
    (project / "talking.py").write_text(TALKING)
    assert "1 steps ran" in run("run", "talking.py", "-p", "name=ada").err
    assert "saved by the cache" in run("run", "talking.py", "-p", "name=ada").err
    run_id = last(run)["run_id"]
    shown = run("runs", run_id).out
    assert "talk" in shown
    assert "seed" in shown
    document = json.loads(run("runs", run_id, "--json").out)
    assert document["saved_seconds"] > 0
    assert document["steps"][0]["name"] == "talk"


def test_graph_of_a_run_and_of_a_file(project: Path, run: Run) -> None:
    (project / "talking.py").write_text(TALKING)
    assert run("graph", "talking.py").out == "talking\n  0 talk\n"
    run("run", "talking.py", "-p", "name=ada")
    document = json.loads(run("graph", last(run)["run_id"], "--format", "json").out)
    assert [(each["name"], each["status"]) for each in document["nodes"]] == [("talk", "finished")]
    assert run("graph", "talking.py:talking", "--format", "mermaid").out.startswith("flowchart TD")
    loop = run("graph", "loop.py").out
    assert "evaluate" in loop


def _event(number: int, status: Any, reason: str = "") -> StepEvent:
    return StepEvent(RunId("r"), number, f"step{number}", status, reason, 1.5 if status == "finished" else 0.0)


def test_living_tree_shows_what_runs_and_leaves_out_what_the_screen_does_not_take() -> None:
    console = Console(width=80, height=10, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    tree = LiveTree(console)
    for number in range(20):
        tree.on_step(_event(number, "finished"))
    tree.on_step(_event(20, "running", "first run"))
    console.print(tree.picture())
    text = console.export_text()
    console.file.close()
    assert "20 finished, 1 running" in text
    assert "steps before" in text
    assert "> step20" in text
    assert "step0 " not in text


def test_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(progress_for_people(), StepPrinter)
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True)
    assert isinstance(progress_for_people(), LiveTree)
