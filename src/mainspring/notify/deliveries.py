"""Deliveries: what is to be told to which webhook, and what came of each try. Owner of `deliveries` and `news_cursors`.

Events are read behind a cursor and turned into deliveries in one transaction, so each becomes one however often the
courier is killed; two couriers on one database take turns by the cursor, and take deliveries by a lease.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from mainspring.domain.ids import new_id
from mainspring.domain.moments import to_iso
from mainspring.store.protocol import Store, Transaction

__all__ = [
    "Delivery",
    "Told",
    "add_deliveries",
    "cursor_of",
    "list_deliveries",
    "prune_deliveries",
    "settle",
    "take_along",
    "take_due",
    "write_deliveries",
]

_COLUMNS = (
    "delivery_id, webhook_id, event, payload, status, attempts, created_at, next_at, settled_at, response_status, error"
)
_LEASE = timedelta(minutes=2)
#: The waits between tries: 5 s, 10 s, 20 s, ... up to an hour, twelve tries in all: about seven hours.
_FIRST_WAIT, _LONGEST_WAIT, _MOST_TRIES = timedelta(seconds=5), timedelta(hours=1), 12


class Told(NamedTuple):
    """Which webhook is told which news, the document that goes out, and how long it waits for others to go with it."""

    webhook_id: str
    event: str
    document: dict[str, object]
    wait: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One thing to tell one webhook: pending until it is delivered, or given up as failed."""

    delivery_id: str
    webhook_id: str
    event: str
    payload: str
    status: Literal["pending", "delivered", "failed"]
    attempts: int
    created_at: str
    next_at: str
    settled_at: str | None
    response_status: int | None
    error: str


def cursor_of(store: Store, source: str) -> int:
    """Return how far a source of news has been read."""
    rows = store.read("SELECT number FROM news_cursors WHERE source = ?", (source,))
    return rows[0][0] if rows else 0


def add_deliveries(store: Store, source: str, *, before: int, behind: int, told: Sequence[Told], at: datetime) -> bool:
    """Keep what is to be told (webhook, event, document) and move the cursor from `before` to `behind`.

    Returns False, and does nothing, where another courier has moved it.
    """

    def write(transaction: Transaction) -> bool:
        transaction.execute(
            "INSERT INTO news_cursors (source, number) VALUES (?, 0) ON CONFLICT (source) DO NOTHING", (source,)
        )
        moved = transaction.execute(
            "UPDATE news_cursors SET number = ? WHERE source = ? AND number = ? RETURNING number",
            (behind, source, before),
        )
        if moved:
            write_deliveries(transaction, told, at)
        return bool(moved)

    return store.record(write)


def write_deliveries(transaction: Transaction, told: Sequence[Told], at: datetime) -> None:
    """Keep what is to be told inside a larger change."""
    moment = to_iso(at)
    transaction.execute_many(
        "INSERT INTO deliveries (delivery_id, webhook_id, event, payload, status, attempts, created_at, next_at, error)"
        " VALUES (?, ?, ?, ?, 'pending', 0, ?, ?, '')",
        [
            (new_id(), each.webhook_id, each.event, json.dumps(each.document), moment, to_iso(at + each.wait))
            for each in told
        ],
    )


def take_due(store: Store, now: datetime, *, most: int = 20) -> list[Delivery]:
    """Take deliveries that are due, for a while: nobody else gets them until the lease is over."""
    if not store.read("SELECT 1 FROM deliveries WHERE status = 'pending' AND next_at <= ? LIMIT 1", (to_iso(now),)):
        return []  # most of the time; a look costs no write
    return _take(store, "next_at <= ?", (to_iso(now),), now, most)


def take_along(store: Store, webhook_id: str, now: datetime, *, most: int = 100) -> list[Delivery]:
    """Take what waits to go with others to a webhook and was never tried: a message leaves for it now."""
    return _take(store, "webhook_id = ? AND attempts = 0", (webhook_id,), now, most)


def _take(store: Store, which: str, bound: tuple[str, ...], now: datetime, most: int) -> list[Delivery]:
    def write(transaction: Transaction) -> list[Delivery]:
        rows = transaction.execute(
            "UPDATE deliveries SET next_at = ?, attempts = attempts + 1 WHERE delivery_id IN"
            f" (SELECT delivery_id FROM deliveries WHERE status = 'pending' AND {which}"
            "  ORDER BY next_at, delivery_id LIMIT ?)"
            f" RETURNING {_COLUMNS}",
            (to_iso(now + _LEASE), *bound, most),
        )
        return sorted((Delivery(*row) for row in rows), key=lambda each: each.delivery_id)

    return store.record(write)


def settle(store: Store, delivery: Delivery, *, response_status: int | None, error: str, now: datetime) -> None:
    """Write down what came of a try: delivered, to be tried again later, or given up."""
    delivered = response_status is not None and 200 <= response_status < 300
    status = "delivered" if delivered else "failed" if delivery.attempts >= _MOST_TRIES else "pending"
    wait = min(_FIRST_WAIT * 2 ** min(delivery.attempts - 1, 20), _LONGEST_WAIT)
    settled = None if status == "pending" else to_iso(now)
    store.record(
        lambda transaction: transaction.execute(
            "UPDATE deliveries SET status = ?, next_at = ?, settled_at = ?, response_status = ?, error = ?"
            " WHERE delivery_id = ?",
            (status, to_iso(now + wait), settled, response_status, error[:500], delivery.delivery_id),
        )
    )


def list_deliveries(store: Store, webhook_id: str, *, limit: int = 100) -> list[Delivery]:
    """Return what was, or is to be, told to a webhook, newest first."""
    sql = f"SELECT {_COLUMNS} FROM deliveries WHERE webhook_id = ? ORDER BY created_at DESC, delivery_id DESC LIMIT ?"
    return [Delivery(*row) for row in store.read(sql, (webhook_id, limit))]


def prune_deliveries(store: Store, before: datetime) -> int:
    """Forget deliveries that were settled before a moment; return how many."""
    sql = "DELETE FROM deliveries WHERE settled_at < ? RETURNING delivery_id"
    return store.record(lambda transaction: len(transaction.execute(sql, (to_iso(before),))))
