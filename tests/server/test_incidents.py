"""Incidents over HTTP, and the door for Alertmanager, with what a real one sends where the program is there."""

import contextlib
import http.client
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mainspring.access.users import create_user
from mainspring.workspace import Workspace

from .conftest import Receiver, Server, running
from .test_access import NOW, basic

AT = "/api/mainspring/v1"


def notification(status: str = "firing", **labels: str) -> dict[str, Any]:
    """A payload as Alertmanager 0.27 posts it."""
    return {
        "receiver": "mainspring",
        "status": status,
        "alerts": [
            {
                "status": status,
                "labels": {"alertname": "SlowAnswers", "model": "churn", "severity": "critical", **labels},
                "annotations": {"summary": "churn answers slowly"},
                "startsAt": "2026-05-01T10:00:00.000Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://prometheus:9090/graph",
                "fingerprint": "c9f1b3d0a1b2c3d4",
            }
        ],
        "groupLabels": {"alertname": "SlowAnswers"},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093",
        "version": "4",
        "groupKey": '{}:{alertname="SlowAnswers"}',
        "truncatedAlerts": 0,
    }


def test_who_only_knows_the_address_is_led_to_the_status(server: Server) -> None:
    sent = server.ask("GET", "/")
    assert (sent.status, sent.headers["location"]) == (303, "status")
    assert server.ask("POST", "/").status == 405
    assert server.ask("GET", "/status").status == 200


def test_a_notification_becomes_an_incident_that_its_end_closes(server: Server) -> None:
    for _ in range(2):
        sent = server.ask("POST", f"{AT}/alertmanager", notification())
        assert (sent.status, len(sent.json["incidents"])) == (200, 1)
    (listed,) = server.ask("GET", f"{AT}/incidents", only_open="true").json["incidents"]
    assert (listed["title"], listed["severity"], listed["model"]) == ("churn answers slowly", "page", "churn")
    assert server.ask("GET", f"{AT}/incidents", model="other").json["incidents"] == []
    server.ask("POST", f"{AT}/alertmanager", notification("resolved"))
    shown = server.ask("GET", f"{AT}/incidents/{listed['incident_id']}").json
    assert [each["what"] for each in shown["timeline"]] == ["opened", "seen again", "resolved"]
    assert shown["timeline"][0]["evidence"]["group"] == '{}:{alertname="SlowAnswers"}'
    assert server.ask("GET", f"{AT}/incidents", only_open="true").json["incidents"] == []
    assert server.ask("GET", f"{AT}/incidents/ffffffff").status == 404


def test_what_is_no_notification_is_refused_and_leaves_nothing(server: Server) -> None:
    older = {**notification(), "version": "3"}
    nameless = notification()
    del nameless["alerts"][0]["fingerprint"]
    odd = notification("smouldering")
    for body in (older, nameless, odd, {}, {"version": "4", "alerts": [7]}):
        assert server.ask("POST", f"{AT}/alertmanager", body).status in (400, 422), body
    assert server.ask("GET", f"{AT}/incidents").json["incidents"] == []


def test_where_logins_are_asked_for_only_who_may_write_incidents_is_heard(tmp_path: Path) -> None:
    with Workspace(tmp_path / "home", actor="root") as workspace:
        for name, role in (("am", "operator"), ("eve", "viewer")):
            create_user(workspace.store, name, roles=[role], password=f"{name}s password", actor="root", at=NOW)
    guarded = Server(tmp_path / "home", "--login")
    try:
        for headers, status in (({}, 401), (basic("eve", "eves password"), 403), (basic("am", "ams password"), 200)):
            assert guarded.ask("POST", f"{AT}/alertmanager", notification(), headers=headers).status == status
        shown = guarded.ask("GET", f"{AT}/incidents", headers=basic("eve", "eves password")).json["incidents"]
        assert len(shown) == 1
    finally:
        guarded.stop()


_ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
_ROUTE = """
route:
  receiver: mainspring
  group_by: [alertname]
  group_wait: 0s
  group_interval: 1s
receivers:
  - name: mainspring
    webhook_configs:
      - url: {url}/api/mainspring/v1/alertmanager
        send_resolved: true
"""


@pytest.mark.skipif(_ALERTMANAGER is None, reason="no alertmanager here: apt-get install prometheus-alertmanager")
def test_a_real_alertmanager_opens_and_closes_an_incident_and_a_webhook_tells_both(
    tmp_path: Path, receiver: Receiver
) -> None:
    server = Server(tmp_path / "home", MAINSPRING_WEBHOOKS_PRIVATE="on")
    try:
        hook = {"name": "hook", "url": receiver.url, "events": ["incident.opened", "incident.resolved"]}
        assert server.ask("POST", f"{AT}/webhooks", hook).status == 200
        (tmp_path / "alertmanager.yml").write_text(_ROUTE.format(url=server.url))
        with running(
            _ALERTMANAGER,
            f"--config.file={tmp_path / 'alertmanager.yml'}",
            f"--storage.path={tmp_path / 'alertmanager'}",
            "--web.listen-address=127.0.0.1:0",
            "--cluster.listen-address=",
        ) as address:
            alert = {
                "labels": {"alertname": "SlowAnswers", "model": "churn", "severity": "critical"},
                "annotations": {"summary": "churn answers slowly"},
            }
            post(address, [alert])
            receiver.wait_for(lambda got: len(got) == 1)
            (incident,) = server.ask("GET", f"{AT}/incidents", only_open="true").json["incidents"]
            assert (incident["model"], incident["severity"]) == ("churn", "page")
            assert incident["title"] == "churn answers slowly"
            post(address, [{**alert, "startsAt": "2026-01-01T00:00:00Z", "endsAt": "2026-01-01T00:00:01Z"}])
            receiver.wait_for(lambda got: len(got) == 2)
        shown = server.ask("GET", f"{AT}/incidents/{incident['incident_id']}").json
        assert (shown["status"], shown["timeline"][-1]["text"]) == ("resolved", "the alert is over")
        assert [json.loads(body)["action"] for _, body in receiver.got] == ["opened", "resolved"]
    finally:
        server.stop()


def post(address: str, alerts: list[dict[str, Any]]) -> None:
    """Hand alerts to an Alertmanager, as Prometheus does."""
    connection = http.client.HTTPConnection(address, timeout=30)
    with contextlib.closing(connection):
        body = json.dumps(alerts).encode()
        connection.request("POST", "/api/v2/alerts", body=body, headers={"content-type": "application/json"})
        assert connection.getresponse().status == 200
