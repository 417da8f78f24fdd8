"""Comparing a table with its schema: every rule in one scan of it, and one more for examples when a rule is broken.

The table is a file, which is not loaded, or columns in memory. What each rule asks is written by `probes`.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import duckdb

from mainspring.data.expressions import Shape, looks_around, rule_columns, rule_value
from mainspring.data.probe import Probe
from mainspring.data.probes import other_join, probes_of
from mainspring.data.schema import Rule, Schema, Violation
from mainspring.data.table import (
    Columns,
    cast_sql,
    connect,
    exact_sql,
    numbered_scan,
    quoted_name,
    quoted_text,
    settled_scan,
    unreadable,
    without_value,
)
from mainspring.data.watching import Tell, untold, watched
from mainspring.errors import Invalid, NotFound, nearest

__all__ = ["Checked", "Scan", "check_table", "violations"]

_EXAMPLES = 3
#: What stands in an example for the value of a column that the schema marks as personal.
_PERSONAL = "(personal)"
_NO_TABLES: Mapping[str, "Columns | Path"] = MappingProxyType({})
_RELATIONS = ("found_in", "absent_from", "agrees_with")
_ENDINGS = (".parquet", ".csv", ".tsv", ".jsonl", ".csv.gz")


@dataclass(frozen=True, slots=True)
class Checked:
    """What a comparison found: how many rows there were, and each broken rule."""

    n_rows: int
    violations: tuple[Violation, ...]


def violations(
    table: "Columns | Path", schema: Schema, *, tables: Mapping[str, "Columns | Path"] = _NO_TABLES
) -> list[Violation]:
    """Return every rule of `schema` that the table breaks; an empty list means that it fits. See `check_table`."""
    return list(check_table(table, schema, tables=tables).violations)


def check_table(
    table: "Columns | Path", schema: Schema, *, tables: Mapping[str, "Columns | Path"] = _NO_TABLES
) -> Checked:
    """Compare a table with a schema.

    `tables` are the tables that `found_in` rules name; one that is not given is a file of that name beside the schema.
    Linear in the rows, apart from unique rules; memory does not grow with a file's size.

    Raises:
        Invalid: the file cannot be read, or a rule names a column or function that does not exist.
        NotFound: the file, or the other table of a rule, does not exist.
    """
    with Scan(table, schema, tables) as scan:
        return scan.check()


class Scan:
    """One table under one schema, on a connection of its own. `base` is the table as `probes` describes it.

    Once `check` was asked, `told` has of each broken rule that is to blame on rows its name and their SQL condition.
    """

    def __init__(
        self,
        table: "Columns | Path",
        schema: Schema,
        tables: Mapping[str, "Columns | Path"] = _NO_TABLES,
        *,
        tell: Tell = untold,
    ) -> None:
        self.schema = schema
        self._is_personal = bool(schema.hidden) or any(rule.personal for rule in schema.columns.values())
        self._tell = tell
        self.told: list[tuple[str, str]] = []
        self._table = table
        self._connection = connect()
        try:
            if isinstance(table, Path):
                tell(f"reading the types of {table.name}", 0.0)
            self.source, self.shape = _source(self._connection, table, "checked", _told_apart(schema))
            asked = [
                (number, rule, names)
                for number, rule in enumerate(schema.rules)
                if (names := rule_columns(rule, self.shape, schema, self._connection)) is not None
            ]
            self._named = sorted({name for _, rule, names in asked if not rule.columns for name in names})
            self._around = [
                f'({rule.expression}) AS "#w{number}"'
                for number, rule, _ in asked
                if looks_around(rule, self._connection)
            ]
            joins = {number: self._join(number, rule, tables) for number, rule, _ in asked if rule.kind in _RELATIONS}
            self._joins = "".join(join for join, _ in joins.values())
            differing = {number: broken for number, (_, broken) in joins.items()}
            self.probes = tuple(probes_of(schema, self.shape, self._connection, differing))
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> "Scan":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def check(self) -> Checked:
        """Ask everything, and fetch examples of what is broken."""
        listed = ", ".join(["count(*)", *(probe.figure for probe in self.probes)])
        with watched(self._connection, f"asking {len(self.probes)} rules", self._tell):
            (rows, *figures) = self.ask(f"SELECT {listed} FROM {self.base()}")[0]
        found = self._about_the_whole(rows)
        if rows:
            found += self._broken(figures)
        return Checked(rows, tuple(found))

    def broken_rows(self, rules: Iterable[tuple[str, str]], row: str = "") -> str:
        """Return the SQL of all rows that break one of `rules`, each its name and the SQL condition of its rows.

        A row is given as its value in the column `row`, or else its number from 0, and the names of the rules.
        """
        conditions = ", ".join(f"CASE WHEN {broken} THEN {quoted_text(name)} END" for name, broken in rules)
        number = f'"#{self.shape[row][0]}"' if row else '"#at"'
        listed = f"list_filter([{conditions}], lambda x: x IS NOT NULL) AS rules"
        inner = f"SELECT {number} AS number, *, {listed} FROM {self.base(rows=True)}"
        columns = "number, rules" if row else ", ".join(
            ["number AS \"#row\"", "array_to_string(rules, '; ') AS \"#reasons\""]
            + [f'"#{number}" AS {quoted_name(name)}' for name, (number, _) in self.shape.items()]
        )  # fmt: skip
        return f"SELECT {columns} FROM ({inner}) WHERE len(rules) > 0"

    def write_broken(self, path: Path) -> None:
        """Write all rows that `check` found to break a rule, with number and reasons, as CSV or Parquet by the ending.

        Raises:
            Invalid: the ending is another.
        """
        forms = {".csv": "csv, HEADER", ".parquet": "parquet"}
        if path.suffix not in forms:
            raise Invalid(f"`{path.name}` is no CSV or Parquet file", where=str(path), next_step="name it rows.csv")
        rows = self.broken_rows(self.told or [("", "false")])
        ordered = f"SELECT * FROM ({rows}) ORDER BY 1"
        with watched(self._connection, f"writing {path.name}", self._tell):
            self.ask(f"COPY ({ordered}) TO {quoted_text(str(path))} (FORMAT {forms[path.suffix]})")

    def _about_the_whole(self, rows: int) -> list[Violation]:
        found = []
        schema = self.schema
        if rows < schema.min_rows:
            said = f"{rows} rows where at least {schema.min_rows} are wanted"
            found.append(Violation("", "min_rows", said, 1))
        if schema.max_rows is not None and rows > schema.max_rows:
            said = f"{rows} rows where at most {schema.max_rows} are wanted"
            found.append(Violation("", "max_rows", said, 1))
        for name, rule in schema.columns.items():
            if name not in self.shape:
                said = f"the column is missing. {nearest(name, self.shape)}"
                found.append(Violation(name, "present", said, rows, severity=rule.severity))
        if schema.others is not None:
            for name in self.shape:
                if name not in schema.columns:
                    said = f"the schema names no such column. {nearest(name, schema.columns)}"
                    found.append(Violation(name, "others", said, rows, severity=schema.others))
        return found

    def _broken(self, figures: list[Any]) -> list[Violation]:
        found: list[tuple[Probe, str | None, Violation]] = []
        told = set()
        for probe, figure in zip(self.probes, figures, strict=True):
            verdict = probe.judge(figure)
            # of a column of the wrong type either some values are told, or all of them
            if verdict is not None and (probe.column, probe.rule) not in told:
                told.add((probe.column, probe.rule))
                count, said = verdict
                violation = Violation(probe.column, probe.rule, said, count, severity=probe.severity)
                found.append((probe, probe.condition(figure), violation))
        shown = [(probe, broken) for probe, broken, _ in found if broken is not None]
        if not shown:
            return [violation for *_, violation in found]
        self.told = [(probe.name, broken) for probe, broken in shown]
        with watched(self._connection, "looking for examples", self._tell):
            examples = dict(zip((probe.name for probe, _ in shown), self._examples(shown), strict=True))
        return [_hinted(probe, replace(each, examples=examples.get(probe.name, ()))) for probe, _, each in found]

    def _examples(self, shown: list[tuple[Probe, str]]) -> list[tuple[tuple[int, object], ...]]:
        asked = []
        conditions = []
        for place, (probe, broken) in enumerate(shown):
            conditions.append(f"{broken} AS b{place}")
            places = [f'"#{self.shape[name][0]}"' for name in probe.shown]
            value = places[0] if probe.column else "[" + ", ".join(f"CAST({each} AS VARCHAR)" for each in places) + "]"
            asked.append(
                f"""arg_min([{{'row': "#at", 'value': {value}}}], "#at", {_EXAMPLES}) FILTER (WHERE b{place})"""
            )
        answer = self.ask(
            f"SELECT {', '.join(asked)} FROM (SELECT *, {', '.join(conditions)} FROM {self.base(rows=True)})"
            f" WHERE {' OR '.join(f'b{place}' for place in range(len(shown)))}"
        )[0]
        personal = {name for name, rule in self.schema.columns.items() if rule.personal}
        return [
            tuple((found[0]["row"], _value(probe, found[0]["value"], personal)) for found in each or ())
            for (probe, _), each in zip(shown, answer, strict=True)
        ]

    def base(self, *, rows: bool = False) -> str:
        """Return the table, with the other tables beside it and, if asked for, the row numbers from 0, as SQL."""
        listed = [f'{expression} AS "#{number}"' for number, expression in enumerate(self.source.expressions)]
        scan = self.source.sql
        if rows:
            scan, number = numbered_scan(scan, self.shape)
            listed.append(f'{number} AS "#at"')
        base = f"(SELECT {', '.join(listed)} FROM {scan}) AS base"
        named = [f"{self._plain(name)} AS {quoted_name(name)}" for name in self._named]
        if named:
            base = f"(SELECT *, {', '.join(named)} FROM {base}) AS base"
        if self._around:
            base = f"(SELECT *, {', '.join(self._around)} FROM {base}) AS base"
        return base + self._joins

    def _plain(self, name: str) -> str:
        """Return a column as expressions see it, where a number is always a double: others overflow."""
        value, kind = rule_value(name, self.shape, self.schema)
        return f"CAST({value} AS DOUBLE)" if kind == "number" else value

    def _typed(self, name: str) -> tuple[str, str, str]:
        """Return a column as rules see it, its kind and the engine's type."""
        value, kind = rule_value(name, self.shape, self.schema)
        number = self.shape[name][0]
        return value, kind, self.source.kinds[number] if value == f'"#{number}"' else _ENGINE[kind]

    def _join(self, number: int, rule: Rule, tables: Mapping[str, "Columns | Path"]) -> tuple[str, str]:
        where = f"rules.{rule.name}"
        other = tables[rule.other] if rule.other in tables else _beside(rule, self.schema.folder, where)
        source, shape = _source(self._connection, other, f"other{number}", rule.there)
        seen = [self._typed(name) for name in rule.columns]
        for (here, there), (_, one, _) in zip(zip(rule.columns, rule.there, strict=True), seen, strict=True):
            if there not in shape:
                raise Invalid(f"`{rule.other}` has no column `{there}`", where=where, next_step=nearest(there, shape))
            two = shape[there][1].replace("written", "string")
            if one != two:
                said = f"`{here}` is a {one} and `{there}` of `{rule.other}` a {two}"
                raise Invalid(said, where=where, next_step="give both the same type")
        listed = ", ".join(f"{source.expressions[place]} AS {quoted_name(name)}" for name, (place, _) in shape.items())
        kinds = [source.kinds[shape[name][0]] for name in rule.there]
        scan = f"(SELECT {listed} FROM {source.sql})"
        return other_join(number, scan, rule, [(value, kind) for value, _, kind in seen], kinds)

    def ask(self, query: str) -> list[Any]:
        """Run a query on `base` and return its rows; what the engine says about it becomes an error of ours."""
        try:
            return self._connection.execute(query).fetchall()
        except (duckdb.BinderException, duckdb.CatalogException, duckdb.ConversionException) as error:
            is_value = self._is_personal and isinstance(error, duckdb.ConversionException)
            said = without_value(error) if is_value else str(error).strip().splitlines()[0]
            raise Invalid(f"A rule cannot be asked: {said}", where="the schema", next_step="mend the rule") from (
                None if is_value else error
            )
        except duckdb.Error as error:
            if self._is_personal and not isinstance(error, (duckdb.IOException, duckdb.OutOfMemoryException)):
                said = f"A rule cannot be asked: {without_value(error)}"
                raise Invalid(said, where="the schema", next_step="mend the rule, or the table") from None
            if isinstance(self._table, Path):
                raise unreadable(self._table, error) from error
            said = str(error).strip().splitlines()[0]
            raise Invalid(f"A rule cannot be asked: {said}", where="the schema", next_step="mend the rule") from error


