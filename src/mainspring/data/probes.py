"""What a schema asks of a table, as SQL: each rule becomes one figure of one aggregation, and `checks` runs it.

The table stands under the name `base`; column number N is `"#N"` there, in the convention of `table` and with NaN made
missing. Columns that expressions name stand there under their own names too.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import duckdb

from mainspring.data.distributions import distribution_probe
from mainspring.data.exact import comparable_sql
from mainspring.data.expressions import Shape, looks_around, rule_columns, rule_value
from mainspring.data.probe import Probe, number_sql
from mainspring.data.schema import ColumnRule, Rule, Schema, Severity
from mainspring.data.table import quoted_name, quoted_text

__all__ = ["other_join", "probes_of"]


def probes_of(
    schema: Schema, shape: Shape, connection: "duckdb.DuckDBPyConnection", differing: Mapping[int, str]
) -> Iterator[Probe]:
    """Yield the questions that `schema` asks of a table of this shape; columns that are missing ask nothing.

    `differing` has of each rule about another table's values, by its number, the second that `other_join` returned.
    """
    for name, rule in schema.columns.items():
        if name in shape:
            number, kind = shape[name]
            yield from _column_probes(name, f'"#{number}"', kind, rule)
    for number, each in enumerate(schema.rules):
        names = rule_columns(each, shape, schema, connection)
        if names is not None:
            around = looks_around(each, connection)
            if each.kind == "agrees_with":
                broken, said = differing[number], f"another {each.columns[-1]} than in {each.other}"
                yield _rows_probe(each, broken, said, each.columns, f"count({broken})")
            else:
                yield _rule_probe(each, number, names, [rule_value(name, shape, schema) for name in names], around)


def _column_probes(name: str, value: str, kind: str, rule: ColumnRule) -> Iterator[Probe]:
    def rows(word: str, broken: str, said: str, known: tuple[str, ...] = (), figure: str = "") -> Probe:
        asked = figure or f"count_if({broken})"
        return Probe(name, word, rule.severity, asked, _count(said), broken, (name,), known)

    if rule.most_missing is not None:
        most = rule.most_missing
        counted = f"[count(*) - count({value}), count(*)]"
        broken = f"{value} IS NULL"
        yield Probe(name, "most_missing", rule.severity, counted, lambda figure: _above(figure, most), broken, (name,))
    elif not rule.nullable:
        counted = f"count(*) - count({value})"  # cheaper than to ask each value
        yield rows("nullable", f"{value} IS NULL", "missing where a value is wanted", figure=counted)
    as_number = number_sql(value, kind)
    if rule.unique:
        yield _unique(name, "unique", rule.severity, [value], (name,))
    if rule.type == "any":
        return
    wanted = {"integer": "number", "boolean": "number"}.get(rule.type, rule.type)
    texts = kind in ("string", "written")
    said = f"{'string' if texts else kind} where {rule.type} is wanted"
    if wanted != "string" and texts:  # the values that are to blame, when there are any
        typed = as_number if wanted == "number" else f"TRY_CAST({value} AS TIMESTAMP)"
        yield rows("type", f"{value} IS NOT NULL AND {typed} IS NULL", said)
    if not (kind == wanted or (kind == "written" and wanted != "timestamp")):
        yield rows("type", f"{value} IS NOT NULL", said)
    if rule.type == "integer" and kind != "timestamp":
        yield rows("type", f"{as_number} <> floor({as_number})", "not a whole number")
    if rule.type == "boolean" and kind != "timestamp":
        yield rows("type", f"{as_number} NOT IN (0, 1)", "neither 0 nor 1")
    if wanted == "number" and kind != "timestamp":
        if rule.min is not None:
            yield rows("min", f"{as_number} < {_number(rule.min)}", f"below {_figure(rule.min)}")
        if rule.max is not None:
            yield rows("max", f"{as_number} > {_number(rule.max)}", f"above {_figure(rule.max)}")
        if rule.categories is not None:
            listed = ", ".join(_number(float(each)) for each in rule.categories) or "NULL"
            yield rows("categories", f"{as_number} NOT IN ({listed})", "not a known category")
    if texts and rule.type == "string":
        if rule.categories is not None:
            listed = ", ".join(f"{quoted_text(each)}: 1" for each in dict.fromkeys(rule.categories))
            # a look into a map is made once for each entry of a column's dictionary, an IN once for each row
            known = f"map_contains(MAP {{{listed}}}, {value})"
            broken = f"NOT {known}" if listed else f"{value} IS NOT NULL"
            counted = f"count({value}) - coalesce(count_if({known}), 0)" if listed else f"count({value})"
            yield rows("categories", broken, "not a known category", rule.categories, counted)
        if rule.pattern is not None:
            broken = f"NOT regexp_full_match({value}, {quoted_text(rule.pattern)})"
            yield rows("pattern", broken, f"not of the form {rule.pattern}")


def _rule_probe(rule: Rule, number: int, names: tuple[str, ...], seen: list[tuple[str, str]], around: bool) -> Probe:
    values = [value for value, _ in seen]
    if rule.kind == "table":
        figure = f"CASE WHEN ({rule.expression}) IS FALSE THEN 1 ELSE 0 END"
        return Probe("", rule.name, rule.severity, figure, _all_or(f"`{rule.expression}` does not hold"))
    if rule.kind == "row":
        asked = f'"#w{number}"' if around else f"({rule.expression})"
        return _rows_probe(rule, f"{asked} IS FALSE", f"`{rule.expression}` does not hold", names, f"count({asked})")
    if rule.kind == "unique":
        return _unique("", rule.name, rule.severity, values, rule.columns, rule.most)
    if rule.kind in ("found_in", "absent_from"):
        wanted, said = ("IS NULL", "not found in") if rule.kind == "found_in" else ("IS NOT NULL", "stands in")
        there = " AND ".join(f"{value} IS NOT NULL" for value in values)
        broken = f"{there} AND other{number}.found {wanted}"
        return _rows_probe(rule, broken, f"{said} {rule.other}", rule.columns, f"count_if({there})")
    return distribution_probe(rule, *seen[0])


def _rows_probe(rule: Rule, broken: str, said: str, shown: tuple[str, ...], asked: str) -> Probe:
    """Return the question of a rule about rows; `asked` counts the rows where it is known whether they break it."""
    figure = f"[count_if({broken}), {asked if rule.most else 0}]"
    return Probe("", rule.name, rule.severity, figure, _more_than(rule.most, said), broken, shown)


def _unique(
    column: str, word: str, severity: Severity, values: Sequence[str], shown: tuple[str, ...], most: float = 0.0
) -> Probe:
    listed = ", ".join(values)
    present = " AND ".join(f"{value} IS NOT NULL" for value in values)
    key = values[0] if len(values) == 1 else f"row({listed})"
    figure = f"[count_if({present}) - count(DISTINCT {key}) FILTER (WHERE {present}), count_if({present})]"
    broken = f'{present} AND row_number() OVER (PARTITION BY {listed} ORDER BY "#at") > 1'
    return Probe(column, word, severity, figure, _more_than(most, "there already in a row above"), broken, shown)


def _count(said: str) -> Callable[[Any], tuple[int, str] | None]:
    return lambda count: (count, f"{count:,} x {said}") if count else None


def _more_than(most: float, said: str) -> Callable[[Any], tuple[int, str] | None]:
    told = said + (f" where at most {most:.2%} of the rows may be" if most else "")
    # the engine counts no row as NULL where the condition is NULL for all of them
    return lambda figure: (figure[0], f"{figure[0]:,} x {told}") if _exceeds(figure[0], most, figure[1]) else None


def _all_or(said: str) -> Callable[[Any], tuple[int, str] | None]:
    return lambda broken: (1, said) if broken else None


def _above(figure: Any, most: float) -> tuple[int, str] | None:
    missing, rows = figure
    if not _exceeds(missing, most, rows):
        return None
    return missing, f"{missing / rows:.2%} missing where at most {most:.2%} may be"


def _exceeds(count: int | None, most: float, rows: int) -> bool:
    """Whether more than the share `most` was counted, beyond what rounding does to a share."""
    return (count or 0) - most * rows > 1e-9 * rows


def _number(value: float) -> str:
    return f"CAST('{value!r}' AS DOUBLE)"


def _figure(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(value)


def other_join(
    number: int, source: str, rule: Rule, values: Sequence[tuple[str, str]], kinds: Sequence[str]
) -> tuple[str, str]:
    """Return the join by which rule `number` finds its rows in another table, each of them once at most.

    `values` are the SQL and the engine's type of each column here, `kinds` the types there. With the join comes the
    condition of the rows whose value lies not between those that were found, where the rule asks for that.
    """
    n_keys = len(rule.columns) - (rule.kind == "agrees_with")
    columns, equal = [], []
    for place, ((value, mine), name, theirs) in enumerate(zip(values, rule.there, kinds, strict=True)):
        if place < n_keys:
            columns.append(f"{comparable_sql(quoted_name(name), theirs, mine)} AS k{place}")
            equal.append(f"{comparable_sql(value, mine, theirs)} = other{number}.k{place}")
    ends = [f"{end}({quoted_name(name)}) AS {word}" for name in rule.there[n_keys:] for end, word in _ENDS.items()]
    selected = f"SELECT {', '.join(columns + (ends or ['1 AS found']))} FROM {source} GROUP BY ALL"
    join = f" LEFT JOIN ({selected}) AS other{number} ON {' AND '.join(equal)}"
    return join, _outside(number, rule, *values[-1], kinds[-1]) if ends else ""


_ENDS = {"min": "low", "max": "high"}


def _outside(number: int, rule: Rule, value: str, mine: str, theirs: str) -> str:
    """Return the condition that a value lies outside of what was found for its row, with `within` as doubles."""
    low, high = (f"other{number}.{each}" for each in _ENDS.values())
    if rule.within:
        return f"{value} NOT BETWEEN {low} - {_number(rule.within)} AND {high} + {_number(rule.within)}"
    same = comparable_sql(value, mine, theirs)
    if same == value:  # the engine compares these without rounding
        return f"{value} NOT BETWEEN {low} AND {high}"
    ends = ", ".join(comparable_sql(each, theirs, mine) for each in (low, high))
    above, below = (f"CAST({one} AS DOUBLE) > CAST({other} AS DOUBLE)" for one, other in ((value, low), (high, value)))
    return f"NOT ({same} IN ({ends}) OR ({above} AND {below}))"
