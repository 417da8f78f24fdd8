"""Suites of other libraries: each expectation says of a table what the library said, or is named as left out.

`suites/great_expectations.json` was written by Great Expectations 1.24, which also judged `table.csv` by each of its
expectations (`meta`); `suites/pandera.yaml` by Pandera 0.35, whose verdicts are in `pandera_verdicts.json`.
"""

import json
from pathlib import Path

import pytest

from mainspring.data.checks import violations
from mainspring.data.schema import Schema
from mainspring.data.schema_file import read_schema, write_schema
from mainspring.data.suites import read_suite
from mainspring.data.suites.expectations import read_expectations
from mainspring.errors import Invalid, NotFound

SUITES = Path(__file__).parent / "suites"
TABLE = SUITES / "table.csv"
EXPECTATIONS = json.loads((SUITES / "great_expectations.json").read_text())["expectations"]
#: What has no equal, by name, and for what reason.
NO_EQUAL = {
    "expect_table_columns_to_match_ordered_list": "no such rule",
    "expect_table_column_count_to_equal": "no such rule",
    "expect_column_kl_divergence_to_be_less_than": "no such rule",
    "expect_column_values_to_match_strftime_format": "no such rule",
}
REASONS = ("it asks only some rows", "is no RE2 expression")


def shown(expectation: dict) -> str:
    return expectation["type"] + ", " + json.dumps(expectation["kwargs"])


@pytest.mark.parametrize("expectation", EXPECTATIONS, ids=shown)
def test_an_expectation_says_what_great_expectations_said_of_the_table_or_is_left_out(
    expectation: dict, tmp_path: Path
) -> None:
    suite = read_expectations([expectation])
    if suite.left_out:
        (said,) = suite.left_out
        assert said.startswith(expectation["type"] + "(")
        assert NO_EQUAL.get(expectation["type"], "-") in said or any(reason in said for reason in REASONS)
        assert suite.schema.rules == ()
        return
    assert expectation["type"] not in NO_EQUAL
    (tmp_path / "s.yaml").write_text(write_schema(suite.schema))
    schema = read_schema(tmp_path / "s.yaml")
    assert schema == suite.schema
    found = violations(TABLE, schema)
    assert (found == []) is expectation["meta"]["success"], [str(each) for each in found]


def test_a_whole_suite_becomes_one_schema_and_names_what_it_lacks(tmp_path: Path) -> None:
    suite = read_suite(SUITES / "great_expectations.json")
    told = [each.partition("(")[0] for each in suite.left_out]
    assert sorted(set(told)) == sorted(
        {*NO_EQUAL, "expect_column_values_to_be_between", "expect_column_values_to_match_regex"}
    )
    (tmp_path / "s.yaml").write_text(write_schema(suite.schema))
    assert read_schema(tmp_path / "s.yaml") == suite.schema
    broken = sum(not each["meta"]["success"] for each in EXPECTATIONS)
    assert 0 < len(violations(TABLE, Schema(rules=suite.schema.rules))) <= broken


def test_a_pandera_schema_finds_the_columns_that_pandera_found(tmp_path: Path) -> None:
    suite = read_suite(SUITES / "pandera.yaml")
    assert read_suite(SUITES / "pandera.json") == suite
    (tmp_path / "s.yaml").write_text(write_schema(suite.schema))
    schema = read_schema(tmp_path / "s.yaml")
    assert schema == suite.schema
    found = violations(TABLE, schema)
    told = json.loads((SUITES / "pandera_verdicts.json").read_text())
    left_out = {each.partition(",")[0] for each in suite.left_out if "str_endswith" in each}
    columns = {each.column or each.rule.partition("_")[0] for each in found if each.severity == "stop"}
    names = {"dep": "dep", "day": "day"}  # a rule's name begins with its column's, up to the next underscore
    assert {names.get(each, each) for each in columns} - {"q"} == set(told) - left_out
    assert left_out == {"arr"}


def test_what_of_a_pandera_schema_has_no_equal_is_named() -> None:
    assert read_suite(SUITES / "pandera.yaml").left_out == (
        "distance, coerce: a check changes nothing; see `clean`",
        "arr, required: false: here the column must be there",
        "arr, str_endswith(9): it asks for texts in a column of type integer",
        "^q.*, regex: a name that stands for many columns",
        "index of the whole table: there is no such rule",
        "coerce of the whole table: there is no such rule",
    )


@pytest.mark.parametrize(
    ("name", "text", "error", "said"),
    [
        ("none.json", None, NotFound, "There is no suite"),
        ("cut.json", "{", Invalid, "cannot be read"),
        ("cut.yaml", "a: [", Invalid, "cannot be read"),
        ("other.json", '{"a": 1}', Invalid, "is no suite"),
        ("list.yaml", "- a", Invalid, "is no suite"),
        ("code.yaml", "!!python/object/apply:os.system [ls]", Invalid, "cannot be read"),
    ],
)
def test_what_is_no_suite_is_refused(tmp_path: Path, name: str, text: str | None, error: type, said: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(error, match=said):
        read_suite(tmp_path / name)


@pytest.mark.parametrize(
    "expectation",
    [
        {"type": "expect_column_values_to_be_between", "kwargs": {"min_value": 1}},
        {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "a", "value_set": []}},
        {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "a", "value_set": [{"$now": 1}]}},
        {"type": "expect_column_values_to_be_of_type", "kwargs": {"column": "a", "type_": "geometry"}},
        {"type": "expect_column_to_exist", "kwargs": {"column": "a"}, "severity": "warning"},
        {"type": "expect_the_moon", "kwargs": {}},
        {"expectation_type": "expect_column_values_to_match_regex", "kwargs": {"column": "a", "regex": 5}},
        {"kwargs": {}},
        "expect",
    ],
)
def test_an_expectation_that_is_not_understood_is_named_and_makes_no_rule(expectation: object) -> None:
    suite = read_expectations([expectation])
    assert len(suite.left_out) == 1
    assert suite.schema.rules == ()
