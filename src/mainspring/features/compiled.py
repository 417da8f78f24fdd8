"""A view over a source as one SQL query: the same text computes what is trained on and what is served.

An expression is checked by its syntax tree before it runs. It may name columns of the source, call functions whose
answer depends on nothing but their arguments, and look at other rows through the windows of its view. All of these end
at the row itself; what would still see behind it (`lead`, a share of the whole partition, a window of one's own) is
refused, and so is what would come out differently in another run (the clock, random numbers, the order of equal times).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from mainspring.data.expressions import expression_nodes, named_columns, nodes_of
from mainspring.data.table import connect, numbered_scan, quoted_name, settled_scan, without_value
from mainspring.domain.signature import ColumnType
from mainspring.errors import Invalid, nearest
from mainspring.features.view import HISTORY, FeatureView

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["Compiled", "compile_view", "interval_sql", "key_sql", "moment_sql", "time_sql", "uncomputable"]

_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
             "UHUGEINT")  # fmt: skip
_TEXTS = ("VARCHAR", "UUID", "ENUM")
_MOMENTS = ("TIMESTAMP", "DATE")
#: Which of the engine's types, by how their names begin, are what to us.
_STARTS: dict[ColumnType, tuple[str, ...]] = {
    "boolean": ("BOOLEAN",),
    "integer": _INTEGERS,
    "number": ("DOUBLE", "FLOAT", "DECIMAL"),
    "string": _TEXTS,
    "timestamp": _MOMENTS,
}
_SQL: dict[ColumnType, str] = {
    "integer": "BIGINT",
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
    "string": "VARCHAR",
    "timestamp": "TIMESTAMP",
}
#: What an expression may be made of; anything else is refused, so that a new kind of node is no way around.
_CLASSES = frozenset(
    {"BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "FUNCTION", "LAMBDA",
     "OPERATOR", "TYPE", "WINDOW"}
)  # fmt: skip
#: Window functions that see the rows up to this one, and no others.
_BACKWARD = frozenset({"lag", "row_number", "rank", "dense_rank", "first_value", "last_value", "nth_value"})
#: Aggregates that come out differently when rows of the same time change places.
_ORDERED = frozenset(
    {"any_value", "arbitrary", "arg_max", "arg_max_null", "arg_min", "arg_min_null", "array_agg", "first",
     "group_concat", "last", "list", "listagg", "max_by", "min_by", "mode", "string_agg"}
)  # fmt: skip
#: Aggregates that guess, each time differently.
_GUESSES = frozenset({"approx_quantile", "approx_top_k", "reservoir_quantile"})
_SPEC = ("partitions", "orders", "start", "end", "start_expr", "end_expr", "exclude_clause")


@dataclass(frozen=True, slots=True)
class Compiled:
    """A view whose expressions fit its source.

    `scan` reads its source and `base` is the query for its rows; `key_kinds` and `kinds` are the types of its keys and
    features, `columns` those of the source that decide a value. It `looks_back` when a value hangs on earlier rows.
    """

    view: FeatureView
    scan: str
    base: str
    key_kinds: tuple[ColumnType, ...]
    kinds: tuple[ColumnType, ...]
    columns: tuple[str, ...]
    looks_back: bool

    @property
    def keys(self) -> list[str]:
        """The names of the keys in the queries."""
        return [f"k{number}" for number in range(len(self.view.keys))]

    def newest_sql(self, *, until: datetime, among: str = "") -> str:
        """Return the query for k0, k1, ..., t and f0, f1, ... of the last row of each entity that is known by `until`.

        `among` is a table of keys that are wanted.
        """
        shown = [f"{own} AS {key}" for own, key in zip(self._own, self.keys, strict=True)] + ['"#t" AS t']
        known = f'"#t" <= {moment_sql(until - self.view.delay)}'
        return f'{self._rows(shown, among, known)} QUALIFY lead("#t") OVER {HISTORY} IS NULL'

    def found_sql(self, *, among: str) -> str:
        """Return the query for k0, k1, ..., t and i: the number of the row that counts for an entity from a time on.

        Of rows of one entity and one time that is the last in the source.
        """
        shown = ", ".join(f"{own} AS {key}" for own, key in zip(self._own, self.keys, strict=True))
        wanted = " AND ".join(self._wanted(among))
        return f'SELECT {shown}, "#t" AS t, max("#i") AS i FROM ({self.base}) WHERE {wanted} GROUP BY ALL'

    def values_sql(self, *, among: str) -> str:
        """Return the query for i and f0, f1, ...: the number of each row of the source, and its values.

        Rows of keys that are not `among` those wanted may be there too.
        """
        return self._rows(['"#i" AS i'], among if self.looks_back else "")

    @property
    def _own(self) -> list[str]:
        return [f'"#{key}"' for key in self.keys]

    def _wanted(self, among: str) -> list[str]:
        """Return the conditions of the rows that say something about an entity at a time."""
        wanted = [f"{each} IS NOT NULL" for each in (*self._own, '"#t"')]
        if among:
            listed = ", ".join(self.keys)
            keys = listed if len(self.keys) == 1 else f"({listed})"
            wanted.append(f"({', '.join(self._own)}) IN (SELECT {keys} FROM {among})")
        return wanted

    def _rows(self, shown: list[str], among: str, *wanted: str) -> str:
        """Return the query for what is `shown` of the rows and for their values, computed among the rows `wanted`."""
        values = [
            f"CAST(({text}) AS {_SQL[kind]}) AS f{number}"
            for number, (text, kind) in enumerate(zip(self.view.features.values(), self.kinds, strict=True))
        ]
        conditions = " AND ".join([*self._wanted(among), *wanted])
        return f"SELECT {', '.join(shown + values)} FROM ({self.base}) WHERE {conditions} {_windows(self.view)}"

    def keys_sql(self, *, since: datetime, until: datetime) -> str:
        """Return the query for the keys with rows that became known behind `since` and by `until`."""
        delay = self.view.delay
        shown = ", ".join(f'"#{key}" AS {key}' for key in self.keys)
        known = f'"#t" > {moment_sql(since - delay)} AND "#t" <= {moment_sql(until - delay)}'
        return f"(SELECT DISTINCT {shown} FROM ({self.base}) WHERE {known})"


def compile_view(view: FeatureView, connection: "DuckDBPyConnection", source: Path) -> Compiled:
    """Check a view against the file of its source.

    Raises:
        NotFound: there is no such file.
        Invalid: a column is missing or of an unfit type, or an expression is none, does not fit the columns, or sees
            more than its row and what came before.
    """
    scan, described = settled_scan(connection, source)
    where = f"view {view.name}"
    types = dict(described)
    for name in types:
        if name.startswith("#"):
            raise Invalid(f"The source has a column `{name}`", where=where, next_step="rename it: # is for our own")
    for name in (*view.keys, view.time):
        if name not in types:
            raise Invalid(f"The source has no column `{name}`", where=where, next_step=nearest(name, types))
    key_kinds = tuple(_key_kind(name, types[name], where) for name in view.keys)
    moment = time_sql(view.time, types[view.time], where)
    shown = _shown_windows(view, connection)
    columns, looks_back = dict.fromkeys([*view.keys, view.time]), False
    for name, text in view.features.items():
        named, around = _check(text, view, types, shown, connection, where=f"{where}.{name}")
        columns |= dict.fromkeys(named)
        looks_back = looks_back or around
    base = _base(view, *numbered_scan(scan, types), moment, key_kinds)
    kinds = tuple(
        _kind_of(text, view, base, connection, where=f"{where}.{name}") for name, text in view.features.items()
    )
    return Compiled(view, scan, base, key_kinds, kinds, tuple(columns), looks_back)


def uncomputable(error: duckdb.Error, where: str) -> Invalid:
    """Return what to raise when the engine cannot compute a view's values, none of which is repeated."""
    is_value = isinstance(error, (duckdb.ConversionException, duckdb.InvalidInputException, duckdb.OutOfRangeException))
    told = without_value(error) if is_value else str(error).partition("\nLINE 1:")[0].strip()
    next_step = "mend the rows or the expression: TRY_CAST gives a missing value where CAST fails"
    return Invalid(f"The features cannot be computed: {told}", where=where, next_step=next_step)


