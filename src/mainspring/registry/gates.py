"""Gates: what a candidate must show before it may serve. Each returns a result with its figures; none raises a no.

A gate is data from `domain.policy`, or any function from a `GateContext` to a `GateResult`.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mainspring.bundle.predictor import Predictor
from mainspring.data.table import Columns, columns_of, n_rows
from mainspring.domain.metric import parse_goal
from mainspring.domain.policy import BeatsChampion, Gate, Latency, Replay, WorstSlice
from mainspring.domain.signature import Signature
from mainspring.domain.version import GateResult
from mainspring.evaluate.compare import compare, compare_slices
from mainspring.evaluate.losses import loss
from mainspring.evaluate.measure import predict_labels
from mainspring.predictions.segments import features_of
from mainspring.train.candidate import Candidate
from mainspring.train.features import days_within, label_values, target_index

__all__ = ["GateContext", "UserGate", "run_gates"]


@dataclass(frozen=True)
class GateContext:
    """What gates look at: the candidate, the champion's predictor (None before the first), and recent traffic.

    `traffic` gives up to that many of the newest logged rows, with `label` where it has come; `predictor` is the
    candidate's own bundle, loaded as production will load it.
    """

    candidate: Candidate
    goal: str
    champion: Predictor | None
    traffic: Callable[[int], Columns]
    predictor: Predictor | None = None

    @property
    def signature(self) -> Signature:
        """What the candidate eats."""
        return self.candidate.fitted.signature

    def losses(self, predictor: Predictor, columns: Columns, truth: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the loss of each row under a predictor, by the candidate's measure."""
        return loss(self.signature.task, truth, predictor.predict(columns), bound=self.candidate.fitted.loss_bound)


UserGate = Callable[[GateContext], GateResult]


def run_gates(context: GateContext, gates: Sequence[Gate | UserGate]) -> list[GateResult]:
    """Ask the goal, then each gate in order."""
    results = [_goal(context)] if context.goal else []
    for gate in gates:
        match gate:
            case BeatsChampion():
                results.append(_beats_champion(context, gate))
            case WorstSlice():
                results.append(_worst_slice(context, gate))
            case Latency():
                results.append(_latency(context, gate))
            case Replay():
                results.append(_replay(context, gate))
            case _:
                results.append(gate(context))
    return results


def _goal(context: GateContext) -> GateResult:
    goal = parse_goal(context.goal, task=context.signature.task)
    measured = context.candidate.report.metrics[goal.metric]
    return GateResult("goal", goal.met_by(measured.value), f"{measured} for {goal}", {"metric": measured.to_json()})


def _beats_champion(context: GateContext, gate: BeatsChampion) -> GateResult:
    if context.champion is None:
        return GateResult(gate.name, True, "there is no champion yet")
    test = columns_of(context.candidate.test)
    truth = target_index(test[context.signature.target], context.signature)
    task, bound = context.signature.task, context.candidate.fitted.loss_bound
    before = context.losses(context.champion, test, truth)
    after = loss(task, truth, context.candidate.scores, bound=bound)
    passed, said, evidence = _paired(context, before, after, test, days_within(test), gate.level)
    return GateResult(gate.name, passed, f"on the hold-out {said}", evidence)


def _paired(
    context: GateContext,
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    columns: Columns,
    days: NDArray[np.int64],
    level: float,
) -> tuple[bool, str, dict[str, object]]:
    """Compare losses on the same rows, in all and in each declared slice: whether none is worse, in words, evidence."""
    compared = compare(before, after, groups=days, level=level)
    by = dict.fromkeys(each["name"].partition("=")[0] for each in context.candidate.report.slices)
    slices = compare_slices(before, after, columns, list(by), groups=days, level=level)
    worse = {name: each for name, each in slices.items() if each.verdict == "worse"}
    said = "; ".join([str(compared), *(f"in {name} {each}" for name, each in list(worse.items())[:3])])
    evidence: dict[str, object] = {
        "comparison": compared.to_json(),
        "slices": len(slices),
        "worse_slices": {name: each.to_json() for name, each in worse.items()},
    }
    return compared.verdict != "worse" and not worse, said, evidence


