"""Webhooks: an address, what it wants to be told, and the secret that signs it. Owner of the table `webhooks`.

The secret is kept to sign with and never given out again, not even to who set it.
"""

import json
import re
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from mainspring.domain.moments import to_iso
from mainspring.errors import Invalid, NotFound
from mainspring.notify.addresses import check_host, target_of
from mainspring.notify.forms import APPRISE, HAVE_SECRETS, MAIL, check_form, split_form
from mainspring.notify.mail import mailbox_of
from mainspring.notify.news import check_news
from mainspring.store.events import Event
from mainspring.store.protocol import Row, Store, Transaction

__all__ = [
    "Threshold",
    "Webhook",
    "WebhookChange",
    "create_webhook",
    "delete_webhook",
    "find_webhook",
    "list_webhooks",
    "new_secret",
    "parse_threshold",
    "update_webhook",
    "webhook_secret",
]

WebhookStatus = Literal["ACTIVE", "DISABLED"]
_COLUMNS = "webhook_id, name, url, events, description, status, threshold, since, created_at, updated_at, created_by"
_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?")
_THRESHOLD = re.compile(r"(?P<metric>.+?)\s*(?P<operator><=|>=|<|>)\s*(?P<value>[-+]?[\d.]+(?:[eE][-+]?\d+)?)")


class Threshold(NamedTuple):
    """When ``metric.crossed`` is told: a run of `experiment` has a latest value of `metric` beyond `value`."""

    experiment: str
    metric: str
    operator: str
    value: float


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address that is told news. `since` is the number of the last event before it was made."""

    webhook_id: str
    name: str
    url: str
    events: tuple[str, ...]
    description: str
    status: WebhookStatus
    threshold: Threshold | None
    since: int
    created_at: str
    updated_at: str
    created_by: str

    @property
    def form(self) -> str:
        """The form in which it is told; empty for plain news."""
        return split_form(self.url)[0]

    @property
    def shown_url(self) -> str:
        """The address as it may be shown: those of chats and of apprise have their secrets in them."""
        form, address = split_form(self.url)
        return f"{form}{address.partition('://')[0]}://..." if form in HAVE_SECRETS else self.url


class WebhookChange(NamedTuple):
    """What to change of a webhook; None leaves it as it is."""

    name: str | None = None
    url: str | None = None
    events: Sequence[str] | None = None
    description: str | None = None
    secret: str | None = None
    status: str | None = None


def create_webhook(
    store: Store,
    name: str,
    url: str,
    events: Sequence[str],
    *,
    description: str = "",
    secret: str = "",
    status: str = "ACTIVE",
    threshold: Threshold | None = None,
    allow_private: bool = False,
    actor: str,
    at: datetime,
) -> Webhook:
    """Make a webhook; it is told what happens from now on.

    `secret` signs what is sent; without one nothing is signed. An address may begin with a form of
    `forms`: ``slack:https://...``, ``alertmanager:http://...``, ``smtp://...`` (its password is the secret), or
    ``apprise:`` for a notification.

    Raises:
        Invalid: name, address, events or threshold do not fit.
    """
    check_form(url, events)
    kept = _checked(WebhookChange(name, url, events, description, secret, status), allow_private)
    if ("metric.crossed" in events) != (threshold is not None):
        raise Invalid("metric.crossed and a threshold go together", where="threshold", next_step="give both")
    identifier, moment = str(uuid.uuid4()), to_iso(at)
    crossing = "" if threshold is None else json.dumps(threshold)

    def write(transaction: Transaction) -> None:
        since = transaction.execute("SELECT coalesce(max(number), 0) FROM events")[0][0]
        transaction.execute(
            f"INSERT INTO webhooks ({_COLUMNS}, secret) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                identifier,
                name,
                url,
                kept["events"],
                description,
                status,
                crossing,
                since,
                moment,
                moment,
                actor,
                secret,
            ),
        )

    details = {"name": name, "events": list(events), "signed": bool(secret)}
    store.change(Event("webhook.created", f"webhooks/{identifier}", details, actor), write)
    return find_webhook(store, identifier)


def _checked(change: WebhookChange, allow_private: bool) -> dict[str, str]:
    """Return the columns to write."""
    if change.name is not None and not _NAME.fullmatch(change.name):
        raise Invalid(
            f"Webhook name {change.name!r} is invalid. It must start and end with a letter or digit, be less than 63"
            " characters long, and contain only letters, digits, dots (.), underscores (_), and hyphens (-).",
            where="name",
        )
    form, address = split_form(change.url or "")
    if form in MAIL:
        mailbox_of(change.url or "", allow_private=allow_private)
    elif form == APPRISE:
        check_host(address, allow_private=allow_private)
    elif change.url is not None:
        if not change.url.strip():
            raise Invalid(f"Webhook URL cannot be empty or just whitespace: {change.url!r}", where="url")
        target_of(address, allow_private=allow_private)
    if change.events is not None and not change.events:
        raise Invalid(f"Webhook events must be a non-empty list of WebhookEvent objects: {[]}.", where="events")
    if change.status not in (None, "ACTIVE", "DISABLED"):
        raise Invalid(f"A webhook is ACTIVE or DISABLED, not `{change.status}`", where="status")
    columns = {key: value for key, value in change._asdict().items() if isinstance(value, str)}
    if change.events is not None:
        columns["events"] = json.dumps(list(dict.fromkeys(check_news(each) for each in change.events)))
    return columns


def parse_threshold(text: str, experiment: str) -> Threshold:
    """Read when a metric counts as crossed.

    >>> parse_threshold("val/loss < 0.1", "churn")
    Threshold(experiment='churn', metric='val/loss', operator='<', value=0.1)

    Raises:
        Invalid: it is no comparison of a metric with a number, or no experiment is named.
    """
    found = _THRESHOLD.fullmatch(text.strip())
    try:
        value = float(found["value"]) if found else float("nan")
    except ValueError:
        found = None
    if found is None or not experiment:
        raise Invalid(f"`{text}` is no threshold", where="threshold", next_step="write `loss < 0.1` and an experiment")
    return Threshold(experiment, found["metric"], found["operator"], value)


def find_webhook(store: Store, identifier: str) -> Webhook:
    """Return a webhook.

    Raises:
        NotFound: there is none of that id.
    """
    rows = store.read(f"SELECT {_COLUMNS} FROM webhooks WHERE webhook_id = ?", (identifier,))
    if not rows:
        raise NotFound(f"Webhook with ID {identifier} not found.", next_step="list them: mainspring webhooks list")
    return _from_row(rows[0])


def list_webhooks(store: Store, *, limit: int = 1000, offset: int = 0) -> list[Webhook]:
    """Return webhooks, newest first."""
    sql = f"SELECT {_COLUMNS} FROM webhooks ORDER BY created_at DESC, webhook_id LIMIT ? OFFSET ?"
    return [_from_row(row) for row in store.read(sql, (limit, offset))]


def webhook_secret(store: Store, identifier: str) -> str:
    """Return what signs a webhook's deliveries; for the courier alone."""
    rows = store.read("SELECT secret FROM webhooks WHERE webhook_id = ?", (identifier,))
    return rows[0][0] if rows else ""


