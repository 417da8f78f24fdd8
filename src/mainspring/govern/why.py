"""Why was this answered? From one prediction id back to request, transforms, model, run, code, data and approver."""

from dataclasses import dataclass
from typing import Any

from mainspring.domain.version import ApprovalGiven, GateResult
from mainspring.predictions.log import PredictionLog
from mainspring.registry.approvals import list_approvals
from mainspring.registry.evidence import gate_results
from mainspring.registry.versions import find_version
from mainspring.store.protocol import Store
from mainspring.tracking.runs import Run, find_run

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything behind one prediction. `commit` is empty where the code was not in a git repository."""

    prediction_id: str
    at: str
    request: dict[str, object]
    request_id: str | None
    score: float | list[float]
    threshold: float | None
    route: str
    label: str | None
    labelled_at: str | None
    transforms: list[str]
    model_version: str
    bundle: str
    chosen: str
    run: Run | None
    commit: str
    data: dict[str, str]
    gates: list[GateResult]
    approvals: list[ApprovalGiven]
    author: str
    lookups: dict[str, dict[str, object]]


def explain(store: Store, log: PredictionLog, prediction_id: str) -> Explanation:
    """Return everything behind one prediction.

    Raises:
        NotFound: the sealed log holds no such prediction.
    """
    found = log.find(prediction_id)
    version = find_version(store, f"{found.model}/{found.version}")
    facts: dict[str, Any] = dict(version.evidence.get("facts") or {})  # type: ignore[call-overload]  # written by submit
    run = find_run(store, version.run_id) if version.run_id else None
    return Explanation(
        prediction_id=found.prediction_id,
        at=found.at,
        request=found.features,
        request_id=found.request_id,
        score=found.score,
        threshold=_number(version.evidence.get("threshold")),
        route=found.route,
        label=found.label,
        labelled_at=found.labelled_at,
        transforms=[str(each) for each in facts.get("transforms", [])],
        model_version=version.reference,
        bundle=version.kept_bundle,
        chosen=str(version.evidence.get("chosen", "")),
        run=run,
        commit=str(facts.get("commit", "")),
        data={str(key): str(value) for key, value in dict(facts.get("data", {})).items()},
        gates=gate_results(store, version),
        approvals=list_approvals(store, version),
        author=version.created_by,
        lookups={
            view: {"version": each.version, "keys": each.keys, "until": each.until, "at": each.at}
            for view, each in found.lookups.items()
        },
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
