"""A schema: what a table must look like. Its file is `schema_file`, its comparison with a table `checks`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mainspring.data.clean_rules import HIDING, CleanRule
from mainspring.data.table import Columns, column_type
from mainspring.data.terms import Terms
from mainspring.domain.signature import ColumnType

__all__ = ["MOST_CATEGORIES", "ColumnRule", "Rule", "Schema", "Severity", "Violation", "infer_schema"]

#: What follows from a broken rule: it is told, its rows are set aside, or the batch ends there.
Severity = Literal["warn", "quarantine", "stop"]

#: Text columns with at most this many values get them listed; above, a list is noise that nobody reviews.
MOST_CATEGORIES = 200


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """What one column must hold; `most_missing` is a share of the rows, `pattern` an RE2 expression for whole texts.

    A column of type `any` must be there; its values are asked for nothing that takes a type. `personal` says what of a
    person it holds, `purpose` what it may be used for; without one that is up to the table's terms.
    """

    type: ColumnType | Literal["any"]
    nullable: bool = False
    min: float | None = None
    max: float | None = None
    categories: tuple[str, ...] | None = None
    pattern: str | None = None
    unique: bool = False
    most_missing: float | None = None
    severity: Severity = "stop"
    personal: str = ""
    purpose: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule over more than one value, by `kind`.

    `row` and `table` are SQL expressions over a row and over aggregates; `unique` are columns that together stand once;
    `found_in` are columns whose values stand in the columns `there` of the table `other`, and `absent_from` such whose
    values do not; of `agrees_with` the last column lies, where the other columns find rows of `other`, between the
    lowest and the highest value there, or `within` so much of it.

    `shares` is the distribution of a column of few values, from which the table may differ by `most` (total variation
    distance, 0 to 1); `spread` that of a column of numbers, as the share of values that are at most each key, from
    which it may differ by `most` there (Kolmogorov's distance, 0 to 1). Of a rule about rows `most` is the share of
    rows that may break it, of those where it is known.
    """

    name: str
    kind: Literal["row", "table", "unique", "found_in", "absent_from", "agrees_with", "shares", "spread"]
    expression: str = ""
    columns: tuple[str, ...] = ()
    other: str = ""
    there: tuple[str, ...] = ()
    within: float = 0.0
    shares: dict[str, float] = field(default_factory=dict)
    most: float = 0.0
    severity: Severity = "stop"


@dataclass(frozen=True, slots=True)
class Schema:
    """What a table must hold: its columns by name, how many rows, rules, and how it is cleaned first.

    `others` says what follows from a column that is not named; without it such columns are let through. The other
    tables that rules name lie in `folder`. `text` is what the file says.
    """

    columns: dict[str, ColumnRule] = field(default_factory=dict)
    min_rows: int = 1
    max_rows: int | None = None
    rules: tuple[Rule, ...] = ()
    clean: tuple[CleanRule, ...] = ()
    others: Severity | None = None
    folder: Path | None = field(default=None, compare=False)
    text: str = field(default="", compare=False)
    terms: Terms = field(default_factory=Terms)

    @property
    def hidden(self) -> tuple[str, ...]:
        """The columns whose values cleaning hides."""
        return tuple(dict.fromkeys(name for rule in self.clean if rule.kind in HIDING for name in rule.columns))


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that a table breaks: how many rows break it, and the first of them with their values.

    `column` is empty for a rule over more than one column.
    """

    column: str
    rule: str
    message: str
    count: int
    examples: tuple[tuple[int, object], ...] = ()
    severity: Severity = "stop"

    def __str__(self) -> str:
        place = f".{self.column}" if self.column else ""
        shown = "; ".join(f"rows[{row}]{place} = {value!r}" for row, value in self.examples)
        return f"{self.column or self.rule}: {self.message}" + (f" ({shown})" if shown else "")


def infer_schema(columns: Columns) -> Schema:
    """Write down what a table looks like: types, missing values, ranges and categories as they stand."""
    rules: dict[str, ColumnRule] = {}
    for name, array in columns.items():
        kind = column_type(array)
        missing = _missing(array)
        nullable = bool(missing.any())
        present = array[~missing]
        if kind in ("number", "integer") and present.size:
            rules[name] = ColumnRule(kind, nullable, min=float(present.min()), max=float(present.max()))
        elif kind == "string" and present.size:
            values = sorted(set(present.tolist()))
            few = len(values) <= MOST_CATEGORIES
            rules[name] = ColumnRule(kind, nullable, categories=tuple(values) if few else None)
        else:
            rules[name] = ColumnRule(kind, nullable)
    return Schema(rules)


def _missing(array: NDArray[Any]) -> NDArray[np.bool_]:
    if array.dtype == object:
        return np.fromiter((value is None for value in array), bool, len(array))
    return np.asarray(np.isnat(array) if array.dtype.kind == "M" else np.isnan(array))
