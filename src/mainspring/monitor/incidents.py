"""Incidents as rows: one open incident a cause, an append-only timeline, allowed moves only.

Owner of the tables `incidents` and `incident_entries`. Opening an incident that is open already adds to its timeline
instead, so that an alarm which rings every hour is one incident, not a hundred.
"""

import json
from collections.abc import Mapping
from datetime import datetime

from mainspring.domain.ids import IncidentId, new_id
from mainspring.domain.incident import (
    DATA_RULE,
    Incident,
    IncidentEntry,
    IncidentStatus,
    Severity,
    check_move,
    digest_of,
)
from mainspring.domain.moments import to_iso
from mainspring.errors import Conflict, Invalid, NotFound
from mainspring.monitor.silences import is_silenced
from mainspring.store.events import Event
from mainspring.store.protocol import Row, Store, Transaction

__all__ = [
    "add_entry",
    "assign_incident",
    "end_quiet",
    "find_incident",
    "list_incidents",
    "move_incident",
    "newest_incident",
    "open_incident",
]

_COLUMNS = (
    "incident_id, dedup_key, model, version, rule, severity, status, title, owner, opened_at, closed_at, diagnosis,"
    " quiet"
)
_SILENCE = "silence"


def open_incident(
    store: Store,
    *,
    model: str,
    version: int | None,
    rule: str,
    severity: Severity,
    title: str,
    text: str,
    diagnosis: Mapping[str, object],
    evidence: Mapping[str, object],
    at: datetime,
    owner: str = "",
    actor: str = "",
) -> Incident:
    """Open an incident, or add to the open one with the same model, version and rule.

    Without an `actor` the timeline names the monitor, and the audit chain whoever runs it. Whether people are told is
    settled here, at the moment of opening: see `Incident.quiet`.
    """
    key = f"{model}/{version}/{rule}"
    document = json.dumps(dict(diagnosis), allow_nan=False)

    def write(transaction: Transaction) -> tuple[str, bool, str]:
        # asked inside the transaction: two monitors that see the same thing at once open one incident
        standing = transaction.execute(
            "SELECT incident_id FROM incidents WHERE dedup_key = ? AND status != 'resolved'", (key,)
        )
        identifier: str = standing[0][0] if standing else new_id()
        quiet = "" if standing else _quiet_because(transaction, model, rule, key, to_iso(at))
        if not standing:
            transaction.execute(
                f"INSERT INTO incidents ({_COLUMNS}) VALUES (?,?,?,?,?,?,'triggered',?,?,?,NULL,?,?)",
                (identifier, key, model, version, rule, severity, title, owner, to_iso(at), document, quiet),
            )
        what = "seen again" if standing else "opened"
        _write_entry(transaction, identifier, to_iso(at), actor or "monitor", what, text, evidence)
        return identifier, not standing, quiet

    def event(done: tuple[str, bool, str]) -> Event:
        subject, quiet = f"incidents/{key}", {"quiet": done[2]} if done[2] else {}
        if done[1]:
            details: dict[str, object] = {"title": title, "severity": severity, **quiet}
            return Event("incident.opened", subject, _sealed(details, evidence), actor)
        return Event("incident.noted", subject, _sealed({"what": "seen again", "text": text}, evidence), actor)

    return find_incident(store, store.change(event, write)[0])


def add_entry(
    store: Store,
    incident: Incident,
    *,
    what: str,
    text: str,
    at: datetime,
    actor: str = "loop",
    evidence: Mapping[str, object] | None = None,
) -> None:
    """Append a line to an incident's timeline."""
    details = _sealed({"what": what, "text": text}, evidence or {})
    event = Event("incident.noted", f"incidents/{incident.dedup_key}", details, actor=actor)
    store.change(
        event,
        lambda transaction: _write_entry(
            transaction, incident.incident_id, to_iso(at), actor, what, text, evidence or {}
        ),
    )


