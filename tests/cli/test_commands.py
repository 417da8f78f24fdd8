"""Each command does what its help says, on a small trained project; listings speak JSON."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.cli.conftest import Run, customers, serving

from mainspring.cli.main import COMMANDS
from mainspring.domain.moments import WrittenClock
from mainspring.serve.client import PredictionClient
from mainspring.workspace import Workspace

ROW = {"age": 41, "plan": "basic", "spend": 12.5}


def _ask_too_much(project: Path) -> None:
    loop = project / "loop.py"
    loop.write_text(loop.read_text().replace("0.6", "0.999"))


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_with_an_example(run: Run, name: str) -> None:
    done = run(name, "--help")
    assert done.code == 0
    assert "Example:" in done.out
    assert f"mainspring {name}" in done.out


def test_help_lists_every_command(run: Run) -> None:
    assert all(name in run("--help").out for name in COMMANDS)


def test_run_with_json_ends_with_one_object(project: Path, run: Run) -> None:
    run("run", "loop.py")
    done = run("run", "loop.py", "--json")
    found = json.loads(done.out.splitlines()[-1])
    assert done.code == 0
    assert found["status"] == "finished"
    assert {"run_id", "status", "result", "steps", "version", "gates"} <= set(found)
    assert {"name", "status", "cached", "reason"} <= set(found["steps"][0])
    assert all(step["cached"] for step in found["steps"])


def test_run_says_no_with_exit_code_one_when_a_gate_refuses(project: Path, run: Run) -> None:
    _ask_too_much(project)
    (project / "customers.csv").write_text(customers(1400))
    done = run("run", "loop.py")
    assert done.code == 1
    assert "FAILED" in done.out
    assert json.loads(run("models", "--json").out)[0]["status"] == "refused"


def test_a_stricter_goal_does_not_refuse_what_serves_already(project: Path, run: Run) -> None:
    _ask_too_much(project)
    assert run("run", "loop.py").code == 1
    (found,) = json.loads(run("models", "--json").out)
    assert (found["status"], found["aliases"]) == ("ready", ["champion"])


def test_a_pipeline_runs_by_its_name(project: Path, run: Run) -> None:
    (project / "sums.py").write_text(
        "import mainspring as ms\n\n\n@ms.step\ndef double(n: int) -> int:\n    return 2 * n\n\n\n"
        "@ms.pipeline\ndef four(n: int = 1) -> int:\n    return double(double(n))\n"
    )
    done = run("run", "sums.py:four", "-p", "n=3", "--json")
    assert json.loads(done.out.splitlines()[-1])["result"] == 12


def test_models_lists_versions_with_their_aliases(project: Path, run: Run) -> None:
    (found,) = json.loads(run("models", "--json").out)
    assert (found["name"], found["version"], found["aliases"]) == ("churn", 1, ["champion"])
    shown = run("models", "churn/1").out
    assert "goal" in shown
    assert "passed" in shown
    assert "champion" in run("models", "churn", "--history").out


def test_a_refused_version_is_promoted_only_with_a_reason(project: Path, run: Run) -> None:
    _ask_too_much(project)
    (project / "customers.csv").write_text(customers(1400))
    assert run("run", "loop.py").code == 1
    assert run("promote", "churn/2").code == 1
    assert run("promote", "churn/2", "--override").code == 2
    assert run("promote", "churn/2", "--override", "--reason", "a test").code == 0
    assert "a test" in run("timeline").out
    assert json.loads(run("models", "churn", "--json").out)[0]["aliases"] == ["champion"]
    assert run("rollback", "churn", "--reason", "worse").code == 0
    assert "champion" in json.loads(run("models", "churn", "--json").out)[1]["aliases"]


def test_the_author_cannot_approve(project: Path, run: Run) -> None:
    loop = project / "loop.py"
    loop.write_text(
        loop.read_text().replace('goal="roc_auc >= 0.6"', 'goal="roc_auc >= 0.61", gates=[], approve=ms.by("reviewer")')
    )
    (project / "customers.csv").write_text(customers(1400))
    assert run("run", "loop.py", "--author", "ada").code == 0
    newest = json.loads(run("models", "churn", "--json").out)[0]
    assert run("promote", f"churn/{newest['version']}").code == 1  # nobody has approved it yet
    reference = f"churn/{newest['version']}"
    author = newest["created_by"]
    assert run("approve", reference, "--as", author).code == 1
    assert run("approve", reference, "--as", "somebody-else").code == 0


def test_predict_scores_a_file_and_a_stream_alike(project: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "age,plan,spend\n40,basic,10.5\n,pro,99\n"
    (project / "in.csv").write_text(rows)
    for ending in ("csv", "parquet", "jsonl"):
        assert run("predict", "churn@champion", "in.csv", f"out.{ending}").code == 0
    piped = subprocess.run(
        [sys.executable, "-m", "mainspring", "predict", "churn", "-", "-"], input=rows.encode(), capture_output=True
    )
    assert piped.returncode == 0, piped.stderr
    assert piped.stdout.decode() == (project / "out.csv").read_text()
    assert (project / "out.csv").read_text().splitlines()[0] == "age,plan,spend,score,label"
    again = run("predict", "churn/1", "out.parquet", "again.csv")
    assert again.code == 0
    assert "IN has columns named score, label" in again.err


def test_predict_passes_on_what_the_model_does_not_eat(project: Path, run: Run) -> None:
    rows = 'id,age,plan,spend,day,note\n9007199254740993,23,basic,10.50,2024-01-01,NA\n007,,pro,99,2024-01-02,"a,b"\n'
    (project / "in.csv").write_text(rows)
    assert run("predict", "churn", "in.csv", "out.csv").code == 0
    given, written = rows.splitlines(), (project / "out.csv").read_text().splitlines()
    assert [each.rsplit(",", 2)[0] for each in written] == given


def test_serve_answers_and_why_explains(project: Path, run: Run) -> None:
    ready = project / "ready.json"
    with serving("serve", "churn", ready=ready) as client:
        answer = client.predict("churn", [ROW], request_id="r-1")
        identifier = answer.predictions[0].id
        client.feedback("churn", [(identifier, 1)])
    found = json.loads(run("why", identifier, "--json").out)
    assert found["request"] == ROW
    assert found["label"] == "1"
    assert found["model_version"] == "churn/1"
    assert found["score"] == answer.predictions[0].score
    assert run("why").out.split()[1] == identifier
    (seen,) = json.loads(run("monitor", "--json").out)["seen"]
    assert (seen["predictions"], seen["labels"]) == (1, 1)
    replayed = json.loads(run("monitor", "backtest", "churn", "--every", "1s", "--json").out)
    assert (replayed["model"], replayed["alerts"]) == ("churn/1", [])
    assert run("monitor", "backtest", "churn", "--alpha", "0.00001").code == 2
    assert "would have alerted 0 times" in run("monitor", "backtest", "churn/1").out


def test_what_was_served_is_what_the_file_says(project: Path, run: Run) -> None:
    """The skew test: rows answered online, together or alone, and recomputed offline differ by nothing at all."""
    lines = [line.split(",")[:3] for line in customers(200).splitlines()[1:]]
    rows = [{"age": float(age) if age else None, "plan": plan, "spend": float(spend)} for age, plan, spend in lines]
    with serving("serve", "churn", ready=project / "ready.json") as client:
        together = client.predict("churn", rows).predictions
        alone = [client.predict("churn", [row]).predictions[0] for row in rows[:60]]
    (project / "in.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert run("predict", "churn", "in.jsonl", "out.jsonl").code == 0
    offline = [json.loads(line) for line in (project / "out.jsonl").read_text().splitlines()]
    assert len(offline) == len(together) == 200
    expected = [(each["score"], each["label"]) for each in offline]
    assert len({score for score, _ in expected}) > 100
    assert [(each.score, each.label) for each in together] == expected
    assert [(each.score, each.label) for each in alone] == expected[:60]


def test_serve_tells_of_a_gap_that_training_never_saw(project: Path, run: Run) -> None:
    with serving("serve", "churn", "--row-rules", "off", ready=project / "ready.json") as client:
        answer = client.predict("churn", [ROW, {**ROW, "spend": None}])
    assert [(each.kind, each.where) for each in answer.warnings] == [("missing_value", "rows[1].spend")]


def test_a_served_fixed_version_stays_when_the_champion_moves(project: Path, run: Run) -> None:
    ready = project / "ready.json"
    with serving("serve", "churn/1", ready=ready) as client:
        assert client.predict("churn", [ROW]).version == 1


def test_a_bundle_folder_is_served_without_a_registry(project: Path, run: Run) -> None:
    (bundle,) = (project / ".mainspring" / "bundles").iterdir()
    ready = project / "ready.json"
    with serving("serve", str(bundle), ready=ready) as client:
        assert client.predict("churn", [ROW]).predictions[0].label in ("0", "1")
    assert run("monitor").code == 0


def test_up_serves_and_looks_and_stops(project: Path, run: Run) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mainspring", "up", "loop.py", "--port", "0", "--every", "100ms", "--looks", "2"],
        capture_output=True,
        text=True,
        timeout=120,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr
    assert "Serving churn at http://127.0.0.1:" in done.stdout
    assert "Control server at http://127.0.0.1:" in done.stdout
    assert done.stdout.endswith("Stopped.\n")
    kept = {each["name"]: each for each in json.loads(run("schedule", "list", "--json").out)}
    assert set(kept) == {"look-churn", "retention", "drill"}
    assert kept["look-churn"]["last"]["status"] == "finished"
    assert kept["look-churn"]["at_work"] is None
    assert len(json.loads(run("schedule", "list", "--ticks", "--json").out)) == 2


@contextmanager
def up(*words: str) -> Iterator[PredictionClient]:
    """`mainspring up` until the block ends."""
    command = [sys.executable, "-u", "-m", "mainspring", "up", "loop.py", "--port", "0", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        assert process.stdout is not None
        try:
            serving = next(line for line in process.stdout if line.startswith("Serving"))
            with PredictionClient(serving.split(" at ")[1].split(";")[0]) as client:
                yield client
        finally:
            process.terminate()
            process.communicate()
    assert process.returncode == 0


def _looks(run: Run) -> list[str]:
    """The moments of the looks that were taken, in order."""
    ticks = json.loads(run("schedule", "list", "--ticks", "--json").out)
    return sorted(each["due_at"] for each in ticks if each["schedule"] == "look-churn" and each["status"] == "finished")


def _await_looks(run: Run, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(_looks(run)) < count:
        assert time.monotonic() < deadline


def test_up_looks_features_up_that_a_request_leaves_out(project: Path, run: Run) -> None:
    (project / "spent.csv").write_text("customer,at,spend\n7,2026-01-01,12.5\n8,2026-01-01,900\n")
    (project / "views.py").write_text(
        "import mainspring as ms\n"
        'spent = ms.FeatureView("spent", source="spent.csv", keys="customer", time="at", features={"spend": "spend"})\n'
    )
    assert run("features", "materialize", "views.py", "--until", "2026-01-02").code == 0
    assert "spent" in run("up", "loop.py", "--port", "0", "--looks", "1", "--view", "spend").err
    with up("--every", "1d", "--view", "spent") as client:
        whole, looked_up, other = (
            client.predict("churn", [row]).predictions[0].score
            for row in (ROW, {"age": 41, "plan": "basic", "customer": 7}, {"age": 41, "plan": "basic", "customer": 8})
        )
    assert looked_up == whole != other


def test_up_lives_through_a_past_by_a_clock_that_stands_in_a_file(
    project: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, day = WrittenClock(project / "clock"), datetime(2031, 4, 1, tzinfo=UTC)
    clock.advance_to(day)
    monkeypatch.setenv("MAINSPRING_CLOCK", str(clock.path))
    with up("--every", "1d") as client:
        _await_looks(run, 1)
        clock.advance_to(day + timedelta(hours=2))
        client.predict("churn", [ROW])
        clock.advance_to(day + timedelta(days=1))
        _await_looks(run, 2)
    assert _looks(run) == ["2031-04-01T00:00:00+00:00", "2031-04-02T00:00:00+00:00"]
    with Workspace() as workspace:
        workspace.seal()
        assert workspace.log.last_at("churn") == day + timedelta(hours=2)


def test_data_goes_in_and_comes_out_the_same(project: Path, run: Run) -> None:
    added = json.loads(run("data", "add", "customers.csv", "--name", "customers", "--json").out)
    assert added["version"] == 1
    assert added["n_rows"] == 1500
    assert json.loads(run("data", "add", "customers.csv", "--name", "customers", "--json").out)["version"] == 1
    assert run("data", "checkout", "customers/1", "--to", "copy.csv").code == 0
    assert (project / "copy.csv").read_bytes() == (project / "customers.csv").read_bytes()
    assert run("data", "checkout", "customers/1", "--to", "copy.csv").code == 1
    names = {each["name"] for each in json.loads(run("data", "list", "--json").out)}
    assert names == {"customers", "churn.data"}


def test_an_inferred_schema_fits_its_own_table(project: Path, run: Run) -> None:
    (project / "s.yaml").write_text(run("data", "schema", "customers.csv").out)
    assert run("data", "check", "customers.csv", "s.yaml").code == 0
    assert run("data", "profile", "customers.csv").code == 0
    (project / "other.csv").write_text("age,plan,spend,churned\n200,basic,1,0\n")
    done = run("data", "check", "other.csv", "s.yaml")
    assert done.code == 1
    assert "rows[0].age = 200" in done.err


def test_runs_can_be_sorted_and_shown(project: Path, run: Run) -> None:
    (found,) = json.loads(run("runs", "--sort", "roc_auc", "--json").out)
    assert found["metrics"]["roc_auc"] > 0.6
    assert found["run_id"] in run("runs", found["run_id"][-8:]).out


def test_listings_of_an_empty_workspace_are_empty(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "new"))
    for words in (("runs",), ("models",), ("incidents",), ("timeline",), ("data", "list")):
        assert json.loads(run(*words, "--json").out) == []
        assert run(*words).code == 0


def test_an_unforeseen_error_leaves_as_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mainspring.cli.runs.search_runs", lambda *_, **__: 1 / 0)
    done = run("runs")
    assert done.code == 3
    assert done.err.startswith("Internal error: ZeroDivisionError")
    assert "Traceback" not in done.err
