"""What is in a table, for people who look before they learn: a few scans of a file, however large it is.

Everything is an aggregate that the engine computes while the rows stream by, so memory does not grow with them. The
first scan finds types, ranges, quantiles and the commonest values; the second counts by them; with a target, a third
looks at its mean in the groups of each column. Counts are exact; quantiles and numbers of distinct values are
estimates (t-digest, HyperLogLog), within about two per cent.

Sources: Dunning and Ertl 2019, "Computing extremely accurate quantiles using t-digests"; Flajolet et al. 2007,
"HyperLogLog"; correlation ratio: Fisher 1925, "Statistical methods for research workers", section 45; population
stability index: Yurdakul 2018, "Statistical properties of population stability index".
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb

from mainspring.artifacts.scratch import scratch_folder
from mainspring.data.overview_page import ColumnOverview, Group, Kind, Overview, Relation
from mainspring.data.table import cast_sql, connect, quoted_name, quoted_text, settled_scan, unreadable
from mainspring.data.watching import Tell, untold, watched
from mainspring.data.wide import Narrowed, narrowed
from mainspring.errors import Invalid, nearest

__all__ = ["overview"]

_BINS = 24
_TOP = 8
#: Between the places of one column and of the next; more than there are bins or common values.
_STRIDE = 32
#: Numeric columns of which every pair is correlated.
_MOST_CORRELATED = 20
_QUANTILES = (0.01, 0.05, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 0.95, 0.99)
_FLOOR = 1e-4


def overview(path: Path, *, target: str = "", against: Path | None = None, tell: Tell = untold) -> Overview:
    """Look at a CSV, TSV, Parquet, JSON or JSON-lines file of any size.

    With a `target` each column is told how it goes with it; with `against`, how far this table has moved from that one.
    `tell` is called with what is being done, and which share of it is.

    Raises:
        NotFound, Invalid: the file cannot be read, holds no rows, or has no such target.
    """
    with connect() as connection, scratch_folder() as scratch:
        try:
            tell(f"reading the types of {path.name}", 0.0)
            scan, described = settled_scan(connection, path)
            source = narrowed(connection, path, scan, len(described), scratch, tell)
            return _look(connection, path, source, described, target, against, scratch, tell)
        except duckdb.Error as error:
            raise unreadable(path, error) from error


def _look(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    source: Narrowed,
    described: list[tuple[str, str]],
    target: str,
    against: Path | None,
    scratch: Path,
    tell: Tell,
) -> Overview:
    scan, at_once = source
    names = [name for name, _ in described]
    if target and target not in names:
        raise Invalid(f"There is no column `{target}`", where="target", next_step=nearest(target, names))
    rows = 0
    columns: list[ColumnOverview] = []
    for start in range(0, len(described), at_once):
        with watched(connection, f"first scan: ranges and commonest values (columns {start + 1} and on)", tell):
            rows, found = _first(connection, scan, described[start : start + at_once])
        columns += found
    if not rows:
        raise Invalid(f"`{path.name}` holds no rows", where=str(path), next_step="give a file with at least one row")
    goal, classes = _goal(columns, target)
    done: list[ColumnOverview] = []
    for start in range(0, len(columns), at_once):
        with watched(connection, f"second scan: counts of {rows:,} rows (columns {start + 1} and on)", tell):
            found = _second(connection, scan, columns[start : start + at_once])
        with watched(connection, f"the target by columns {start + 1} and on", tell):
            done += _related(connection, scan, found, goal, target) if goal else found
    with watched(connection, "correlations", tell):
        pairs = _correlations(connection, scan, done)
    if against is not None:
        with watched(connection, f"comparing with {against.name}", tell):
            done = _drifted(connection, against, done, scratch)
    return Overview(path.name, rows, tuple(done), pairs, target, classes, against.name if against else "")


def _first(
    connection: duckdb.DuckDBPyConnection, scan: str, described: list[tuple[str, str]]
) -> tuple[int, list[ColumnOverview]]:
    wanted = ["count(*)"]
    spans = []
    for name, engine_type in described:
        aggregates = _first_aggregates(_sql_of(name, engine_type), _kind_of(name, engine_type))
        spans.append((len(wanted), len(wanted) + len(aggregates)))
        wanted += aggregates
    row = connection.execute(f"SELECT {', '.join(wanted)} FROM {scan}").fetchall()[0]
    rows = row[0]
    found = [
        _described(name, engine_type, rows, row[start:end])
        for (name, engine_type), (start, end) in zip(described, spans, strict=True)
    ]
    return rows, found


def _first_aggregates(value: str, kind: Kind) -> list[str]:
    counted = [f"count({value})", f"approx_count_distinct({value})"]
    if kind == "string":
        return [*counted, f"approx_top_k({value}, {_TOP})"]
    if kind == "timestamp":
        return [*counted, f"min({value})", f"max({value})"]
    if kind == "boolean":
        return counted
    finite = f"FILTER (WHERE isfinite({value}))"
    return [
        *counted,
        f"min({value})",
        f"max({value})",
        f"avg({value}) {finite}",
        f"stddev_samp({value}) {finite}",
        f"count_if({value} = 0)",
        f"approx_quantile({value}, {list(_QUANTILES)}) {finite}",
    ]


def _described(name: str, engine_type: str, rows: int, found: Sequence[Any]) -> ColumnOverview:
    kind = _kind_of(name, engine_type)
    column = ColumnOverview(name, kind, engine_type, rows - found[0], found[1])
    if kind == "string":
        return replace(column, top=tuple(Group(value, 0) for value in found[2] or ()))
    if kind == "timestamp":
        return replace(column, minimum=_text(found[2]), maximum=_text(found[3]))
    if kind == "boolean":
        return replace(column, top=(Group("true", 0), Group("false", 0)))
    low, high, mean, deviation, zeros, quantiles = found[2:]
    known = dict(zip(_QUANTILES, quantiles or (), strict=False))
    column = replace(column, minimum=low, maximum=high, mean=mean, deviation=deviation, zeros=zeros)
    return replace(
        column,
        quantiles={f"{share:g}": value for share, value in known.items()},
        low=known.get(_QUANTILES[0]),
        high=known.get(_QUANTILES[-1]),
    )


def _goal(columns: Sequence[ColumnOverview], target: str) -> tuple[str, tuple[str, ...]]:
    """Return the target as a number in SQL, and the classes of one that is text."""
    column = next((each for each in columns if each.name == target), None)
    if column is None:
        return "", ()
    value = _sql_of(column.name, column.engine_type)
    if column.type == "number":
        return value, ()
    if column.type == "boolean":
        return f"CAST({value} AS DOUBLE)", ("false", "true")
    if column.type == "timestamp":
        raise Invalid(f"`{target}` is a moment", where="target", next_step="give a number, a truth value or a class")
    classes = tuple(sorted(group.label for group in column.top))
    return f"CAST({value} = {quoted_text(classes[-1])} AS DOUBLE)" if classes else "", classes


def _second(
    connection: duckdb.DuckDBPyConnection, scan: str, columns: Sequence[ColumnOverview]
) -> list[ColumnOverview]:
    done = []
    for column, counts in zip(columns, _count(connection, scan, columns), strict=True):
        if column.low is not None:
            column = replace(column, bins=tuple(counts.get(at, 0) for at in range(_BINS)))
        elif column.top:
            top = [replace(group, rows=counts.get(at, 0)) for at, group in enumerate(column.top)]
            column = replace(column, top=tuple(sorted(top, key=lambda group: -group.rows)))
        done.append(column)
    return done


def _count(connection: duckdb.DuckDBPyConnection, scan: str, columns: Sequence[ColumnOverview]) -> list[dict[int, int]]:
    """Return of each column how many rows there are in each bin, or with each of its common values, by their places.

    The engine makes a table of all rows first for its own `histogram`, and spills it; rows that are told once for each
    column are counted as they stream by.
    """
    counts: list[dict[int, int]] = [{} for _ in columns]
    cases = [f"{number * _STRIDE} + {place}" for number, column in enumerate(columns) if (place := _place_sql(column))]
    if cases:
        told = f"SELECT unnest([{', '.join(cases)}]) AS place FROM {scan}"
        query = f"SELECT place, count(*) FROM ({told}) WHERE place IS NOT NULL GROUP BY place"
        for place, rows in connection.execute(query).fetchall():
            counts[place // _STRIDE][place % _STRIDE] = rows
    return counts


def _related(
    connection: duckdb.DuckDBPyConnection, scan: str, columns: Sequence[ColumnOverview], goal: str, target: str
) -> list[ColumnOverview]:
    """Look at the target's mean in the groups of every column, all in one scan."""
    chosen = {each.name: _groups_sql(each) for each in columns if each.name != target}
    chosen = {name: groups for name, groups in chosen.items() if groups}
    if not chosen:
        return list(columns)
    groups_of: dict[str, list[Group]] = {name: [] for name in chosen}
    places: list[tuple[str, str]] = []
    cases = []
    for name, groups in chosen.items():
        whens = " ".join(f"WHEN {where} THEN {at}" for at, (_, where) in enumerate(groups, len(places)))
        cases.append(f"CASE {whens} END")
        places += [(name, label) for label, _ in groups]
    # each row is counted once for each column, and once for all; the engine's grouping sets would keep all rows first
    told = f"SELECT {goal} AS t, unnest([{', '.join([*cases, '-1'])}]) AS place FROM {scan}"
    query = f"SELECT place, count(*), avg(t), var_pop(t) FROM ({told}) WHERE t IS NOT NULL GROUP BY place"
    labelled, mean, variance = 0, 0.0, 0.0
    for place, count, inside, spread in connection.execute(query).fetchall():
        if place == -1:
            labelled, mean, variance = count, inside, spread
        elif place is not None:
            name, label = places[place]
            groups_of[name].append(Group(label, count, inside))
    return [
        replace(each, relation=_relation(chosen[each.name], groups_of[each.name], mean, variance, labelled))
        if each.name in chosen
        else each
        for each in columns
    ]