def key_sql(name: str, kind: ColumnType, found: str, where: str) -> str:
    """Return a key column of an entity table in the type it has in the source.

    Raises:
        Invalid: it is of another kind there.
    """
    there = _key_kind(name, found, where)
    if there != kind:
        raise Invalid(
            f"The key `{name}` holds {there} values here and {kind} ones in the source",
            where=where,
            next_step="give both the same type",
        )
    return f"CAST({quoted_name(name)} AS {_SQL[kind]})"


def time_sql(name: str, found: str, where: str) -> str:
    """Return a time column as a moment in UTC.

    Raises:
        Invalid: it holds no moments.
    """
    if not found.startswith(_MOMENTS):
        raise Invalid(f"The column `{name}` holds no moments but {found}", where=where, next_step="parse it first")
    if not found.endswith("TIME ZONE"):
        return f"CAST({quoted_name(name)} AS TIMESTAMP)"
    # with a time zone the cast asks a calendar for each value; by its number a moment takes a tenth, but for infinity
    return f"coalesce(make_timestamp(epoch_us({quoted_name(name)})), CAST({quoted_name(name)} AS TIMESTAMP))"


def moment_sql(moment: datetime) -> str:
    """Return an aware moment as SQL."""
    return f"make_timestamp({(moment - datetime.fromisoformat('1970-01-01T00:00Z')) // timedelta(microseconds=1)})"


