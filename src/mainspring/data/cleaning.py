"""Cleaning a file by declared rules: every row comes out, either accepted or set aside with its reasons.

The rules are nested into one query, so that the file is read once; nothing here keeps anything (see `quarantine`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb

from mainspring.data.checks import Scan
from mainspring.data.clean_rules import HIDING, CleanRule, has_offset
from mainspring.data.consent import consent_sql
from mainspring.data.exact import can_round, is_rounded_sql, parquet_sql
from mainspring.data.expressions import expression_columns
from mainspring.data.hiding import WRITTEN, bring_keys, hidden_value, without_hidden
from mainspring.data.schema import Rule, Schema, Violation
from mainspring.data.table import cast_sql, connect, quoted_name, quoted_text, scan_sql, unreadable, unreadable_unseen
from mainspring.errors import Invalid, nearest

__all__ = ["Cleaned", "Effect", "clean"]

_SAMPLES = 3
#: Columns of our own in the files written here; a table that has one of these names cannot be cleaned.
ROW, REASONS, ORIGINAL = "#row", "#reasons", "#original"
#: Beginnings of the types of numbers that a DOUBLE may round.


@dataclass(frozen=True, slots=True)
class Effect:
    """What one rule did: how many values it changed or rows it set aside, and the first of them, as before and after.

    A sample is (row, before, after); `after` is None for a row that was set aside.
    """

    rule: str
    column: str
    changed: int
    set_aside: int
    samples: tuple[tuple[int, str | None, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Cleaned:
    """How a file was dealt: `accepted` and `set_aside` are Parquet files, and their rows add up to `n_ingested`."""

    accepted: Path
    set_aside: Path
    n_ingested: int
    n_accepted: int
    n_set_aside: int
    effects: tuple[Effect, ...]
    violations: tuple[Violation, ...]


@dataclass(frozen=True, slots=True)
class _Change:
    """One column under one rule: the new value, or the condition for setting the row aside, or both, as SQL.

    `plain` is what the value would be without the rule, when its type changes. `told` is False where no sample may show
    values.
    """

    rule: CleanRule
    column: str
    value: str | None = None
    aside: str | None = None
    plain: str | None = None
    told: bool = True


def clean(path: Path, schema: Schema, folder: Path) -> Cleaned:
    """Clean a file by the `clean` rules of `schema`, then set aside what breaks its rules of severity `quarantine`.

    What is left is checked by all its rules, and the result tells which it breaks; judging that is the caller's. The
    files of the result are written into `folder`. What stood in a column that a rule hides is in none of them, in no
    sample and in no error.

    Raises:
        NotFound, Invalid: the file cannot be read, a rule names a column that the table has not, or a key is missing.
    """
    with connect() as connection:
        try:
            effects = _stage(connection, path, schema)
        except duckdb.BinderException as error:
            said = str(error).strip().splitlines()[0]
            raise Invalid(
                f"A cleaning rule cannot be done: {said}", where="clean", next_step="mend the rule"
            ) from error
        except duckdb.Error as error:
            if schema.hidden:
                raise unreadable_unseen(path, error) from None
            raise unreadable(path, error) from error
        kept, accepted, aside = (folder / f"{name}.parquet" for name in ("kept", "accepted", "set_aside"))
        visible = f"* EXCLUDE ({quoted_name(REASONS)}, {quoted_name(ORIGINAL)})"
        _copy(connection, f"SELECT {visible} FROM staged WHERE len({quoted_name(REASONS)}) = 0", kept)
        broken = _break(kept, schema, connection)
        rows = f"FROM staged LEFT JOIN broken ON staged.{quoted_name(ROW)} = broken.r"
        whole = f"list_concat({quoted_name(REASONS)}, coalesce(broken.rules, []))"
        plain = f"staged.* EXCLUDE ({', '.join(quoted_name(each) for each in (ROW, REASONS, ORIGINAL))})"
        order = f"ORDER BY staged.{quoted_name(ROW)}"
        _copy(connection, f"SELECT {plain} {rows} WHERE len({whole}) = 0 {order}", accepted)
        replaced = f"staged.* REPLACE ({whole} AS {quoted_name(REASONS)})"
        _copy(connection, f"SELECT {replaced} {rows} WHERE len({whole}) > 0 {order}", aside)
        ingested, kept_rows, aside_rows = (
            connection.execute(f"SELECT count(*) FROM {source}").fetchall()[0][0]
            for source in ("staged", scan_sql(accepted), scan_sql(aside))
        )
    with Scan(accepted, schema) as scan:
        found = scan.check()
    return Cleaned(accepted, aside, ingested, kept_rows, aside_rows, (*effects, *broken), found.violations)


def _copy(connection: "duckdb.DuckDBPyConnection", query: str, path: Path) -> None:
    rows = parquet_sql(connection, query)
    connection.execute(f"COPY ({rows}) TO {quoted_text(str(path))} (FORMAT parquet, COMPRESSION zstd)").fetchall()


def _break(kept: Path, schema: Schema, connection: "duckdb.DuckDBPyConnection") -> list[Effect]:
    """Make the table `broken`: the rows of `kept` that break a rule about rows that says quarantine, and which."""
    with Scan(kept, schema) as scan:
        asked = [each for each in scan.probes if each.severity == "quarantine"]
        rules = [(each.name, each.broken) for each in asked if each.broken is not None]
        answer = scan.ask(scan.broken_rows(rules, row=ROW)) if rules else []
    connection.execute("CREATE TEMP TABLE broken (r BIGINT, rules VARCHAR[])")
    for start in range(0, len(answer), 500):
        listed = ", ".join(
            f"({row}, [{', '.join(quoted_text(rule) for rule in rules)}])" for row, rules in answer[start : start + 500]
        )
        connection.execute(f"INSERT INTO broken VALUES {listed}").fetchall()
    names = dict.fromkeys(rule for _, rules in answer for rule in rules)
    return [Effect(name, "", 0, sum(name in rules for _, rules in answer)) for name in names]


def _stage(connection: "duckdb.DuckDBPyConnection", path: Path, schema: Schema) -> list[Effect]:
    """Make the table `staged`: the file's rows, cleaned, with number, reasons and original; return what rules did."""
    source = scan_sql(path, as_written=True)
    described = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    for name, *_ in described:
        if name.lower() in (ROW, REASONS, ORIGINAL, WRITTEN) or name.lower().startswith("#h"):
            raise Invalid(f"A column is named `{name}`", where=str(path), next_step="rename it")
    kinds = {name: cast_sql(name, kind)[1] for name, kind, *_ in described}
    hidden = schema.hidden
    unseen = {*hidden, *(name for name, rule in schema.columns.items() if rule.personal)}
    bring_keys(connection, schema.clean)
    exact = _exact(connection, source, described)
    listed = ", ".join(
        f"{quoted_name(name) if name in exact else cast_sql(name, kind)[0]} AS {quoted_name(name)}"
        for name, kind, *_ in described
    )
    query = (
        f"SELECT {listed}, row_number() OVER () - 1 AS {quoted_name(ROW)}, CAST([] AS VARCHAR[]) AS"
        f" {quoted_name(REASONS)}, {without_hidden(list(kinds), hidden)} AS {quoted_name(ORIGINAL)}"
        f" FROM {source} AS {quoted_name(WRITTEN)}"
    )
    changes: list[_Change] = []
    for number, rule in enumerate([*schema.clean, *_consent(schema), *_typed(schema, kinds)]):
        found = _changes(rule, kinds, connection, f"clean[{number}]")
        made = [replace(each, told=each.column not in unseen) for each in found]
        query = _nested(query, made, len(changes))
        changes += made
    connection.execute(f"CREATE TEMP TABLE everything AS {query}").fetchall()
    effects = _effects(connection, changes)
    marks = ", ".join(f'"#h{number}"' for number in range(len(changes)))
    exclude = f" EXCLUDE ({marks})" if marks else ""
    left = ", ".join(f"{quoted_text(name)}: {quoted_name(name)}" for name in hidden if name in kinds)
    original = f"CAST(json_merge_patch({quoted_name(ORIGINAL)}, to_json({{{left}}})) AS VARCHAR)"
    shown = f" REPLACE ({original} AS {quoted_name(ORIGINAL)})" if left else ""
    connection.execute(f"CREATE TEMP VIEW staged AS SELECT *{exclude}{shown} FROM everything").fetchall()
    return effects


