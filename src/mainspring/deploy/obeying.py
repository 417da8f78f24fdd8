"""Row rules of a model's schema over a table that is scored: rows are refused, set aside with a reason, or told.

The twin for files of what the prediction server does with a request. A file can leave rows out, which a request cannot:
a row that a rule sets aside gets no score, and the reason stands in the column `set_aside`.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mainspring.bundle.conform import PERSONAL
from mainspring.bundle.format import read_member
from mainspring.bundle.predictor import Predictor
from mainspring.bundle.row_rules import SCHEMA_NAME, Broken, RowRule, RowRules, read_row_rules
from mainspring.data.schema_file import schema_of
from mainspring.data.table import Columns, n_rows
from mainspring.errors import Invalid
from mainspring.evaluate.measure import predict_labels

__all__ = [
    "SET_ASIDE",
    "Answers",
    "RowRulesUse",
    "answer_names",
    "answers_of",
    "gaps_set_aside",
    "personal_columns",
    "rules_for",
]

SET_ASIDE = "set_aside"
_SHOWN = 3
_MOST_PLACES = 20
#: What is done with row rules: what they say; score every row, and tell; or never ask them.
RowRulesUse = Literal["obey", "flag", "off"]


@dataclass(frozen=True)
class Answers:
    """What scoring adds to a table: its columns, how many rows were set aside, and what else is to be told."""

    columns: Columns
    set_aside: int = 0
    warnings: list[str] = field(default_factory=list)


def rules_for(folder: Path, predictor: Predictor, use: RowRulesUse) -> RowRules | None:
    """Return the row rules to ask of a bundle's rows; None when there are none, or none are to be asked."""
    rules = None if use == "off" else read_row_rules(folder, predictor.manifest)
    return rules.warning() if rules is not None and use == "flag" else rules


def personal_columns(folder: Path, predictor: Predictor) -> frozenset[str]:
    """Return the columns that the bundle's schema marks as personal; all, where it is none that can be read."""
    if SCHEMA_NAME not in predictor.manifest.files:
        return frozenset()
    text = read_member(folder, predictor.manifest, SCHEMA_NAME).decode(errors="replace")
    try:
        columns = schema_of(text, Path(SCHEMA_NAME)).columns
    except Invalid:
        return frozenset(predictor.signature.names)
    return frozenset(name for name, rule in columns.items() if rule.personal)


def gaps_set_aside(rules: RowRules | None) -> list[str]:
    """Return the columns whose missing values set a row aside."""
    found = rules.file.rules if rules is not None else []
    return [each.columns[0] for each in found if each.severity == "quarantine" and each.test[0] == "known"]


def answer_names(predictor: Predictor, rules: RowRules | None) -> list[str]:
    """Return the names of the columns that `answers_of` adds."""
    signature = predictor.signature
    label = [] if signature.task == "regression" else ["label"]
    scores = [f"score_{name}" for name in signature.classes] if signature.task == "multiclass" else ["score"]
    sets_aside = rules is not None and any(rule.severity == "quarantine" for rule in rules.file.rules)
    return [*scores, *label, *([SET_ASIDE] if sets_aside else [])]


def answers_of(
    predictor: Predictor,
    features: Columns,
    rules: RowRules | None = None,
    *,
    first: int = 0,
    personal: Collection[str] = (),
) -> Answers:
    """Score the rows that `rules` do not set aside; `first` is the number of the first row where they are a part.

    Values of `personal` columns are not shown.

    Adds `score`, for a classifier `label`, with more classes a score for each; and `set_aside`, the names of the rules
    for which a row is not scored, where the model has such rules.

    Raises:
        Invalid: a row breaks a rule that stops; every place is named, up to 20.
    """
    broken = rules.look(features) if rules is not None else None
    warnings = _told(broken, features, first, personal) if broken is not None else []
    aside = broken.rows("quarantine") if broken is not None else None
    taken = features if aside is None else {name: array[~aside] for name, array in features.items()}
    added = _scored(predictor, taken) if n_rows(taken) else []
    total = n_rows(features)
    names = answer_names(predictor, rules)
    columns: Columns = {}
    for number, name in enumerate(names):
        texts = name in ("label", SET_ASIDE)
        columns[name] = np.full(total, None if texts else np.nan, dtype=object if texts else np.float64)
        if name != SET_ASIDE and added:
            columns[name][slice(None) if aside is None else ~aside] = added[number]
    if aside is not None and broken is not None:
        columns[SET_ASIDE][:] = _reasons(broken, total)
    return Answers(columns, 0 if aside is None else int(np.count_nonzero(aside)), warnings)


def _scored(predictor: Predictor, features: Columns) -> list[NDArray[Any]]:  # numbers or texts
    scores = predictor.predict(features)
    signature = predictor.signature
    answers = list(scores.T) if scores.ndim > 1 else [scores]
    if signature.task != "regression":
        threshold = predictor.manifest.threshold
        numbers = predict_labels(scores, 0.5 if threshold is None else threshold)
        answers.append(np.array([signature.classes[number] for number in numbers], dtype=object))
    return answers


def _told(broken: Broken, features: Columns, first: int, personal: Collection[str]) -> list[str]:
    """Return a line for some of the rows that break rules which warn.

    Raises:
        Invalid: there are rows that break rules which stop.
    """
    stopping = [line for rule, mask in broken.found if rule.severity == "stop"
                for line in _places(rule, mask, features, first, personal)]  # fmt: skip
    if stopping:
        listed = "\n  ".join(f"at {where}: {what}" for where, what in stopping[:_MOST_PLACES])
        raise Invalid(
            f"Rows break rules of the model's schema:\n  {listed}",
            where=stopping[0][0],
            next_step="mend the places named, nothing was scored; or score them all the same: --row-rules flag",
        )
    return [f"{where}: {what}" for rule, mask in broken.found if rule.severity == "warn"
            for where, what in _places(rule, mask, features, first, personal)]  # fmt: skip


def _places(
    rule: RowRule, mask: NDArray[np.bool_], features: Columns, first: int, personal: Collection[str]
) -> list[tuple[str, str]]:
    rows, name = np.flatnonzero(mask), rule.columns[0]
    more = f", as in {len(rows) - _SHOWN:,} more rows" if len(rows) > _SHOWN else ""
    shown = [PERSONAL if name in personal else str(features[name][row]) for row in rows[:_SHOWN]]
    return [
        (f"rows[{first + row}].{name}", f"{value} is {rule.said} (rule `{rule.name}`{more})")
        for row, value in zip(rows.tolist(), shown, strict=False)
    ]


def _reasons(broken: Broken, total: int) -> list[str | None]:
    reasons: list[list[str]] = [[] for _ in range(total)]
    for rule, mask in broken.found:
        if rule.severity == "quarantine":
            for row in np.flatnonzero(mask).tolist():
                reasons[row].append(rule.name)
    return ["; ".join(each) or None for each in reasons]
