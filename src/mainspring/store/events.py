"""The append-only log of state changes, each entry sealed with the hash of the one before it.

Altering, removing or reordering an entry breaks every hash behind it; `verify_chain` says where. The backend calls
`append` inside the transaction of the change, so the log cannot be forgotten and cannot disagree with the tables.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from mainspring.domain.moments import to_iso
from mainspring.errors import Corrupt

if TYPE_CHECKING:
    from mainspring.store.protocol import Store, Transaction

__all__ = ["GENESIS", "Event", "EventRow", "append", "events", "verify_chain"]

#: What stands in for the hash before the first entry.
GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class Event:
    """A change about to be made: a verb (``model.promoted``), what it was done to (``late-flights/3``), and details.

    `details` must be JSON-able and hold no personal data: the log is never erased. An empty `actor` means the actor of
    the store.
    """

    verb: str
    subject: str
    details: Mapping[str, object] = field(default_factory=dict)
    actor: str = ""


@dataclass(frozen=True, slots=True)
class EventRow:
    """An entry of the log. `at` is the workspace's clock, `recorded_at` the machine's."""

    number: int
    at: str
    recorded_at: str
    actor: str
    verb: str
    subject: str
    details: dict[str, object]
    hash: str


def append(transaction: "Transaction", event: Event, *, actor: str, at: datetime, recorded_at: datetime) -> None:
    """Seal `event` onto the end of the chain. Only a backend calls this, in the transaction of the change itself."""
    last = transaction.execute("SELECT number, hash FROM events ORDER BY number DESC LIMIT 1")
    number, previous = (last[0][0] + 1, last[0][1]) if last else (1, GENESIS)
    details = json.dumps(dict(event.details), sort_keys=True, separators=(",", ":"), allow_nan=False)
    entry = (number, to_iso(at), to_iso(recorded_at), event.actor or actor, event.verb, event.subject, details)
    transaction.execute(
        "INSERT INTO events (number, at, recorded_at, actor, verb, subject, details, hash) VALUES (?,?,?,?,?,?,?,?)",
        (*entry, _seal(previous, entry)),
    )


def events(
    store: "Store", *, subject: str | None = None, verb: str | None = None, after: int = 0, limit: int = 100_000
) -> list[EventRow]:
    """Return the entries behind number `after`, oldest first; `subject` and `verb` match whole, or as ``prefix*``."""
    sql = "SELECT number, at, recorded_at, actor, verb, subject, details, hash FROM events WHERE number > ?"
    bound: list[str | int] = [after]
    for column, wanted in (("subject", subject), ("verb", verb)):
        if wanted is None:
            continue
        if wanted.endswith("*"):
            sql += f" AND substr({column}, 1, ?) = ?"
            bound += [len(wanted) - 1, wanted[:-1]]
        else:
            sql += f" AND {column} = ?"
            bound.append(wanted)
    rows = store.read(sql + " ORDER BY number LIMIT ?", [*bound, limit])
    return [
        EventRow(number, at, recorded_at, actor, verb, subject, json.loads(details), sealed)
        for number, at, recorded_at, actor, verb, subject, details, sealed in rows
    ]


def verify_chain(store: "Store") -> int:
    """Recompute every hash and return how many entries stand.

    Raises:
        Corrupt: an entry was altered, removed or put in; the message names the first number that does not fit.
    """
    rows = store.read("SELECT number, at, recorded_at, actor, verb, subject, details, hash FROM events ORDER BY number")
    previous = GENESIS
    for expected, row in enumerate(rows, start=1):
        entry, sealed = row[:7], row[7]
        if row[0] != expected or _seal(previous, entry) != sealed:
            raise Corrupt(
                f"The audit chain breaks at entry {expected}",
                where=f"events.number={row[0]}",
                next_step="restore the database from a backup taken before; entries below this number still stand",
            )
        previous = sealed
    return len(rows)


def _seal(previous: str, entry: Iterable[object]) -> str:
    return hashlib.sha256(json.dumps([previous, *entry], separators=(",", ":")).encode()).hexdigest()
