"""What happens is told: once, signed, in order of time, again until it is taken, and not at all to who did not ask."""

import base64
import hashlib
import hmac
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from mainspring.deploy.promotion import move_alias
from mainspring.deploy.rollout import advance, put_live, roll_back, roll_back_champion, start_canary
from mainspring.domain.ids import Digest, RunId
from mainspring.domain.moments import WrittenClock, to_iso
from mainspring.domain.policy import by, canary
from mainspring.errors import GateFailed, Invalid, NotFound
from mainspring.monitor.incidents import assign_incident, find_incident, list_incidents, move_incident, open_incident
from mainspring.monitor.input_quality import take_batch
from mainspring.monitor.silences import start_silence
from mainspring.notify.courier import Courier, try_webhook
from mainspring.notify.deliveries import list_deliveries, prune_deliveries, take_due
from mainspring.notify.news import NEWS, example_of
from mainspring.notify.webhooks import (
    WebhookChange,
    create_webhook,
    delete_webhook,
    find_webhook,
    list_webhooks,
    parse_threshold,
    update_webhook,
)
from mainspring.registry.approvals import approve
from mainspring.registry.control import Mover, keep_loop_rule
from mainspring.registry.models import create_model, set_model_tag, unset_model_tag
from mainspring.registry.versions import create_version, register_version, set_version_tag, unset_version_tag
from mainspring.store.events import Event, events
from mainspring.store.outbox import news_behind, tell
from mainspring.tracking.metrics import Point
from mainspring.tracking.runs import finish_run, log_batch, start_run, update_run

NOW = datetime(2026, 5, 1, tzinfo=UTC)
BY = {"actor": "ada", "at": NOW}


@pytest.fixture
def hook(store, receiver):
    """Make a webhook on the receiver."""

    def made(*names: str, **more: object):
        return create_webhook(store, "hook", receiver.url, names, allow_private=True, **BY, **more)

    return made


