"""Row rules tell of single rows what the check of a table tells, and what cannot be asked is named."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.bundle.row_rules import RowRule, RowRuleFile, RowRules
from mainspring.data.checks import check_table
from mainspring.data.row_rules import row_rules_of, row_rules_to_json
from mainspring.data.schema import ColumnRule, Schema
from mainspring.data.schema_file import schema_of
from mainspring.domain.signature import Column, Signature
from mainspring.errors import Invalid

_SIGNATURE = Signature(
    (
        Column("a", "number", nullable=True), Column("b", "number", nullable=True),
        Column("s", "string", nullable=True), Column("t", "string", nullable=True),
        Column("since", "timestamp", nullable=True), Column("until", "timestamp", nullable=True),
    ), "y", "regression",
)  # fmt: skip
_SCHEMA = """
columns:
  a: {type: number, min: -2, max: 2.5}
  b: {type: integer, nullable: true, max: 3, severity: quarantine}
  s: {type: string, categories: [x, y], severity: warn}
  t: {type: string, nullable: true, pattern: "[xy]+"}
  since: {type: timestamp, nullable: true}
  until: {type: timestamp, nullable: true}
rules:
  larger: {row: "a < b OR b IS NULL", severity: warn}
  between: {row: "NOT (a + 2 * b NOT BETWEEN -3 AND abs(a) + 4)", severity: quarantine}
  texts: {row: "s <> t AND s IN ('x', 'z') OR t = 'xy'", severity: warn}
  later: {row: "until >= since", severity: stop}
  minus: {row: "-a <= 1.5e0 - b", severity: warn}
  some: {row: "a <> 1", severity: warn}
"""
_NOBODY: dict[str, Any] = {
    **{name: np.array([np.nan]) for name in "ab"}, **{name: np.array([None], dtype=object) for name in "st"},
    **{name: np.array(["NaT"], "datetime64[us]") for name in ("since", "until")},
}  # fmt: skip


def rules_of(text: str, signature: Signature = _SIGNATURE, rows: Any = None) -> RowRuleFile:
    return row_rules_of(schema_of(text, Path("s.yaml")), signature, rows or {k: v[:0] for k, v in _NOBODY.items()})


_RULES = RowRules(rules_of(_SCHEMA), _SIGNATURE)
_NUMBERS = st.sampled_from([np.nan, -3.0, -2.0, 0.5, 1.0, 2.5, 3.0, 4.0, 1e300])
_TEXTS = st.sampled_from([None, "x", "y", "z", "xy", ""])
_MOMENTS = st.sampled_from(["NaT", "2024-01-01", "2024-01-01T00:00:00.000001", "2025-01-01"])


@given(st.lists(st.tuples(_NUMBERS, _NUMBERS, _TEXTS, _TEXTS, _MOMENTS, _MOMENTS), min_size=1, max_size=12))
@settings(max_examples=40, deadline=None)
def test_rows_break_what_the_check_of_the_table_says_they_break(rows: list[tuple[Any, ...]]) -> None:
    table: dict[str, Any] = {}
    for column, values in zip(_SIGNATURE.columns, zip(*rows, strict=True), strict=True):
        kind = {"number": float, "string": object, "timestamp": "datetime64[us]"}[column.type]
        table[column.name] = np.array(values, dtype=kind)
    broken = _RULES.look(table)
    found = {} if broken is None else {rule.name: int(mask.sum()) for rule, mask in broken.found}
    checked = check_table(table, schema_of(_SCHEMA, Path("s.yaml"))).violations
    told = {f"{each.column}.{each.rule}" if each.column else each.rule: each.count for each in checked}
    assert found == told
    for number, row in enumerate(zip(*table.values(), strict=True)):  # alone, each row breaks the same
        one = _RULES.look({name: array[number : number + 1] for name, array in table.items()})
        alone = set() if one is None else {rule.name for rule, _ in one.found}
        assert alone == ({rule.name for rule, mask in broken.found if mask[number]} if broken is not None else set()), (
            row
        )


def test_every_rule_of_a_schema_is_asked_or_left_out_with_a_reason() -> None:
    file = rules_of("""
columns:
  a: {type: number, unique: true, most_missing: 0.1, min: 0}
  s: {type: number}
  t: {type: string, nullable: true, pattern: "(a+)+"}
  gone: {type: number}
rules:
  whole: {table: "avg(a) > 1"}
  once: {unique: [a, b]}
  share: {row: "a > 1", most: 0.5}
  around: {row: "a > lag(a) OVER ()"}
  function: {row: "length(t) > 2"}
  other: {row: "gone > a"}
  text: {row: "t > 'x'"}
  moment: {row: "since > '2024-01-01'"}
  constant: {row: "1 = 1"}
