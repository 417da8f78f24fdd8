"""Telling the outside what happened: webhooks, signed and retried, and notifications.

Nouns: `Webhook`, `Delivery`, news (what a webhook can ask for). The audit chain is the outbox: an event is written with
its change, in one transaction, and the courier turns it into deliveries later, so nothing is told that did not happen
and nothing that happened is forgotten. Start reading in `news.py`; `courier.py` does the work.
"""

from mainspring.notify.deliveries import Delivery, list_deliveries
from mainspring.notify.news import NEWS, News
from mainspring.notify.webhooks import Webhook, create_webhook, find_webhook, list_webhooks

__all__ = [
    "NEWS",
    "Delivery",
    "News",
    "Webhook",
    "create_webhook",
    "find_webhook",
    "list_deliveries",
    "list_webhooks",
]
