"""News in the forms that other programs read: Slack's incoming webhooks and Alertmanager's API.

A form is the word before an address, such as ``slack:https://hooks.slack.com/services/...``; without one the news
travel as they are.

Sources: Slack, "Sending messages using incoming webhooks"; Alertmanager, api/v2/openapi.yaml, ``postAlerts``.
"""

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from mainspring.domain.moments import from_iso, to_iso
from mainspring.errors import Invalid

__all__ = ["ALERTMANAGER", "APPRISE", "HAVE_SECRETS", "MAIL", "check_form", "formed", "in_words", "split_form"]

APPRISE = "apprise:"
ALERTMANAGER = "alertmanager:"
#: Mail waits a little, so that what happens together is one message.
MAIL = ("smtp:", "smtps:")
_SLACK = "slack:"
#: Whoever knows such an address may use it.
HAVE_SECRETS = (APPRISE, _SLACK)
#: An Alertmanager takes an alert for over at this moment, unless it is told again before (`courier.Courier.ring`).
_KEEPS_RINGING = timedelta(hours=1)


def split_form(url: str) -> tuple[str, str]:
    """Return the form of an address, empty for plain news, and the address without it."""
    form = next((each for each in (APPRISE, _SLACK, ALERTMANAGER, *MAIL) if url.startswith(each)), "")
    return form, url.removeprefix(form)


def check_form(url: str, events: Sequence[str]) -> None:
    """Check that what is to be told can be told in the form of the address.

    Raises:
        Invalid: an Alertmanager is to be told of something that is no incident.
    """
    strange = [each for each in events if not each.startswith("incident.")]
    if url.startswith(ALERTMANAGER) and strange:
        raise Invalid(
            f"An Alertmanager takes incidents, and no `{strange[0]}`",
            where="events",
            next_step="give events such as incident.opened and incident.resolved",
        )


def formed(form: str, url: str, payload: str) -> tuple[str, str]:
    """Return where a payload goes, and what is sent there."""
    make = _MADE.get(form)
    return (url, payload) if make is None else make(url, json.loads(payload))


def in_words(document: dict[str, Any]) -> str:
    """Return news as a line that people read."""
    data = document.get("data", {})
    said = ", ".join(f"{key}={value}" for key, value in data.items() if isinstance(value, str | int | float) and value)
    return f"{document.get('entity')} {document.get('action')}: {said}"


def _for_slack(url: str, document: dict[str, Any]) -> tuple[str, str]:
    data = document.get("data", {})
    text = in_words(document)
    if document.get("entity") == "incident" and data.get("title"):
        text = f"*Incident {document.get('action')}* ({data.get('severity')}): {data['title']}\n{data.get('subject')}"
    # what a user wrote may not call a whole channel: https://docs.slack.dev, "Escaping text"
    for sign, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(sign, escaped)
    return url, json.dumps({"text": text})


def _for_alertmanager(url: str, document: dict[str, Any]) -> tuple[str, str]:
    data = document.get("data", {})
    model, version, rule = [*str(data.get("subject", "")).removeprefix("incidents/").split("/", 2), "", "", ""][:3]
    at = from_iso(str(data.get("at") or document["timestamp"]))
    is_over = document.get("action") == "resolved"
    labels = {"alertname": rule or "incident", "model": model, "version": version, "source": "mainspring"}
    labels["severity"] = str(data.get("severity") or "ticket")
    alert = {
        "labels": {name: value for name, value in labels.items() if value},
        "annotations": {"summary": str(data.get("title") or rule)},
        "startsAt": str(data.get("opened_at") or to_iso(at)),
        "endsAt": to_iso(at if is_over else from_iso(str(document["timestamp"])) + _KEEPS_RINGING),
    }
    return f"{url.rstrip('/')}/api/v2/alerts", json.dumps([alert])


_MADE: dict[str, Callable[[str, dict[str, Any]], tuple[str, str]]] = {
    _SLACK: _for_slack,
    ALERTMANAGER: _for_alertmanager,
}
