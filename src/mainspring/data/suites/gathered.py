"""What is gathered of a suite while it is read: columns, rules over them, and what has no equal here.

A rule goes to its column where the schema has a word for it, and below `rules` as an SQL expression where it has not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from mainspring.data.schema import ColumnRule, Rule, Schema, Severity
from mainspring.data.table import connect, quoted_name, quoted_text

__all__ = ["Gathered", "NoEqual", "Suite", "literal", "number_or_none"]

_TYPES = {
    "integer": ("int", "uint", "bigint", "smallint", "tinyint", "hugeint"),
    "number": ("float", "double", "decimal", "numeric", "real", "number"),
    "string": ("str", "object", "varchar", "text", "char", "utf8", "string"),
    "boolean": ("bool",),
    "timestamp": ("datetime", "timestamp", "date"),
}


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite as a schema, and of each part that has no equal in it what it was and why it was left out."""

    schema: Schema
    left_out: tuple[str, ...]


class NoEqual(Exception):
    """A part of a suite has no equal among our rules; says why."""


@dataclass(slots=True)
class Gathered:
    """What was read so far."""

    columns: dict[str, dict[str, Any]] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    only: bool = False
    left_out: list[str] = field(default_factory=list)

    def suite(self) -> Suite:
        """Return all of it as a schema; where the suite says nothing of a column's type it has any."""
        columns = {
            name: ColumnRule(**{"type": "any", "nullable": True, **words}) for name, words in self.columns.items()
        }
        schema = Schema(
            columns,
            self.rows.get("min", 1),
            self.rows.get("max"),
            tuple(self.rules.values()),
            others="stop" if self.only else None,
        )
        return Suite(schema, tuple(self.left_out))

    def column(self, name: Any) -> dict[str, Any]:  # what a suite's file holds
        """Return what is known of a column; naming it means that it must be there."""
        return self.columns.setdefault(str(name), {})

    def typed(self, name: str, types: Sequence[str]) -> None:
        """Take note of a column's type, given as names of any of the libraries.

        Raises:
            NoEqual: they are no type of ours, or more than one.
        """
        told = {
            ours for each in types for ours, starts in _TYPES.items() if each.lower().lstrip("<>|=").startswith(starts)
        }
        if told == {"integer", "number"}:
            told = {"number"}
        if len(told) != 1:
            raise NoEqual(f"{', '.join(types)} is not one type of a schema")
        self.column(name)["type"] = told.pop()

    def text(self, name: str) -> str:
        """Return the SQL of a column that is asked for texts; where nothing is known of its type it is text.

        Raises:
            NoEqual: its type is another.
        """
        kind = self.column(name).setdefault("type", "string")
        if kind != "string":
            raise NoEqual(f"it asks for texts in a column of type {kind}")
        return quoted_name(name)

    def missing(self, name: str, most: float, severity: Severity) -> None:
        """Let at most a share of a column's values be missing."""
        column = self.column(name)
        if severity != "stop":
            self.row(name, "there", f"{quoted_name(name)} IS NOT NULL", most, severity)
        elif most:
            column.update(most_missing=round(most, 12))
        else:
            column.update(nullable=False)
            column.pop("most_missing", None)

    def bounds(
        self,
        name: str,
        low: Any,
        high: Any,
        most: float,
        severity: Severity,
        strict: tuple[bool, bool] = (False, False),
    ) -> None:
        """Bound a column's values; `strict` says of each bound that it is not allowed itself."""
        column = self.column(name)
        numbers = all(each is None or number_or_none(each) is not None for each in (low, high))
        plain = numbers and not any(strict)
        taken = ("min" in column and low is not None) or ("max" in column and high is not None)
        fits = column.get("type", "number") in ("number", "integer") and not taken
        if numbers:
            column.setdefault("type", "number")
        if plain and fits and not most and severity == "stop":
            column.update({word: float(each) for word, each in (("min", low), ("max", high)) if each is not None})
            return
        value = quoted_name(name)
        sides = [
            f"{value} {sign}{'' if excluded else '='} {literal(bound)}"
            for bound, sign, excluded in ((low, ">", strict[0]), (high, "<", strict[1]))
            if bound is not None
        ]
        if sides:
            self.row(name, "range", " AND ".join(sides), most, severity)

    def one_of(self, name: str, values: Sequence[Any], most: float, severity: Severity) -> None:
        """Let a column hold these values only."""
        column = self.column(name)
        texts = all(isinstance(each, str) for each in values)
        plain = not most and severity == "stop" and "categories" not in column
        if texts and values and plain and column.get("type", "string") == "string":
            column.setdefault("type", "string")
            column["categories"] = tuple(values)
            return
        self.row(name, "known", f"{quoted_name(name)} IN ({_listed(values)})", most, severity)

    def none_of(self, name: str, values: Sequence[Any], most: float, severity: Severity) -> None:
        """Let a column hold none of these values."""
        self.row(name, "other", f"{quoted_name(name)} NOT IN ({_listed(values)})", most, severity)

    def matches(self, name: str, patterns: Sequence[str], most: float, severity: Severity, *, fit: str = "any") -> None:
        """Let the texts of a column match `any`, `all` or `none` of Python's expressions, from their beginning.

        Raises:
            NoEqual: RE2, which the engine has, does not know such an expression.
        """
        for pattern in patterns:
            with connect() as connection:
                try:
                    connection.execute("SELECT regexp_matches('', ?)", [pattern]).fetchall()
                except duckdb.Error as error:
                    raise NoEqual(f"`{pattern}` is no RE2 expression") from error
        value, column = self.text(name), self.column(name)
        whole = patterns[0].startswith("^") and patterns[0].endswith("$") and "|" not in patterns[0]
        plain = len(patterns) == 1 and fit != "none" and whole and not most and severity == "stop"
        if plain and "pattern" not in column:
            column["pattern"] = patterns[0][1:-1]
            return
        each = [f"regexp_matches({value}, {quoted_text(f'^(?:{pattern})')})" for pattern in patterns]
        joined = (" AND " if fit == "all" else " OR ").join(each)
        self.row(name, "form", f"NOT ({joined})" if fit == "none" else joined, most, severity)

    def once(self, name: str, most: float, severity: Severity) -> None:
        """Let no value of a column stand twice."""
        column = self.column(name)
        if most or severity != "stop":
            value = quoted_name(name)
            self.row(name, "once", f"count(*) OVER (PARTITION BY {value}) = 1 OR {value} IS NULL", most, severity)
        else:
            column["unique"] = True

    def row(self, about: str, word: str, expression: str, most: float = 0.0, severity: Severity = "stop") -> None:
        """Add a rule over each row."""
        name = self._name(about, word)
        self.rules[name] = Rule(name, "row", expression=expression, most=round(most, 12), severity=severity)

    def table(self, about: str, word: str, expression: str, severity: Severity = "stop") -> None:
        """Add a rule over the table."""
        name = self._name(about, word)
        self.rules[name] = Rule(name, "table", expression=expression, severity=severity)

    def between(
        self, about: str, word: str, figure: str, low: Any, high: Any, severity: Severity,
        strict: tuple[bool, bool] = (False, False),
    ) -> None:  # fmt: skip
        """Add a rule that a figure of the table lies between two bounds."""
        sides = [
            f"{figure} {sign}{'' if excluded else '='} {literal(bound)}"
            for bound, sign, excluded in ((low, ">", strict[0]), (high, "<", strict[1]))
            if bound is not None
        ]
        if sides:
            self.table(about, word, " AND ".join(sides), severity)

    def _name(self, about: str, word: str) -> str:
        name, number = f"{about}_{word}", 2
        while name in self.rules:
            name, number = f"{about}_{word}_{number}", number + 1
        return name


def number_or_none(value: Any) -> float | None:  # what a suite's file holds
    """Return a number as one, and anything else as None."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def literal(value: Any) -> str:  # what a suite's file holds
    """Return a value as SQL.

    Raises:
        NoEqual: it is no number, text or truth value.
    """
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return quoted_text(value)
    raise NoEqual(f"`{value}` is no number, text or truth value")


def _listed(values: Sequence[Any]) -> str:
    if not values:
        raise NoEqual("the list of values is empty")
    return ", ".join(literal(each) for each in values)
