"""Suites of Great Expectations (0.15 to 1.x): each expectation as a rule, by its name and arguments.

An expectation about values leaves missing ones out, as our rules do; `mostly` becomes `most`, the share that may break.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mainspring.data.schema import Severity
from mainspring.data.suites.gathered import Gathered, NoEqual, Suite, literal
from mainspring.data.table import quoted_name, quoted_text

__all__ = ["read_expectations"]

#: Arguments that say how an answer is given and not what is asked.
_NO_MATTER = {"result_format", "catch_exceptions", "include_config", "batch_id", "auto", "profiler_config", "meta"}
_SEVERITIES: dict[str, Severity] = {"critical": "stop", "warning": "warn", "info": "warn"}
_FIGURES = {
    "mean": "avg({})",
    "median": "median({})",
    "stdev": "stddev_samp({})",
    "sum": "sum({})",
    "min": "min({})",
    "max": "max({})",
    "unique_value_count": "count(DISTINCT {})",
    "proportion_of_unique_values": "count(DISTINCT {0}) / count({0})",
}
_OF_NUMBERS = ("mean", "median", "stdev", "sum", "min", "max")
Words = Mapping[str, Any]  # the arguments of an expectation, as its file holds them
Reader = Callable[[Gathered, Words, float, Severity], None]


def read_expectations(expectations: Sequence[Any]) -> Suite:
    """Turn the list of a suite's expectations into a schema. Types are read first: they say which words fit."""
    gathered = Gathered()
    for each in sorted(expectations, key=lambda one: "type" not in _name(one)):
        name = _name(each)
        given = each.get("kwargs") if isinstance(each, Mapping) else None
        words = {
            key: value for key, value in (given if isinstance(given, Mapping) else {}).items() if value is not None
        }
        try:
            if words.get("row_condition"):
                raise NoEqual("it asks only some rows")
            if name not in _READERS:
                raise NoEqual("there is no such rule")
            most = 1 - float(words.get("mostly", 1))
            _READERS[name](gathered, words, most, _SEVERITIES.get(str(each.get("severity")), "stop"))
        except (NoEqual, KeyError, TypeError, ValueError) as error:
            said = str(error) if isinstance(error, NoEqual) else f"its arguments are not understood ({error!r})"
            shown = ", ".join(f"{key}={value!r}" for key, value in words.items() if key not in _NO_MATTER)
            gathered.left_out.append(f"{name}({shown}): {said}")
    return gathered.suite()


def _name(expectation: Any) -> str:  # what the file holds
    if not isinstance(expectation, Mapping):
        return str(expectation)
    return str(expectation.get("type") or expectation.get("expectation_type") or "")


def _strict(words: Words) -> tuple[bool, bool]:
    return bool(words.get("strict_min")), bool(words.get("strict_max"))


def _exist(to: Gathered, words: Words, _: float, severity: Severity) -> None:
    if severity != "stop":
        raise NoEqual("a column that is missing cannot only be warned of")
    to.column(words["column"])


def _column_set(to: Gathered, words: Words, _: float, severity: Severity) -> None:
    if severity != "stop":
        raise NoEqual("a column that is missing cannot only be warned of")
    for name in words["column_set"]:
        to.column(name)
    to.only = to.only or bool(words.get("exact_match", True))


def _rows(to: Gathered, words: Words, _: float, severity: Severity) -> None:
    low, high = words.get("min_value", words.get("value")), words.get("max_value", words.get("value"))
    if severity != "stop" or words.get("strict_min") or words.get("strict_max"):
        to.between("rows", "count", "count(*)", low, high, severity, _strict(words))
        return
    to.rows.update({word: int(bound) for word, bound in (("min", low), ("max", high)) if bound is not None})


def _is_there(to: Gathered, words: Words, most: float, severity: Severity) -> None:
    to.missing(words["column"], most, severity)


def _share_there(to: Gathered, words: Words, _: float, severity: Severity) -> None:
    figure = f"count({quoted_name(words['column'])}) / count(*)"
    bounds = words.get("min_value"), words.get("max_value")
    to.between(words["column"], "share_there", figure, *bounds, severity, _strict(words))


def _type(to: Gathered, words: Words, _: float, severity: Severity) -> None:
    if severity != "stop":
        raise NoEqual("a type cannot only be warned of")
    to.typed(words["column"], words.get("type_list") or [words["type_"]])


