"""Metrics that crossed a threshold: asked of the tables, each run told once. Owner of the table `crossings`."""

from datetime import datetime

from mainspring.domain.moments import from_iso, to_iso
from mainspring.notify.deliveries import Told, write_deliveries
from mainspring.notify.webhooks import Webhook
from mainspring.store.protocol import Store, Transaction
from mainspring.tracking.crossings import Crossing, runs_beyond

__all__ = ["crossed_now"]


def crossed_now(store: Store, webhook: Webhook, now: datetime) -> int:
    """Make a delivery for each run that has crossed a webhook's threshold and was not told yet; return how many."""
    threshold = webhook.threshold
    assert threshold is not None
    experiment, metric, operator, bound = threshold
    found = runs_beyond(store, experiment, metric, operator, bound, since=from_iso(webhook.created_at))
    if not found:
        return 0
    known = {row[0] for row in store.read("SELECT run_id FROM crossings WHERE webhook_id = ?", (webhook.webhook_id,))}
    new = [each for each in found if each.run_id not in known]
    return store.record(lambda transaction: sum(_tell(transaction, webhook, each, now) for each in new)) if new else 0


def _tell(transaction: Transaction, webhook: Webhook, crossing: Crossing, now: datetime) -> bool:
    assert webhook.threshold is not None
    told = transaction.execute(
        "INSERT INTO crossings (webhook_id, run_id) VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING run_id",
        (webhook.webhook_id, crossing.run_id),
    )
    if told:
        data = {**webhook.threshold._asdict(), **crossing._asdict(), "threshold": webhook.threshold.value}
        document: dict[str, object] = {"entity": "metric", "action": "crossed", "timestamp": to_iso(now), "data": data}
        write_deliveries(transaction, [Told(webhook.webhook_id, "metric.crossed", document)], now)
    return bool(told)