def _exact(connection: "duckdb.DuckDBPyConnection", source: str, described: Sequence[Sequence[str]]) -> set[str]:
    """Return the columns with numbers that a DOUBLE would round: these keep their type, so that no two become one."""
    asked = [(name, kind) for name, kind, *_ in described if can_round(kind)]
    if not asked:
        return set()
    rounded = ", ".join(f"bool_or({is_rounded_sql(quoted_name(name), kind)})" for name, kind in asked)
    (found,) = connection.execute(f"SELECT {rounded} FROM {source}").fetchall()
    return {name for (name, _), is_rounded in zip(asked, found, strict=True) if is_rounded}


def _consent(schema: Schema) -> Iterator[CleanRule]:
    """Yield what sets aside the rows of people who have not agreed."""
    if schema.terms.consent:
        yield CleanRule("consent", (schema.terms.consent,), {})


def _typed(schema: Schema, kinds: dict[str, str]) -> Iterator[CleanRule]:
    """Yield, when the rules of the file are done, what gives the columns that still are text the type of the schema."""
    for name, column in schema.columns.items():
        if column.type not in ("string", "any") and kinds.get(name) == "string":
            yield CleanRule("parse", (name,), {"parse": [name], "as": column.type})


def _nested(query: str, made: Sequence[_Change], first: int) -> str:
    """Put the changes of one rule around the query; each leaves a mark where it did something."""
    values, marks, reasons, dropped = [], [], [], []
    for number, change in enumerate(made, first):
        column = quoted_name(change.column) if change.column else "NULL"
        after = change.value or column
        differs = f"{change.plain or column} IS DISTINCT FROM {after}" if change.value else None
        does = " OR ".join(each for each in (differs, change.aside) if each)
        seen = [f"CAST({each} AS VARCHAR)" if change.told else "CAST(NULL AS VARCHAR)" for each in (column, after)]
        told = f"{{'b': {seen[0]}, 'a': {seen[1]}, 'q': {change.aside or 'false'}}}"
        marks.append(f'CASE WHEN {does} THEN {told} END AS "#h{number}"')
        if change.rule.kind == "drop":
            dropped.append(column)
        elif change.value:
            values.append(f"{change.value} AS {column}")
        if change.aside:
            reasons.append(f"CASE WHEN {change.aside} THEN [{quoted_text(str(change.rule))}] ELSE [] END")
    if reasons:
        values.append(f"list_concat({quoted_name(REASONS)}, {', '.join(reasons)}) AS {quoted_name(REASONS)}")
    replaced = f" REPLACE ({', '.join(values)})" if values else ""
    gone = f" EXCLUDE ({', '.join(dropped)})" if dropped else ""
    return f"SELECT *{gone}{replaced}, {', '.join(marks)} FROM ({query})" if marks else query