def interval_sql(duration: timedelta) -> str:
    """Return a duration as SQL."""
    return f"to_microseconds({duration // timedelta(microseconds=1)})"


def _base(view: FeatureView, scan: str, number: str, moment: str, key_kinds: Sequence[ColumnType]) -> str:
    """Return the rows of the source with our own columns beside theirs: keys, time and number of the row."""
    cast = [
        f'CAST({quoted_name(name)} AS {_SQL[kind]}) AS "#k{number}"'
        for number, (name, kind) in enumerate(zip(view.keys, key_kinds, strict=True))
    ]
    return f'SELECT *, {number} AS "#i", {", ".join(cast)}, {moment} AS "#t" FROM {scan}'


def _windows(view: FeatureView) -> str:
    parts = ", ".join(f'"#k{number}"' for number in range(len(view.keys)))
    # Where rows are counted, those of one time need an order too; a span of time takes all of them in any order.
    said = {HISTORY: f'PARTITION BY {parts} ORDER BY "#t", "#i" ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW'}
    for name, reach in view.windows.items():
        if isinstance(reach, int):
            said[name] = f'PARTITION BY {parts} ORDER BY "#t", "#i" ROWS BETWEEN {reach - 1} PRECEDING AND CURRENT ROW'
        else:
            said[name] = (
                f'PARTITION BY {parts} ORDER BY "#t" RANGE BETWEEN {interval_sql(reach)} PRECEDING AND CURRENT ROW'
            )
    return "WINDOW " + ", ".join(f"{quoted_name(name)} AS ({text})" for name, text in said.items())


def _shown_windows(view: FeatureView, connection: "DuckDBPyConnection") -> dict[str, str]:
    """Return each window as a syntax tree shows it, with its name."""
    clause = _windows(view)
    shown = {}
    for name in (HISTORY, *view.windows):
        nodes = expression_nodes(f"count(*) OVER {quoted_name(name)}", connection, where="windows", windows=clause)
        shown[_spec(next(node for node in nodes if node.get("class") == "WINDOW"))] = name
    return shown


def _spec(node: Mapping[str, Any]) -> str:
    def bare(tree: Any) -> Any:  # what JSON holds
        if isinstance(tree, dict):
            return {key: bare(each) for key, each in tree.items() if not key.startswith("query_location")}
        return [bare(each) for each in tree] if isinstance(tree, list) else tree

    return json.dumps([bare(node.get(part)) for part in _SPEC])