def _place_sql(column: ColumnOverview) -> str:
    """Return SQL of the bin that a value falls into, or of its place among the common values."""
    value = _sql_of(column.name, column.engine_type)
    if column.low is not None and column.high is not None:
        return _bin_sql(value, column.low, column.high)
    labels = [group.label for group in column.top]
    if column.type == "boolean":
        return f"CASE WHEN {value} THEN {labels.index('true')} WHEN NOT {value} THEN {labels.index('false')} END"
    if not labels:
        return ""
    return f"CASE {value} {' '.join(f'WHEN {quoted_text(label)} THEN {at}' for at, label in enumerate(labels))} END"


def _bin_sql(value: str, low: float, high: float) -> str:
    width = (high - low) / _BINS
    if not width > 0 or not math.isfinite(width):
        return f"CASE WHEN {value} IS NOT NULL THEN 0 END"
    at = f"floor(({value} - {low!r}) / {width!r})"
    # the engine's `least` and `greatest` look past what is missing
    return f"CASE WHEN {value} IS NOT NULL THEN CAST(greatest(0, least({_BINS - 1}, {at})) AS INTEGER) END"


def _groups_sql(column: ColumnOverview) -> list[tuple[str, str]]:
    """Return what the target is looked at by: eighths of a number, the common values of a text; each with SQL."""
    value = _sql_of(column.name, column.engine_type)
    missing = [("missing", f"{value} IS NULL")] if column.missing else []
    if column.type == "boolean":
        return [("true", value), ("false", f"NOT {value}"), *missing]
    if column.type == "string":
        common = [(group.label, f"{value} = {quoted_text(group.label)}") for group in column.top]
        return [*common, ("others", f"{value} NOT IN ({_listed(column)})"), *missing] if common else missing
    cuts = sorted({column.quantiles[f"{share / 8:g}"] for share in range(1, 8)}) if column.quantiles else []
    if not cuts:
        return missing
    if column.engine_type not in ("FLOAT", "DOUBLE"):  # a quantile between whole numbers parts them no further
        cuts = sorted({math.floor(cut) for cut in cuts})
    ranges = [(f"up to {cuts[0]:.6g}", f"{value} <= {cuts[0]!r}")]
    ranges += [
        (f"{low:.6g} to {high:.6g}", f"{value} > {low!r} AND {value} <= {high!r}") for low, high in pairwise(cuts)
    ]
    return [*ranges, (f"above {cuts[-1]:.6g}", f"{value} > {cuts[-1]!r}"), *missing]


