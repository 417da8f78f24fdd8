"""Schemas of Pandera, as its ``to_yaml`` and ``to_json`` write them: each check of each column as a rule.

A check leaves missing values out, as our rules do. A column that is not nullable has none.
"""

from collections.abc import Callable, Mapping
from typing import Any

from mainspring.data.schema import Severity
from mainspring.data.suites.gathered import Gathered, NoEqual, Suite, literal
from mainspring.data.table import quoted_name, quoted_text

__all__ = ["read_pandera"]

#: What stands beside a column's checks and is no check.
_BESIDE = ("dtype", "nullable", "checks", "unique", "coerce", "required", "regex", "title", "description", "metadata",
           "default", "report_duplicates", "drop_invalid_rows", "parsers")  # fmt: skip
_SEARCHES = {
    "str_contains": "regexp_matches({0}, {1})",
    "str_startswith": "starts_with({0}, {1})",
    "str_endswith": "ends_with({0}, {1})",
}
Check = Callable[[Gathered, str, Any, Severity], None]  # the argument is what the file holds


def read_pandera(document: Mapping[str, Any]) -> Suite:
    """Turn the document of a Pandera schema into a schema of ours."""
    gathered = Gathered()
    for name, words in document["columns"].items():
        _column(gathered, str(name), words if isinstance(words, Mapping) else {})
    if document.get("strict") is True:
        gathered.only = True
    elif document.get("strict"):
        gathered.left_out.append(f"strict: {document['strict']}: other columns are let through, and not dropped")
    unique = document.get("unique")
    if unique:
        names = [unique] if isinstance(unique, str) else [str(each) for each in unique]
        listed = ", ".join(quoted_name(name) for name in names)
        gathered.row("_".join(names), "once", f"count(*) OVER (PARTITION BY {listed}) = 1")
    for word in ("index", "checks", "ordered", "dtype", "coerce", "unique_column_names", "add_missing_columns",
                 "drop_invalid_rows", "parsers"):  # fmt: skip
        if document.get(word):
            gathered.left_out.append(f"{word} of the whole table: there is no such rule")
    return gathered.suite()


def _column(gathered: Gathered, name: str, words: Mapping[str, Any]) -> None:
    def leave_out(word: str, why: str) -> None:
        gathered.left_out.append(f"{name}, {word}: {why}")

    if words.get("regex"):
        leave_out("regex", "a name that stands for many columns")
        return
    column = gathered.column(name)
    if words.get("dtype"):
        try:
            gathered.typed(name, [str(words["dtype"])])
        except NoEqual as error:
            leave_out("dtype", str(error))
    column["nullable"] = bool(words.get("nullable"))
    if words.get("unique"):
        column["unique"] = True
    if words.get("required") is False:
        leave_out("required: false", "here the column must be there")
    for word in ("coerce", "default", "drop_invalid_rows", "parsers"):
        if words.get(word):
            leave_out(word, "a check changes nothing; see `clean`")
    checks = words.get("checks")
    listed = {**(checks if isinstance(checks, Mapping) else {}), **{k: v for k, v in words.items() if k not in _BESIDE}}
    for check, given in listed.items():
        options = given if isinstance(given, Mapping) else {}
        severity: Severity = "warn" if _option(options, "raise_warning") else "stop"
        try:
            if _option(options, "ignore_na") is False and column["nullable"]:
                raise NoEqual("it is asked of missing values too")
            if check not in _CHECKS:
                raise NoEqual("there is no such rule")
            _CHECKS[check](gathered, name, given, severity)
        except (NoEqual, KeyError, TypeError, ValueError) as error:
            leave_out(f"{check}({given})", str(error) if isinstance(error, NoEqual) else "its form is not understood")


def _option(options: Mapping[str, Any], name: str) -> Any:
    nested = options.get("options")
    return options.get(name, nested.get(name) if isinstance(nested, Mapping) else None)


def _value(given: Any, *names: str) -> Any:
    """Return the one argument of a check, which stands alone or under one of these names."""
    if not isinstance(given, Mapping):
        return given
    return next(given[name] for name in (*names, "value") if name in given) if given else None


def _bound(low: bool, strict: bool) -> Check:
    def check(to: Gathered, name: str, given: Any, severity: Severity) -> None:
        bound = _value(given, "min_value" if low else "max_value")
        to.bounds(
            name, bound if low else None, None if low else bound, 0.0, severity, (strict and low, strict and not low)
        )

    return check


def _in_range(to: Gathered, name: str, given: Any, severity: Severity) -> None:
    strict = not given.get("include_min", True), not given.get("include_max", True)
    to.bounds(name, given["min_value"], given["max_value"], 0.0, severity, strict)


def _length(to: Gathered, name: str, given: Any, severity: Severity) -> None:
    value = f"length({to.text(name)})"
    exact = given.get("exact_value")
    ends = [(">=", given.get("min_value", exact) if exact is None else exact),
            ("<=", given.get("max_value", exact) if exact is None else exact)]  # fmt: skip
    sides = [f"{value} {sign} {literal(bound)}" for sign, bound in ends if bound is not None]
    to.row(name, "length", " AND ".join(sides), 0.0, severity)


def _search(sql: str) -> Check:
    def check(to: Gathered, name: str, given: Any, severity: Severity) -> None:
        text = quoted_text(str(_value(given, "string", "pattern")))
        to.row(name, "form", sql.format(to.text(name), text), 0.0, severity)

    return check


def _values(to: Gathered, name: str, given: Any, severity: Severity) -> None:
    values = _value(given, "values")
    listed = ", ".join(literal(each) for each in values)
    to.one_of(name, values, 0.0, severity)
    to.table(name, "has", f"list_has_all(list(DISTINCT {quoted_name(name)}), [{listed}])", severity)


_CHECKS: dict[str, Check] = {
    "equal_to": lambda to, name, given, severity: to.row(
        name, "equal", f"{quoted_name(name)} = {literal(_value(given))}", 0.0, severity
    ),
    "not_equal_to": lambda to, name, given, severity: to.none_of(name, [_value(given)], 0.0, severity),
    "greater_than": _bound(low=True, strict=True),
    "greater_than_or_equal_to": _bound(low=True, strict=False),
    "less_than": _bound(low=False, strict=True),
    "less_than_or_equal_to": _bound(low=False, strict=False),
    "in_range": _in_range,
    "isin": lambda to, name, given, severity: to.one_of(name, _value(given, "allowed_values"), 0.0, severity),
    "notin": lambda to, name, given, severity: to.none_of(name, _value(given, "forbidden_values"), 0.0, severity),
    "str_matches": lambda to, name, given, severity: to.matches(name, [_value(given, "pattern")], 0.0, severity),
    "str_length": _length,
    "unique_values_eq": _values,
    **{name: _search(sql) for name, sql in _SEARCHES.items()},
}
