"""Incidents: one for each cause, moved as allowed, with a timeline that only grows."""

import hashlib
import json
import threading
from datetime import UTC, datetime, timedelta

import pytest

from mainspring.domain.incident import digest_of
from mainspring.domain.moments import to_iso
from mainspring.errors import Conflict, Invalid, NotFound
from mainspring.monitor.incidents import (
    add_entry,
    assign_incident,
    find_incident,
    list_incidents,
    move_incident,
    open_incident,
)
from mainspring.store.events import Event, events
from mainspring.store.opening import open_store
from mainspring.store.protocol import Store

NOW = datetime(2013, 4, 1, tzinfo=UTC)


@pytest.fixture
def store(store_address: str):
    opened = open_store(store_address, actor="ada")
    yield opened
    opened.close()


@pytest.fixture
def alarm(store: Store):
    def ring(*, model: str = "m", version: int | None = 1, rule: str = "quality", day: int = 0):
        return open_incident(
            store,
            model=model,
            version=version,
            rule=rule,
            severity="page",
            title="m/1 is worse than promised",
            text=f"seen on day {day}",
            diagnosis={"suspect": "data"},
            evidence={"day": day},
            at=NOW + timedelta(days=day),
        )

    return ring


def test_an_alarm_that_rings_again_is_one_incident(alarm, store: Store) -> None:
    first, again = alarm(day=0), alarm(day=1)
    assert first.incident_id == again.incident_id
    assert [(each.what, each.text, each.evidence) for each in again.timeline] == [
        ("opened", "seen on day 0", {"day": 0}),
        ("seen again", "seen on day 1", {"day": 1}),
    ]
    assert (again.status, again.opened_at, again.diagnosis) == ("triggered", to_iso(NOW), {"suspect": "data"})
    assert [event.verb for event in events(store)] == ["incident.opened", "incident.noted"]


def test_other_models_versions_and_rules_are_other_incidents(alarm, store: Store) -> None:
    ids = {
        alarm(**words).incident_id for words in ({}, {"model": "n"}, {"version": 2}, {"version": None}, {"rule": "x"})
    }
    assert len(ids) == len(list_incidents(store)) == 5
    assert len(list_incidents(store, model="m")) == 4