def _worst_slice(context: GateContext, gate: WorstSlice) -> GateResult:
    metric = parse_goal(context.goal).metric if context.goal else "roc_auc"
    larger = metric not in ("brier", "log_loss", "ece", "mae", "rmse", "mape")
    slices = [
        each for each in context.candidate.report.slices if each["rows"] >= gate.min_rows and metric in each["metrics"]
    ]
    if not slices:
        return GateResult(gate.name, True, f"no declared slice has {gate.min_rows} rows")
    worst = min(slices, key=lambda each: each["metrics"][metric] * (1 if larger else -1))
    value = float(worst["metrics"][metric])
    passed = value >= gate.floor if larger else value <= gate.floor
    reason = f"{metric} is worst in {worst['name']}: {value:.4g} on {worst['rows']} rows, floor {gate.floor:g}"
    return GateResult(gate.name, passed, reason, {"slice": worst["name"], "value": value, "rows": worst["rows"]})


def _latency(context: GateContext, gate: Latency, *, tries: int = 200) -> GateResult:
    """Time single rows on one thread, as the server scores them.

    In CPU time of that thread: what the model costs, and not what else the machine happened to do meanwhile, so that a
    good model is not refused because somebody compiled something.
    """
    predictor = _loaded(context)
    test = columns_of(context.candidate.test)
    rows = n_rows(test)
    taken = []
    with _one_thread():
        for attempt in range(tries + 10):
            row = attempt * 7919 % rows  # strides through the rows, so that no single lucky row is measured
            one = {name: test[name][row : row + 1] for name in context.signature.names}
            started = time.thread_time()
            predictor.predict(one)
            taken.append((time.thread_time() - started) * 1000)
    p50, p99 = (float(value) for value in np.quantile(taken[10:], [0.5, 0.99]))
    reason = (
        f"one row costs {p99:.1f} ms of a core at the 99th percentile ({p50:.1f} at the median), budget {gate.p99_ms:g}"
    )
    return GateResult(gate.name, p99 <= gate.p99_ms, reason, {"p50_ms": p50, "p99_ms": p99, "rows": tries})


def _one_thread() -> AbstractContextManager[object]:
    try:
        from threadpoolctl import threadpool_limits  # comes with scikit-learn
    except ImportError:
        return nullcontext()
    limits: AbstractContextManager[object] = threadpool_limits(limits=1)
    return limits


def _replay(context: GateContext, gate: Replay) -> GateResult:
    logged = context.traffic(gate.rows)
    if not n_rows(logged) or context.champion is None:
        return GateResult(gate.name, True, "there is no traffic to replay yet", {"rows": 0})
    predictor, asked = _loaded(context), features_of(logged)
    missing = [name for name in context.signature.names if name not in asked]
    if missing:
        reason = f"production requests have no `{missing[0]}`, which the candidate needs"
        return GateResult(gate.name, False, reason, {"missing": missing})
    started = time.perf_counter()
    scores = predictor.predict(asked)
    seconds = time.perf_counter() - started
    before = context.champion.predict(asked)
    evidence: dict[str, object] = {"rows": n_rows(logged), "ms_per_row": seconds * 1000 / n_rows(logged)}
    if not np.isfinite(scores).all():
        return GateResult(gate.name, False, f"{int((~np.isfinite(scores)).sum())} answers are not numbers", evidence)
    if context.signature.task != "regression":
        threshold = context.candidate.fitted.threshold
        differing = predict_labels(scores, threshold) != predict_labels(before, threshold)
        evidence["disagreement"] = float(differing.mean())
    known = np.array([label is not None for label in logged["label"]])
    evidence["labelled"] = int(known.sum())
    said = f"{n_rows(logged)} logged requests replayed, {evidence['labelled']} with labels"
    if known.sum() < 2:
        return GateResult(gate.name, True, said, evidence)
    truth = label_values(logged["label"][known], context.signature)
    task, bound = context.signature.task, context.candidate.fitted.loss_bound
    passed, told, compared = _paired(
        context,
        loss(task, truth, before[known], bound=bound),
        loss(task, truth, scores[known], bound=bound),
        {name: values[known] for name, values in asked.items()},
        days_within({"at": logged["at"][known]}),
        gate.level,
    )
    return GateResult(gate.name, passed, f"{said}; {told}", evidence | compared)


def _loaded(context: GateContext) -> Predictor:
    if context.predictor is None:
        raise AssertionError("gates are asked after the candidate's bundle was loaded")
    return context.predictor