def _await(condition) -> None:
    for _ in range(3000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came")


def told(courier: Courier, receiver) -> list[tuple[str, object]]:
    """Let the courier do all it can now; return what came in."""
    courier.gather()
    while courier.deliver_due():
        pass
    return [(f"{each.json['entity']}.{each.json['action']}", each.json["data"]) for each in receiver.got]


def test_the_registrys_news_travel_as_mlflow_tells_them(courier, receiver, store, hook) -> None:
    create_model(store, "before", **BY)
    hook(
        *(each for each in NEWS if each.startswith(("registered_model", "model_version")) and each != "metric.crossed")
    )
    create_model(store, "m", description="d", tags={"a": "1"}, **BY)
    version = create_version(store, "m", source="s3://b", run_id="r", tags={"k": "v"}, author="bob", at=NOW)
    set_version_tag(store, version, "t", "1", actor="ada"), unset_version_tag(store, version, "t", actor="ada")
    set_version_tag(store, version, "u", "2", actor="ada")
    mover = Mover("ada", None)
    for alias in ("staging", "champion"):
        move_alias(store, "m", alias, version, mover=mover, reason="r", at=NOW)
    move_alias(store, "m", "staging", None, mover=mover, reason="r", at=NOW)
    assert told(courier, receiver) == [
        ("registered_model.created", {"name": "m", "tags": {"a": "1"}, "description": "d"}),
        (
            "model_version.created",
            {
                "name": "m",
                "version": "1",
                "source": "s3://b",
                "run_id": "r",
                "tags": {"k": "v", "u": "2"},
                "description": None,
            },
        ),
        ("model_version_tag.set", {"name": "m", "version": "1", "key": "t", "value": None}),
        ("model_version_tag.deleted", {"name": "m", "version": "1", "key": "t"}),
        ("model_version_tag.set", {"name": "m", "version": "1", "key": "u", "value": "2"}),
        ("model_version_alias.created", {"name": "m", "alias": "staging", "version": "1"}),
        ("model_version_alias.created", {"name": "m", "alias": "champion", "version": "1"}),
        ("model_version_alias.deleted", {"name": "m", "alias": "staging"}),
    ]
    assert told(courier, receiver) == told(courier, receiver)  # nothing twice


def test_gates_approvals_and_deployments_are_told_with_who_did_it(courier, receiver, store, hook) -> None:
    hook("gate.refused", "approval.given", "deployment.live", "gate.overridden")
    keep_loop_rule(store, "m", by("reviewer"), **BY)
    version = register_version(store, "m", bundle=Digest("a" * 64), run_id=None, evidence={}, author="ada", at=NOW)
    with pytest.raises(GateFailed):
        move_alias(store, "m", "champion", version, mover=Mover("bob"), reason="r", at=NOW)
    approve(store, version, approver="eve", role="reviewer", at=NOW)
    move_alias(store, "m", "champion", version, mover=Mover("bob"), reason="why", override=True, at=NOW)
    found = [(name, data["actor"], data["subject"]) for name, data in told(courier, receiver)]
    assert found == [
        ("gate.refused", "bob", "models/m/1"),
        ("approval.given", "eve", "models/m/1"),
        ("gate.overridden", "bob", "models/m/1"),
        ("deployment.live", "bob", "models/m/1"),
    ]


def test_what_is_sent_is_signed_over_id_time_and_body(courier, receiver, store, hook) -> None:
    webhook = hook("registered_model.created", secret="shh, a secret")
    create_model(store, "m", **BY)
    told(courier, receiver)
    (got,) = receiver.got
    signed = f"{got.headers['x-mlflow-delivery-id']}.{got.headers['x-mlflow-timestamp']}.{got.body}"
    expected = base64.b64encode(hmac.new(b"shh, a secret", signed.encode(), hashlib.sha256).digest()).decode()
    assert got.headers["x-mlflow-signature"] == f"v1,{expected}"
    # the machine's time, whatever the clock says: a receiver refuses what is older than five minutes
    assert abs(int(got.headers["x-mlflow-timestamp"]) - time.time()) < 300
    everything = [*events(store), webhook, *list_webhooks(store), *list_deliveries(store, webhook.webhook_id)]
    assert "shh" not in str(everything)


def test_the_courier_waits_for_a_clock_that_cannot_be_read(receiver, store, hook, tmp_path, caplog) -> None:
    hook("registered_model.created")
    create_model(store, "m", **BY)
    (tmp_path / "clock").write_text("2026-05")
    courier = Courier(store, WrittenClock(tmp_path / "clock"), allow_private=True)
    courier.start(every_seconds=0.01)
    try:
        _await(lambda: "news wait: The clock cannot be read" in caplog.text)
        assert receiver.got == []
        WrittenClock(tmp_path / "whole").advance_to(NOW)
        (tmp_path / "whole").replace(tmp_path / "clock")
        _await(lambda: receiver.got)
    finally:
        courier.stop()


def test_a_delivery_is_tried_again_with_growing_waits_until_it_is_taken(courier, receiver, store, hook, clock) -> None:
    webhook = hook("registered_model.created")
    receiver.statuses = [500, 302, 429]
    create_model(store, "m", **BY)
    told(courier, receiver)
    assert len(receiver.got) == 1
    moments = []
    for _ in range(100):
        (delivery,) = list_deliveries(store, webhook.webhook_id)
        if delivery.status != "pending":
            break
        clock.advance_to(clock.now() + timedelta(seconds=1))
        if courier.deliver_due():
            moments.append((clock.now() - NOW).total_seconds())
    assert moments == [5, 15, 35]
    assert (delivery.status, delivery.attempts, delivery.response_status, delivery.error) == ("delivered", 4, 200, "")
    assert len({got.headers["x-mlflow-delivery-id"] for got in receiver.got}) == 1
    assert prune_deliveries(store, clock.now()) == 0
    assert prune_deliveries(store, clock.now() + timedelta(days=1)) == 1


def test_a_delivery_that_nobody_ever_takes_is_given_up(courier, receiver, store, hook, clock) -> None:
    webhook = hook("registered_model.created")
    receiver.close()
    create_model(store, "m", **BY)
    courier.gather()
    for _ in range(12):
        courier.deliver_due()
        clock.advance_to(clock.now() + timedelta(hours=1))
    (delivery,) = list_deliveries(store, webhook.webhook_id)
    assert (delivery.status, delivery.attempts, delivery.response_status) == ("failed", 12, None)
    assert "cannot be reached" in delivery.error
    assert courier.deliver_due() == 0


def test_a_courier_that_is_killed_loses_nothing_and_two_make_nothing_twice(
    courier, receiver, store, hook, clock
) -> None:
    webhook = hook("registered_model.created")
    for number in range(1200):
        store.change(Event("model.created", f"models/m{number}", {}, "ada"), lambda _: None)
    other = Courier(store, clock, allow_private=True)
    assert courier.gather() + other.gather() == 1200
    taken = take_due(store, clock.now())  # and killed before it sent them
    assert len(taken) == 20
    assert not {each.delivery_id for each in take_due(store, clock.now())} & {each.delivery_id for each in taken}
    clock.advance_to(NOW + timedelta(minutes=3))
    assert taken[0].delivery_id in {each.delivery_id for each in take_due(store, clock.now(), most=2000)}
    assert len(list_deliveries(store, webhook.webhook_id, limit=5000)) == 1200


def test_who_is_off_or_gone_is_told_nothing(courier, receiver, store, hook) -> None:
    webhook = hook("registered_model.created")
    update_webhook(store, webhook.webhook_id, WebhookChange(status="DISABLED"), **BY)
    create_model(store, "a", **BY)
    assert told(courier, receiver) == []
    update_webhook(store, webhook.webhook_id, WebhookChange(status="ACTIVE", events=["model_version.created"]), **BY)
    create_model(store, "b", **BY)
    assert told(courier, receiver) == []
    delete_webhook(store, webhook.webhook_id, actor="ada")
    create_version(store, "b", source="s", author="ada", at=NOW)
    assert told(courier, receiver) == []
    with pytest.raises(NotFound):
        find_webhook(store, webhook.webhook_id)
    assert [event.verb for event in events(store, verb="webhook*")] == [
        "webhook.created", "webhook.changed", "webhook.changed", "webhook.deleted",
    ]  # fmt: skip


def test_news_of_recorded_facts_are_told_once_and_forgotten(courier, receiver, store, hook) -> None:
    hook("run.finished")
    for number in range(3):
        store.record(lambda t, number=number: tell(t, "run.finished", {"run_id": number}))
    assert told(courier, receiver) == [("run.finished", {"run_id": number}) for number in range(3)]
    assert len(news_behind(store, 0, limit=10)) == 1  # the last number is not given again
    store.record(lambda t: tell(t, "run.finished", {"run_id": 3}))
    assert len(told(courier, receiver)) == 4


def test_the_end_of_a_run_is_told_once_with_what_it_came_to(courier, receiver, store, hook) -> None:
    hook("run.finished")
    runs = [start_run(store, experiment="e", name=f"r{number}", parameters={}, at=NOW) for number in range(3)]
    finish_run(store, runs[0], "finished", NOW), finish_run(store, runs[0], "failed", NOW)
    for status in ("scheduled", "killed", "killed"):
        store.record(lambda t, s=status: update_run(t, runs[1], status=s, ended_ms=None, name=None))
    assert [(data["name"], data["experiment"], data["status"]) for _, data in told(courier, receiver)] == [
        ("r0", "e", "finished"),
        ("r1", "e", "killed"),
    ]


def test_a_run_that_crosses_a_threshold_is_told_once_even_if_it_goes_back(
    courier, receiver, store, hook, clock
) -> None:
    hook("metric.crossed", threshold=parse_threshold("val/loss < 0.1", "churn"))

    def log(run: RunId, *values: float) -> None:
        at = int(NOW.timestamp() * 1000) + 10
        points = [Point("val/loss", value, at, step) for step, value in enumerate(values)]
        store.record(lambda t: log_batch(t, run, points=points))

    runs = [start_run(store, experiment=name, name="r", parameters={}, at=NOW) for name in ("churn", "churn", "other")]
    log(runs[0], 0.5, 0.05, 0.3), log(runs[1], 0.5), log(runs[2], 0.01)
    assert [(name, data["run_id"], data["extreme"], data["value"]) for name, data in told(courier, receiver)] == [
        ("metric.crossed", runs[0], 0.05, 0.3)
    ]
    log(runs[0], 0.01), log(runs[1], 0.09)
    assert len(told(courier, receiver)) == 1  # not asked again so soon
    clock.advance_to(NOW + timedelta(seconds=5))
    assert [data["run_id"] for _, data in told(courier, receiver)] == [runs[0], runs[1]]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"name": "-x"}, "Webhook name '-x' is invalid"),
        ({"url": " "}, "cannot be empty"),
        ({"events": []}, "non-empty list"),
        ({"events": ["model_version.updated"]}, "Invalid action 'updated' for entity 'model_version'"),
        ({"events": ["nothing.created"]}, "Invalid entity"),
        ({"events": ["metric.crossed"]}, "go together"),
        ({"status": "ON"}, "ACTIVE or DISABLED"),
        ({"url": "http://127.0.0.1"}, "scheme: 'http'"),
        ({"url": "apprise:json://127.0.0.1"}, "not a public address"),
    ],
)
def test_a_webhook_that_does_not_fit_is_refused(store, more: dict[str, object], said: str) -> None:
    given = {"name": "hook", "url": "https://example.org", "events": ["run.finished"], **more}
    with pytest.raises(Invalid, match=said):
        create_webhook(store, **given, **BY)
    assert list_webhooks(store) == []
    for text in ("loss", "loss < x", "loss = 1", "loss < 1.2.3"):
        with pytest.raises(Invalid, match="no threshold"):
            parse_threshold(text, "e")