def _bounds(to: Gathered, words: Words, most: float, severity: Severity) -> None:
    to.bounds(words["column"], words.get("min_value"), words.get("max_value"), most, severity, _strict(words))


def _contains(to: Gathered, words: Words, _: float, severity: Severity) -> None:
    values = ", ".join(literal(each) for each in words["value_set"])
    to.table(
        words["column"], "has", f"list_has_all(list(DISTINCT {quoted_name(words['column'])}), [{values}])", severity
    )


def _equal_set(to: Gathered, words: Words, most: float, severity: Severity) -> None:
    to.one_of(words["column"], words["value_set"], most, severity)
    _contains(to, words, most, severity)


def _commonest(to: Gathered, words: Words, _: float, severity: Severity) -> None:
    values = ", ".join(literal(each) for each in words["value_set"])
    to.table(words["column"], "commonest", f"mode({quoted_name(words['column'])}) IN ({values})", severity)


def _quantiles(to: Gathered, words: Words, _: float, severity: Severity) -> None:
    ranges = words["quantile_ranges"]
    for share, (low, high) in zip(ranges["quantiles"], ranges["value_ranges"], strict=True):
        figure = f"quantile_disc({quoted_name(words['column'])}, {float(share)!r})"
        to.between(words["column"], "quantile", figure, low, high, severity)


def _lengths(to: Gathered, words: Words, most: float, severity: Severity) -> None:
    low, high = words.get("min_value", words.get("value")), words.get("max_value", words.get("value"))
    length, (low_strict, high_strict) = f"length({to.text(words['column'])})", _strict(words)
    sides = [] if low is None else [f"{length} {'>' if low_strict else '>='} {literal(low)}"]
    sides += [] if high is None else [f"{length} {'<' if high_strict else '<='} {literal(high)}"]
    if sides:
        to.row(words["column"], "length", " AND ".join(sides), most, severity)


def _like(sign: str, joined: str) -> Reader:
    def read(to: Gathered, words: Words, most: float, severity: Severity) -> None:
        patterns = words.get("like_pattern_list") or [words["like_pattern"]]
        value = to.text(words["column"])
        each = [f"{value} {sign} {quoted_text(pattern)}" for pattern in patterns]
        by = " AND " if words.get("match_on") == "all" else joined
        to.row(words["column"], "form", by.join(each), most, severity)

    return read


def _regex(fit: str) -> Reader:
    def read(to: Gathered, words: Words, most: float, severity: Severity) -> None:
        patterns = words.get("regex_list") or [words["regex"]]
        to.matches(words["column"], patterns, most, severity, fit=words.get("match_on", fit))

    return read


def _together(to: Gathered, words: Words, most: float, severity: Severity) -> None:
    names = [quoted_name(name) for name in words["column_list"]]
    once = f"count(*) OVER (PARTITION BY {', '.join(names)}) = 1"
    to.row("_".join(words["column_list"]), "once", _ignoring(words, once, names), most, severity)


def _within(to: Gathered, words: Words, most: float, severity: Severity) -> None:
    names = [quoted_name(name) for name in words["column_list"]]
    pairs = [f"{a} IS DISTINCT FROM {b}" for place, a in enumerate(names) for b in names[place + 1 :]]
    to.row("_".join(words["column_list"]), "differ", _ignoring(words, " AND ".join(pairs), names), most, severity)


def _sum(to: Gathered, words: Words, most: float, severity: Severity) -> None:
    names = [quoted_name(name) for name in words["column_list"]]
    total = " + ".join(f"coalesce({name}, 0)" for name in names)
    asked = _ignoring(words, f"{total} = {literal(words['sum_total'])}", names)
    to.row("_".join(words["column_list"]), "sum", asked, most, severity)


def _pair(condition: str, word: str) -> Reader:
    def read(to: Gathered, words: Words, most: float, severity: Severity) -> None:
        one, two = words["column_A"], words["column_B"]
        names = [quoted_name(one), quoted_name(two)]
        sign = ">=" if words.get("or_equal") else ">"
        pairs = ", ".join(f"({literal(a)}, {literal(b)})" for a, b in words.get("value_pairs_set", ()))
        asked = condition.format(*names, sign=sign, pairs=pairs)
        to.row(f"{one}_{two}", word, _ignoring(words, f"coalesce({asked}, false)", names), most, severity)

    return read


