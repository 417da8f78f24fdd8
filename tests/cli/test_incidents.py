"""`mainspring incidents` as people type it: take one over, hand it on, close it, write it up."""

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Run

from mainspring.monitor.incidents import open_incident
from mainspring.registry.models import create_model
from mainspring.workspace import Workspace


@pytest.fixture
def incident(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The end of the id of an incident in a workspace of its own."""
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "home"))
    with Workspace() as workspace:
        opened = open_incident(
            workspace.store,
            model="m",
            version=1,
            rule="quality",
            severity="page",
            title="m/1 is worse than promised",
            text="proven",
            diagnosis={"suspect": "data", "reason": "gaps"},
            evidence={"lower": 0.3},
            at=workspace.clock.now(),
        )
    return opened.incident_id[-8:]


def test_an_incident_lives_through_its_commands(incident: str, run: Run) -> None:
    assert json.loads(run("incidents", "assign", incident, "weather-team", "--json").out)["owner"] == "weather-team"
    assert json.loads(run("incidents", "ack", incident, "--note", "looking", "--json").out)["status"] == "acknowledged"
    assert run("incidents", "note", incident, "the feed sends Celsius").code == 0
    assert run("incidents", "mitigate", incident).code == 0
    (listed,) = json.loads(run("incidents", "--open", "--json").out)
    assert (listed["status"], listed["owner"]) == ("mitigated", "weather-team")
    assert "weather-team" in run("incidents").out
    assert run("incidents", "resolve", incident, "--note", "mended").code == 0
    assert json.loads(run("incidents", "--open", "--json").out) == []
    shown = json.loads(run("incidents", incident, "--json").out)
    assert shown == json.loads(run("incidents", "show", incident, "--json").out)
    assert [(entry["what"], entry["text"]) for entry in shown["timeline"]] == [
        ("opened", "proven"),
        ("assigned", "weather-team"),
        ("acknowledged", "looking"),
        ("note", "the feed sends Celsius"),
        ("mitigated", "by hand"),
        ("resolved", "mended"),
    ]
    assert "assigned to weather-team" in run("timeline").out


def test_a_move_that_is_not_allowed_says_what_is(incident: str, run: Run) -> None:
    run("incidents", "resolve", incident)
    for words in (("ack", incident), ("assign", incident, "eve")):
        done = run("incidents", *words)
        assert done.code == 1
        assert "closed" in done.err
    done = run("incidents", "ack", "ffffffff")
    assert done.code == 3
    assert "No incident has the id" in done.err


def test_a_postmortem_is_drafted(incident: str, run: Run) -> None:
    text = run("incidents", "postmortem", incident).out
    assert text.startswith("# Post-mortem: m/1 is worse than promised\n")
    assert "Suspect: **data**. gaps." in text
    assert json.loads(run("incidents", "postmortem", incident, "--json").out)["markdown"] == text


def test_incidents_are_silenced_listed_and_told_again(project: Path, run: Run) -> None:
    made = json.loads(run("incidents", "silence", "churn", "--for", "2h", "--reason", "a move", "--json").out)
    assert made["pattern"] == "churn/*"
    assert "a move" in run("incidents", "silences").out
    assert run("incidents", "unsilence", made["silence_id"][-8:]).code == 0
    assert json.loads(run("incidents", "silences", "--json").out) == []
    assert len(json.loads(run("incidents", "silences", "--all", "--json").out)) == 1
    assert "A silence of 100 days" in run("incidents", "silence", "churn", "--for", "100d", "--reason", "x").err


def test_a_name_that_nobody_knows_is_not_silenced_by_mistake(incident: str, run: Run) -> None:
    with Workspace() as workspace:
        create_model(workspace.store, "churn", actor="ada", at=workspace.clock.now())
    words = ("--for", "2h", "--reason", "a move")
    done = run("incidents", "silence", "chrun", *words)
    assert done.code == 3
    assert "Did you mean `churn`?" in done.err
    assert json.loads(run("incidents", "silences", "--json").out) == []
    for pattern in ("churn", "m", "*", "chr*", "chrun/*", "*/*/latency"):  # `m` has an incident, and is no model
        assert run("incidents", "silence", pattern, *words).code == 0


def test_the_timeline_names_an_incident_of_no_version_by_model_and_rule(incident: str, run: Run) -> None:
    with Workspace() as workspace:
        open_incident(
            workspace.store, model="churn", version=None, rule="ModelErrors@abc1", severity="page", title="t", text="",
            diagnosis={}, evidence={}, at=workspace.clock.now(),
        )  # fmt: skip
    subjects = {each["subject"] for each in json.loads(run("timeline", "--json").out)}
    assert {"churn/ModelErrors@abc1", "m/1/quality"} <= subjects


def test_a_quiet_incident_says_why_nobody_is_told(incident: str, run: Run) -> None:
    assert "who asked to be" in run("incidents", incident).out
    assert run("incidents", "silence", "other/*", "--for", "1h", "--reason", "moving").code == 0
    words = {"version": 1, "severity": "page", "title": "t", "text": "", "diagnosis": {}, "evidence": {}}
    with Workspace() as workspace:
        at = workspace.clock.now()
        quiet = open_incident(workspace.store, model="other", rule="quality", at=at, **words)
        open_incident(workspace.store, model="third", rule="data", at=at, **words)
        follows = open_incident(workspace.store, model="third", rule="quality", at=at, **words)
    assert "it is silenced" in run("incidents", quiet.incident_id).out
    assert "may follow from broken input" in run("incidents", follows.incident_id).out


def test_a_stopped_batch_opens_an_incident_and_a_good_one_closes_it(project: Path, run: Run) -> None:
    (project / "bad.csv").write_text("age,plan,spend,churned\n400,basic,1,0\n30,gold,1,0\n")
    for _ in range(2):  # the second is an entry of the first
        assert run("data", "check", "bad.csv", "customers.schema.yaml", "--model", "churn").code == 1
    (opened,) = json.loads(run("incidents", "--open", "--json").out)
    assert (opened["rule"], opened["diagnosis"]["suspect"]) == ("data", "data")
    assert "bad.csv breaks 2 rules" in opened["title"]
    assert run("data", "check", "customers.csv", "customers.schema.yaml", "--model", "churn").code == 0
    assert json.loads(run("incidents", "--open", "--json").out) == []
