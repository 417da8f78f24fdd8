"""The four steps every training pipeline is made of: check, split, fit, evaluate.

Each is an ordinary step: lazy and cached in a pipeline, a plain function outside. What they compute is in `data` and
`evaluate`; here it is put together in the one order that keeps the test part untouched.
"""

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mainspring.data.checks import violations
from mainspring.data.consent import consenting
from mainspring.data.profile import profile
from mainspring.data.schema_file import read_schema, schema_of
from mainspring.data.split import split_by_share, split_by_time
from mainspring.data.table import Columns, columns_of, frame_of, n_rows
from mainspring.data.use import refuse_use
from mainspring.domain.signature import Signature
from mainspring.errors import CheckFailed, Invalid, Refused, nearest
from mainspring.evaluate.compare import compare
from mainspring.evaluate.confusion import choose_threshold, confusion
from mainspring.evaluate.losses import default_loss, error_bound, loss
from mainspring.evaluate.measure import measure
from mainspring.pipeline.step import step
from mainspring.train.baselines import baselines, default_candidates
from mainspring.train.candidate import VIEWS_ATTR, Candidate, Contender, Fitted, Parts, Report
from mainspring.train.features import days_of, feature_frame, infer_signature, target_index, target_values

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["agreed_rows", "check", "evaluate", "fit", "split"]

_log = logging.getLogger(__name__)
#: How many rows the permutation importances look at; more changes the ranking little and costs a lot.
_IMPORTANCE_ROWS = 2_000
#: Under this name a frame remembers the schema that it was checked with, through whatever keeps its `attrs`.
_SCHEMA_ATTR = "mainspring.schema"


@step
def check(table: "pd.DataFrame", schema: Path, *, purpose: str | Sequence[str] = ()) -> "pd.DataFrame":
    """Return `table` if it fits the schema file and may be used for `purpose`; rules that only warn are logged.

    Rows without consent, where the schema's terms ask for it, are left out and counted in the log; the column that says
    so goes with them, for it is no feature.

    A frame is returned as a copy that remembers the schema, so that it can guard the model that is made of the frame. A
    row that a rule would set aside stops the run as well: clean the data first, so that the row is accounted for.

    Raises:
        CheckFailed: it does not; the message names each broken rule with rows and values.
        Refused: the terms do not allow the purpose, or nobody agreed.
        NotFound, Invalid: the schema file is missing or cannot be read.
    """
    pinned = read_schema(Path(schema))
    purposes = [purpose] if isinstance(purpose, str) else list(purpose)
    columns = columns_of(table)
    for warning in refuse_use(pinned, purposes, where=Path(schema).name, columns=list(columns)):
        _log.warning("%s", warning)
    if pinned.terms.consent:
        columns = _agreed(columns, pinned.terms.consent, Path(schema).name)
    told = violations(columns, pinned)
    for each in told:
        if each.severity == "warn":
            _log.warning("%s: %s", Path(schema).name, each)
    found = [each for each in told if each.severity != "warn"]
    if found:
        listed = "\n  ".join(str(each) for each in found[:10])
        more = f"\n  and {len(found) - 10} more" if len(found) > 10 else ""
        raise CheckFailed(
            f"The table breaks {len(found)} rules of {Path(schema).name}:\n  {listed}{more}",
            where=str(schema),
            next_step="mend the rows named, or change the rule if the world has changed",
        )
    if pinned.terms.consent:
        remembered = getattr(table, "attrs", {})
        table = frame_of({name: array for name, array in columns.items() if name != pinned.terms.consent})
        table.attrs.update(remembered)
    if isinstance(getattr(table, "attrs", None), dict):
        table = table.copy(deep=False)
        table.attrs[_SCHEMA_ATTR] = pinned.text
    return table


def agreed_rows(checked: "pd.DataFrame", columns: Columns, told: str) -> Columns:
    """Return those of other rows that may be used beside a table, by the schema that this was checked with.

    `told` names them in the log, which counts those that are left out.
    """
    text = getattr(checked, "attrs", {}).get(_SCHEMA_ATTR, "")
    consent = schema_of(text, Path("schema")).terms.consent if text else ""
    if not consent:
        return columns
    agreed = np.zeros(n_rows(columns), bool)  # a gap is no consent, and neither is a column that nobody kept
    if consent in columns:
        agreed = consenting(columns, consent, told)
    _count(agreed, told)
    return {name: array[agreed] for name, array in columns.items()}


