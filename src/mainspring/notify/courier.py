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

from mainspring.domain.ids import new_id
from mainspring.domain.moments import Clock, to_iso
from mainspring.errors import MainspringError
from mainspring.notify.deliveries import (
    Delivery,
    Told,
    add_deliveries,
    cursor_of,
    prune_deliveries,
    settle,
    take_due,
)
from mainspring.notify.news import Payload, news_of
from mainspring.notify.sending import Sent, send
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


class Courier:
    """Tells webhooks what happens in one store. `allow_private` lets it reach private addresses and plain http."""

    def __init__(self, store: Store, clock: Clock, *, allow_private: bool) -> None:
        self._store = store
        self._clock = clock
        self._allow_private = allow_private
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._measured_at: datetime | None = None

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
        pruned_at = self._clock.now()
        with ThreadPoolExecutor(4, thread_name_prefix="delivery") as senders:
            while not self._stop.wait(every_seconds):
                try:
                    self.gather()
                    while (due := take_due(self._store, self._clock.now())) and not self._stop.is_set():
                        list(senders.map(self._deliver, due))
                    if self._clock.now() - pruned_at > timedelta(hours=1):
                        pruned_at = self._clock.now()
                        prune_deliveries(self._store, pruned_at - _KEPT)
                except MainspringError as error:  # a database that is busy or away: the next round tries again
                    _log.warning("news wait: %s", error.what)
                except Exception:
                    # The edge of a thread: one fault must not end all deliveries of the server.
                    _log.exception("the courier stumbled")

    def gather(self) -> int:
        """Turn what happened since the last look into deliveries; return how many were made."""
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
        due = take_due(self._store, self._clock.now())
        for each in due:
            self._deliver(each)
        return len(due)

    def _deliver(self, delivery: Delivery) -> None:
        try:
            webhook = find_webhook(self._store, delivery.webhook_id)
        except MainspringError:  # deleted meanwhile, with its deliveries
            return
        now = self._clock.now()
        sent = send(
            webhook.url,
            delivery.payload,
            delivery_id=delivery.delivery_id,
            timestamp=int(now.timestamp()),
            secret=webhook_secret(self._store, webhook.webhook_id),
            allow_private=self._allow_private,
        )
        error = sent.error or ("" if sent.status is not None and sent.status < 300 else sent.body)
        settle(self._store, delivery, response_status=sent.status, error=error, now=self._clock.now())


def _for(
    webhooks: list[Webhook], name: str, data: Payload, number: int | None, at: str
) -> Iterator[tuple[str, str, dict[str, object]]]:
    for webhook in webhooks:
        if name in webhook.events and (number is None or number > webhook.since):
            yield webhook.webhook_id, name, document_of(name, data, at)


def document_of(name: str, data: Payload, at: str) -> dict[str, object]:
    """Return news as they travel."""
    entity, _, action = name.partition(".")
    return {"entity": entity, "action": action, "timestamp": at, "data": data}


def try_webhook(store: Store, webhook: Webhook, name: str, data: Payload, *, clock: Clock, allow_private: bool) -> Sent:
    """Send something to a webhook at once, to see whether it works; nothing of it is kept."""
    now = clock.now()
    return send(
        webhook.url,
        json.dumps(document_of(name, data, to_iso(now))),
        delivery_id=new_id(),
        timestamp=int(now.timestamp()),
        secret=webhook_secret(store, webhook.webhook_id),
        allow_private=allow_private,
    )
