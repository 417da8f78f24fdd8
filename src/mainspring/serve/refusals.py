"""Requests that got no prediction, counted by the minute and told to the journal, so that the monitor can see them.

What is told is two numbers a model and minute, so callers who send nothing but errors cannot fill a disk.
"""

import contextlib
from collections import defaultdict

from mainspring.errors import Unavailable
from mainspring.predictions.journal import JournalWriter
from mainspring.predictions.records import RefusedRecord, encode_record

__all__ = ["Refusals"]

#: How much of a moment's ISO text names its minute: 2013-04-01T07:05.
_MINUTE = 16


class Refusals:
    """What this process has refused, and not told yet."""

    def __init__(self, journal: JournalWriter) -> None:
        self._journal = journal
        self._minute = ""
        self._counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])  # by model: refused, failed

    def note(self, model: str, status: int, now: str) -> None:
        """Count one; those of an earlier minute are told first."""
        self.tell(now)
        self._minute = now[:_MINUTE]
        self._counts[model][status >= 500] += 1

    def tell(self, now: str = "") -> None:
        """Write what was counted in another minute than that of `now`; it stays counted while the journal is full."""
        if not self._counts or self._minute == now[:_MINUTE]:
            return
        with contextlib.suppress(Unavailable):
            for model, (refused, failed) in list(self._counts.items()):
                record = RefusedRecord(model=model, at=f"{self._minute}:00.000000Z", refused=refused, failed=failed)
                self._journal.append(encode_record(record))
                del self._counts[model]
