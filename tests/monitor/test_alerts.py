"""Alerts of others: one incident for each fingerprint, closed when the alert is over."""

from datetime import UTC, datetime

import pytest

from mainspring.errors import Invalid
from mainspring.monitor.alerts import take_alert
from mainspring.monitor.incidents import find_incident, list_incidents, move_incident
from mainspring.store.events import events
from mainspring.store.opening import open_store
from mainspring.store.protocol import Store

NOW = datetime(2013, 4, 1, tzinfo=UTC)
LABELS = {"alertname": "Slow", "model": "m", "version": "3", "severity": "critical", "team": "ops"}


@pytest.fixture
def store(store_address: str):
    opened = open_store(store_address, actor="ada")
    yield opened
    opened.close()


@pytest.fixture
def ring(store: Store):
    def call(is_firing: bool = True, fingerprint: str = "f1", **labels: str):
        return take_alert(
            store,
            fingerprint=fingerprint,
            is_firing=is_firing,
            labels={**LABELS, **labels},
            annotations={"summary": "p99 is high", "description": "900 ms"},
            evidence={"group": "g"},
            at=NOW,
            actor="alertmanager",
        )

    return call


def test_an_alert_opens_rings_again_and_closes(ring, store: Store) -> None:
    opened, again, closed = ring(), ring(), ring(is_firing=False)
    assert opened.incident_id == again.incident_id == closed.incident_id
    assert (opened.model, opened.version, opened.severity, opened.owner) == ("m", 3, "page", "ops")
    assert (opened.title, opened.timeline[0].text) == ("p99 is high", "900 ms")
    assert opened.timeline[0].evidence["labels"] == LABELS
    assert [(each.actor, each.what) for each in closed.timeline] == [
        ("alertmanager", "opened"),
        ("alertmanager", "seen again"),
        ("alertmanager", "resolved"),
    ]
    assert {event.actor for event in events(store)} == {"alertmanager"}


def test_an_alert_that_comes_back_opens_another_incident(ring, store: Store) -> None:
    first = ring()
    move_incident(store, first, "resolved", text="by hand", at=NOW)
    assert ring(is_firing=False) is None  # over already
    assert find_incident(store, first.incident_id).timeline[-1].text == "by hand"
    assert ring().incident_id != first.incident_id


def test_the_end_of_one_alert_closes_no_other(ring, store: Store) -> None:
    ring(fingerprint="f1")
    ring(fingerprint="f2", instance="b")
    ring(is_firing=False, fingerprint="f2", instance="b")
    (left,) = list_incidents(store, only_open=True)
    assert left.rule == "Slow@f1"


@pytest.mark.parametrize(
    ("severity", "kept"),
    [("page", "page"), ("Critical", "page"), ("info", "info"), ("warning", "ticket"), ("", "ticket")],
)
def test_severities_of_others_become_ours(ring, severity: str, kept: str) -> None:
    assert ring(severity=severity).severity == kept


def test_an_alert_of_no_model_is_kept_by_its_job_and_odd_versions_by_none(ring) -> None:
    found = ring(model="", job="serving", version="v3")
    assert (found.model, found.version) == ("serving", None)
    assert ring(model="", version="9" * 30, fingerprint="f9").version is None


def test_an_alert_without_a_fingerprint_is_refused(ring, store: Store) -> None:
    with pytest.raises(Invalid, match="no fingerprint"):
        ring(fingerprint="")
    assert list_incidents(store) == []
