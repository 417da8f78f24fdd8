"""Forgetting: predictions and labels that have been kept for as long as they may be.

Whole segments go, when their newest row is old enough. First their rows in the table, with an event that says so; then
the files. What dies in between is swept at the next sealing. Labels that come later for what is gone join nothing.
"""

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from mainspring.domain.moments import to_iso
from mainspring.predictions._table import older, remove
from mainspring.predictions.segments import only_sealer
from mainspring.store.events import Event
from mainspring.store.protocol import Store

__all__ = ["Forgotten", "forget_before"]


class Forgotten(NamedTuple):
    """What was forgotten: files, and the rows in them."""

    segments: int
    rows: int


def forget_before(store: Store, folder: Path, moment: datetime, *, dry_run: bool = False) -> Forgotten:
    """Forget the sealed predictions and labels of all models that are older than `moment`, by when they happened."""
    folder.mkdir(parents=True, exist_ok=True)
    with only_sealer(folder):
        old = older(store, to_iso(moment))
        found = Forgotten(len(old), sum(each.n_rows for each in old))
        if old and not dry_run:
            details = {"before": to_iso(moment), "segments": found.segments, "rows": found.rows}
            store.change(Event("predictions.forgotten", "predictions", details), lambda t: remove(t, old))
            for each in old:
                (folder / each.path).unlink(missing_ok=True)
    return found
