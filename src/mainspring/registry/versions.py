"""Model versions: numbered, never changed, each tied to a bundle, a run and the evidence for it.

Owner of the tables `model_versions` and `gate_results`.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from mainspring.domain.ids import Digest
from mainspring.domain.moments import to_iso
from mainspring.domain.version import GateResult, ModelVersion, VersionStatus, check_model_name, parse_model
from mainspring.errors import NotFound, nearest
from mainspring.registry.aliases import current_aliases
from mainspring.store.events import Event
from mainspring.store.protocol import Row, Store, Transaction

__all__ = [
    "find_champion",
    "find_version",
    "gate_results",
    "list_versions",
    "record_gates",
    "register_version",
    "set_status",
]

_COLUMNS = "model, version, bundle, run_id, status, evidence, created_at, created_by"


def register_version(
    store: Store,
    model: str,
    *,
    bundle: Digest,
    run_id: str | None,
    evidence: Mapping[str, object],
    author: str,
    at: datetime,
) -> ModelVersion:
    """Add the next version of `model` and return it; a bundle that is registered already gives its old version."""
    check_model_name(model)
    document = json.dumps(dict(evidence), sort_keys=True, allow_nan=False)

    def write(transaction: Transaction) -> tuple[int, bool]:
        # asked and numbered inside the transaction: two that register at once get two numbers, or one for one bundle
        same = transaction.execute(
            "SELECT version FROM model_versions WHERE model = ? AND bundle = ? ORDER BY version", (model, bundle)
        )
        if same:
            return same[0][0], False
        sql = "SELECT coalesce(max(version), 0) + 1 FROM model_versions WHERE model = ?"
        version: int = transaction.execute(sql, (model,))[0][0]
        transaction.execute(
            f"INSERT INTO model_versions ({_COLUMNS}) VALUES (?, ?, ?, ?, 'candidate', ?, ?, ?)",
            (model, version, bundle, run_id, document, to_iso(at), author),
        )
        return version, True

    def event(made: tuple[int, bool]) -> Event | None:
        details = {"bundle": bundle, "run_id": run_id, "version": made[0]}
        return Event("model.registered", f"models/{model}", details, actor=author) if made[1] else None

    version, _ = store.change(event, write)
    return find_version(store, f"{model}/{version}")


def set_status(store: Store, version: ModelVersion, status: VersionStatus, *, reason: str) -> None:
    """Move a version to another status, with the reason in the audit log."""
    event = Event(f"model.{status}", f"models/{version.reference}", {"reason": reason})
    store.change(
        event,
        lambda transaction: transaction.execute(
            "UPDATE model_versions SET status = ? WHERE model = ? AND version = ?",
            (status, version.model, version.version),
        ),
    )


def find_version(store: Store, reference: str, *, default_alias: str = "champion") -> ModelVersion:
    """Return the version that ``name/3``, ``name@alias`` or ``name`` (its champion, else its newest) stands for.

    Raises:
        NotFound: there is no such model, version or alias; the message names what there is.
    """
    model, number, alias = parse_model(reference)
    found = list_versions(store, model)
    if not found:
        known = [row[0] for row in store.read("SELECT DISTINCT model FROM model_versions")]
        raise NotFound(f"There is no model `{model}`", next_step=nearest(model, known))
    if number is None:
        aliases = current_aliases(store, model)
        wanted = alias or default_alias
        if wanted in aliases:
            number = aliases[wanted]
        elif alias is None:
            return found[0]
        else:
            listed = nearest(alias, aliases)
            raise NotFound(f"No model version `{reference}`. {listed}", next_step=f"mainspring promote {model}/VERSION")
    for each in found:
        if each.version == number:
            return each
    raise NotFound(f"The model `{model}` has no version {number}", next_step=f"its newest is {found[0].version}")


def find_champion(store: Store, model: str) -> ModelVersion | None:
    """Return the version that serves `model`; None when none does."""
    for version in list_versions(store, model):
        if "champion" in version.aliases:
            return version
    return None


def list_versions(store: Store, model: str | None = None) -> list[ModelVersion]:
    """Return the versions of one model, or of all, newest first."""
    clause, bound = ("WHERE model = ?", (model,)) if model is not None else ("", ())
    rows = store.read(f"SELECT {_COLUMNS} FROM model_versions {clause} ORDER BY model, version DESC", bound)
    aliases: dict[str, dict[str, int]] = {name: current_aliases(store, name) for name in {row[0] for row in rows}}
    return [_from_row(row, aliases[row[0]]) for row in rows]


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
    rows = store.read(
        "SELECT gate, passed, reason, evidence, at FROM gate_results WHERE model = ? AND version = ? ORDER BY number",
        (version.model, version.version),
    )
    newest: dict[str, GateResult] = {}
    for gate, passed, reason, evidence, at in rows:
        newest[gate] = GateResult(gate, bool(passed), reason, json.loads(evidence), at)
    return list(newest.values())


def _from_row(row: Row, aliases: Mapping[str, int]) -> ModelVersion:
    model, version, bundle, run_id, status, evidence, created_at, created_by = row
    named = tuple(sorted(alias for alias, number in aliases.items() if number == version))
    return ModelVersion(model, version, bundle, run_id, status, created_at, created_by, json.loads(evidence), named)
