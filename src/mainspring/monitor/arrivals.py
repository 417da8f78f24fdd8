"""Do labels still come? By when they used to, as the sealings of the log have noted it.

Without labels nothing about quality can be proven, and nobody notices: every rule that needs them is silent. So their
absence is a finding of its own. How late they may be is learnt from how long they were away before.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from mainspring.domain.moments import from_iso
from mainspring.domain.policy import Monitor
from mainspring.domain.version import ModelVersion
from mainspring.monitor.finding import Finding

__all__ = ["overdue_labels"]

#: Arrivals that say how long labels are away, and the newest that are asked.
_LEAST, _MOST = 7, 28
#: So many blocks more than ever before they must be away.
_PATIENCE = 2


def overdue_labels(
    version: ModelVersion, sealed: Iterable[tuple[str, str, int]], rule: Monitor, *, now: datetime
) -> Finding | None:
    """Return a finding when labels are away for longer than they were before though requests came; else None.

    `sealed` are the sealings of the log, oldest first: when, of which kind, how many rows.
    """
    labels: dict[int, None] = {}
    since = asked = 0
    for at, kind, rows in sealed:
        block = _block(from_iso(at), rule.every)
        if kind == "labels":
            labels[block] = None
            asked = 0
        else:
            asked += rows
    arrived = list(labels)[-_MOST:]
    if len(arrived) < _LEAST or not asked:
        return None
    usual, since = _longest(arrived), _block(now, rule.every) - arrived[-1]
    if since < usual + _PATIENCE:
        return None
    away = (
        f"no label has come for {since * rule.every.total_seconds() / 86400:g} days, in which {asked:,} rows were"
        f" answered; before, they were never away for more than {usual * rule.every.total_seconds() / 86400:g}"
    )
    return Finding(
        f"{version.model} gets no labels",
        away,
        "data",
        f"the labels stopped coming: {away}",
        "look at what sends them; until they come, quality is estimated and not proven, and nothing is retrained on it",
        evidence={"blocks": since, "usual": usual, "rows": asked},
    )


def _block(at: datetime, every: timedelta) -> int:
    return int(at.timestamp() // every.total_seconds())


def _longest(blocks: Sequence[int]) -> int:
    return max(after - before for before, after in pairwise(blocks))
