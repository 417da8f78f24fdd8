"""A candidate's way into the registry: packed as a bundle, registered with its evidence, asked by the gates.

Each stage leaves an event, so that the timeline tells what was checked, chosen, measured and refused.
"""

import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from mainspring.artifacts.protocol import ArtifactStore
from mainspring.bundle.format import write_bundle
from mainspring.bundle.manifest import BundleManifest
from mainspring.bundle.predictor import Predictor
from mainspring.bundle.row_rules import ROW_RULES_NAME, SCHEMA_NAME
from mainspring.data.row_rules import row_rules_of, row_rules_to_json
from mainspring.data.schema_file import schema_of
from mainspring.data.table import Columns, columns_of
from mainspring.domain.policy import Approval, Gate
from mainspring.domain.signature import Signature
from mainspring.domain.version import GateResult, ModelVersion
from mainspring.evaluate.estimation import Estimation, fit_estimation
from mainspring.registry.control import keep_loop_rule
from mainspring.registry.evidence import record_gates
from mainspring.registry.gates import GateContext, UserGate, run_gates
from mainspring.registry.versions import find_version, register_version, set_status
from mainspring.store.events import Event
from mainspring.store.protocol import Store
from mainspring.tracking.runs import find_run, log_metrics
from mainspring.train.candidate import Candidate
from mainspring.train.features import days_within, target_index

__all__ = ["pack", "schema_files", "submit"]


def submit(
    store: Store,
    artifacts: ArtifactStore,
    context: GateContext,
    *,
    model: str,
    gates: Sequence[Gate | UserGate],
    run_id: str | None,
    author: str,
    at: datetime,
    load: Callable[[ModelVersion], Predictor],
    data: Mapping[str, str] | None = None,
    approval: Approval | None = None,
) -> tuple[ModelVersion, list[GateResult]]:
    """Register the candidate of `context` as the next version of `model` and put it through `gates`.

    `load` loads a registered version, as production will; `data` names the dataset versions the run read; `approval`
    is what the loop asks of people, kept with the version. The
    version's status is `ready` behind gates that all passed, else `refused`.
    """
    candidate = context.candidate
    _tell(store, model, candidate, author)
    facts = _facts(store, candidate, run_id, dict(data or {}))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        manifest = pack(folder, candidate, model=model, facts=facts)
        bundle = artifacts.put_tree(folder)
    asked = approval or Approval()
    wanted = {"role": asked.role, "count": asked.count}
    keep_loop_rule(store, model, asked, actor=author, at=at)
    size = sum(each.size_bytes for each in manifest.files.values())
    version = register_version(
        store,
        model,
        bundle=bundle,
        run_id=run_id,
        evidence={**_evidence(candidate), "facts": facts, "size_bytes": size, "goal": context.goal, "approval": wanted},
        author=author,
        at=at,
    )
    if run_id is not None:
        log_metrics(store, _run(store, run_id), candidate.metrics, at)
    results = run_gates(dataclasses.replace(context, predictor=load(version)), gates)
    if "champion" in version.aliases:
        # the same bundle again, perhaps under another goal: what serves keeps the answers it was let in with
        return version, results
    record_gates(store, version, results, at)
    failed = [result.gate for result in results if not result.passed]
    reason = f"refused by {', '.join(failed)}" if failed else f"passed {len(results)} gates"
    set_status(store, version, "refused" if failed else "ready", reason=reason)
    return find_version(store, version.reference), results


def pack(folder: Path, candidate: Candidate, *, model: str, facts: Mapping[str, object]) -> BundleManifest:
    """Write a candidate as the bundle `folder`; the same candidate and facts give the same bytes."""
    fitted = candidate.fitted
    rows = {name: columns_of(candidate.test)[name] for name in fitted.signature.names}
    return write_bundle(
        folder,
        fitted.estimator,
        fitted.signature,
        name=model,
        profile=candidate.profile,
        threshold=fitted.threshold if fitted.signature.task == "binary" else None,
        facts=facts,
        extra_files=schema_files(candidate.schema, fitted.signature, rows),
        sample=rows,
    )