def _count(agreed: NDArray[np.bool_], told: str) -> int:
    kept = int(agreed.sum())
    _log.info("%s: %s rows = %s with consent + %s left out", told, f"{agreed.size:,}", f"{kept:,}", agreed.size - kept)
    return kept


def _agreed(columns: Columns, consent: str, schema: str) -> Columns:
    agreed = consenting(columns, consent, f"{schema}, terms.consent")
    if not _count(agreed, schema):
        raise Refused(
            f"None of {agreed.size:,} rows has consent in `{consent}`",
            where=f"{schema}, terms.consent",
            next_step="look whether the column says true, yes or 1 for those who agreed",
        )
    return {name: array[agreed] for name, array in columns.items()}


@step
def split(
    table: "pd.DataFrame",
    *,
    target: str,
    time: str = "",
    validation: float = 0.15,
    test: float = 0.15,
    ignore: Sequence[str] = (),
    seed: int = 0,
) -> Parts:
    """Deal the rows into train, validation and test: by `time` if given (the newest rows are for test), else at random.

    Columns in `ignore` stay in the parts for slices and ids, and are no features.

    Raises:
        Invalid: a named column is missing, a row has no time, or a part would be empty.
    """
    columns = columns_of(table)
    for name in (target, *([time] if time else []), *ignore):
        if name not in columns:
            raise Invalid(f"There is no column `{name}`", where="split", next_step=nearest(name, columns))
    if time:
        rows = split_by_time(columns[time], validation=validation, test=test)
    else:
        rows = split_by_share(n_rows(columns), validation=validation, test=test, seed=seed)

    def part(chosen: NDArray[np.int64]) -> "pd.DataFrame":
        return frame_of({name: array[chosen] for name, array in columns.items()})

    attrs = getattr(table, "attrs", {})
    schema, views = attrs.get(_SCHEMA_ATTR, ""), json.loads(attrs.get(VIEWS_ATTR, "{}"))
    dealt = part(rows.train), part(rows.validation), part(rows.test)
    return Parts(*dealt, target, time, tuple(ignore), schema, views)


@step
def fit(estimators: Any, parts: Parts) -> Fitted:  # one scikit-learn estimator, or names to estimators, or None
    """Fit candidates and the automatic baselines on train, choose by validation, and refit the chosen on both.

    `estimators` is one estimator, a mapping of names to estimators, or None for the default. The chosen one is the
    candidate with the smallest loss if it is surely better than every baseline by a paired test over days; else the
    best of the baselines it does not surely beat, because a simpler model costs less to keep.

    Raises:
        Invalid: an estimator is not one, or the target does not suit.
    """
    train, validation = columns_of(parts.train), columns_of(parts.validation)
    hidden = [name for name in (parts.time, *parts.ignore) if name]
    both = {name: np.concatenate([train[name], validation[name]]) for name in train}
    signature = infer_signature(both, parts.target, without=hidden)
    candidates = _named(estimators, signature)
    truth = target_index(validation[parts.target], signature)
    days = days_of(validation, parts.time)
    contenders: dict[str, Contender] = {}
    scored: dict[str, NDArray[np.float64]] = {}
    losses: dict[str, NDArray[np.float64]] = {}
    bound: float | None = None
    every = [("baseline", *item) for item in baselines(signature).items()]
    every += [("candidate", *item) for item in candidates.items()]
    for kind, name, estimator in every:
        fitted = _fitted(estimator, train, signature)
        scores = scored[name] = score_rows(fitted, validation, signature)
        if signature.task == "regression" and bound is None:
            bound = error_bound(truth, scores)  # by the first, the dummy: what nobody should do worse than
        losses[name] = loss(signature.task, truth, scores, bound=bound)
        measured = measure(signature.task, truth, scores, resamples=0)
        values = {metric: value.value for metric, value in measured.items() if value.is_defined}
        contenders[name] = Contender(name, kind, float(losses[name].mean()), values)
    chosen, reason, verdicts = _choose(contenders, losses, days)
    leaderboard = tuple(
        Contender(each.name, each.kind, each.loss, each.metrics, verdicts.get(each.name, ""))
        for each in sorted(contenders.values(), key=lambda each: each.loss)
    )
    estimator = {**baselines(signature), **candidates}[chosen]
    threshold = choose_threshold(truth, scored[chosen]).value if signature.task == "binary" else 0.5
    final = _fitted(estimator, both, signature)
    return Fitted(
        final,
        _taking_gaps(final, both, signature),
        chosen,
        reason,
        leaderboard,
        threshold=threshold,
        loss_bound=bound,
    )