def _ignoring(words: Words, asked: str, names: Sequence[str]) -> str:
    """Return the condition with the rows let through that the expectation leaves out because values are missing."""
    ignored = words.get("ignore_row_if", "all_values_are_missing")
    if ignored in ("never", "neither"):
        return asked
    joined = " OR " if ignored.startswith(("any", "either")) else " AND "
    return f"{asked} OR ({joined.join(f'{name} IS NULL' for name in names)})"


def _deviations(to: Gathered, words: Words, most: float, severity: Severity) -> None:
    value = quoted_name(words["column"])
    score = f"({value} - avg({value}) OVER ()) / stddev_samp({value}) OVER ()"
    asked = f"abs({score})" if words.get("double_sided", True) else score
    to.row(words["column"], "deviations", f"{asked} < {literal(words['threshold'])}", most, severity)


def _figure(word: str, sql: str) -> Reader:
    def read(to: Gathered, words: Words, _: float, severity: Severity) -> None:
        figure = sql.format(quoted_name(words["column"]))
        bounds = words.get("min_value"), words.get("max_value")
        if word in _OF_NUMBERS and not any(isinstance(bound, str) for bound in bounds):
            to.column(words["column"]).setdefault("type", "number")
        to.between(words["column"], word, figure, *bounds, severity, _strict(words))

    return read


_READERS: dict[str, Reader] = {
    "expect_column_to_exist": _exist,
    "expect_table_columns_to_match_set": _column_set,
    "expect_table_row_count_to_be_between": _rows,
    "expect_table_row_count_to_equal": _rows,
    "expect_column_values_to_not_be_null": _is_there,
    "expect_column_values_to_be_null": lambda to, words, most, severity: to.row(
        words["column"], "missing", f"{quoted_name(words['column'])} IS NULL", most, severity
    ),
    "expect_column_proportion_of_non_null_values_to_be_between": _share_there,
    "expect_column_values_to_be_of_type": _type,
    "expect_column_values_to_be_in_type_list": _type,
    "expect_column_values_to_be_between": _bounds,
    "expect_column_values_to_be_in_set": lambda to, words, *how: to.one_of(words["column"], words["value_set"], *how),
    "expect_column_values_to_not_be_in_set": lambda to, words, *how: to.none_of(
        words["column"], words["value_set"], *how
    ),
    "expect_column_distinct_values_to_be_in_set": lambda to, words, *how: to.one_of(
        words["column"], words["value_set"], *how
    ),
    "expect_column_distinct_values_to_contain_set": _contains,
    "expect_column_distinct_values_to_equal_set": _equal_set,
    "expect_column_most_common_value_to_be_in_set": _commonest,
    "expect_column_quantile_values_to_be_between": _quantiles,
    "expect_column_value_lengths_to_be_between": _lengths,
    "expect_column_value_lengths_to_equal": _lengths,
    "expect_column_values_to_match_regex": _regex("any"),
    "expect_column_values_to_match_regex_list": _regex("any"),
    "expect_column_values_to_not_match_regex": _regex("none"),
    "expect_column_values_to_not_match_regex_list": _regex("none"),
    "expect_column_values_to_match_like_pattern": _like("LIKE", " OR "),
    "expect_column_values_to_match_like_pattern_list": _like("LIKE", " OR "),
    "expect_column_values_to_not_match_like_pattern": _like("NOT LIKE", " AND "),
    "expect_column_values_to_not_match_like_pattern_list": _like("NOT LIKE", " AND "),
    "expect_column_values_to_be_unique": lambda to, words, *how: to.once(words["column"], *how),
    "expect_compound_columns_to_be_unique": _together,
    "expect_select_column_values_to_be_unique_within_record": _within,
    "expect_multicolumn_sum_to_equal": _sum,
    "expect_column_pair_values_a_to_be_greater_than_b": _pair("{0} {sign} {1}", "order"),
    "expect_column_pair_values_to_be_equal": _pair("{0} = {1}", "equal"),
    "expect_column_pair_values_to_be_in_set": _pair("({0}, {1}) IN ({pairs})", "pairs"),
    "expect_column_value_z_scores_to_be_less_than": _deviations,
    **{f"expect_column_{word}_to_be_between": _figure(word, sql) for word, sql in _FIGURES.items()},
}
