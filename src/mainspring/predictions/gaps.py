"""The table `log_gaps`: requests that the prediction log could not take, and so were refused.

What is not in the log cannot be found by looking at the log. So the server that could not write says so as soon as it
can again, and sealing keeps it here.
"""

from collections.abc import Iterable
from datetime import datetime

from mainspring.domain.moments import to_iso
from mainspring.predictions.records import LostRecord
from mainspring.store.protocol import Store, Transaction

__all__ = ["gaps", "keep_gaps"]

_ROW = "model, first_at, last_at, requests, n_rows, reason"


def keep_gaps(transaction: Transaction, lost: Iterable[LostRecord]) -> None:
    """Keep what servers told of requests that were refused."""
    rows = [(each.model, each.first_at, each.last_at, each.requests, each.rows, each.reason) for each in lost]
    transaction.execute_many(f"INSERT INTO log_gaps ({_ROW}) VALUES (?, ?, ?, ?, ?, ?)", rows)


def gaps(store: Store, model: str, *, since: datetime, until: datetime) -> list[LostRecord]:
    """Return the gaps that ended in [since, until), oldest first."""
    sql = f"SELECT {_ROW} FROM log_gaps WHERE model = ? AND last_at >= ? AND last_at < ? ORDER BY last_at, number"
    return [
        LostRecord(model=name, first_at=first, last_at=last, requests=requests, rows=rows, reason=reason)
        for name, first, last, requests, rows, reason in store.read(sql, (model, to_iso(since), to_iso(until)))
    ]
