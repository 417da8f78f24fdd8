"""What the gates said of a version, every time they were asked. Owner of the table `gate_results`."""

import json
from collections.abc import Sequence
from datetime import datetime

from mainspring.domain.moments import to_iso
from mainspring.domain.version import GateResult, ModelVersion
from mainspring.registry.aliases import Ask
from mainspring.store.events import Event
from mainspring.store.protocol import Store

__all__ = ["gate_results", "record_gates", "results_of"]


def record_gates(store: Store, version: ModelVersion, results: Sequence[GateResult], at: datetime) -> None:
    """Keep what the gates said of a version; an earlier answer of the same gate stays in the history."""
    passed = {result.gate: result.passed for result in results}
    rows = [
        (
            version.model,
            version.version,
            each.gate,
            int(each.passed),
            each.reason,
            json.dumps(each.evidence),
            to_iso(at),
        )
        for each in results
    ]
    sql = "INSERT INTO gate_results (model, version, gate, passed, reason, evidence, at) VALUES (?, ?, ?, ?, ?, ?, ?)"
    reasons = {result.gate: result.reason for result in results}
    event = Event("model.gated", f"models/{version.reference}", {"passed": passed, "reasons": reasons})
    store.change(event, lambda transaction: transaction.execute_many(sql, rows))


def gate_results(store: Store, version: ModelVersion) -> list[GateResult]:
    """Return the newest answer of each gate, in the order they were first asked."""
    return results_of(store.read, version)


def results_of(ask: Ask, version: ModelVersion) -> list[GateResult]:
    """Return the same, inside a change or outside."""
    rows = ask(
        "SELECT gate, passed, reason, evidence, at FROM gate_results WHERE model = ? AND version = ? ORDER BY number",
        (version.model, version.version),
    )
    newest: dict[str, GateResult] = {}
    for gate, passed, reason, evidence, at in rows:
        newest[gate] = GateResult(gate, bool(passed), reason, json.loads(evidence), at)
    return list(newest.values())
