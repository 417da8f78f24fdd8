"""How everything stands: in a table, as JSON, as a page of a server, and as a file to publish."""

import json
import re
from pathlib import Path
from typing import Any

from tests.cli.conftest import Run
from tests.server.conftest import Server
from tests.server.test_access import basic

from mainspring.access.users import create_user
from mainspring.monitor.incidents import move_incident, open_incident
from mainspring.pipeline.schedules import keep_looking
from mainspring.workspace import Workspace

WORDS: Any = {"version": 1, "text": "see", "diagnosis": {}, "evidence": {}}


def test_an_empty_workspace_has_nothing_to_say(tmp_path: Path, run: Run, monkeypatch: Any) -> None:
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "new"))
    assert run("status").out == "No model serves yet.\n"
    assert run("status", "--html", str(tmp_path / "s.html")).code == 0
    assert "No model serves yet" in (tmp_path / "s.html").read_text()


def test_a_status_tells_champion_health_incidents_change_and_next_look(project: Path, run: Run) -> None:
    with Workspace() as workspace:
        now = workspace.clock.now()
        keep_looking(workspace.store, "look-churn", "10m", str(project / "loop.py"), now=now)
    done = run("status", "--html", "status.html", "--json")
    assert done.code == 0
    (model,) = json.loads(done.out)["models"]
    assert (model["model"], model["health"], model["champion"], model["incidents"]) == ("churn", "well", 1, [])
    assert "version 1 became champion" in model["last_change"]
    assert model["next_look_at"][:16] == now.isoformat()[:16]
    page = Path("status.html").read_text()
    assert "All is well" in page
    assert "version 1, since" in page
    with Workspace() as workspace:
        for rule, severity in (("quality", "page"), ("latency", "ticket")):
            made = open_incident(
                workspace.store, model="churn", rule=rule, severity=severity, title=f"<{rule}>", at=now, **WORDS
            )
        open_incident(workspace.store, model="gateway", rule="up", severity="ticket", title="down", at=now, **WORDS)
        create_user(workspace.store, "eve", roles=["viewer"], password="eves password", actor="root", at=now)
    done = run("status", "--json")
    assert done.code == 1, "a model is in trouble"
    first, second = json.loads(done.out)["models"]
    assert (first["model"], first["health"], len(first["incidents"])) == ("churn", "page", 2)
    assert (second["model"], second["health"], second["champion"]) == ("gateway", "ticket", None)
    assert "churn" in run("status").out

    server = Server(project / ".mainspring", "--login")
    try:
        assert server.ask("GET", "/status").status == 401
        shown = server.ask("GET", "/status", headers=basic("eve", "eves password"))
        assert shown.headers["content-type"].startswith("text/html")
        assert b"2 of 2 models need somebody" in shown.body
        assert b"&lt;quality&gt;" in shown.body
        assert not re.search(rb"<script|src=|href=", shown.body), "it loads nothing"
        told = server.ask("GET", "/api/mainspring/v1/status", headers=basic("eve", "eves password")).json
        assert [each["model"] for each in told["models"]] == ["churn", "gateway"]
        assert {each["schedule"]["name"] for each in told["schedules"]} == {"look-churn", "retention", "drill"}
    finally:
        server.stop()
    with Workspace() as workspace:
        move_incident(workspace.store, made, "resolved", text="done", at=now)
    assert len(json.loads(run("status", "--json").out)["models"][0]["incidents"]) == 1
