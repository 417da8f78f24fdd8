"""The append-only log of state changes, each entry sealed with the hash of the one before it.

Altering, removing or reordering an entry breaks every hash behind it; `verify_chain` says where. The backend calls
`append` inside the transaction of the change, so the log cannot be forgotten and cannot disagree with the tables.
"""

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
#: How many entries are in memory at a time when the chain is proven.
_PAGE = 10_000
_COLUMNS = "number, at, recorded_at, actor, verb, subject, details, hash"


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
    sql = f"SELECT {_COLUMNS} FROM events WHERE number > ?"
    bound: list[str | int] = [after]
    for column, wanted in (("subject", subject), ("verb", verb)):
        if wanted is None or wanted == "*":
            continue
        if wanted.endswith("*"):
            # a range and not LIKE, so that the index on subjects serves it and % and _ mean themselves
            prefix = wanted[:-1]
            sql += f" AND {column} >= ? AND {column} < ?"
            bound += [prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1)]
        else:
            sql += f" AND {column} = ?"
            bound.append(wanted)
    rows = store.read(sql + " ORDER BY number LIMIT ?", [*bound, limit])
    return [
        EventRow(number, at, recorded_at, actor, verb, subject, json.loads(details), sealed)
        for number, at, recorded_at, actor, verb, subject, details, sealed in rows
    ]


def verify_chain(store: "Store", *, noted: tuple[int, str] | None = None) -> int:
    """Recompute every hash and return how many entries stand.

    A chain cannot tell that its own end was cut off. `noted`, the number and hash of an entry that was written down
    elsewhere, must be in the chain: whoever keeps one with each report will notice.

    Raises:
        Corrupt: an entry was altered, removed or put in; the message names the first number that does not fit.
    """
    previous, expected = GENESIS, 1
    while rows := store.read(
        f"SELECT {_COLUMNS} FROM events WHERE number >= ? ORDER BY number LIMIT ?", (expected, _PAGE)
    ):
        for row in rows:
            entry, sealed = row[:7], row[7]
            if row[0] != expected or _seal(previous, entry) != sealed:
                raise _broken(expected)
            if noted is not None and expected == noted[0] and sealed != noted[1]:
                raise _broken(expected)
            previous, expected = sealed, expected + 1
    if store.read("SELECT 1 FROM events WHERE number < 1 LIMIT 1"):
        raise _broken(1)
    if noted is not None and noted[0] >= expected:
        raise _broken(expected)
    return expected - 1


def _broken(number: int) -> Corrupt:
    return Corrupt(
        f"The audit chain breaks at entry {number}",
        where=f"events.number={number}",
        next_step="restore the database from a backup taken before; entries below this number still stand",
    )


def _seal(previous: str, entry: Iterable[object]) -> str:
    import hashlib  # brings a library of cryptography, which what only reads does without

    return hashlib.sha256(json.dumps([previous, *entry], separators=(",", ":")).encode()).hexdigest()
