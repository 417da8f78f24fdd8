"""The metadata database: facts about data, runs, models, deployments and incidents, and the log of who changed what.

Nouns: `Store` (what a backend must do), `Transaction` (one atomic set of writes), `Event` (one entry of the audit
chain), migration (a named, append-only change of the tables). Bytes live in `artifacts`, never here.
Start reading in `protocol.py`; `sqlite.py` and `postgres.py` are the backends, `_group_writer.py` is what they share,
`opening.py` chooses between them; `events.py` holds the chain and its proof.
"""

from mainspring.store.events import Event, EventRow, events, verify_chain
from mainspring.store.protocol import EventOf, Row, Store, Transaction, Value

__all__ = ["Event", "EventOf", "EventRow", "Row", "Store", "Transaction", "Value", "events", "verify_chain"]