def _effects(connection: "duckdb.DuckDBPyConnection", changes: Sequence[_Change]) -> list[Effect]:
    if not changes:
        return []
    asked = ", ".join(
        f'count_if("#h{n}" IS NOT NULL AND NOT "#h{n}".q), count_if(coalesce("#h{n}".q, false)),'
        f" arg_min({{'r': {quoted_name(ROW)}, 'h': \"#h{n}\"}}, {quoted_name(ROW)}, {_SAMPLES})"
        f' FILTER (WHERE "#h{n}" IS NOT NULL)'
        for n in range(len(changes))
    )
    (answer,) = connection.execute(f"SELECT {asked} FROM everything").fetchall()
    effects = []
    for number, change in enumerate(changes):
        changed, aside, samples = answer[3 * number : 3 * number + 3]
        shown = tuple(
            (each["r"], each["h"]["b"], None if each["h"]["q"] else each["h"]["a"])
            for each in samples or ()
            if change.told
        )
        effects.append(Effect(str(change.rule), change.column, changed, aside, shown))
    return effects


def _changes(
    rule: CleanRule, kinds: dict[str, str], connection: "duckdb.DuckDBPyConnection", where: str
) -> Iterator[_Change]:
    for name in rule.columns:
        if name not in kinds:
            raise Invalid(f"The table has no column `{name}`", where=where, next_step=nearest(name, kinds))
    for word in ("never", "where"):
        if word in rule.words:
            expression_columns(Rule(where, "row", expression=rule.text(word)), kinds, connection)
    if rule.kind == "consent":
        yield _Change(rule, "", aside=f"NOT {consent_sql(quoted_name(rule.columns[0]))}")
    elif rule.kind == "never":
        yield _Change(rule, "", aside=f"coalesce(({rule.text('never')}), false)")
    elif rule.kind == "once":
        listed = ", ".join(quoted_name(name) for name in rule.columns)
        present = " AND ".join(f"{quoted_name(name)} IS NOT NULL" for name in rule.columns)
        order = f"len({quoted_name(REASONS)}) > 0, {quoted_name(ROW)}"
        yield _Change(rule, "", aside=f"({present} AND row_number() OVER (PARTITION BY {listed} ORDER BY {order}) > 1)")
    else:
        texts = [name for name, kind in kinds.items() if kind == "string"]
        for name in rule.columns or texts:
            if rule.kind in HIDING:
                yield _hiding_change(rule, name, kinds, where)
                continue
            wants_text = rule.kind not in ("convert", "outliers", "parse")
            if wants_text and kinds[name] != "string":
                said = f"`{name}` is a {kinds[name]} where {rule.kind} wants text"
                raise Invalid(said, where=where, next_step="leave the column out")
            if rule.kind in ("convert", "outliers") and kinds[name] != "number":
                raise Invalid(f"`{name}` is not a number yet", where=where, next_step="parse it as a number first")
            yield _column_change(rule, name, kinds[name])
            if rule.kind == "parse":
                kinds[name] = "timestamp" if rule.text("as") == "timestamp" else "number"


