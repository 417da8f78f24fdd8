"""Row rules: what a schema asks of one row, in a form that is evaluated with numpy alone, beside the model it guards.

`data.row_rules` makes them from a schema; here they are kept in the bundle, read, and asked of columns in the
convention of `predictor`. A test is an expression as nested lists, ``[">=", ["column", "distance"], ["value", 17.0]]``.
As in SQL a missing value makes a comparison neither true nor false, and a row breaks a rule only where it is false.
"""

import functools
import operator
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainspring.bundle.format import read_member
from mainspring.bundle.manifest import BundleManifest
from mainspring.bundle.patterns import may_match, why_unmatchable
from mainspring.domain.signature import Signature
from mainspring.errors import Corrupt

__all__ = ["ROW_RULES_NAME", "SCHEMA_NAME", "Broken", "RowRule", "RowRuleFile", "RowRules", "read_row_rules"]

ROW_RULES_NAME, SCHEMA_NAME = "row_rules.json", "schema.yaml"

_Columns = Mapping[str, NDArray[Any]]  # Any: the element type differs from column to column
_Expression = Any  # Any: nested lists, names, texts and numbers
_Mask = NDArray[np.bool_]
#: How deep a test may be nested; those of people are a handful.
_DEEPEST = 50
#: Where a comparison holds, and where it does not.
_ORDERED = {"<": (np.less, np.greater_equal), "<=": (np.less_equal, np.greater),
            ">": (np.greater, np.less_equal), ">=": (np.greater_equal, np.less)}  # fmt: skip
_COUNTED = {"+": np.add, "-": np.subtract, "*": np.multiply}


class RowRule(msgspec.Struct, frozen=True):
    """One rule: its name in the schema, what follows when a row breaks it, what is said then, and its test.

    `columns` are the columns it looks at; the value of the first is shown.
    """

    name: str
    severity: Literal["warn", "quarantine", "stop"]
    said: str
    columns: list[str]
    test: _Expression


class RowRuleFile(msgspec.Struct, frozen=True):
    """The file in the bundle: the rules, and for each rule of the schema that is not asked of requests the reason."""

    rules: list[RowRule]
    left_out: dict[str, str] = {}


class Broken(NamedTuple):
    """Rules that some rows break, each with a mask of those rows."""

    found: list[tuple[RowRule, _Mask]]

    def rows(self, *severities: str) -> _Mask | None:
        """Return which rows break a rule of these severities; None when none does."""
        masks = [mask for rule, mask in self.found if rule.severity in severities]
        return np.logical_or.reduce(masks) if masks else None

    def within(self, first: int, end: int) -> "Broken | None":
        """Return the same of the rows `first` to `end`; None when these break nothing."""
        found = [(rule, mask[first:end]) for rule, mask in self.found if mask[first:end].any()]
        return Broken(found) if found else None


def read_row_rules(folder: Path, manifest: BundleManifest) -> "RowRules | None":
    """Return the row rules of a bundle; None when it has none.

    Raises:
        Corrupt: the file is not what was written, or holds what is no test of these columns.
    """
    if ROW_RULES_NAME not in manifest.files:
        return None
    try:
        file = msgspec.json.decode(read_member(folder, manifest, ROW_RULES_NAME), type=RowRuleFile)
        return RowRules(file, manifest.signature)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        where = str(folder / ROW_RULES_NAME)
        raise Corrupt(f"The row rules cannot be read: {error}", where=where, next_step="make the model anew") from error


