"""The courier: turns news into deliveries and takes them out, on a thread of the control server.

Every step reads the database anew and every result is written to it, so a courier can be killed at any moment. A try
that was under way then is made again when its lease is over: a receiver may be told twice, with the same delivery id.
"""

import json
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from http import HTTPStatus

from mainspring.domain.ids import new_id
from mainspring.domain.moments import Clock, to_iso
from mainspring.errors import MainspringError
from mainspring.monitor.incidents import end_quiet, list_incidents
from mainspring.monitor.silences import is_silenced
from mainspring.notify.deliveries import (
    Delivery,
    Told,
    add_deliveries,
    cursor_of,
    prune_deliveries,
    settle,
    take_along,
    take_due,
)
from mainspring.notify.forms import ALERTMANAGER, MAIL
from mainspring.notify.news import Payload, news_of
from mainspring.notify.sending import Sent, send, send_together
from mainspring.notify.thresholds import crossed_now
from mainspring.notify.webhooks import Webhook, find_webhook, list_webhooks, webhook_secret
from mainspring.store.events import events
from mainspring.store.outbox import forget_news, news_behind
from mainspring.store.protocol import Store

__all__ = ["Courier", "document_of", "try_webhook"]

_log = logging.getLogger(__name__)
_PAGE = 500
#: Thresholds are asked of every run of an experiment, so not at every look.
_MEASURE_EVERY = timedelta(seconds=2)
_KEPT = timedelta(days=30)
#: How long mail waits for more: what is found in one look at production goes out as one message.
_GROUP_WAIT = timedelta(seconds=30)
#: Several times in the hour after which an Alertmanager would take an alert for over.
_RING_EVERY = timedelta(minutes=5)


