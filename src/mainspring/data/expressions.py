"""What rules over more than one value may name: which columns an expression reads, and how a rule sees a column.

A rule sees a column as the type that the schema says it has, so that a fault of the type is told by the column's own
rule and does not make other rules impossible to ask: a value that is not of the type is missing to them.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import duckdb

from mainspring.data.probe import number_sql
from mainspring.data.schema import Rule, Schema
from mainspring.data.table import quoted_text
from mainspring.errors import Invalid, nearest

__all__ = [
    "Shape", "expression_columns", "expression_nodes", "expression_tree", "looks_around", "named_columns", "nodes_of",
    "rule_columns", "rule_value",
]  # fmt: skip

#: Of each column of the table its number and its kind: `number`, `timestamp`, `string`, or `written`, which is a text
#: of a file that knows no types, so that a text of a number or of a truth value is one.
Shape = Mapping[str, tuple[int, str]]
#: What a statement may have beside its one expression.
_BESIDE = ("modifiers", "where_clause", "group_expressions", "having", "sample", "qualify")
_KINDS = {"integer": "number", "boolean": "number"}


def rule_value(name: str, shape: Shape, schema: Schema) -> tuple[str, str]:
    """Return the SQL of a column as rules see it, and its kind, which is `number`, `timestamp` or `string`."""
    number, kind = shape[name]
    value = f'"#{number}"'
    declared = schema.columns.get(name)
    plain = "string" if kind == "written" else kind
    wanted = plain if declared is None or declared.type == "any" else _KINDS.get(declared.type, declared.type)
    if wanted == plain:
        return value, wanted
    if wanted == "string":
        return f"CAST({value} AS VARCHAR)", wanted
    if plain != "string":
        return f"CAST(NULL AS {'DOUBLE' if wanted == 'number' else 'TIMESTAMP'})", wanted
    return number_sql(value, kind) if wanted == "number" else f"TRY_CAST({value} AS TIMESTAMP)", wanted


def rule_columns(
    rule: Rule, shape: Shape, schema: Schema, connection: "duckdb.DuckDBPyConnection"
) -> tuple[str, ...] | None:
    """Return the columns that a rule names, or None when one is not there that the schema says must be, which is told.

    Raises:
        Invalid: the rule's expression is none, or it names a column that neither the table nor the schema has.
    """
    known = {**dict.fromkeys(schema.columns), **dict.fromkeys(shape)}
    names = rule.columns
    if rule.kind in ("row", "table"):
        names = expression_columns(rule, known, connection)
    for name in names:
        if name not in known:
            where = f"rules.{rule.name}"
            raise Invalid(f"The table has no column `{name}`", where=where, next_step=nearest(name, shape))
    return names if all(name in shape for name in names) else None


def expression_columns(
    rule: Rule, known: Mapping[str, object], connection: "duckdb.DuckDBPyConnection"
) -> tuple[str, ...]:
    """Return the columns that an SQL expression names, of those that are `known`.

    Raises:
        Invalid: it is no single expression, it reads another table, or it names a column that the table has not.
    """
    where = f"rules.{rule.name}"
    return named_columns(_expression(rule, connection), rule.expression, known, where=where)


def looks_around(rule: Rule, connection: "duckdb.DuckDBPyConnection") -> bool:
    """Whether a rule about rows looks at other rows as well, by OVER; such a condition becomes a column of `base`."""
    return rule.kind == "row" and any(node.get("class") == "WINDOW" for node in _expression(rule, connection))


def _expression(rule: Rule, connection: "duckdb.DuckDBPyConnection") -> list[dict[str, Any]]:
    return expression_nodes(rule.expression, connection, where=f"rules.{rule.name}")


def named_columns(
    nodes: Iterable[Mapping[str, Any]], expression: str, known: Mapping[str, object], *, where: str
) -> tuple[str, ...]:
    """Return the columns that the nodes of an expression name, of those that are `known`.

    Raises:
        Invalid: it reads another table, or it names a column that the table has not.
    """
    nodes = list(nodes)
    if any(node.get("class") in ("SUBQUERY", "STAR") for node in nodes):
        raise Invalid(f"`{expression}` reads a table", where=where, next_step="name columns, or use found_in")
    folded: dict[str, list[str]] = {}
    for name in known:
        folded.setdefault(name.lower(), []).append(name)
    found: dict[str, None] = {}
    for name in (node["column_names"][0] for node in nodes if node.get("class") == "COLUMN_REF"):
        meant = folded.get(name.lower(), [])
        if len(meant) != 1:
            said = "The table has no column" if not meant else "More than one column could be"
            raise Invalid(f"{said} `{name}`", where=where, next_step=nearest(name, meant or known))
        if re.fullmatch(r"#(w?\d+|at)", name):  # a name of our own in `base`: it would mean another column there
            raise Invalid(f"An expression cannot name `{name}`", where=where, next_step="rename the column")
        found[meant[0]] = None
    return tuple(found)


def expression_nodes(
    expression: str, connection: "duckdb.DuckDBPyConnection", *, where: str, windows: str = ""
) -> list[dict[str, Any]]:
    """Return the nodes of an expression's syntax tree, as the engine gives them in JSON.

    `windows` is a WINDOW clause, for expressions that may name the windows in it.

    Raises:
        Invalid: it is no single expression.
    """
    return list(nodes_of(expression_tree(expression, connection, where=where, windows=windows)))


def expression_tree(
    expression: str, connection: "duckdb.DuckDBPyConnection", *, where: str, windows: str = ""
) -> dict[str, Any]:
    """Return the root of an expression's syntax tree, as the engine gives it in JSON.

    Raises:
        Invalid: it is no single expression.
    """
    quoted = quoted_text(f"SELECT ({expression}) {windows}")
    answer = connection.execute(f"SELECT json_serialize_sql({quoted})").fetchall()
    parsed = json.loads(answer[0][0])
    if parsed.get("error"):
        raise Invalid(
            f"`{expression}` is no expression: {parsed['error_message']}",
            where=where,
            next_step="mend it; a name that is a word of SQL goes in double quotes",
        )
    select = parsed["statements"][0]["node"]
    alone = len(parsed["statements"]) == 1 and select.get("type") == "SELECT_NODE"
    alone = alone and not any(select.get(part) for part in _BESIDE)
    if not alone or len(select["select_list"]) != 1 or select["from_table"]["type"] != "EMPTY":
        raise Invalid(f"`{expression}` is more than an expression", where=where, next_step="write a condition")
    found: dict[str, Any] = select["select_list"][0]
    return found


def nodes_of(tree: object) -> Iterator[dict[str, Any]]:
    """Yield every node of a syntax tree, from the root on."""
    if isinstance(tree, dict):
        yield tree
        for each in tree.values():
            yield from nodes_of(each)
    elif isinstance(tree, list):
        for each in tree:
            yield from nodes_of(each)