class RowRules:
    """Row rules ready to be asked.

    Nearly every row keeps all rules, so what most of them ask (bounds, gaps, whole numbers, categories) is asked of all
    columns at once; each rule by itself only when something is broken.
    """

    def __init__(self, file: RowRuleFile, signature: Signature) -> None:
        """Take the rules of `file`.

        Raises:
            ValueError: a test is none, or names a column that the signature lacks.
        """
        kinds = {column.name: column.type for column in signature.columns}
        self.file = file
        self._signature = signature
        self._bounds: dict[str, list[float]] = {}
        self._full: set[str] = set()
        self._whole: list[str] = []
        self._known: dict[str, frozenset[object]] = {}
        self._alone: list[RowRule] = []
        for rule in file.rules:
            _check(rule.test, kinds, 0)
            if not rule.columns or not set(rule.columns) <= kinds.keys():
                raise ValueError(f"{rule.name} looks at {rule.columns}, which the model does not eat")
            self._sort(rule, kinds)
        self._numeric = list(dict.fromkeys([*self._bounds, *self._full, *self._whole]))
        bounds = [self._bounds.get(name, [-np.inf, np.inf]) for name in self._numeric]
        self._low, self._high = (np.array([[each[end]] for each in bounds]) for end in (0, 1))
        self._gaps = np.array([[name not in self._full] for name in self._numeric])
        self._wanted = [
            (low, high, name not in self._full) for name, (low, high) in zip(self._numeric, bounds, strict=True)
        ]
        self._whole_at = np.array([self._numeric.index(name) for name in self._whole], dtype=np.intp)

    def _sort(self, rule: RowRule, kinds: Mapping[str, str]) -> None:
        match rule.test:
            case [">=" | "<=" as word, ["column", name], ["value", int() | float() as bound]]:
                low, high = self._bounds.get(name, (-np.inf, np.inf))
                self._bounds[name] = [max(low, bound), high] if word == ">=" else [low, min(high, bound)]
            case ["known", ["column", name]] if kinds[name] in ("number", "integer", "boolean"):
                self._full.add(name)
            case ["whole", ["column", name]]:
                self._whole.append(name)
            case ["in", ["column", name], *values] if kinds[name] == "string" and name not in self._known:
                self._known[name] = frozenset([*values, None])
            case _:
                self._alone.append(rule)

    def warning(self) -> "RowRules":
        """Return the same rules, such that a row which breaks one is told, and never stopped or set aside."""
        rules = [msgspec.structs.replace(rule, severity="warn") for rule in self.file.rules]
        return RowRules(msgspec.structs.replace(self.file, rules=rules), self._signature)

    def look(self, columns: _Columns) -> Broken | None:
        """Return which rows of `columns` break which rules; None when all is well."""
        kept = self._are_kept(columns)
        if kept and not self._alone:
            return None
        with np.errstate(all="ignore"):  # what overflows is compared as infinite, as the engine of tables does
            asked = self._alone if kept else self.file.rules
            found = [(rule, mask) for rule in asked if (mask := _truth(rule.test, columns)[1]).any()]
        return Broken(found) if found else None

    def _are_kept(self, columns: _Columns) -> bool:
        """Whether all rows keep what is not asked alone; a row by itself is looked at without numpy's overhead."""
        for name, known in self._known.items():
            if not known.issuperset(columns[name].tolist()):
                return False
        if not self._numeric:
            return True
        arrays = [columns[name] for name in self._numeric]
        if len(arrays[0]) == 1:
            values = [array.item() for array in arrays]
            bounded = all(low <= value <= high or (value != value and gaps)
                          for value, (low, high, gaps) in zip(values, self._wanted, strict=True))  # fmt: skip
            return bounded and all(values[at] != values[at] or values[at].is_integer() for at in self._whole_at)
        numbers = np.array(arrays)
        kept = (numbers >= self._low) & (numbers <= self._high)
        if not kept.all() and not (kept | (np.isnan(numbers) & self._gaps)).all():
            return False
        whole = numbers[self._whole_at]
        return bool(((whole == np.rint(whole)) | np.isnan(whole)).all())