@dataclass(frozen=True, slots=True)
class _Source:
    """What to select from, and for each column the expression that gives it, and the engine's type of that.

    They are in the convention of `table`, but for numbers that must not be rounded.
    """

    sql: str
    expressions: tuple[str, ...]
    kinds: tuple[str, ...]


def _told_apart(schema: Schema) -> set[str]:
    """Return the columns whose values must not be rounded, for a rule asks which are equal."""
    found = {name for rule in schema.rules if rule.kind in ("unique", *_RELATIONS) for name in rule.columns}
    return found | {name for name, rule in schema.columns.items() if rule.unique}


def _source(
    connection: "duckdb.DuckDBPyConnection", table: "Columns | Path", alias: str, exact: Collection[str]
) -> tuple[_Source, Shape]:
    if isinstance(table, Path):
        sql, described = settled_scan(connection, table)
        cast = [exact_sql(name, kind) if name in exact else cast_sql(name, kind) for name, kind in described]
        untyped = sql.startswith("read_csv")
        kinds = ["written" if untyped and each[1] == "string" else each[1] for each in cast]
        shape = {name: (number, kinds[number]) for number, (name, _) in enumerate(described)}
        engines = tuple(each[2] if len(each) > 2 else _ENGINE[each[1]] for each in cast)
        return _Source(sql, tuple(each[0] for each in cast), engines), shape
    shape = {name: (number, _KINDS[array.dtype.kind]) for number, (name, array) in enumerate(table.items())}
    engines = tuple(_ENGINE[kind] for _, kind in shape.values())
    if not table or not len(next(iter(table.values()))):  # the engine takes no empty arrays for a table
        return _Source(f"(SELECT {', '.join(['1 AS a', *(f'NULL AS c{n}' for n in range(len(table)))])} LIMIT 0)",
                       tuple(f"CAST(NULL AS {each})" for each in engines), engines), shape  # fmt: skip
    connection.register(alias, {f"c{number}": array for number, array in enumerate(table.values())})
    casts = {"O": "CAST({} AS VARCHAR)", "f": "{}", "M": "{}"}
    expressions = tuple(casts[array.dtype.kind].format(f"c{number}") for number, array in enumerate(table.values()))
    return _Source(alias, expressions, engines), shape