@step
def evaluate(fitted: Fitted, parts: Parts, *, slices: Sequence[str] = ()) -> Candidate:
    """Measure the fitted estimator on the test part: metrics with intervals, confusion matrix, slices, loss by day.

    Raises:
        Invalid: a slice column is missing, or a test row does not fit the signature.
    """
    signature = fitted.signature
    test = columns_of(parts.test)
    truth = target_index(test[parts.target], signature)
    scores = score_rows(fitted.estimator, test, signature)
    days = days_of(test, parts.time)
    rows_loss = loss(signature.task, truth, scores, bound=fitted.loss_bound)
    metrics = measure(signature.task, truth, scores, threshold=fitted.threshold, groups=days)
    report = Report(
        metrics=metrics,
        confusion=_confusion(fitted, truth, scores),
        threshold=fitted.threshold,
        loss=default_loss(signature.task),
        loss_mean=float(rows_loss.mean()),
        loss_blocks=[float(rows_loss[days == day].mean()) for day in np.unique(days)],
        slices=_slices(fitted, truth, scores, test, slices),
        rows={name: len(getattr(parts, name)) for name in ("train", "validation", "test")},
        span=_span(parts),
        importances=_importances(fitted, test, truth),
    )
    everything = {name: np.concatenate([columns_of(part)[name] for part in parts[:3]]) for name in signature.names}
    return Candidate(fitted, report, parts.test, scores, profile(everything).to_json(), parts.schema, parts.views)


def score_rows(estimator: Any, columns: Columns, signature: Signature) -> NDArray[np.float64]:
    """Return the scores of a scikit-learn estimator for every row, as a bundle's predictor gives them."""
    frame = feature_frame(columns, signature)
    if signature.task == "regression":
        return np.asarray(estimator.predict(frame), dtype=np.float64)
    scores = np.asarray(estimator.predict_proba(frame), dtype=np.float64)
    return scores[:, 1] if signature.task == "binary" else scores


def _named(estimators: Any, signature: Signature) -> dict[str, Any]:
    if estimators is None:
        return default_candidates(signature)
    named = dict(estimators) if isinstance(estimators, Mapping) else {_name_of(estimators): estimators}
    for name, estimator in named.items():
        if not hasattr(estimator, "fit"):
            raise Invalid(
                f"A {type(estimator).__name__} cannot be fitted",
                where=f"fit(estimators[{name!r}])",
                next_step="give a scikit-learn estimator, or names to estimators",
            )
    return named


def _name_of(estimator: Any) -> str:
    steps = getattr(estimator, "steps", None)
    return type(steps[-1][1] if steps else estimator).__name__


def _fitted(estimator: Any, columns: Columns, signature: Signature) -> Any:
    from sklearn.base import clone  # extra: ml

    target = target_values(columns[signature.target], signature.target)
    return clone(estimator).fit(feature_frame(columns, signature), target)


def _taking_gaps(estimator: Any, columns: Columns, signature: Signature) -> Signature:
    """Mark each number column as nullable in which the estimator scores a row with a gap.

    That no value was missing in training is no promise for production: a sensor fails one day. Asking the fitted
    estimator settles whether it can live with that. Text columns are keys more often than sensors and stay as seen.
    """
    row = {name: columns[name][:1] for name in signature.names}
    described = []
    for column in signature.columns:
        if column.type == "number" and not column.nullable:
            probe = dataclasses.replace(column, nullable=True)
            others = tuple(probe if each is column else each for each in signature.columns)
            gapped = {**row, column.name: np.array([np.nan])}
            try:
                answer = score_rows(estimator, gapped, dataclasses.replace(signature, columns=others))
            except Exception:  # any library's way of saying that it takes no gap
                answer = np.array([np.nan])
            column = probe if np.isfinite(answer).all() else column
        described.append(column)
    return dataclasses.replace(signature, columns=tuple(described))