def _relation(
    wanted: list[tuple[str, str]], found: list[Group], mean: float, variance: float, labelled: int
) -> Relation:
    order = [label for label, _ in wanted]
    groups = tuple(sorted(found, key=lambda group: order.index(group.label)))
    if not variance or not labelled:
        return Relation(0.0, groups)
    between = sum(group.rows * ((group.target or 0.0) - mean) ** 2 for group in groups)
    return Relation(min(1.0, between / (labelled * variance)), groups)


def _correlations(
    connection: duckdb.DuckDBPyConnection, scan: str, columns: Sequence[ColumnOverview]
) -> tuple[tuple[str, str, float], ...]:
    """Return the pairs of numeric columns that go together most, by Pearson's coefficient."""
    numbers = [each for each in columns if each.type == "number" and each.deviation][:_MOST_CORRELATED]
    pairs = [(one, other) for at, one in enumerate(numbers) for other in numbers[at + 1 :]]
    if not pairs:
        return ()
    values = {each.name: f"CASE WHEN isfinite({v}) THEN {v} END" for each in numbers if (v := _value(each))}
    wanted = ", ".join(f"corr({values[one.name]}, {values[other.name]})" for one, other in pairs)
    row = connection.execute(f"SELECT {wanted} FROM {scan}").fetchall()[0]
    found = [
        (one.name, other.name, value)
        for (one, other), value in zip(pairs, row, strict=True)
        if value is not None and math.isfinite(value)
    ]
    return tuple(sorted(found, key=lambda each: -abs(each[2])))