#: What an array of each kind holds, and the engine's types for that.
_KINDS = {"O": "string", "f": "number", "M": "timestamp"}
_ENGINE = {"string": "VARCHAR", "number": "DOUBLE", "timestamp": "TIMESTAMP"}


def _beside(rule: Rule, folder: Path | None, where: str) -> Path:
    if folder is not None and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", rule.other):
        for ending in _ENDINGS:
            if (folder / f"{rule.other}{ending}").is_file():
                return folder / f"{rule.other}{ending}"
    raise NotFound(
        f"There is no table `{rule.other}`",
        where=where,
        next_step=f"put {rule.other}.parquet or {rule.other}.csv beside the schema, or hand the table over by name",
    )


def _hinted(probe: Probe, violation: Violation) -> Violation:
    if not probe.known or not violation.examples or violation.examples[0][1] == _PERSONAL:
        return violation
    hint = nearest(str(violation.examples[0][1]), probe.known)
    return replace(violation, message=f"{violation.message}. {hint}")


def _value(probe: Probe, value: Any, personal: Collection[str]) -> object:  # what the engine gives for a cell
    if probe.column:
        shown = str(value) if isinstance(value, Decimal) else value
        return _PERSONAL if probe.column in personal else shown
    return {name: _PERSONAL if name in personal else each for name, each in zip(probe.shown, value, strict=True)}