def _choose(
    contenders: Mapping[str, Contender], losses: Mapping[str, NDArray[np.float64]], days: NDArray[np.int64]
) -> tuple[str, str, dict[str, str]]:
    """Return the chosen name, why, and each contender's verdict against the best candidate.

    Of a baseline and a candidate that is not surely better, the baseline is kept: the simplest model within the noise
    of the best. Source: the one-standard-error rule, Breiman et al. 1984, "Classification and Regression Trees",
    section 3.4.3; here the noise is that of a paired test over days.
    """
    best = min((each for each in contenders.values() if each.kind == "candidate"), key=lambda each: each.loss)
    compared = {name: compare(losses[name], losses[best.name], groups=days) for name in contenders if name != best.name}
    verdicts = {name: f"{best.name} against it: {each}" for name, each in compared.items()}
    simpler = [
        each
        for name, each in contenders.items()
        if each.kind == "baseline" and name in compared and compared[name].verdict != "better"
    ]
    if simpler:
        kept = min(simpler, key=lambda each: each.loss)
        reason = (
            f"{best.name} with a loss of {best.loss:.4f} is not surely better than the simpler {kept.name} with"
            f" {kept.loss:.4f} ({compared[kept.name]})"
        )
        return kept.name, reason, verdicts
    return best.name, f"surely better than every baseline, with a loss of {best.loss:.4f}", verdicts


def _confusion(fitted: Fitted, truth: NDArray[np.float64], scores: NDArray[np.float64]) -> dict[str, Any]:
    signature = fitted.signature
    if signature.task == "regression":
        return {}
    return confusion(signature.task, truth, scores, threshold=fitted.threshold, classes=signature.classes).to_json()


def _slices(
    fitted: Fitted, truth: NDArray[np.float64], scores: NDArray[np.float64], test: Columns, names: Sequence[str]
) -> list[dict[str, Any]]:
    task, found = fitted.signature.task, []
    for name in names:
        if name not in test:
            raise Invalid(f"There is no column `{name}`", where="evaluate(slices)", next_step=nearest(name, test))
        for value in sorted({each for each in test[name].tolist() if each is not None and each == each}, key=str):
            chosen = test[name] == value
            measured = measure(task, truth[chosen], scores[chosen], threshold=fitted.threshold, resamples=0)
            metrics = {metric: each.value for metric, each in measured.items() if each.is_defined}
            mean = float(loss(task, truth[chosen], scores[chosen], bound=fitted.loss_bound).mean())
            found.append({"name": f"{name}={value}", "rows": int(chosen.sum()), "loss": mean, "metrics": metrics})
    return found


def _span(parts: Parts) -> dict[str, str]:
    if not parts.time:
        return {}
    spans = {}
    for name in ("train", "validation", "test"):
        moments = columns_of(getattr(parts, name))[parts.time]
        spans[f"{name}_from"], spans[f"{name}_until"] = f"{moments.min()}Z", f"{moments.max()}Z"
    return spans


def _importances(fitted: Fitted, test: Columns, truth: NDArray[np.float64]) -> dict[str, float]:
    """Return how much the loss grows when a column's values are dealt out at random, as permutation importance.

    Source: Breiman 2001, "Random Forests", section 10; with each column shuffled once, on a sample of the test rows.
    """
    signature = fitted.signature
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(truth))[:_IMPORTANCE_ROWS]
    sample = {name: test[name][rows] for name in signature.names}

    def mean_loss(columns: Columns) -> float:
        scores = score_rows(fitted.estimator, columns, signature)
        return float(loss(signature.task, truth[rows], scores, bound=fitted.loss_bound).mean())

    base = mean_loss(sample)
    return {name: mean_loss({**sample, name: rng.permutation(sample[name])}) - base for name in signature.names}