def test_a_webhook_is_tried_at_once_and_its_answer_is_told(receiver, store, hook, clock) -> None:
    webhook = hook("model_version.created")
    name = webhook.events[0]
    assert try_webhook(store, webhook, name, example_of(name), clock=clock, allow_private=True).status == 200
    assert receiver.got[0].json["data"]["name"] == "example_model"
    receiver.statuses = [418]
    sent = try_webhook(store, webhook, name, example_of(name), clock=clock, allow_private=True)
    assert (sent.status, sent.body) == (418, "ok")
    sent = try_webhook(store, webhook, name, example_of(name), clock=clock, allow_private=False)
    assert (sent.status, "scheme" in sent.error) == (None, True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what apprise imports
def test_a_notification_goes_out_by_apprise_and_its_address_is_not_shown(courier, receiver, store) -> None:
    pytest.importorskip("apprise", reason="pip install 'mainspring[notify]'")
    url = "apprise:" + receiver.url.replace("http://", "json://")
    webhook = create_webhook(store, "chat", url, ["registered_model.created"], allow_private=True, **BY)
    assert webhook.shown_url == "apprise:json://..."
    create_model(store, "m", **BY)
    courier.gather()
    assert courier.deliver_due() == 1
    assert "registered_model created: name=m" in receiver.got[0].json["message"]
    assert list_deliveries(store, webhook.webhook_id)[0].status == "delivered"


def test_a_canary_is_told_from_its_start_to_its_end(courier, receiver, store, hook) -> None:
    hook("deployment.started", "deployment.advanced", "deployment.live", "deployment.rolled_back")
    policy = canary(5, 100)
    first, second, third = (
        register_version(store, "m", bundle=Digest(digit * 64), run_id=None, evidence={}, author="ada", at=NOW)
        for digit in "abc"
    )
    put_live(store, first, reason="good", at=NOW)
    held = start_canary(store, second, policy, reason="new", at=NOW)
    advance(store, held, policy, reason="held", at=NOW)
    lost = start_canary(store, third, policy, reason="newer", at=NOW)
    roll_back(store, lost, reason="worse", evidence={}, at=NOW)
    roll_back_champion(store, "m", reason="broken", at=NOW, actor="bob")
    found = [(name, data["subject"], data["actor"], data["reason"]) for name, data in told(courier, receiver)]
    assert found == [
        ("deployment.live", "models/m/1", "loop", "good"),
        ("deployment.started", "models/m/2", "loop", "new"),
        ("deployment.live", "models/m/2", "loop", "held"),
        ("deployment.started", "models/m/3", "loop", "newer"),
        ("deployment.rolled_back", "models/m/3", "loop", "worse"),
        ("deployment.rolled_back", "models/m/2", "bob", "broken"),
    ]


def test_a_receiver_of_mlflows_learns_where_a_rollout_takes_the_aliases(courier, receiver, store, hook) -> None:
    hook("model_version_alias.created", "model_version_alias.deleted")
    policy = canary(5, 100)
    first, second = (
        register_version(store, "m", bundle=Digest(digit * 64), run_id=None, evidence={}, author="ada", at=NOW)
        for digit in "ab"
    )
    put_live(store, first, reason="good", at=NOW)
    lost = start_canary(store, second, policy, reason="new", at=NOW)
    roll_back(store, lost, reason="worse", evidence={}, at=NOW)
    put_live(store, second, reason="after all", at=NOW)
    roll_back_champion(store, "m", reason="broken", at=NOW, actor="bob")
    found = [(name.rpartition(".")[2], data["alias"], data.get("version")) for name, data in told(courier, receiver)]
    assert found == [
        ("created", "champion", "1"),
        ("created", "challenger", "2"),
        ("deleted", "challenger", None),
        ("created", "champion", "2"),
        ("created", "champion", "1"),
    ]


def test_of_a_silenced_incident_nobody_is_told_until_the_silence_ends(courier, receiver, store, hook) -> None:
    hook("incident.opened", "incident.resolved")
    start_silence(store, "m/*/loss", lasts=timedelta(hours=1), reason="the feed moves", author="ada", at=NOW)
    words = {"version": 1, "severity": "page", "title": "t", "text": "see", "diagnosis": {}, "evidence": {}}
    quiet = open_incident(store, model="m", rule="loss", at=NOW, **words)
    open_incident(store, model="m", rule="latency", at=NOW, **words)
    move_incident(store, quiet, "resolved", text="done", at=NOW)
    found = [(name, data["subject"]) for name, data in told(courier, receiver)]
    assert found == [("incident.opened", "incidents/m/1/latency")]
    assert find_incident(store, quiet.incident_id).status == "resolved"


def test_what_is_open_when_its_silence_ends_is_told_then(courier, receiver, store, hook, clock) -> None:
    hook("incident.opened", "incident.acknowledged", "incident.resolved")
    start_silence(store, "m/*/loss", lasts=timedelta(hours=1), reason="the feed moves", author="ada", at=NOW)
    words = {"version": 1, "severity": "page", "title": "t", "text": "see", "diagnosis": {}, "evidence": {}}
    quiet = open_incident(store, model="m", rule="loss", at=NOW, **words)
    move_incident(store, quiet, "acknowledged", text="looking", at=NOW)
    assert told(courier, receiver) == []
    clock.advance_to(NOW + timedelta(hours=2))
    ((name, data),) = told(courier, receiver)
    assert (name, data["subject"], data["title"], data["opened_at"]) == (
        "incident.opened", "incidents/m/1/loss", "t", to_iso(NOW),
    )  # fmt: skip
    assert find_incident(store, quiet.incident_id).timeline[-1].text == "the silence is over"
    move_incident(store, quiet, "resolved", text="done", at=clock.now())
    assert [name for name, _ in told(courier, receiver)][1:] == ["incident.resolved"]


def test_whether_an_incident_follows_from_broken_input_is_settled_when_it_opens(courier, receiver, store, hook) -> None:
    hook("incident.opened", "incident.resolved")
    words = {"version": 1, "severity": "page", "title": "t", "text": "see", "diagnosis": {}, "evidence": {}}
    before = open_incident(store, model="m", rule="quality", at=NOW, **words)
    take_batch(store, "m", "today.csv", ["wind: 7 rows are missing"], at=NOW, actor="ada")
    after = open_incident(store, model="m", rule="latency", at=NOW, **words)
    gone = open_incident(store, model="m", rule="traffic", at=NOW, **words)
    assert (before.quiet, after.quiet[:5]) == ("", "data:")
    move_incident(store, gone, "resolved", text="nobody heard of it", at=NOW)
    move_incident(store, before, "resolved", text="done", at=NOW)
    found = [(name, data["subject"].rpartition("/")[2]) for name, data in told(courier, receiver)]
    assert found == [("incident.opened", "quality"), ("incident.opened", "data"), ("incident.resolved", "quality")]
    take_batch(store, "m", "tomorrow.csv", [], at=NOW, actor="ada")
    move_incident(store, after, "resolved", text="done", at=NOW)  # before the courier looks: it was never told
    assert [data["subject"] for _, data in told(courier, receiver)][3:] == ["incidents/m/None/data"]


def test_what_follows_from_broken_input_is_not_told(courier, receiver, store, hook) -> None:
    hook("incident.opened", "incident.resolved")
    words = {"version": 1, "severity": "page", "title": "t", "text": "see", "diagnosis": {}, "evidence": {}}
    take_batch(store, "m", "today.csv", ["wind: 7 rows are missing"], at=NOW, actor="ada")
    open_incident(store, model="m", rule="quality", at=NOW, **words)
    open_incident(store, model="other", rule="quality", at=NOW, **words)
    assert [data["subject"] for _, data in told(courier, receiver)] == [
        "incidents/m/None/data", "incidents/other/1/quality",
    ]  # fmt: skip
    take_batch(store, "m", "tomorrow.csv", [], at=NOW, actor="ada")
    open_incident(store, model="m", rule="latency", at=NOW, **words)
    assert [data["subject"] for _, data in told(courier, receiver)][-3:] == [
        "incidents/m/None/data", "incidents/m/1/latency", "incidents/m/1/quality",
    ]  # fmt: skip
    take_batch(store, "m", "the day after.csv", [], at=NOW, actor="ada")  # nothing is open: nothing happens
    assert len(list_incidents(store, model="m")) == 3


def test_an_incident_is_told_from_its_opening_to_its_end(courier, receiver, store, hook) -> None:
    hook(*(each for each in NEWS if each.startswith("incident.")))
    words = {"model": "m", "version": 1, "rule": "loss", "severity": "critical", "title": "The loss is above its limit"}
    for _ in range(2):  # the second time it is an entry of the first
        made = open_incident(store, **words, text="see", diagnosis={}, evidence={}, at=NOW)
    made = assign_incident(store, made, "eve", text="", at=NOW, actor="ada")
    for status in ("acknowledged", "mitigated", "resolved"):
        made = move_incident(store, made, status, text="done", at=NOW)
    found = [(name, data["subject"], data.get("severity")) for name, data in told(courier, receiver)]
    subject = f"incidents/{made.dedup_key}"
    assert found == [
        ("incident.opened", subject, "critical"),
        ("incident.assigned", subject, None),
        ("incident.acknowledged", subject, "critical"),
        ("incident.mitigated", subject, "critical"),
        ("incident.resolved", subject, "critical"),
    ]


def test_what_happens_to_a_prompt_is_told_as_mlflow_tells_it(courier, receiver, store, hook) -> None:
    hook(*(each for each in NEWS if each.startswith(("prompt", "registered_model", "model_version"))))
    create_model(store, "greet", tags={"mlflow.prompt.is_prompt": "true", "a": "b"}, **BY)
    tags = {"mlflow.prompt.is_prompt": "true", "mlflow.prompt.text": "Hi {{name}}", "k": "v"}
    version = create_version(store, "greet", source="dummy-source", tags=tags, author="bob", at=NOW)
    set_version_tag(store, version, "t", "1", actor="ada")
    set_model_tag(store, "greet", "team", "red", actor="ada")
    unset_model_tag(store, "greet", "team", actor="ada")
    for to in (version, None):
        move_alias(store, "greet", "live", to, mover=Mover("ada", None), reason="r", at=NOW)
    assert told(courier, receiver) == [
        ("prompt.created", {"name": "greet", "tags": {"a": "b"}, "description": None}),
        (
            "prompt_version.created",
            {
                "name": "greet",
                "version": "1",
                "template": "Hi {{name}}",
                "tags": {"k": "v", "t": "1"},
                "description": None,
            },
        ),
        ("prompt_version_tag.set", {"name": "greet", "version": "1", "key": "t", "value": "1"}),
        ("prompt_tag.set", {"name": "greet", "key": "team", "value": None}),
        ("prompt_tag.deleted", {"name": "greet", "key": "team"}),
        ("prompt_alias.created", {"name": "greet", "alias": "live", "version": "1"}),
        ("prompt_alias.deleted", {"name": "greet", "alias": "live"}),
    ]