def _hiding_change(rule: CleanRule, name: str, kinds: dict[str, str], where: str) -> _Change:
    if rule.kind == "drop":
        del kinds[name]
        return _Change(rule, name, "NULL")
    change = _Change(rule, name, hidden_value(rule, name, kinds[name], where))
    if rule.kind != "generalise":
        kinds[name] = "string"
        return replace(change, plain=f"CAST({quoted_name(name)} AS VARCHAR)")
    return change


def _column_change(rule: CleanRule, name: str, kind: str) -> _Change:
    value = quoted_name(name)
    if rule.kind == "missing":
        tokens: Any = rule.words["missing"]
        listed = ", ".join(quoted_text(str(each)) for each in tokens) or "NULL"
        return _Change(rule, name, f"CASE WHEN trim({value}) IN ({listed}) THEN NULL ELSE {value} END")
    if rule.kind == "trim":
        return _Change(rule, name, f"regexp_replace({value}, '^\\s+|\\s+$', '', 'g')")
    if rule.kind in ("lower", "upper"):
        return _Change(rule, name, f"{rule.kind}({value})")
    if rule.kind == "replace":
        pairs: Any = rule.words["replace"]
        listed = " ".join(f"WHEN {quoted_text(str(old))} THEN {quoted_text(str(new))}" for old, new in pairs.items())
        return _Change(rule, name, f"CASE {value} {listed} ELSE {value} END" if pairs else value)
    if rule.kind == "convert":
        changed = f"CAST({value} AS DOUBLE) * {rule.number('times', 1)!r} + {rule.number('plus', 0)!r}"
        condition = rule.text("where", "true")
        return _Change(rule, name, f"CASE WHEN ({condition}) THEN {changed} ELSE {value} END")
    if rule.kind == "outliers":
        # Iglewicz and Hoaglin 1993: distance from the median in units of 1.4826 median absolute deviations
        number = f"CAST({value} AS DOUBLE)"
        spread = f"1.4826 * mad({number}) OVER ()"
        far = f"coalesce(abs({number} - median({number}) OVER ()) > {rule.number('beyond', 8)!r} * {spread}, false)"
        if rule.text("then") == "missing":
            return _Change(rule, name, f"CASE WHEN {far} THEN NULL ELSE {value} END")
        return _Change(rule, name, aside=far)
    text = f"CAST({value} AS VARCHAR)"
    parsed = _parsed(rule, text) if kind == "string" else value
    plain = _moment(text) if rule.text("as") == "timestamp" else f"TRY_CAST({value} AS DOUBLE)"
    return _Change(rule, name, parsed, f"({value} IS NOT NULL AND {parsed} IS NULL)", plain)