def test_monitors_that_see_the_same_at_once_open_one_incident(alarm, store: Store) -> None:
    threads = [threading.Thread(target=alarm) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (incident,) = list_incidents(store)
    assert [each.what for each in find_incident(store, incident.incident_id).timeline].count("opened") == 1
    assert len(events(store, verb="incident.opened")) == 1


def test_a_closed_incident_stays_closed_and_the_next_alarm_opens_another(alarm, store: Store) -> None:
    first = alarm()
    closed = move_incident(store, first, "resolved", text="mended", at=NOW + timedelta(days=1), actor="eve")
    assert (closed.status, closed.closed_at, closed.is_open) == ("resolved", to_iso(NOW + timedelta(days=1)), False)
    with pytest.raises(Conflict, match="it is closed"):
        move_incident(store, first, "acknowledged", text="", at=NOW)
    second = alarm(day=2)
    assert second.incident_id != first.incident_id
    assert [each.incident_id for each in list_incidents(store, only_open=True)] == [second.incident_id]
    assert [each.incident_id for each in list_incidents(store)] == [second.incident_id, first.incident_id]


def test_each_move_leaves_a_line_and_an_event(alarm, store: Store) -> None:
    incident = alarm()
    for status in ("acknowledged", "mitigated", "acknowledged", "resolved"):
        incident = move_incident(store, incident, status, text=f"now {status}", at=NOW, actor="eve")
        assert incident.status == status
    assert [each.what for each in incident.timeline] == [
        "opened",
        "acknowledged",
        "mitigated",
        "acknowledged",
        "resolved",
    ]
    assert [event.verb.partition(".")[2] for event in events(store)] == [each.what for each in incident.timeline]
    assert {event.subject for event in events(store)} == {"incidents/m/1/quality"}


def test_a_refused_move_leaves_nothing(alarm, store: Store) -> None:
    incident = move_incident(store, alarm(), "mitigated", text="", at=NOW)
    with pytest.raises(Conflict):
        move_incident(store, incident, "triggered", text="", at=NOW)
    assert find_incident(store, incident.incident_id) == incident
    assert len(events(store)) == 2


def test_of_two_that_close_it_at_once_the_second_gets_a_conflict(alarm, store: Store) -> None:
    incident, said = alarm(), []

    def close() -> None:
        try:
            move_incident(store, incident, "resolved", text="", at=NOW)
            said.append("done")
        except Conflict:
            said.append("Conflict")

    threads = [threading.Thread(target=close) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == ["Conflict", "Conflict", "done"]


def test_entries_are_appended_with_their_evidence(alarm, store: Store) -> None:
    incident = alarm()
    add_entry(store, incident, what="diagnosed", text="the data", at=NOW, actor="eve", evidence={"x": [1]})
    last = find_incident(store, incident.incident_id).timeline[-1]
    assert (last.actor, last.what, last.text, last.evidence) == ("eve", "diagnosed", "the data", {"x": [1]})
    details = {"what": "diagnosed", "text": "the data"}
    assert events(store)[-1].details == {**details, "evidence_sha256": hashlib.sha256(b'{"x": [1]}').hexdigest()}
    add_entry(store, incident, what="note", text="nothing to see", at=NOW)
    assert events(store)[-1].details == {"what": "note", "text": "nothing to see"}


def test_the_chain_holds_the_digest_of_each_evidence_as_it_is_stored(alarm, store: Store) -> None:
    incident = alarm()
    add_entry(
        store, incident, what="diagnosed", text="", at=NOW, evidence={"b": {2: 0.1, 10: "\u00fc"}, "a": (1, None)}
    )
    stored = store.read("SELECT evidence FROM incident_entries ORDER BY number")
    sealed = [event.details["evidence_sha256"] for event in events(store)]
    assert sealed == [hashlib.sha256(text.encode()).hexdigest() for (text,) in stored]
    assert sealed == [digest_of(entry.evidence) for entry in find_incident(store, incident.incident_id).timeline]
    store.change(
        Event("incident.noted", "incidents/forged"),
        lambda transaction: transaction.execute("UPDATE incident_entries SET evidence = ?", (json.dumps({"day": 9}),)),
    )
    forged = find_incident(store, incident.incident_id).timeline
    assert not {digest_of(entry.evidence) for entry in forged} & set(sealed)


def test_an_open_incident_is_handed_over_with_the_reason(alarm, store: Store) -> None:
    incident = alarm()
    assert incident.owner == ""
    owned = assign_incident(store, incident, "weather-team", text="their feed", at=NOW, actor="eve")
    assert (owned.owner, owned.status) == ("weather-team", "triggered")
    assert (owned.timeline[-1].actor, owned.timeline[-1].what, owned.timeline[-1].text) == (
        "eve",
        "assigned",
        "weather-team: their feed",
    )
    assert events(store)[-1].verb == "incident.assigned"
    assert events(store)[-1].details == {"owner": "weather-team", "text": "their feed"}
    assert alarm(day=1).owner == "weather-team"  # ringing again takes it from nobody
    assert [each.owner for each in list_incidents(store)] == ["weather-team"]


def test_a_closed_incident_and_a_name_that_is_none_are_refused(alarm, store: Store) -> None:
    incident = alarm()
    for name in ("", "  ", "a\nb"):
        with pytest.raises(Invalid, match="not the name of an owner"):
            assign_incident(store, incident, name, text="", at=NOW, actor="eve")
    closed = move_incident(store, incident, "resolved", text="", at=NOW)
    before = len(events(store))
    with pytest.raises(Conflict, match="is closed"):
        assign_incident(store, closed, "eve", text="", at=NOW, actor="eve")
    assert find_incident(store, incident.incident_id) == closed
    assert len(events(store)) == before


def test_an_incident_is_found_by_either_end_of_its_id(alarm, store: Store) -> None:
    first, second = alarm(), alarm(rule="canary")
    assert find_incident(store, first.incident_id[-6:]).incident_id == first.incident_id
    with pytest.raises(NotFound, match="More than one"):
        find_incident(store, second.incident_id[:6])
    for text in ("", "abc", "%%%%", "zzzz"):
        with pytest.raises(NotFound, match="No incident"):
            find_incident(store, text)
