"""Which rows should a person look at first? Likely label errors, values far out and repeated rows, each with a reason;
and what it would do to the model to mend the first of them, measured on a hold-out that is left alone.

The rankings are `evaluate.label_errors`, `data.outliers` and `data.duplicates`; here the default model is fitted out of
fold for the first, and with and without the suspects for the trials.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mainspring.data.duplicates import duplicates, row_hashes
from mainspring.data.outliers import outliers
from mainspring.data.split import split_by_share, split_by_time
from mainspring.data.table import Columns, columns_of
from mainspring.domain.signature import Signature
from mainspring.errors import Invalid, nearest
from mainspring.evaluate.compare import Comparison, compare
from mainspring.evaluate.label_errors import LabelErrors, label_errors, value_errors
from mainspring.evaluate.losses import error_bound, loss
from mainspring.evaluate.measure import score
from mainspring.train.baselines import default_candidates
from mainspring.train.features import days_of, feature_frame, infer_signature, target_index, target_values

__all__ = ["RowSuspect", "Suspects", "Trial", "suspects"]

SuspectKind = Literal["label", "outlier", "duplicate"]
_FOLDS = 5
#: What a trial tells beside the loss.
_METRICS = {"binary": "roc_auc", "multiclass": "accuracy", "regression": "mae"}
#: All trials of one call together are wrong with this chance at most.
_ERROR = 0.05


@dataclass(frozen=True, slots=True)
class RowSuspect:
    """A row of the table (from 0) to look at: why, and how strongly; scores of one kind compare, of two they do not.

    `suggested` is the label that the model would give, where the label is the suspect; `held_out` says that the
    row is part of the hold-out, which no trial touches.
    """

    row: int
    kind: SuspectKind
    score: float
    reason: str
    suggested: str = ""
    held_out: bool = False


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of mending the first `rows` suspects of a kind: the metric as it is and then, and the paired losses.

    The comparison's interval is widened so that all trials of one call hold together.
    """

    kind: SuspectKind
    action: Literal["left out", "relabelled"]
    rows: int
    metric: str
    before: float
    after: float
    comparison: Comparison

    def __str__(self) -> str:
        return (
            f"the first {self.rows:,} {self.kind} suspects {self.action}: {self.comparison.verdict}"
            f" ({self.metric} {self.before:.4f} -> {self.after:.4f}; mean loss {self.comparison.difference:+.5f}"
            f" [{self.comparison.low:+.5f}, {self.comparison.high:+.5f}] on {self.comparison.n:,} held-out rows)"
        )


@dataclass(frozen=True, slots=True)
class Suspects:
    """All suspects, by kind and likeliest first; `unlabelled` rows have no target and were left out."""

    rows: int
    unlabelled: int
    held_out: int
    target: str
    found: tuple[RowSuspect, ...]
    trials: tuple[Trial, ...]

    def of(self, kind: SuspectKind) -> list[RowSuspect]:
        """Return the suspects of one kind, the likeliest first."""
        return [each for each in self.found if each.kind == kind]


def suspects(
    table: object,
    *,
    target: str,
    time: str = "",
    ignore: Sequence[str] = (),
    fix: int = 100,
    tell: Callable[[str], None] = lambda what: None,
) -> Suspects:
    """Order the rows of a table that are likely wrong, and try what mending the first `fix` of each kind would do.

    The hold-out is the test part that `split` deals: the newest rows where there is a `time`, else a random share. The
    model is the default one; each row is judged by a fit that did not see it or a row equal to it, and rows of the
    hold-out by the fit on all others. A trial fits once more without the suspects, or with the suggested labels, and
    compares the losses of the hold-out's rows in pairs (`evaluate.compare`, by day where there is a time). ``fix=0``
    leaves out the trials. Columns in `ignore`, such as ids, are no features, and neither are those of fewer than ten
    values outside of the hold-out. `tell` hears what is being done.

    Costs 6 fits of the default model, and one for each trial.

    Raises:
        Invalid: a column is missing, a row has no time, the target does not suit, or there is nothing to learn from.
        MissingExtra: scikit-learn is not installed.
    """
    given = columns_of(table)
    for name in (target, *([time] if time else []), *ignore):
        if name not in given:
            raise Invalid(f"There is no column `{name}`", where="suspects", next_step=nearest(name, given))
    labels = given[target]
    known = np.array([value is not None and value == value for value in labels.tolist()], dtype=np.bool_)
    places = np.flatnonzero(known)
    if not places.size:
        raise Invalid(f"The target `{target}` is missing everywhere", where="target", next_step="name another column")
    columns = {name: array[known] for name, array in given.items()}
    held_out = np.zeros(places.size, dtype=np.bool_)
    dealt = split_by_time(columns[time]) if time else split_by_share(places.size)
    held_out[dealt.test] = True
    bare = [name for name in columns if name != target and _n_present(columns[name][~held_out]) < 2 * _FOLDS]
    signature = infer_signature(columns, target, without=[name for name in (time, *ignore, *bare) if name])
    judge = _Judge(columns, signature, held_out, days_of(columns, time), tell)
    tell("comparing rows")
    found = [*_doubtful_labels(judge), *_far_out(judge, time), *_repeated(judge, columns, places)]
    trials = _trials(judge, found, fix) if fix else []
    told = tuple(
        RowSuspect(int(places[each.row]), each.kind, each.score, each.reason, each.suggested, bool(held_out[each.row]))
        for each in found
    )
    return Suspects(len(known), int((~known).sum()), int(held_out.sum()), target, told, tuple(trials))