class Courier:
    """Tells webhooks what happens in one store. `allow_private` lets it reach private addresses and plain http."""

    def __init__(self, store: Store, clock: Clock, *, allow_private: bool) -> None:
        self._store = store
        self._clock = clock
        self._allow_private = allow_private
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._measured_at: datetime | None = None
        self._rung_at: datetime | None = None

    def start(self, every_seconds: float = 0.5) -> None:
        """Work on a thread until `stop`."""
        self._thread = threading.Thread(target=self._forever, args=(every_seconds,), name="courier", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the deliveries that are under way."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _forever(self, every_seconds: float) -> None:
        pruned_at: datetime | None = None
        with ThreadPoolExecutor(4, thread_name_prefix="delivery") as senders:
            while not self._stop.wait(every_seconds):
                try:
                    self.gather()
                    while (due := take_due(self._store, self._clock.now())) and not self._stop.is_set():
                        list(senders.map(self._deliver, self._parcels(due)))
                    self.ring()
                    now = self._clock.now()
                    if pruned_at is None or now - pruned_at > timedelta(hours=1):
                        prune_deliveries(self._store, now - _KEPT)
                        pruned_at = now
                except MainspringError as error:  # a database or a clock that is away: the next round tries again
                    _log.warning("news wait: %s", error.what)
                except Exception:
                    # The edge of a thread: one fault must not end all deliveries of the server.
                    _log.exception("the courier stumbled")

    def gather(self) -> int:
        """Turn what happened since the last look into deliveries; return how many were made."""
        end_quiet(self._store, self._clock.now())
        webhooks = [each for each in list_webhooks(self._store) if each.status == "ACTIVE"]
        count = self._from_chain(webhooks) + self._from_outbox(webhooks)
        now = self._clock.now()
        if self._measured_at is None or now - self._measured_at >= _MEASURE_EVERY:
            self._measured_at = now
            count += sum(crossed_now(self._store, each, now) for each in webhooks if each.threshold)
        return count

    def _from_chain(self, webhooks: list[Webhook]) -> int:
        count = 0
        while True:
            before = cursor_of(self._store, "chain")
            if not webhooks:
                last = self._store.read("SELECT coalesce(max(number), 0) FROM events")[0][0]
                if last > before + _PAGE:  # nobody listens: the cursor stays near, so that who will does not wait
                    add_deliveries(self._store, "chain", before=before, behind=last, told=[], at=self._clock.now())
                return count
            first = max(before, min(each.since for each in webhooks))
            found = events(self._store, after=first, limit=_PAGE)
            if not found:
                return count
            told: list[Told] = []
            for event in found:
                for news in news_of(self._store, event):
                    told += _for(webhooks, news.name, news.data, event.number, event.recorded_at)
            behind = found[-1].number
            if add_deliveries(self._store, "chain", before=before, behind=behind, told=told, at=self._clock.now()):
                count += len(told)

    def _from_outbox(self, webhooks: list[Webhook]) -> int:
        before = cursor_of(self._store, "outbox")
        found = news_behind(self._store, before, limit=_PAGE)
        if not found:
            return 0
        told: list[Told] = []
        for each in found:
            told += _for(webhooks, each.verb, each.data, None, each.at)
        behind = found[-1].number
        if not add_deliveries(self._store, "outbox", before=before, behind=behind, told=told, at=self._clock.now()):
            return 0
        forget_news(self._store, behind)
        return len(told)

    def deliver_due(self) -> int:
        """Take out what is due now, one after the other; return how many tries were made."""
        due = self._parcels(take_due(self._store, self._clock.now()))
        for each in due:
            self._deliver(each)
        return sum(len(each) for each in due)

    def ring(self) -> int:
        """Tell each Alertmanager again, every few minutes, what is open: it takes for over what it is not told.

        Returns how many alerts were told. Nothing of it is kept: the next time is soon.
        """
        now = self._clock.now()
        if self._rung_at is not None and now - self._rung_at < _RING_EVERY:
            return 0
        self._rung_at = now
        bells = [
            each
            for each in list_webhooks(self._store)
            if each.form == ALERTMANAGER and each.status == "ACTIVE" and "incident.opened" in each.events
        ]
        found = [
            each
            for each in (list_incidents(self._store, only_open=True) if bells else [])
            if not each.quiet and not is_silenced(self._store.read, each.dedup_key, to_iso(now))
        ]
        count = 0
        for webhook in bells:
            for incident in found:
                data: Payload = {
                    "subject": f"incidents/{incident.dedup_key}", "title": incident.title,
                    "severity": incident.severity, "opened_at": incident.opened_at, "at": to_iso(now),
                }  # fmt: skip
                sent = self._send(webhook, json.dumps(document_of("incident.opened", data, to_iso(now))), new_id())
                if sent.status is None or sent.status >= HTTPStatus.MULTIPLE_CHOICES:
                    _log.warning("an Alertmanager was not told what is open: %s", sent.error or sent.status)
                    break
                count += 1
        return count

    def _parcels(self, due: list[Delivery]) -> list[list[Delivery]]:
        """Put together what goes to the same people by mail, with what waits for them; all else goes one by one."""
        mailed = {each.webhook_id for each in list_webhooks(self._store) if each.form in MAIL} if due else set()
        parcels = [[each] for each in due if each.webhook_id not in mailed]
        for webhook_id in dict.fromkeys(each.webhook_id for each in due if each.webhook_id in mailed):
            ready = [each for each in due if each.webhook_id == webhook_id]
            parcels.append([*ready, *take_along(self._store, webhook_id, self._clock.now())])
        return parcels

    def _deliver(self, parcel: list[Delivery]) -> None:
        first = parcel[0]
        try:
            webhook = find_webhook(self._store, first.webhook_id)
        except MainspringError:  # deleted meanwhile, with its deliveries
            return
        if webhook.form in MAIL:
            sent = send_together(
                webhook.url,
                [each.payload for each in parcel],
                delivery_id=first.delivery_id,
                secret=webhook_secret(self._store, webhook.webhook_id),
                allow_private=self._allow_private,
            )
        else:
            sent = self._send(webhook, first.payload, first.delivery_id)
        error = sent.error or ("" if sent.status is not None and sent.status < 300 else sent.body)
        for each in parcel:
            settle(self._store, each, response_status=sent.status, error=error, now=self._clock.now())

    def _send(self, webhook: Webhook, payload: str, delivery_id: str) -> Sent:
        return send(
            webhook.url,
            payload,
            delivery_id=delivery_id,
            secret=webhook_secret(self._store, webhook.webhook_id),
            allow_private=self._allow_private,
        )


def _for(webhooks: list[Webhook], name: str, data: Payload, number: int | None, at: str) -> Iterator[Told]:
    for webhook in webhooks:
        if name in webhook.events and (number is None or number > webhook.since):
            wait = _GROUP_WAIT if webhook.form in MAIL else timedelta(0)
            yield Told(webhook.webhook_id, name, document_of(name, data, at), wait)


def document_of(name: str, data: Payload, at: str) -> dict[str, object]:
    """Return news as they travel."""
    entity, _, action = name.partition(".")
    return {"entity": entity, "action": action, "timestamp": at, "data": data}


def try_webhook(store: Store, webhook: Webhook, name: str, data: Payload, *, clock: Clock, allow_private: bool) -> Sent:
    """Send something to a webhook at once, to see whether it works; nothing of it is kept."""
    return send(
        webhook.url,
        json.dumps(document_of(name, data, to_iso(clock.now()))),
        delivery_id=new_id(),
        secret=webhook_secret(store, webhook.webhook_id),
        allow_private=allow_private,
    )