def update_webhook(
    store: Store,
    identifier: str,
    change: WebhookChange,
    *,
    allow_private: bool = False,
    actor: str,
    at: datetime,
) -> Webhook:
    """Change a webhook.

    Raises:
        NotFound: there is none of that id.
        Invalid: something new does not fit.
    """
    before = find_webhook(store, identifier)
    check_form(change.url or before.url, change.events or before.events)
    columns = _checked(change, allow_private)
    if change.events is not None and ("metric.crossed" in change.events) != (before.threshold is not None):
        raise Invalid("metric.crossed and a threshold go together", where="events", next_step="make another webhook")

    def write(transaction: Transaction) -> None:
        for column, value in columns.items():
            transaction.execute(f"UPDATE webhooks SET {column} = ? WHERE webhook_id = ?", (value, identifier))
        transaction.execute("UPDATE webhooks SET updated_at = ? WHERE webhook_id = ?", (to_iso(at), identifier))

    store.change(Event("webhook.changed", f"webhooks/{identifier}", {"changed": sorted(columns)}, actor), write)
    return find_webhook(store, identifier)


def delete_webhook(store: Store, identifier: str, *, actor: str) -> None:
    """Delete a webhook with its deliveries, told or not.

    Raises:
        NotFound: there is none of that id.
    """
    webhook = find_webhook(store, identifier)

    def write(transaction: Transaction) -> None:
        for table in ("crossings", "deliveries", "webhooks"):
            transaction.execute(f"DELETE FROM {table} WHERE webhook_id = ?", (identifier,))

    store.change(Event("webhook.deleted", f"webhooks/{identifier}", {"name": webhook.name}, actor), write)


def new_secret() -> str:
    """Return a secret to sign with."""
    return secrets.token_urlsafe(32)


def _from_row(row: Row) -> Webhook:
    identifier, name, url, events, description, status, crossing, since, created_at, updated_at, created_by = row
    threshold = Threshold(*json.loads(crossing)) if crossing else None
    told = tuple(json.loads(events))
    return Webhook(
        identifier, name, url, told, description, status, threshold, since, created_at, updated_at, created_by
    )