def _n_present(array: NDArray[Any]) -> int:
    return sum(value is not None and value == value for value in array.tolist())


class _Judge:
    """The table with what the default model says of each row without having seen it."""

    def __init__(
        self,
        columns: Columns,
        signature: Signature,
        held_out: NDArray[np.bool_],
        days: NDArray[np.int64],
        tell: Callable[[str], None],
    ) -> None:
        self.columns, self.signature, self.held_out, self.days, self.tell = columns, signature, held_out, days, tell
        self.frame = feature_frame(columns, signature)
        self.truth = target_index(columns[signature.target], signature)
        self.labels = target_values(columns[signature.target], signature.target)
        self.values = np.unique(self.labels)
        kept = np.flatnonzero(~held_out)
        # rows with equal features share a fold: one of them would teach the model the other's label
        _, group = np.unique(row_hashes({name: columns[name] for name in signature.names})[kept], return_inverse=True)
        if group.max() + 1 < 2 * _FOLDS:
            what = (
                f"The rows have {int(group.max()) + 1} different sets of features: too few to judge one by the others"
            )
            raise Invalid(what, where="columns", next_step="give more rows, or more columns that tell them apart")
        fold = np.random.default_rng(0).permutation(int(group.max()) + 1)[group] % _FOLDS
        width = () if signature.task == "regression" else (len(signature.classes),)
        self.scores = np.zeros((held_out.size, *width))
        for each in range(_FOLDS):
            tell(f"judging rows, part {each + 1} of {_FOLDS}")
            inside = kept[fold == each]
            if inside.size:
                self.scores[inside] = self.fit_and_score(kept[fold != each], inside)
        tell("judging the hold-out")
        self.scores[held_out] = self.fit_and_score(kept, np.flatnonzero(held_out))

    def fit_and_score(
        self, rows: NDArray[np.int64], asked: NDArray[np.int64], relabelled: Mapping[int, int] | None = None
    ) -> NDArray[np.float64]:
        """Fit the default model on `rows`, some with another class, and return its scores (n[, k]) of `asked`."""
        from sklearn.base import clone  # extra: ml
        from sklearn.dummy import DummyClassifier  # extra: ml

        labels = self.labels.copy()
        for row, number in (relabelled or {}).items():
            labels[row] = self.values[number]
        estimator = clone(next(iter(default_candidates(self.signature).values())))
        if self.signature.task == "regression":
            fitted = estimator.fit(self.frame.iloc[rows], labels[rows])
            return np.asarray(fitted.predict(self.frame.iloc[asked]), dtype=np.float64)
        if np.unique(labels[rows]).size == 1:  # nothing to tell apart
            estimator = DummyClassifier(strategy="prior")
        fitted = estimator.fit(self.frame.iloc[rows], labels[rows])
        scores = np.zeros((asked.size, self.values.size))
        scores[:, np.searchsorted(self.values, fitted.classes_)] = fitted.predict_proba(self.frame.iloc[asked])
        return scores

    def losses(self, scores: NDArray[np.float64], bound: float | None) -> NDArray[np.float64]:
        """Return the loss of each row of the hold-out."""
        return loss(self.signature.task, self.truth[self.held_out], self._handed(scores), bound=bound)

    def metric(self, scores: NDArray[np.float64]) -> float:
        """Return the metric on the hold-out."""
        task = self.signature.task
        return score(task, _METRICS[task], self.truth[self.held_out], self._handed(scores))

    def _handed(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        return scores[:, 1] if self.signature.task == "binary" else scores

    def ranked(self) -> LabelErrors:
        """Return the rows by how doubtful their label is; classes with fewer rows than folds are not judged."""
        if self.signature.task == "regression":
            return value_errors(self.truth, self.scores)
        counts = np.bincount(self.truth.astype(np.intp), minlength=self.values.size)
        return label_errors(self.truth, self.scores, judged=(counts >= _FOLDS)[self.truth.astype(np.intp)])


def _doubtful_labels(judge: _Judge) -> list[RowSuspect]:
    ranked = judge.ranked()
    target, classes = judge.signature.target, judge.signature.classes
    told = []
    for row in ranked.order.tolist():
        if judge.signature.task == "regression":
            suggested = f"{ranked.suggested[row]:.6g}"
            reason = f"{target} is {judge.truth[row]:.6g}, {ranked.score[row]:.1f} usual deviations from {suggested}"
        else:
            number = int(ranked.suggested[row])
            suggested = classes[number]
            own, other = judge.scores[row, int(judge.truth[row])], judge.scores[row, number]
            reason = (
                f"{target} is {classes[int(judge.truth[row])]} ({own:.1%}), the model says {suggested} ({other:.1%})"
            )
        told.append(RowSuspect(row, "label", float(ranked.score[row]), reason, suggested))
    return told


def _far_out(judge: _Judge, time: str) -> list[RowSuspect]:
    features = {name: judge.columns[name] for name in judge.signature.names if name != time}
    return [
        RowSuspect(
            each.row,
            "outlier",
            each.score,
            f"{each.column} is {each.value:.6g}, {each.score:.1f} times as far from the median {each.median:.6g}"
            " as the last hundredth begins",
        )
        for each in outliers(features)
    ]


def _repeated(judge: _Judge, columns: Columns, places: NDArray[np.int64]) -> list[RowSuspect]:
    told, target = [], judge.signature.target
    for each in duplicates(columns, target):
        what = {
            "conflict": f"equal in everything but the label: {target} is {_plain(columns[target][each.row])} here and"
            f" {_plain(columns[target][each.of])} there",
            "exact": "equal in every column",
            "near": f"equal in everything but {each.column}",
        }[each.kind]
        across = bool(judge.held_out[each.row] != judge.held_out[each.of])
        split = ", and one of the two is held out" if across else ""
        weight = {"conflict": 2.0, "exact": 1.0, "near": 0.0}[each.kind] + 0.5 * across
        score_of = (weight + 0.5 * (1 - each.share)) / 3
        told.append(RowSuspect(each.row, "duplicate", score_of, f"row {places[each.of]} is {what}{split}"))
    return sorted(told, key=lambda each: -each.score)


def _plain(value: object) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _trials(judge: _Judge, found: Sequence[RowSuspect], fix: int) -> list[Trial]:
    kept, asked = np.flatnonzero(~judge.held_out), np.flatnonzero(judge.held_out)
    first: dict[SuspectKind, list[RowSuspect]] = {}
    for kind in ("label", "outlier", "duplicate"):
        first[kind] = [each for each in found if each.kind == kind and not judge.held_out[each.row]][:fix]
    plans: list[tuple[SuspectKind, Literal["left out", "relabelled"]]] = []
    plans += [(kind, "left out") for kind, chosen in first.items() if chosen]
    if first["label"] and judge.signature.task != "regression":
        plans.append(("label", "relabelled"))
    before = judge.scores[asked]
    bound = error_bound(judge.truth[asked], before) if judge.signature.task == "regression" else None
    number = {text: place for place, text in enumerate(judge.signature.classes)}
    trials = []
    for kind, action in plans:
        judge.tell(f"trying the first {kind} suspects {action}")
        rows = [each.row for each in first[kind]]
        if action == "relabelled":
            after = judge.fit_and_score(kept, asked, {each.row: number[each.suggested] for each in first[kind]})
        else:
            after = judge.fit_and_score(np.setdiff1d(kept, rows), asked)
        old, new = judge.losses(before, bound), judge.losses(after, bound)
        compared = compare(old, new, judge.days[asked], level=1 - _ERROR / len(plans))
        metric = _METRICS[judge.signature.task]
        trials.append(Trial(kind, action, len(rows), metric, judge.metric(before), judge.metric(after), compared))
    return trials