def _truth(test: _Expression, columns: _Columns) -> tuple[_Mask, _Mask]:
    """Return where a test is true, and where it is false."""
    word, *parts = test
    if word in ("and", "or"):
        pairs = [_truth(part, columns) for part in parts]
        trues, falses = ([pair[side] for pair in pairs] for side in (0, 1))
        every, some = (operator.and_, operator.or_) if word == "and" else (operator.or_, operator.and_)
        return functools.reduce(every, trues), functools.reduce(some, falses)
    if word == "not":
        true, false = _truth(parts[0], columns)
        return false, true
    values = _value(parts[0], columns)
    if word in _ORDERED:  # with a missing value neither is true
        others, (less, more) = _value(parts[1], columns), _ORDERED[word]
        return less(values, others), more(values, others)
    known, holds = ~_missing(values), values
    if word == "known":
        return known, ~known
    if word in ("=", "<>"):
        others = _value(parts[1], columns)
        known = known & ~_missing(others)
        equal = np.asarray(values == others, dtype=bool)
        holds = equal if word == "=" else ~equal
    elif word == "whole":
        holds = values == np.floor(values)
    elif word == "in":
        allowed = set(parts[1:])
        holds = np.fromiter((value in allowed for value in values.tolist()), bool, len(values))
    else:
        holds = np.fromiter((value is not None and may_match(parts[1], value) for value in values), bool, len(values))
    return known & holds, known & ~holds


def _value(expression: _Expression, columns: _Columns) -> Any:  # an array, or one value for all rows
    word, *parts = expression
    if word == "column":
        return columns[parts[0]]
    if word == "value":
        return parts[0]
    values = [_value(part, columns) for part in parts]
    if len(values) == 1:
        return abs(values[0]) if word == "abs" else -values[0]
    return _COUNTED[word](*values)


def _missing(values: Any) -> Any:  # of an array a mask, of one value whether it is
    if isinstance(values, str | float | int):
        return np.False_
    if values.dtype == object:
        return np.fromiter((value is None for value in values), bool, len(values))
    return np.asarray(np.isnat(values) if values.dtype.kind == "M" else np.isnan(values))


def _check(test: _Expression, kinds: Mapping[str, str], depth: int) -> None:
    """Refuse what is no test: a file from elsewhere must not make the server fail at a request."""
    match test:
        case _ if depth > _DEEPEST:
            raise ValueError(f"a test is nested deeper than {_DEEPEST}")
        case ["and" | "or", _, *_] | ["not", _]:
            for part in test[1:]:
                _check(part, kinds, depth + 1)
        case ["known", ["column", _] as each]:
            _kind(each, kinds, depth)
        case ["=" | "<>" | "<" | "<=" | ">" | ">=" as word, one, other]:
            kind = _kind(one, kinds, depth)
            if kind != _kind(other, kinds, depth) or (kind == "text" and word not in ("=", "<>")):
                raise ValueError(f"{test} compares what cannot be compared")
            if not set(_names(test)):
                raise ValueError(f"{test} looks at no column")
        case ["in", ["column", _] as each, _, *_]:
            wanted: tuple[type, ...] = (str,) if _kind(each, kinds, depth) == "text" else (int, float)
            if not all(isinstance(value, wanted) for value in test[2:]):
                raise ValueError(f"{test} looks for values of another type")
        case ["whole", ["column", _] as each] if _kind(each, kinds, depth) == "number":
            pass
        case ["matches", ["column", _] as each, str(pattern)] if _kind(each, kinds, depth) == "text":
            if reason := why_unmatchable(pattern):
                raise ValueError(reason)
        case _:
            raise ValueError(f"{str(test)[:100]} is no test")


def _kind(expression: _Expression, kinds: Mapping[str, str], depth: int) -> str:
    """Return what an expression gives: ``number``, ``text`` or ``moment``."""
    match expression:
        case _ if depth > _DEEPEST:
            raise ValueError(f"a test is nested deeper than {_DEEPEST}")
        case ["column", str(name)] if name in kinds:
            return {"string": "text", "timestamp": "moment"}.get(kinds[name], "number")
        case ["value", str()]:
            return "text"
        case ["value", int() | float()]:
            return "number"
        case ["+" | "-" | "*", _, _] | ["abs" | "-", _]:
            if any(_kind(part, kinds, depth + 1) != "number" for part in expression[1:]):
                raise ValueError(f"{expression} counts with what is no number")
            return "number"
    raise ValueError(f"{str(expression)[:100]} is no value of the model's columns")


def _names(expression: _Expression) -> Iterator[str]:
    if isinstance(expression, list):
        if expression[0] == "column":
            yield expression[1]
        for part in expression[1:]:
            yield from _names(part)
