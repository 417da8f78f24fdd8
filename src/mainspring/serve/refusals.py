"""Requests that got no prediction, counted by the minute and told to the journal, so that the monitor can see them.

What is told is a few numbers a model and minute, so callers who send nothing but errors cannot fill a disk.
"""

import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterable

from mainspring.domain.moments import Clock, to_iso
from mainspring.errors import Unavailable
from mainspring.predictions.journal import JournalWriter
from mainspring.predictions.records import RefusedRecord, encode_record

__all__ = ["Refusals"]

#: How much of a moment's ISO text names its minute: 2013-04-01T07:05.
_MINUTE = 16
#: Beside names of rules, none of which is empty or begins with a space.
_REFUSED, _FAILED = " refused", " failed"


class Refusals:
    """What this process has refused, and not told yet."""

    def __init__(self, journal: JournalWriter, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._minute = ""
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)  # by model: outcomes and rules

    def note(self, model: str, status: int, rules: Iterable[str]) -> None:
        """Count one, and the rules of the model's schema that stopped it; those of an earlier minute are told first.

        While the clock cannot be read none is counted: it would stand in no minute, and is to be answered all the same.
        """
        with contextlib.suppress(Unavailable):
            at = to_iso(self._clock.now())
            self.tell(at)
            self._minute = at[:_MINUTE]
            self._counts[model].update([_FAILED if status >= 500 else _REFUSED, *rules])

    def tell(self, now: str = "") -> None:
        """Write what was counted in another minute than that of `now`; it stays counted while the journal is full."""
        if not self._counts or self._minute == now[:_MINUTE]:
            return
        with contextlib.suppress(Unavailable):
            for model, counts in list(self._counts.items()):
                refused, failed = counts[_REFUSED], counts[_FAILED]
                rules = {name: count for name, count in counts.items() if name not in (_REFUSED, _FAILED)}
                at = f"{self._minute}:00.000000Z"
                record = RefusedRecord(model=model, at=at, refused=refused, failed=failed, rules=rules)
                self._journal.append(encode_record(record))
                del self._counts[model]