def _drifted(
    connection: duckdb.DuckDBPyConnection, against: Path, columns: Sequence[ColumnOverview], scratch: Path
) -> list[ColumnOverview]:
    """Count the other table by the same bins and values, and say how far this one is from it."""
    scan, described = settled_scan(connection, against)
    scan, at_once = narrowed(connection, against, scan, len(described), scratch)
    types = dict(described)
    shared = [each for each in columns if each.name in types and _kind_of(each.name, types[each.name]) == each.type]
    done = {each.name: each for each in columns}
    for start in range(0, len(shared), at_once):
        chunk = [replace(each, engine_type=types[each.name]) for each in shared[start : start + at_once]]
        wanted = ", ".join(["count(*)", *(f"count({_value(each)})" for each in chunk)])
        (rows, *present) = connection.execute(f"SELECT {wanted} FROM {scan}").fetchall()[0]
        for each, known, then in zip(chunk, present, _count(connection, scan, chunk), strict=True):
            now = list(each.bins) or [group.rows for group in each.top]
            if now:
                there = sum(now) + each.missing
                rest = [max(0, _rows(columns, each) - there), max(0, known - sum(then.values()))]
                pairs = [(count, then.get(at, 0)) for at, count in enumerate(now)]
                pairs += [(each.missing, rows - known), (rest[0], rest[1])]
                done[each.name] = replace(done[each.name], drift=_psi(pairs))
    return list(done.values())


def _rows(columns: Sequence[ColumnOverview], column: ColumnOverview) -> int:
    """Return the rows of the table, by a column whose bins hold all of them, or else by the column itself."""
    full = next((each for each in columns if each.bins), None)
    return sum(full.bins) + full.missing if full else sum(group.rows for group in column.top) + column.missing


def _psi(pairs: Sequence[tuple[int, int]]) -> float:
    now, then = sum(one for one, _ in pairs), sum(other for _, other in pairs)
    if not now or not then:
        return math.inf
    total = 0.0
    for one, other in pairs:
        p, q = max(one / now, _FLOOR), max(other / then, _FLOOR)
        total += (p - q) * math.log(p / q)
    return total


def _kind_of(name: str, engine_type: str) -> Kind:
    if engine_type == "BOOLEAN":
        return "boolean"
    kind: Any = cast_sql(name, engine_type)[1]
    return kind  # type: ignore[no-any-return]  # cast_sql names three of the four


def _sql_of(name: str, engine_type: str) -> str:
    return quoted_name(name) if engine_type == "BOOLEAN" else cast_sql(name, engine_type)[0]


def _value(column: ColumnOverview) -> str:
    return _sql_of(column.name, column.engine_type)


def _listed(column: ColumnOverview) -> str:
    return ", ".join(quoted_text(group.label) for group in column.top)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
