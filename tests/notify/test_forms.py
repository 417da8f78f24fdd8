"""News in the forms of others: what Slack and Alertmanager take, and a real Alertmanager that rings and stops."""

import json
import shutil
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.server.conftest import running

from mainspring.domain.moments import SystemClock, to_iso
from mainspring.errors import Invalid
from mainspring.monitor.incidents import move_incident, open_incident
from mainspring.monitor.silences import start_silence
from mainspring.notify.courier import Courier
from mainspring.notify.forms import check_form, formed, split_form
from mainspring.notify.webhooks import Webhook, WebhookChange, create_webhook, update_webhook
from mainspring.store.opening import open_store
from mainspring.store.protocol import Store

NOW = datetime.now(UTC)
_ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
OPENED = {
    "entity": "incident",
    "action": "opened",
    "timestamp": "2026-05-01T00:00:00.000000Z",
    "data": {
        "subject": "incidents/late/3/quality",
        "at": "2026-05-01T00:00:00.000000Z",
        "title": "late/3 is <worse> & loud",
        "severity": "page",
    },
}


def hook(store: Store, url: str, *events: str) -> Webhook:
    return create_webhook(store, "forms", url, events, allow_private=True, actor="ada", at=NOW)


def test_slack_gets_a_line_that_calls_nobody() -> None:
    url, body = formed("slack:", "https://hooks.example/T/B/x", json.dumps(OPENED))
    assert url == "https://hooks.example/T/B/x"
    text = json.loads(body)["text"]
    assert text == "*Incident opened* (page): late/3 is &lt;worse&gt; &amp; loud\nincidents/late/3/quality"
    other = {"entity": "run", "action": "finished", "data": {"name": "<!channel>"}}
    assert json.loads(formed("slack:", url, json.dumps(other))[1]) == {"text": "run finished: name=&lt;!channel&gt;"}


def test_an_alert_has_the_same_labels_when_it_rings_and_when_it_is_over() -> None:
    over = {**OPENED, "action": "resolved", "data": {**OPENED["data"], "at": "2026-05-02T00:00:00.000000Z"}}
    alerts = []
    for document in (OPENED, over):
        url, body = formed("alertmanager:", "http://127.0.0.1:9093/", json.dumps(document))
        assert url == "http://127.0.0.1:9093/api/v2/alerts"
        alerts += json.loads(body)
    rings, silent = alerts
    assert rings["labels"] == silent["labels"]
    assert rings["labels"] == {
        "alertname": "quality", "model": "late", "version": "3", "severity": "page", "source": "mainspring",
    }  # fmt: skip
    assert rings["annotations"] == {"summary": "late/3 is <worse> & loud"}
    assert (rings["endsAt"], silent["endsAt"]) == ("2026-05-01T01:00:00.000000Z", "2026-05-02T00:00:00.000000Z")


def test_plain_news_travel_as_they_are_and_forms_are_told_from_addresses() -> None:
    assert formed("", "https://a.example", "{}") == ("https://a.example", "{}")
    assert split_form("slack:https://a.example") == ("slack:", "https://a.example")
    assert split_form("https://slack:1@a.example") == ("", "https://slack:1@a.example")
    with pytest.raises(Invalid, match=r"no `run\.finished`"):
        check_form("alertmanager:http://a.example", ["incident.opened", "run.finished"])


def test_the_address_of_a_chat_is_not_shown_and_other_schemes_are_refused(store: Store) -> None:
    assert hook(store, "slack:https://hooks.example/T/B/secret", "incident.opened").shown_url == "slack:https://..."
    with pytest.raises(Invalid, match="Invalid webhook URL scheme"):
        hook(store, "slack:file:///etc/passwd", "incident.opened")


def test_an_alertmanager_cannot_come_to_be_told_of_other_things(store: Store) -> None:
    webhook = hook(store, "alertmanager:http://127.0.0.1:9093", "incident.opened")
    given = {"allow_private": True, "actor": "ada", "at": NOW}
    with pytest.raises(Invalid, match=r"no `run\.finished`"):
        update_webhook(store, webhook.webhook_id, WebhookChange(events=["run.finished"]), **given)
    update_webhook(store, webhook.webhook_id, WebhookChange(url="http://127.0.0.1", events=["run.finished"]), **given)
    back = WebhookChange(url="alertmanager:http://127.0.0.1:9093")
    with pytest.raises(Invalid, match=r"no `run\.finished`"):
        update_webhook(store, webhook.webhook_id, back, **given)


def test_an_alertmanager_is_told_again_of_what_is_open(store: Store, courier: Courier, clock, receiver) -> None:
    hook(store, "alertmanager:" + receiver.url, "incident.opened")
    words = {"version": 3, "severity": "page", "text": "", "diagnosis": {}, "evidence": {}, "at": clock.now()}
    made = open_incident(store, model="late", rule="quality", title="worse", **words)
    start_silence(store, "late/*/latency", lasts=timedelta(hours=9), reason="load test", author="ada", at=clock.now())
    open_incident(store, model="late", rule="latency", title="slow", **words)
    assert [courier.ring(), courier.ring()] == [1, 0]
    clock.advance_to(clock.now() + timedelta(minutes=5))
    assert courier.ring() == 1
    first, second = ([each] for (each,) in (got.json for got in receiver.got))
    assert first[0]["labels"] == second[0]["labels"] != {}
    assert first[0]["startsAt"] == second[0]["startsAt"] == made.opened_at
    assert second[0]["endsAt"] == to_iso(clock.now() + timedelta(hours=1)) > first[0]["endsAt"]
    move_incident(store, made, "resolved", text="mended", at=clock.now())
    clock.advance_to(clock.now() + timedelta(minutes=5))
    assert courier.ring() == 0
    receiver.statuses = [500]
    open_incident(store, model="late", rule="quality", title="worse", **words)
    clock.advance_to(clock.now() + timedelta(minutes=5))
    assert courier.ring() == 0


@pytest.mark.skipif(_ALERTMANAGER is None, reason="no Alertmanager here: apt-get install prometheus-alertmanager")
def test_a_real_alertmanager_rings_for_an_incident_and_stops(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'store.sqlite'}", actor="ada")
    courier = Courier(store, SystemClock(), allow_private=True)
    (tmp_path / "alertmanager.yml").write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    with running(
        _ALERTMANAGER,
        f"--config.file={tmp_path / 'alertmanager.yml'}",
        f"--storage.path={tmp_path / 'data'}",
        "--web.listen-address=127.0.0.1:0",
        "--cluster.listen-address=",
    ) as address:
        hook(store, f"alertmanager:http://{address}", "incident.opened", "incident.resolved")
        made = open_incident(
            store, model="late", version=3, rule="quality", severity="page", title="late/3 is worse",
            text="", diagnosis={}, evidence={}, at=NOW - timedelta(hours=1),
        )  # fmt: skip
        assert courier.ring() == 1  # as after a restart of the Alertmanager, which forgot
        (alert,) = _alerts(address)
        courier.gather()
        courier.deliver_due()
        assert [each["fingerprint"] for each in _alerts(address)] == [alert["fingerprint"]]
        assert alert["labels"]["alertname"] == "quality"
        assert (alert["status"]["state"], alert["annotations"]["summary"]) == ("active", "late/3 is worse")
        move_incident(store, made, "resolved", text="mended", at=NOW - timedelta(minutes=1))
        courier.gather()
        courier.deliver_due()
        assert _alerts(address) == []
    store.close()


def _alerts(address: str) -> list[dict]:
    with urllib.request.urlopen(f"http://{address}/api/v2/alerts?active=true", timeout=10) as answer:
        return json.load(answer)
