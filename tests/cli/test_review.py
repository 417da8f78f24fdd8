"""The review queue by command, over HTTP and on its page."""

import json
from pathlib import Path
from urllib.parse import urlencode

from tests.cli.conftest import Run, serving
from tests.server.conftest import Server
from tests.server.test_access import basic

from mainspring.access.users import create_user
from mainspring.workspace import Workspace

ROWS = [{"age": 20 + each, "plan": "basic", "spend": 12.5} for each in range(30)]
FORM = {"content-type": "application/x-www-form-urlencoded"}


def test_the_queue_is_answered_by_command_over_http_and_on_its_page(project: Path, run: Run) -> None:
    assert run("review", "list", "churn").out == "Nothing waits.\n"
    with serving("serve", "churn", ready=project / "ready.json") as client:
        client.predict("churn", ROWS)
    first, second, third, *_ = json.loads(run("review", "list", "churn", "--json").out)
    assert first["prediction_id"] in run("review", "list", "churn").out
    assert run("review", "answer", "churn", first["prediction_id"], "1").code == 0
    assert run("review", "answer", "churn", second["prediction_id"], "7").code == 2
    with Workspace() as workspace:
        for name, role in (("rita", "reviewer"), ("eve", "viewer")):
            create_user(
                workspace.store, name, roles=[role], password=f"{name}s password", actor="root",
                at=workspace.clock.now(),
            )  # fmt: skip
    server = Server(project / ".mainspring", "--login")
    rita, eve = basic("rita", "ritas password"), basic("eve", "eves password")
    try:
        path = "/api/mainspring/v1/models/churn/reviews"
        assert server.ask("GET", path).status == 401
        told = server.ask("GET", path, headers=rita).json
        assert first["prediction_id"] not in {each["prediction_id"] for each in told["questions"]}
        assert [each["prediction_id"] for each in told["reviews"]] == [first["prediction_id"]]
        answer = {"prediction_id": second["prediction_id"], "label": "0", "comment": "called"}
        assert server.ask("POST", path, answer, headers=eve).status == 403
        assert server.ask("POST", path, answer, headers=rita).json["reviewer"] == "rita"

        assert b'href="/review/churn"' in server.ask("GET", "/review", headers=eve).body
        page = server.ask("GET", "/review/churn", headers=rita)
        assert page.headers["content-type"].startswith("text/html")
        assert third["prediction_id"].encode() in page.body
        assert b"You answer as rita" in page.body
        sent = urlencode({"prediction_id": third["prediction_id"], "label": "1", "comment": "<b>"}).encode()
        own = {"origin": server.url, **FORM}
        assert server.ask("POST", "/review/churn", raw=sent, headers={**rita, **FORM}).status == 403
        other = {"origin": "https://evil.example", **FORM}
        assert server.ask("POST", "/review/churn", raw=sent, headers={**rita, **other}).status == 403
        assert server.ask("POST", "/review/churn", raw=sent, headers={**eve, **own}).status == 403
        assert server.ask("POST", "/review/churn", raw=b"", headers={**rita, **own}).status == 422
        done = server.ask("POST", "/review/churn", raw=sent, headers={**rita, **own})
        assert (done.status, done.headers["location"]) == (303, "/review/churn")
        page = server.ask("GET", "/review/churn", headers=rita)
        assert f"value={third['prediction_id']}".encode() not in page.body
        assert b"&lt;b&gt;" in page.body
    finally:
        server.stop()
    answered = json.loads(run("review", "list", "churn", "--answered", "--json").out)
    assert {each["prediction_id"]: each["reviewer"] for each in answered} | {first["prediction_id"]: ""} == {
        first["prediction_id"]: "", second["prediction_id"]: "rita", third["prediction_id"]: "rita",
    }  # fmt: skip