#: Whether a text says, behind its time of day, how far from UTC that is: Z, an offset or the name of a zone.
_OFFSET = "regexp_matches({}, ':[0-9.]+ *[-+A-Za-z]')"


def _moment(text: str) -> str:
    """Return the moment in UTC that a text says; a text without an offset is taken to be in UTC."""
    joined = f"regexp_replace({text}, '(:[0-9.]+) +([-+][0-9])', '\\1\\2')"  # the engine wants no space between
    return f"timezone('UTC', TRY_CAST({joined} AS TIMESTAMPTZ))"


def _parsed(rule: CleanRule, text: str) -> str:
    kind = rule.text("as")
    if kind == "timestamp":
        form, zone = rule.text("format"), rule.text("zone")
        if form:
            moment = f"try_strptime({text}, {quoted_text(form)})"
            moment = f"timezone('UTC', {moment})" if has_offset(form) else moment
        else:
            moment = _moment(text)
        if not zone:
            return moment
        there = f"timezone('UTC', timezone({quoted_text(zone)}, {moment}))"
        return there if form else f"CASE WHEN {_OFFSET.format(text)} THEN {moment} ELSE {there} END"
    if kind == "boolean":
        return f"CAST(CASE lower(trim({text})) WHEN 'true' THEN 1 WHEN 'false' THEN 0 END AS DOUBLE)"
    bare = f"regexp_replace(trim({text}), '[$€£]', '')"
    grouped = f"regexp_full_match({bare}, '[-+]?[0-9]{{1,3}}(,[0-9]{{3}})+([.][0-9]+)?')"
    digits = f"CASE WHEN {grouped} THEN replace({bare}, ',', '') ELSE {bare} END"
    plain = f"TRY_CAST({digits} AS DOUBLE)"
    number = f"CASE WHEN suffix({bare}, '%') THEN TRY_CAST(rtrim({bare}, '%') AS DOUBLE) / 100 ELSE {plain} END"
    finite = f"nullif({number}, CAST('nan' AS DOUBLE))"
    if kind == "number":
        return finite
    # a whole number is never a double on its way, which would round long ones
    other = f"CASE WHEN {finite} = floor({finite}) AND abs({finite}) < {2**53} THEN CAST({finite} AS BIGINT) END"
    return f"CASE WHEN regexp_full_match({digits}, '[-+]?[0-9]+') THEN TRY_CAST({digits} AS BIGINT) ELSE {other} END"