def move_incident(
    store: Store, incident: Incident, status: IncidentStatus, *, text: str, at: datetime, actor: str = "loop"
) -> Incident:
    """Move an incident to another state, with the reason in its timeline.

    Raises:
        Conflict: the move is not allowed from where the incident stands now.
    """

    def write(transaction: Transaction) -> str:
        now = transaction.execute("SELECT status, quiet FROM incidents WHERE incident_id = ?", (incident.incident_id,))
        if not now:
            raise NotFound(
                f"No incident has the id `{incident.incident_id}`", next_step="list them: mainspring incidents"
            )
        check_move(now[0][0], status)
        transaction.execute(
            "UPDATE incidents SET status = ?, closed_at = ? WHERE incident_id = ?",
            (status, to_iso(at) if status == "resolved" else None, incident.incident_id),
        )
        _write_entry(transaction, incident.incident_id, to_iso(at), actor, status, text, {})
        return str(now[0][1])

    def event(quiet: str) -> Event:
        details = {"text": text, "quiet": quiet} if quiet else {"text": text}
        return Event(f"incident.{status}", f"incidents/{incident.dedup_key}", details, actor=actor)

    store.change(event, write)
    return find_incident(store, incident.incident_id)


def assign_incident(store: Store, incident: Incident, owner: str, *, text: str, at: datetime, actor: str) -> Incident:
    """Hand an open incident to `owner`, with the reason in its timeline.

    Raises:
        Invalid: the owner is no name of one line.
        Conflict: the incident is closed.
    """
    if not owner.strip() or not owner.isprintable():
        raise Invalid(f"{owner!r} is not the name of an owner", where="owner", next_step="name a person or a team")
    told = f"{owner}: {text}" if text else owner

    def write(transaction: Transaction) -> None:
        changed = transaction.execute(
            "UPDATE incidents SET owner = ? WHERE incident_id = ? AND status != 'resolved' RETURNING incident_id",
            (owner, incident.incident_id),
        )
        if not changed:
            raise Conflict(
                f"The incident `{incident.incident_id}` is closed, so nobody can own it",
                next_step="mainspring incidents",
            )
        _write_entry(transaction, incident.incident_id, to_iso(at), actor, "assigned", told, {})

    details = {"owner": owner, "text": text}
    store.change(Event("incident.assigned", f"incidents/{incident.dedup_key}", details, actor=actor), write)
    return find_incident(store, incident.incident_id)


def end_quiet(store: Store, at: datetime) -> list[Incident]:
    """Let people be told of open incidents whose reason to be quiet is over: mended data, or a silence that has ended.

    Whoever tells calls this now and then, because a silence ends without an event. Returns the incidents.
    """
    released = []
    for (identifier,) in store.read("SELECT incident_id FROM incidents WHERE quiet != '' AND status != 'resolved'"):
        incident = find_incident(store, identifier)

        def write(transaction: Transaction, incident: Incident = incident) -> bool:
            standing = transaction.execute(
                "SELECT 1 FROM incidents WHERE incident_id = ? AND quiet != '' AND status != 'resolved'",
                (incident.incident_id,),
            )
            if not standing or _still_quiet(transaction, incident, to_iso(at)):
                return False
            transaction.execute("UPDATE incidents SET quiet = '' WHERE incident_id = ?", (incident.incident_id,))
            why = "the silence is over" if incident.quiet == _SILENCE else "the data is mended, and this is not"
            _write_entry(transaction, incident.incident_id, to_iso(at), "monitor", "told", why, {})
            return True

        def event(is_released: bool, incident: Incident = incident) -> Event | None:
            details = {"title": incident.title, "severity": incident.severity, "quiet_until": to_iso(at)}
            subject = f"incidents/{incident.dedup_key}"
            return Event("incident.released", subject, details, "monitor") if is_released else None

        if store.change(event, write):
            released.append(find_incident(store, incident.incident_id))
    return released