def schema_files(text: str, signature: Signature, rows: Columns) -> dict[str, bytes]:
    """Return the schema that guards the model's requests, with what of it can be asked of one row."""
    if not text:
        return {}
    rules = row_rules_of(schema_of(text, Path(SCHEMA_NAME)), signature, rows)
    return {SCHEMA_NAME: text.encode(), ROW_RULES_NAME: row_rules_to_json(rules)}


def _tell(store: Store, model: str, candidate: Candidate, author: str) -> None:
    """Leave an event for each stage of the training that led here."""
    fitted, report = candidate.fitted, candidate.report
    board = [
        {"name": each.name, "kind": each.kind, "loss": each.loss, "verdict": each.verdict}
        for each in fitted.leaderboard
    ]
    metrics = {name: value.to_json() for name, value in report.metrics.items()}
    worst = max(report.slices, key=lambda each: each["loss"], default=None)
    stages: list[tuple[str, dict[str, object]]] = [
        ("data.checked", {"rows": sum(report.rows.values()), "columns": len(fitted.signature.columns)}),
        ("data.split", {"rows": report.rows, "span": report.span}),
        ("model.chosen", {"chosen": fitted.chosen, "reason": fitted.reason, "contenders": board}),
        ("model.evaluated", {"metrics": metrics, "confusion": report.confusion, "worst_slice": worst}),
    ]
    for verb, details in stages:
        store.change(Event(verb, f"models/{model}", details, actor=author), lambda _: None)


def _facts(store: Store, candidate: Candidate, run_id: str | None, data: dict[str, str]) -> dict[str, object]:
    """Return what the bundle says of its making. Only what decides its bytes, so that equal work is one version."""
    tags = find_run(store, run_id).tags if run_id is not None else {}
    return {
        "commit": tags.get("git_commit", ""),
        "data": data,
        "transforms": _transforms(candidate.fitted.estimator),
        **({"views": candidate.views} if candidate.views else {}),
    }


def _transforms(estimator: Any) -> list[str]:
    """Say in words what happens to a row on its way through a scikit-learn estimator, one line a stage."""
    steps = getattr(estimator, "steps", None) or [("model", estimator)]
    lines = []
    for _, stage in steps:
        inner = getattr(stage, "transformers_", None)
        if inner is None:
            lines.append(_words(stage))
            continue
        for name, transformer, columns in inner:
            if transformer != "drop":
                what = transformer if isinstance(transformer, str) else _words(transformer)
                lines.append(f"{what} on {', '.join(str(each) for each in columns)}" if len(columns) else name)
    return lines


def _words(estimator: Any) -> str:
    return " ".join(repr(estimator).split())


def _evidence(candidate: Candidate) -> dict[str, object]:
    report = candidate.report
    estimation = _estimation(candidate)
    return {
        "estimation": None if estimation is None else estimation.to_json(),
        "metrics": {name: value.to_json() for name, value in report.metrics.items()},
        "loss": {
            "kind": report.loss,
            "mean": report.loss_mean,
            "blocks": report.loss_blocks,
            "bound": candidate.fitted.loss_bound,
        },
        "slices": report.slices,
        "confusion": report.confusion,
        "threshold": report.threshold,
        "chosen": candidate.fitted.chosen,
        "reason": candidate.fitted.reason,
        "leaderboard": [dataclasses.asdict(each) for each in candidate.fitted.leaderboard],
        "importances": report.importances,
        "rows": report.rows,
        "span": report.span,
    }


def _estimation(candidate: Candidate) -> Estimation | None:
    """Learn from the test part how to estimate the loss of requests whose labels have not come."""
    signature, test = candidate.fitted.signature, columns_of(candidate.test)
    truth = target_index(test[signature.target], signature)
    bound = candidate.fitted.loss_bound
    return fit_estimation(signature.task, truth, candidate.scores, days_within(test), bound=bound)


def _run(store: Store, run_id: str) -> Any:  # a RunId that was given as text
    return find_run(store, run_id).run_id
