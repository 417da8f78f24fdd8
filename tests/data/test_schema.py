"""Schemas: what is inferred fits what it was inferred from, and every break of a rule is shown with row and value."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.data.checks import violations
from mainspring.data.schema import ColumnRule, Schema, infer_schema
from mainspring.data.schema_file import read_schema, write_schema
from mainspring.data.table import columns_of
from mainspring.errors import Invalid, NotFound

numbers = st.one_of(st.none(), st.floats(allow_nan=False, width=64), st.integers(-(2**70), 2**70).map(float))
words = ["no", "yes", "null", "~", "1", "1e3", "2013-01-01", "", " ", "a: b", "- x", "#", "'", '"', "{", "a" * 200]
names = st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.sampled_from(words))
texts = st.one_of(st.none(), names)
moments = st.one_of(st.none(), st.datetimes())
columns = st.one_of(*(st.lists(each, min_size=4, max_size=4) for each in (numbers, texts, moments)))


@settings(max_examples=150, deadline=None)
@given(table=st.dictionaries(names, columns, min_size=1, max_size=4))
def test_what_was_inferred_is_read_back_and_fits_its_table(
    tmp_path_factory: pytest.TempPathFactory, table: dict[str, list[object]]
) -> None:
    found = columns_of(table)
    schema = infer_schema(found)
    path = tmp_path_factory.mktemp("schema") / "t.schema.yaml"
    path.write_text(write_schema(schema), encoding="utf-8")
    again = read_schema(path)
    assert again == schema
    assert violations(found, again) == []


def test_the_text_of_a_schema_is_what_it_was() -> None:
    schema = infer_schema(columns_of({"distance": [17, 4983.5], "carrier": ["AA", None], "seats": [1, 2]}))
    assert write_schema(schema) == (
        "columns:\n"
        "  distance: {type: number, min: 17, max: 4983.5}\n"
        "  carrier:\n"
        "    type: string\n"
        "    nullable: true\n"
        "    categories: [AA]\n"
        "  seats: {type: integer, min: 1, max: 2}\n"
        "rows: {min: 1}\n"
    )


def test_many_values_are_not_listed_as_categories() -> None:
    assert infer_schema(columns_of({"id": [str(n) for n in range(201)]})).columns["id"].categories is None


def broken(rule: ColumnRule, values: list[object]) -> list[str]:
    return [str(each) for each in violations(columns_of({"c": values}), Schema({"c": rule}))]


@pytest.mark.parametrize(
    ("rule", "values", "said"),
    [
        (ColumnRule("number"), [1.0, None], "c: 1 x missing where a value is wanted (rows[1].c = None)"),
        (ColumnRule("string"), ["a", None], "c: 1 x missing where a value is wanted (rows[1].c = None)"),
        (ColumnRule("number"), ["1", "x", "y"], "c: 2 x string where number is wanted"
         " (rows[1].c = 'x'; rows[2].c = 'y')"),
        (ColumnRule("number"), ["1", "2"], "c: 2 x string where number is wanted (rows[0].c = '1'; rows[1].c = '2')"),
        (ColumnRule("string"), [7, 8], "c: 2 x number where string is wanted (rows[0].c = 7.0; rows[1].c = 8.0)"),
        (ColumnRule("integer"), [1, 2.5], "c: 1 x not a whole number (rows[1].c = 2.5)"),
        (ColumnRule("boolean"), [0, 1, 2], "c: 1 x neither 0 nor 1 (rows[2].c = 2.0)"),
        (ColumnRule("timestamp"), [1, 2], "c: 2 x number where timestamp is wanted"
         " (rows[0].c = 1.0; rows[1].c = 2.0)"),
        (ColumnRule("number", min=1_234_567), [1_234_566.5, 2e9], "c: 1 x below 1234567 (rows[0].c = 1234566.5)"),
        (ColumnRule("number", max=0.1), [0, 0.2], "c: 1 x above 0.1 (rows[1].c = 0.2)"),
        (ColumnRule("string", categories=("AA", "B6")), ["AA", "B66"],
         "c: 1 x not a known category. Did you mean `B6`? (rows[1].c = 'B66')"),
    ],
)  # fmt: skip
def test_each_broken_rule_is_shown_with_rows_and_values(rule: ColumnRule, values: list[object], said: str) -> None:
    assert broken(rule, values) == [said]


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        (ColumnRule("number", nullable=True), [None, None]),
        (ColumnRule("integer", nullable=True, min=1), [None, None]),
        (ColumnRule("integer", nullable=True), [float("nan"), float("nan")]),
        (ColumnRule("string", nullable=True, categories=("a",)), [float("nan")]),
        (ColumnRule("boolean", nullable=True), [True, False, None]),
        (ColumnRule("timestamp", nullable=True), [None]),
        (ColumnRule("number"), [1, 2]),
    ],
)
def test_what_fits_breaks_nothing(rule: ColumnRule, values: list[object]) -> None:
    assert broken(rule, values) == []


def test_at_most_three_rows_are_shown_and_all_are_counted() -> None:
    (found,) = violations({"c": np.arange(5000.0)}, Schema({"c": ColumnRule("number", max=10)}))
    assert (found.count, len(found.examples)) == (4989, 3)
    assert str(found).startswith("c: 4,989 x above 10 (rows[11].c = 11.0;")


def test_a_missing_column_is_named_with_its_likeliest_typo() -> None:
    (found,) = violations(columns_of({"carier": ["AA"]}), Schema({"carrier": ColumnRule("string")}))
    assert (found.rule, found.count) == ("present", 1)
    assert "Did you mean `carier`?" in found.message


def test_too_few_rows_and_no_rows_are_told() -> None:
    (few,) = violations(columns_of({"c": [1]}), Schema({"c": ColumnRule("number")}, min_rows=5))
    assert few.message == "1 rows where at least 5 are wanted"
    (none,) = violations({"c": np.array([])}, Schema({"c": ColumnRule("number")}))
    assert none.rule == "min_rows"


def test_words_mean_themselves(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        "columns:\n  no: {type: string, categories: [NO, SE, 1, on]}\n  7: {type: number, min: -.inf, max: 1e3}\n"
    )
    schema = read_schema(path)
    assert schema.columns["no"].categories == ("NO", "SE", "1", "on")
    assert schema.columns["7"] == ColumnRule("number", min=-np.inf, max=1000)
    assert schema.min_rows == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no `columns`"),
        ("- a\n", "has no `columns`"),
        ("colums:\n  a: {type: number}\n", "has no `columns`"),
        ("columns: {a: {type: number}}\nrow: {min: 1}\n", "`row` is not a rule.*\n.*Did you mean `rows`"),
        ("columns: {a: {type: number}}\nrows: 5\n", "`5` is not a rule"),
        ("columns: {a: {type: number}}\nrows: {mim: 5}\n", "`mim` is not a rule.*\n.*Did you mean `min`"),
        ("columns: {a: {type: number}}\nrows: {min: few}\n", "min is `few`"),
        ("columns: {a: {type: numbr}}\n", "`numbr` is not a type.*columns.a.*\n.*Did you mean `number`"),
        ("columns: {a: {min: 3}}\n", "names no type"),
        ("columns: {a: number}\n", "not a mapping"),
        ("columns: {a: {type: number, maximum: 3}}\n", "`maximum` is not a rule.*\n"),
        ("columns: {a: {type: number, nulable: true}}\n", "Did you mean `nullable`"),
        ("columns: {a: {type: number, min: low}}\n", "min is `low`"),
        ("columns: {a: {type: number, max: 9007199254740993}}\n", "max is `9007199254740993`, and .* 9007199254740992"),
        ("columns: {a: {type: number, categories: [9007199254740993]}}\n", "is `9007199254740993`, and"),
        ("columns: {a: {type: number, nullable: perhaps}}\n", "nullable is `perhaps`"),
        ("columns: {a: {type: string, categories: AA}}\n", "categories are no list"),
        ("columns: {a: {type: string, categories: [[AA]]}}\n", "categories are no list"),
        ("columns:\n  a: {type: number\n", "is not YAML.*line"),
    ],
)  # fmt: skip
def test_a_schema_with_a_fault_is_refused_with_the_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(Invalid, match=f"(?s){said}"):
        read_schema(path)


def test_a_file_that_is_no_schema_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no schema"):
        read_schema(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe")
    for path in (tmp_path / "bytes.yaml", tmp_path):
        with pytest.raises(Invalid, match="is no text"):
            read_schema(path)
