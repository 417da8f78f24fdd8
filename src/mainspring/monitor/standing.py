"""Where a monitor's rule stands: what it has counted, and how far. Owner of the table `monitors`.

A rule's state is one document that is written whole, so whoever writes last has counted all that its place says.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mainspring.domain.moments import to_iso
from mainspring.store.protocol import Store

__all__ = ["keep_standing", "read_standing"]


def read_standing(store: Store, model: str, version: int, rule: str) -> dict[str, Any]:
    """Return what `rule` last kept of a version, or of the model with version 0; nothing before its first look."""
    rows = store.read(
        "SELECT state FROM monitors WHERE model = ? AND version = ? AND rule = ?",
        (model, version, rule),
    )
    found: dict[str, Any] = json.loads(rows[0][0]) if rows else {}
    return found


def keep_standing(
    store: Store, model: str, version: int, rule: str, state: Mapping[str, Any], *, now: datetime
) -> None:
    """Keep the state of a rule in the place of its last one."""
    document = json.dumps(dict(state), allow_nan=False)
    store.record(
        lambda transaction: transaction.execute(
            "INSERT INTO monitors (model, version, rule, state, cursor_at) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (model, version, rule) DO UPDATE SET state = excluded.state, cursor_at = excluded.cursor_at",
            (model, version, rule, document, to_iso(now)),
        )
    )
