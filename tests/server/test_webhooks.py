"""Webhooks over HTTP: made as MLflow's clients make them, told by the running server, also after it was killed."""

import json
from pathlib import Path

import pytest

from mainspring.notify.sending import signature_of
from mainspring.store.events import events, verify_chain
from mainspring.workspace import Workspace

from .conftest import Receiver, Server


def test_the_server_tells_what_happened_also_after_it_was_killed(tmp_path: Path, receiver: Receiver) -> None:
    server = Server(tmp_path / "home", MAINSPRING_WEBHOOKS_PRIVATE="on")
    made = server.post(
        "webhooks",
        name="hook",
        url=receiver.url,
        secret="shh",
        events=[{"entity": "REGISTERED_MODEL", "action": "CREATED"}],
    )
    webhook = made.json["webhook"]
    assert webhook["status"] == "ACTIVE"
    assert webhook["events"] == [{"entity": "REGISTERED_MODEL", "action": "CREATED"}]
    server.kill()
    with Workspace(tmp_path / "home") as workspace:  # happens while nobody tells
        from mainspring.registry.models import create_model

        create_model(workspace.store, "m", actor="ada", at=workspace.clock.now())
    server = Server(tmp_path / "home", MAINSPRING_WEBHOOKS_PRIVATE="on")
    receiver.wait_for(lambda got: len(got) == 1)
    headers, body = receiver.got[0]
    assert json.loads(body)["data"]["name"] == "m"
    identifier, moment = headers["x-mlflow-delivery-id"], headers["x-mlflow-timestamp"]
    assert headers["x-mlflow-signature"] == signature_of("shh", identifier, moment, body)
    tried = server.post(f"webhooks/{webhook['webhook_id']}/test")
    assert tried.json["result"] == {"success": True, "response_status": 200, "response_body": ""}
    server.stop()
    with Workspace(tmp_path / "home") as workspace:
        verbs = [event.verb for event in events(workspace.store) if event.verb != "schedule.added"]
        assert verbs == ["webhook.created", "model.created"]
        assert verify_chain(workspace.store) == 4


def test_webhooks_are_kept_as_mlflow_keeps_them(server: Server) -> None:
    event = {"entity": "MODEL_VERSION", "action": "CREATED"}
    for number in range(3):
        assert server.post("webhooks", name=f"hook{number}", url="https://example.org", events=[event]).status == 200
    page = server.get("webhooks", max_results=2).json
    rest = server.get("webhooks", max_results=2, page_token=page["next_page_token"]).json
    assert sorted(each["name"] for each in [*page["webhooks"], *rest["webhooks"]]) == ["hook0", "hook1", "hook2"]
    assert "next_page_token" not in rest
    identifier = rest["webhooks"][0]["webhook_id"]
    path = f"/api/2.0/mlflow/webhooks/{identifier}"
    changed = server.ask("PATCH", path, {"description": "d", "status": "DISABLED"}).json["webhook"]
    assert (changed["description"], changed["status"], changed["events"]) == ("d", "DISABLED", [event])
    assert server.ask("DELETE", path).json == {}
    gone = server.ask("GET", path)
    assert (gone.status, gone.json["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert gone.json["message"].startswith(f"Webhook with ID {identifier} not found.")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"name": "-", "url": "https://example.org"}, "Webhook name '-' is invalid"),
        ({"name": "a", "url": "http://example.org"}, "Invalid webhook URL scheme: 'http'"),
        ({"name": "a", "url": "https://127.0.0.1"}, "not a public address"),
        ({"name": "a", "url": "https://example.org", "events": [{"entity": "X", "action": "Y"}]}, "Invalid entity"),
        ({"name": "a", "url": "https://example.org", "events": []}, "non-empty list"),
        ({"url": "https://example.org"}, "Missing value for required parameter 'name'"),
    ],
)
def test_a_webhook_that_does_not_fit_is_told_in_mlflows_words(server: Server, body, said: str) -> None:
    refused = server.post("webhooks", **{"events": [{"entity": "MODEL_VERSION", "action": "CREATED"}], **body})
    assert (refused.status, refused.json["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert said in refused.json["message"]
    for token in ("x", "e30=", "eyJvZmZzZXQiOiJ4In0=", "W10="):
        assert server.get("webhooks", page_token=token).status == 400