def _check(
    text: str,
    view: FeatureView,
    types: Mapping[str, str],
    shown: Mapping[str, str],
    connection: "DuckDBPyConnection",
    *,
    where: str,
) -> tuple[tuple[str, ...], bool]:
    """Return the columns that an expression names and whether it looks back; raise when it may see what comes later."""
    nodes = expression_nodes(text, connection, where=where, windows=_windows(view))
    ours: set[int] = set()  # the nodes that stand in the definition of a window
    for node in nodes:
        if node.get("class") == "WINDOW":
            _check_window(node, view, shown, where)
            ours.update(id(each) for part in _SPEC for each in nodes_of(node.get(part)))
    nodes = [node for node in nodes if id(node) not in ours]
    named = named_columns(nodes, text, types, where=where)
    aggregates, unsteady = _functions()
    for node in nodes:
        kind, name = node.get("class"), str(node.get("function_name", "")).lower()
        if kind is not None and kind not in _CLASSES:
            raise Invalid(f"`{text}` holds a {str(kind).lower()}", where=where, next_step="write a plain expression")
        if kind == "FUNCTION" and name in aggregates:
            raise Invalid(
                f"`{name}` takes all rows together",
                where=where,
                next_step=f"say over which: {name}(...) OVER {HISTORY}",
            )
        if kind in ("FUNCTION", "WINDOW") and (name in unsteady or name in _GUESSES):
            raise Invalid(
                f"`{name}` does not give the same answer every time",
                where=where,
                next_step="use columns of the source alone",
            )
        if kind == "FUNCTION" and name == "age" and len(node.get("arguments") or node.get("children") or ()) < 2:
            raise Invalid("`age` of one moment asks the clock", where=where, next_step="give two moments")
    return named, bool(ours)


def _check_window(node: Mapping[str, Any], view: FeatureView, shown: Mapping[str, str], where: str) -> None:
    name = str(node.get("function_name", "")).lower()
    window = shown.get(_spec(node))
    if window is None:
        raise Invalid(
            f"`{name}` looks through a window of its own, which may see the future",
            where=where,
            next_step=f"name one: OVER {HISTORY}, or declare it: windows={{'week': '7d'}}",
        )
    aggregate = node.get("type") == "WINDOW_AGGREGATE"
    if not aggregate and (name not in _BACKWARD or node.get("arg_orders") or not _looks_back(name, node)):
        raise Invalid(f"`{name}` sees rows that come later", where=where, next_step="use lag, or an aggregate")
    if isinstance(view.windows.get(window), timedelta) and (not aggregate or name in _ORDERED):
        raise Invalid(
            f"`{name}` asks for an order, which rows of the same time do not have in `{window}`",
            where=where,
            next_step=f"use {HISTORY} or a window of so many rows",
        )


def _looks_back(name: str, node: Mapping[str, Any]) -> bool:
    """Whether the row that a function points at is not behind the current one; that of `lag` may be computed."""
    if name != "lag":
        return True
    held: Sequence[Mapping[str, Any]] = node.get("arguments") or ()
    offsets = [each.get("expression", each) for each in held[1:2]]
    offsets += [each for each in (node.get("offset_expr"),) if each]
    literals = [each.get("literal", {}) for each in offsets]
    return all(each.get("kind") == "INTEGER" and str(each.get("text", "-")).isdigit() for each in literals)


def _key_kind(name: str, found: str, where: str) -> ColumnType:
    if found in _INTEGERS:
        return "integer"
    if found.startswith(_TEXTS):
        return "string"
    raise Invalid(
        f"The key `{name}` is {found}", where=where, next_step="keys are whole numbers or text; cast it in the source"
    )


def _kind_of(text: str, view: FeatureView, base: str, connection: "DuckDBPyConnection", *, where: str) -> ColumnType:
    try:
        described = connection.execute(f"DESCRIBE SELECT ({text}) AS f FROM ({base}) {_windows(view)}").fetchall()
    except duckdb.Error as error:
        told = str(error).partition("\nLINE 1:")[0].strip()
        raise Invalid(f"`{text}` does not fit the source: {told}", where=where, next_step="mend it") from error
    found = str(described[0][1])
    for kind, starts in _STARTS.items():
        if not found.endswith("]") and found.startswith(starts):
            return kind
    raise Invalid(
        f"`{text}` is {found}", where=where, next_step="make it a number, a truth value, a text or a moment: CAST"
    )


@cache
def _functions() -> tuple[frozenset[str], frozenset[str]]:
    """Return the engine's aggregates, and the functions that ask more than their arguments."""
    with connect() as connection:
        rows = connection.execute(
            "SELECT lower(function_name), bool_and(function_type = 'aggregate'),"
            " bool_or(stability = 'CONSISTENT' OR function_type = 'macro') FROM duckdb_functions()"
            " WHERE function_type IN ('scalar', 'aggregate', 'macro') GROUP BY 1"
        ).fetchall()
    return frozenset(row[0] for row in rows if row[1]), frozenset(row[0] for row in rows if not row[2])
