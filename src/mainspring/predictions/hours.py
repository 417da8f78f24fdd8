"""The table `served_hours`: what prediction servers did for a model in each hour, as counts that add up.

An hour is the one in which requests came, whatever moment they speak of. They are counted by outcome, and those that
were answered by how long it took: four bins for each doubling, so a quantile is right within 9 %. Sealing adds what a
piece of a journal holds in the transaction that moves its offset, so each request is counted once. The counts outlive
the rows: months of them say what is usual, and hold nobody's data.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

from mainspring.domain.moments import from_iso, to_iso
from mainspring.predictions.counts import HOUR
from mainspring.predictions.records import BatchRecord, RefusedRecord
from mainspring.store.protocol import Store, Transaction

__all__ = ["Outcome", "ServedHour", "add_hours", "served_hours"]

#: `refused`: the request was wrong (4xx). `failed`: the server could not answer it (5xx).
Outcome = Literal["answered", "refused", "failed"]
#: Before the name of a rule that stopped requests, beside the outcomes.
_RULE = "rule:"
_BINS_A_DOUBLING = 4
_Key = tuple[str, str, str, int]  # model, hour, outcome or rule, bin of latency


@dataclass(frozen=True, slots=True)
class ServedHour:
    """What was done in the hour that begins at `at`; `p95_ms` is None where nothing was answered.

    `rules` are those of the model's schema that stopped requests, with how many.
    """

    at: datetime
    answered: int = 0
    refused: int = 0
    failed: int = 0
    p95_ms: float | None = None
    rules: Mapping[str, int] = field(default_factory=dict)

    @property
    def asked(self) -> int:
        """Requests of all outcomes."""
        return self.answered + self.refused + self.failed


def add_hours(transaction: Transaction, records: Iterable[BatchRecord | RefusedRecord]) -> None:
    """Add what `records` tell to the hours they tell of; answers of a shadow reached nobody and do not count."""
    rows = [(*key, requests) for key, requests in sorted(_counted(records).items())]
    transaction.execute_many(
        "INSERT INTO served_hours (model, hour, outcome, latency_bin, requests) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (model, hour, outcome, latency_bin) DO UPDATE SET"
        " requests = served_hours.requests + excluded.requests",
        rows,
    )


def served_hours(store: Store, model: str, *, since: datetime, until: datetime) -> Iterator[ServedHour]:
    """Yield the hours that begin in [since, until) and in which anybody asked for `model`, oldest first."""
    sql = (
        "SELECT hour, outcome, latency_bin, requests FROM served_hours"
        " WHERE model = ? AND hour >= ? AND hour < ? ORDER BY hour, latency_bin"
    )
    found: dict[str, dict[str, list[tuple[int, int]]]] = {}
    for hour, outcome, place, requests in store.read(sql, (model, _hour(to_iso(since)), _hour(to_iso(until)))):
        found.setdefault(hour, {}).setdefault(outcome, []).append((place, requests))
    for hour, outcomes in found.items():
        counts = {outcome: sum(requests for _, requests in filled) for outcome, filled in outcomes.items()}
        known = {outcome: counts.get(outcome, 0) for outcome in get_args(Outcome)}
        rules = {each.removeprefix(_RULE): count for each, count in counts.items() if each.startswith(_RULE)}
        p95_ms = _quantile(outcomes.get("answered", []), 0.95)
        yield ServedHour(from_iso(f"{hour}:00:00Z"), **known, p95_ms=p95_ms, rules=rules)


def _counted(records: Iterable[BatchRecord | RefusedRecord]) -> Counter[_Key]:
    counted: Counter[_Key] = Counter()
    for record in records:
        if isinstance(record, RefusedRecord):
            counted[record.model, _hour(record.at), "refused", 0] += record.refused
            counted[record.model, _hour(record.at), "failed", 0] += record.failed
            for rule, requests in record.rules.items():
                counted[record.model, _hour(record.at), _RULE + rule, 0] += requests
        elif record.route != "shadow":
            for latency_ms in record.latency_ms:
                counted[record.model, _hour(record.received_at), "answered", _bin(latency_ms)] += 1
    return +counted


def _hour(moment: str) -> str:
    return moment[:HOUR]


def _bin(latency_ms: float) -> int:
    return math.floor(_BINS_A_DOUBLING * math.log2(max(latency_ms, 1e-3)))


def _quantile(filled: list[tuple[int, int]], share: float) -> float | None:
    """Return the middle of the bin in which the quantile lies; `filled` are bins and counts, ascending."""
    below, wanted = 0, share * sum(requests for _, requests in filled)
    for place, requests in filled:
        below += requests
        if below >= wanted:
            return float(2 ** ((place + 0.5) / _BINS_A_DOUBLING))
    return None
