"""News of facts that are recorded without an audit event, such as the end of a run: written with them, told later.

What is in the audit chain needs no entry here: the chain itself is read. Owner of the table `news`.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from mainspring.domain.moments import to_iso
from mainspring.store.protocol import Store, Transaction

__all__ = ["NewsRow", "forget_news", "news_behind", "tell"]


class NewsRow(NamedTuple):
    """Something that is to be told."""

    number: int
    verb: str
    data: dict[str, object]
    at: str


def tell(transaction: Transaction, verb: str, data: Mapping[str, object]) -> None:
    """Leave news inside the transaction of what they tell of."""
    transaction.execute(
        "INSERT INTO news (verb, data, at) VALUES (?, ?, ?)", (verb, json.dumps(dict(data)), to_iso(datetime.now(UTC)))
    )


def news_behind(store: Store, number: int, *, limit: int) -> list[NewsRow]:
    """Return the news behind a number, oldest first."""
    rows = store.read(
        "SELECT number, verb, data, at FROM news WHERE number > ? ORDER BY number LIMIT ?", (number, limit)
    )
    return [NewsRow(found, verb, json.loads(data), at) for found, verb, data, at in rows]


def forget_news(store: Store, number: int) -> None:
    """Delete the news up to a number, but the last: a database may give the number of a deleted last row again."""
    store.record(
        lambda transaction: transaction.execute(
            "DELETE FROM news WHERE number <= ? AND number < (SELECT max(number) FROM news)", (number,)
        )
    )
