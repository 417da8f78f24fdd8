"""From a schema to the rules that a prediction server can ask of one row: which they are, and why others are left out.

What they mean, and how they are asked, stands in `bundle.row_rules`. A schema that checked the training table is a
promise about production too; but a pipeline may have changed the table after its check, so a rule that the rows of the
candidate break themselves is left out.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np

from mainspring.bundle.patterns import why_unmatchable
from mainspring.bundle.row_rules import RowRule, RowRuleFile, RowRules
from mainspring.data.expressions import expression_columns, expression_tree
from mainspring.data.schema import ColumnRule, Rule, Schema
from mainspring.data.table import Columns, connect, n_rows
from mainspring.domain.signature import Column, Signature

__all__ = ["row_rules_of", "row_rules_to_json"]

_NUMERIC = ("number", "integer", "boolean")
_OPERATORS = {
    "COMPARE_EQUAL": "=", "COMPARE_NOTEQUAL": "<>", "COMPARE_LESSTHAN": "<", "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHAN": ">", "COMPARE_GREATERTHANOREQUALTO": ">=", "CONJUNCTION_AND": "and",
    "CONJUNCTION_OR": "or", "OPERATOR_NOT": "not", "OPERATOR_IS_NOT_NULL": "known", "COMPARE_IN": "in",
}  # fmt: skip
_FUNCTIONS = {"+": 2, "-": 2, "*": 2, "abs": 1}
_Node = Mapping[str, Any]  # Any: a piece of the engine's syntax tree


class _LeftOut(Exception):
    """A rule cannot be asked of one row; says why."""


def row_rules_of(schema: Schema, signature: Signature, rows: Columns) -> RowRuleFile:
    """Return what `schema` asks of single rows of the model's columns; `rows` are rows that it was checked with.

    Raises:
        Invalid: a rule of the schema is no expression, or names a column that the schema has not.
    """
    eaten = {column.name: column for column in signature.columns}
    rules: list[RowRule] = []
    left_out: dict[str, str] = {}
    for name, rule in schema.columns.items():
        if name not in eaten:
            left_out[name] = "the model does not eat the column"
        elif _family(rule.type) not in ("any", _family(eaten[name].type)):
            left_out[name] = f"a {rule.type} to the schema, and a {eaten[name].type} to the model"
        else:
            for made in _column_rules(name, rule, eaten[name], left_out):
                try:
                    rules.append(_askable(made, eaten))
                except _LeftOut as error:
                    left_out[made.name] = str(error)
    for each in schema.rules:
        try:
            rules.append(_askable(_row_rule(each, schema, eaten), eaten))
        except _LeftOut as error:
            left_out[each.name] = str(error)
    return _kept(rules, left_out, signature, rows)


def _kept(rules: list[RowRule], left_out: dict[str, str], signature: Signature, rows: Columns) -> RowRuleFile:
    """Leave out what the rows break themselves: of a rule that stops any, of one that tells more than half."""
    broken = RowRules(RowRuleFile(rules), signature).look(rows)
    for rule, mask in broken.found if broken is not None else []:
        count = int(np.count_nonzero(mask))
        if rule.severity == "stop" or 2 * count > n_rows(rows):
            left_out[rule.name] = f"{count:,} of {n_rows(rows):,} rows break it that the model was evaluated on"
    return RowRuleFile([rule for rule in rules if rule.name not in left_out], left_out)


def _column_rules(name: str, rule: ColumnRule, column: Column, left_out: dict[str, str]) -> Iterator[RowRule]:
    """Yield what is asked of one column, beyond what the model's signature asks anyway.

    A gap that the schema sets aside is asked for all the same: in a file it is set aside before the signature asks.
    """
    value = ["column", name]
    asked: list[tuple[str, str, object]] = []
    if rule.unique:
        left_out[f"{name}.unique"] = "it is about more than one row"
    if rule.most_missing is not None:
        left_out[f"{name}.most_missing"] = "it is about the share of the rows"
    elif not rule.nullable and (column.nullable or rule.severity == "quarantine"):
        asked.append(("nullable", "missing where a value is wanted", ["known", value]))
    if rule.type == "integer" and column.type == "number":
        asked.append(("type", "not a whole number", ["whole", value]))
    if rule.type == "boolean" and column.type != "boolean":
        asked.append(("type", "neither 0 nor 1", ["in", value, 0, 1]))
    for word, bound, said, operator in (("min", rule.min, "below", ">="), ("max", rule.max, "above", "<=")):
        if bound is not None and np.isfinite(bound) and _family(column.type) == "number":
            asked.append((word, f"{said} {bound:.15g}", [operator, value, ["value", bound]]))
    if rule.categories:
        known = rule.categories if rule.type == "string" else [float(each) for each in rule.categories]
        asked.append(("categories", "not a known category", ["in", value, *known]))
    if rule.pattern is not None:
        if reason := why_unmatchable(rule.pattern):
            left_out[f"{name}.pattern"] = reason
        else:
            asked.append(("pattern", f"not of the form {rule.pattern}", ["matches", value, rule.pattern]))
    for word, said, test in asked:
        yield RowRule(f"{name}.{word}", rule.severity, said, [name], test)


def _row_rule(rule: Rule, schema: Schema, eaten: Mapping[str, Column]) -> RowRule:
    if rule.kind != "row":
        raise _LeftOut("it is about more than one row")
    if rule.most:
        raise _LeftOut("it is about the share of the rows")
    with connect() as connection:
        columns = expression_columns(rule, {**schema.columns, **eaten}, connection)
        tree = expression_tree(rule.expression, connection, where=f"rules.{rule.name}")
    for name in columns:
        declared: ColumnRule | Column | None = schema.columns.get(name, eaten.get(name))
        if name not in eaten:
            raise _LeftOut(f"the model does not eat `{name}`")
        if declared is not None and _family(declared.type) not in ("any", _family(eaten[name].type)):
            raise _LeftOut(f"`{name}` is a {declared.type} to the schema, and a {eaten[name].type} to the model")
    test = _test(tree, {name.lower(): name for name in columns})
    return RowRule(rule.name, rule.severity, f"`{rule.expression}` does not hold", list(columns), test)


def _askable(rule: RowRule, eaten: Mapping[str, Column]) -> RowRule:
    try:
        RowRules(RowRuleFile([rule]), Signature(tuple(eaten.values()), "", "regression"))
    except ValueError as error:
        raise _LeftOut(f"a server cannot ask it: {error}") from error
    return rule


def _test(node: _Node, names: Mapping[str, str]) -> list[object]:
    """Turn the engine's syntax tree into a test of `bundle.row_rules`."""
    kind, word = node.get("class"), _OPERATORS.get(str(node.get("type")))
    if kind == "COMPARISON" and word is not None:
        return [word, _value(node["left"], names), _value(node["right"], names)]
    if kind == "BETWEEN":
        low, value, high = (_value(node[part], names) for part in ("lower", "input", "upper"))
        return ["and", [">=", value, low], ["<=", value, high]]
    if kind == "CONJUNCTION" and word is not None:
        return [word, *(_test(child, names) for child in node["children"])]
    if kind == "OPERATOR":
        children = node["children"]
        if word == "not":
            return ["not", _test(children[0], names)]
        if word == "known":
            return ["known", _value(children[0], names)]
        if node["type"] == "OPERATOR_IS_NULL":
            return ["not", ["known", _value(children[0], names)]]
        if word == "in":
            first, *others = (_value(child, names) for child in children)
            if all(each[0] == "value" for each in others):
                return ["in", first, *(each[1] for each in others)]
    raise _LeftOut(f"a server cannot ask {_words(node)}")


def _value(node: _Node, names: Mapping[str, str]) -> list[Any]:
    if node.get("class") == "COLUMN_REF":
        return ["column", names[node["column_names"][0].lower()]]
    if node.get("class") == "CONSTANT":
        literal = node["literal"]
        if literal["kind"] == "STRING":
            return ["value", literal["text"]]
        if literal["kind"] in ("INTEGER", "NUMERIC"):
            return ["value", float(literal["text"].replace("_", ""))]
    if node.get("class") == "FUNCTION":
        function, arguments = node["function_name"], [each["expression"] for each in node["arguments"]]
        if len(arguments) == _FUNCTIONS.get(function) or (function == "-" and len(arguments) == 1):
            return [function, *(_value(each, names) for each in arguments)]
    raise _LeftOut(f"a server cannot ask {_words(node)}")


def _words(node: _Node) -> str:
    return f"`{node['function_name']}`" if "function_name" in node else f"a {str(node.get('class')).lower()} like this"


def _family(kind: str) -> str:
    return "number" if kind in _NUMERIC else kind


def row_rules_to_json(file: RowRuleFile) -> bytes:
    """Return the bytes of `file` as they stand in a bundle."""
    return msgspec.json.format(msgspec.json.encode(file), indent=1) + b"\n"