def _quiet_because(transaction: Transaction, model: str, rule: str, key: str, at: str) -> str:
    """Return why nobody is to be told of an incident that opens at this moment; empty where somebody is."""
    if is_silenced(transaction.execute, key, at):
        return _SILENCE
    broken = transaction.execute(
        "SELECT incident_id FROM incidents WHERE model = ? AND rule = ? AND status != 'resolved' AND opened_at <= ?",
        (model, DATA_RULE, at),
    )
    return f"{DATA_RULE}:{broken[0][0]}" if broken and rule != DATA_RULE else ""


def _still_quiet(transaction: Transaction, incident: Incident, at: str) -> bool:
    if is_silenced(transaction.execute, incident.dedup_key, at):
        return True
    cause = incident.quiet.removeprefix(f"{DATA_RULE}:")
    return bool(transaction.execute("SELECT 1 FROM incidents WHERE incident_id = ? AND status != 'resolved'", (cause,)))


def find_incident(store: Store, identifier: str) -> Incident:
    """Return the incident whose id is, or starts or ends with, `identifier` (at least four digits), with its timeline.

    Raises:
        NotFound: no incident, or more than one, has such an id.
    """
    rows = store.read(
        f"SELECT {_COLUMNS} FROM incidents WHERE incident_id = ? OR (length(?) >= 4 AND"
        " (substr(incident_id, 1, length(?)) = ? OR substr(incident_id, length(incident_id) - length(?) + 1) = ?))",
        (identifier,) * 6,
    )
    if len(rows) != 1:
        what = "More than one incident has" if rows else "No incident has"
        raise NotFound(f"{what} the id `{identifier}`", next_step="list them: mainspring incidents")
    entries = store.read(
        "SELECT at, actor, what, text, evidence FROM incident_entries WHERE incident_id = ? ORDER BY number",
        (rows[0][0],),
    )
    timeline = tuple(
        IncidentEntry(moment, actor, what, text, json.loads(evidence))
        for moment, actor, what, text, evidence in entries
    )
    return _from_row(rows[0], timeline)


def newest_incident(store: Store, dedup_key: str) -> Incident | None:
    """Return the newest incident of a cause, without its timeline; None where there was none."""
    sql = f"SELECT {_COLUMNS} FROM incidents WHERE dedup_key = ? ORDER BY opened_at DESC, incident_id DESC LIMIT 1"
    rows = store.read(sql, (dedup_key,))
    return _from_row(rows[0], ()) if rows else None


def list_incidents(store: Store, *, model: str | None = None, only_open: bool = False) -> list[Incident]:
    """Return incidents without their timelines, newest first."""
    clauses, bound = [], []
    if model is not None:
        clauses.append("model = ?")
        bound.append(model)
    if only_open:
        clauses.append("status != 'resolved'")
    where = f" WHERE {' AND '.join(clauses)}" if clauses else ""
    rows = store.read(f"SELECT {_COLUMNS} FROM incidents{where} ORDER BY opened_at DESC, incident_id DESC", bound)
    return [_from_row(row, ()) for row in rows]


def _from_row(row: Row, timeline: tuple[IncidentEntry, ...]) -> Incident:
    identifier, key, model, version, rule, severity, status, title, owner, opened_at, closed_at, diagnosis, quiet = row
    return Incident(
        IncidentId(identifier),
        key,
        model,
        version,
        rule,
        severity,
        status,
        title,
        owner,
        opened_at,
        closed_at,
        json.loads(diagnosis),
        timeline,
        quiet,
    )


def _sealed(details: dict[str, object], evidence: Mapping[str, object]) -> dict[str, object]:
    """Return details for the audit chain with the digest of the evidence, which itself stays out of the chain."""
    return {**details, "evidence_sha256": digest_of(evidence)} if evidence else details


def _write_entry(
    transaction: Transaction,
    identifier: str,
    at: str,
    actor: str,
    what: str,
    text: str,
    evidence: Mapping[str, object],
) -> None:
    transaction.execute(
        "INSERT INTO incident_entries (incident_id, at, actor, what, text, evidence) VALUES (?, ?, ?, ?, ?, ?)",
        (identifier, at, actor, what, text, json.dumps(dict(evidence), allow_nan=False)),
    )