""")
    assert [rule.name for rule in file.rules] == ["a.min"]
    assert file.left_out == {
        "a.unique": "it is about more than one row",
        "a.most_missing": "it is about the share of the rows",
        "s": "a number to the schema, and a string to the model",
        "t.pattern": "`(a+)+` repeats a group",
        "gone": "the model does not eat the column",
        "whole": "it is about more than one row",
        "once": "it is about more than one row",
        "share": "it is about the share of the rows",
        "around": "a server cannot ask `lag`",
        "function": "a server cannot ask `length`",
        "other": "the model does not eat `gone`",
        **{name: file.left_out[name] for name in ("text", "moment", "constant")},
    }
    assert "cannot be compared" in file.left_out["text"]
    assert "cannot be compared" in file.left_out["moment"]


def test_categories_of_numbers_are_asked_as_numbers_of_tables_and_of_requests() -> None:
    text = "columns:\n  a: {type: integer, categories: [1, 2.0]}\n"
    rows = {**{name: np.repeat(array, 3) for name, array in _NOBODY.items()}, "a": np.array([1.0, 2.0, 3.0])}
    file = rules_of(text)
    broken = RowRules(file, _SIGNATURE).look(rows)
    assert broken is not None
    assert [(rule.name, mask.tolist()) for rule, mask in broken.found] == [("a.categories", [False, False, True])]
    (told,) = check_table({"a": rows["a"]}, schema_of(text, Path("s.yaml"))).violations
    assert (told.column, told.rule, told.count, told.examples) == ("a", "categories", 1, ((2, 3.0),))
    assert not check_table({"a": rows["a"][:2]}, schema_of(text, Path("s.yaml"))).violations


def test_a_column_rule_that_a_server_cannot_ask_is_left_out() -> None:
    file = row_rules_of(
        Schema({"a": ColumnRule("number", pattern="x")}), _SIGNATURE, {n: v[:0] for n, v in _NOBODY.items()}
    )
    assert [rule.name for rule in file.rules] == ["a.nullable"]
    assert file.left_out["a.pattern"].startswith("a server cannot ask it: ")


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("{type: number, categories: [1, x]}", "categories is `x`"),
        ("{type: integer, categories: [.inf]}", "categories is `.inf`"),
        ("{type: boolean, categories: ['true']}", "A boolean has no categories"),
        ("{type: timestamp, categories: [2024-01-01]}", "A timestamp has no categories"),
    ],
)
def test_categories_that_no_value_can_be_compared_with_are_refused(column: str, said: str) -> None:
    with pytest.raises(Invalid, match=re.escape(said)):
        schema_of(f"columns: {{a: {column}}}", Path("s.yaml"))


def test_a_rule_that_the_models_own_rows_break_is_left_out() -> None:
    rows = {**{name: np.repeat(array, 4) for name, array in _NOBODY.items()}, "a": np.array([1.0, 2.0, 3.0, 1.0])}
    file = rules_of("columns:\n  a: {type: number, max: 2}\n  b: {type: number, severity: warn}\n", rows=rows)
    assert [rule.name for rule in file.rules] == ["a.nullable"]
    assert file.left_out["a.max"] == "1 of 4 rows break it that the model was evaluated on"
    assert file.left_out["b.nullable"] == "4 of 4 rows break it that the model was evaluated on"


@pytest.mark.parametrize(
    "test",
    [
        ["exec", "a"], ["in", ["column", "a"], "x"], ["known", ["column", "z"]],
        [">=", ["column", "a"], ["value", "x"]],
        ["matches", ["column", "t"], "(a+)+"], ["not"], [], "a", None, ["=", ["value", 1], ["value", 1]],
        ["+", ["column", "a"], ["column", "b"]], ["and"],
    ],
)  # fmt: skip
def test_a_test_that_is_none_is_refused_when_it_is_read(test: Any) -> None:
    with pytest.raises(ValueError, match=r"is no|cannot be|looks|repeats|value"):
        RowRules(RowRuleFile([RowRule("r", "stop", "no", ["a"], test)]), _SIGNATURE)


def test_a_test_as_deep_as_a_well_is_refused() -> None:
    test: Any = ["known", ["column", "a"]]
    for _ in range(200):
        test = ["not", test]
    with pytest.raises(ValueError, match="deeper"):
        RowRules(RowRuleFile([RowRule("r", "stop", "no", ["a"], test)]), _SIGNATURE)


def test_the_file_of_equal_schemas_is_equal() -> None:
    assert row_rules_to_json(rules_of(_SCHEMA)) == row_rules_to_json(rules_of(_SCHEMA))
