"""Alerts that another monitor found: each becomes an incident, and closes it when it is over.

An alert is known by its fingerprint, as Alertmanager gives it: ringing again is an entry of the same incident. What it
is about stands in its labels: `alertname`, `severity`, `model` (else `job`), `version`, and `owner` (else `team`).
Source of the words: the webhook payload of Alertmanager, version 4, and Prometheus' advice on labels of alerts.
"""

from collections.abc import Mapping
from datetime import datetime

from mainspring.domain.incident import Incident, Severity
from mainspring.errors import Conflict, Invalid
from mainspring.monitor.incidents import list_incidents, move_incident, open_incident
from mainspring.store.protocol import Store

__all__ = ["take_alert"]

#: What people write in the label `severity`; all else is a ticket.
_SEVERITIES: dict[str, Severity] = {"critical": "page", "page": "page", "info": "info", "none": "info"}
_LONGEST = 500


def take_alert(
    store: Store,
    *,
    fingerprint: str,
    is_firing: bool,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    evidence: Mapping[str, object],
    at: datetime,
    actor: str,
) -> Incident | None:
    """Open, or add to, the incident of an alert; when it is over, close it. Return the incident, if there is one.

    Args:
        fingerprint: tells this alert from all others, and stays the same as long as its labels do.
        is_firing: False when the alert is over.
        labels: what the alert is about.
        annotations: `summary` becomes the title, `description` the text.
        evidence: what is kept beside the labels and annotations.

    Raises:
        Invalid: there is no fingerprint.
    """
    if not fingerprint:
        raise Invalid("An alert has no fingerprint", where="fingerprint", next_step="send what Alertmanager sends")
    name = labels.get("alertname") or "alert"
    model = labels.get("model") or labels.get("job") or "unknown"
    rule = f"{name}@{fingerprint}"
    if is_firing:
        title = annotations.get("summary") or name
        return open_incident(
            store,
            model=model,
            version=_version(labels),
            rule=rule,
            severity=_SEVERITIES.get(labels.get("severity", "").lower(), "ticket"),
            title=title[:_LONGEST],
            text=annotations.get("description") or title,
            diagnosis={},
            evidence={"labels": dict(labels), "annotations": dict(annotations), **evidence},
            at=at,
            owner=labels.get("owner") or labels.get("team") or "",
            actor=actor,
        )
    for incident in list_incidents(store, model=model, only_open=True):
        if incident.rule != rule:
            continue
        try:
            return move_incident(store, incident, "resolved", text="the alert is over", at=at, actor=actor)
        except Conflict:  # somebody closed it at the same time
            return None
    return None


def _version(labels: Mapping[str, str]) -> int | None:
    text = labels.get("version", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None
