"""Differences of tables: counted by key or as whole rows, with columns and figures."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.data.checks import violations
from mainspring.data.difference import difference
from mainspring.data.exact import comparable_sql
from mainspring.data.schema import ColumnRule, Schema
from mainspring.data.table import connect
from mainspring.errors import Invalid


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    old.write_text("id,x,gone\n1,a,1\n2,b,1\n3,c,1\n")
    new.write_text("id,x,come\n2,B,1\n3,c,1\n4,d,1\n5,,1\n")
    return old, new


def test_by_key_rows_are_added_removed_and_changed(two: tuple[Path, Path]) -> None:
    found = difference(*two, key=["id"])
    assert (found.rows, found.added, found.removed, found.changed) == ((3, 4), 2, 1, 1)
    assert (found.columns_added, found.columns_removed) == (("come",), ("gone",))
    assert found.examples == ("+ id = 4", "+ id = 5", "- id = 1", "~ id = 2")
    by_name = {each.column: each for each in found.columns}
    assert (by_name["x"].missing, by_name["x"].changed_rows) == ((0, 1), 1)
    assert by_name["id"].mean == (2.0, 3.5)


def test_a_table_and_itself_differ_in_nothing(two: tuple[Path, Path]) -> None:
    found = difference(two[0], two[0], key=["id"])
    assert (found.added, found.removed, found.changed, found.examples) == (0, 0, 0, ())


def test_without_a_key_whole_rows_are_compared(two: tuple[Path, Path]) -> None:
    found = difference(*two)
    assert (found.added, found.removed, found.changed) == (3, 2, None)


@settings(max_examples=30, deadline=None)
@given(
    one=st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab")), min_size=1, max_size=8),
    two=st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab")), min_size=1, max_size=8),
)
def test_rows_that_stand_twice_count_twice(tmp_path_factory: pytest.TempPathFactory, one: list, two: list) -> None:
    folder = tmp_path_factory.mktemp("d")
    for name, rows in (("old", one), ("new", two)):
        (folder / f"{name}.csv").write_text("n,t\n" + "".join(f"{n},{t}\n" for n, t in rows))
    found = difference(folder / "old.csv", folder / "new.csv")
    assert found.added == (Counter(two) - Counter(one)).total()
    assert found.removed == (Counter(one) - Counter(two)).total()


def test_a_column_that_changed_its_type_is_compared_as_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,v\n1,x\n2,y\n")
    (tmp_path / "b.csv").write_text("id,v\n1,7\n2,8\n")
    found = difference(tmp_path / "a.csv", tmp_path / "b.csv", key=["id"])
    assert (found.changed, found.columns[1].types) == (2, ("string", "number"))


def test_a_key_that_is_none_is_refused(two: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"(?s)`idd` is not in both tables.*Did you mean `id`"):
        difference(*two, key=["idd"])
    (tmp_path / "twice.csv").write_text("id\n7\n7\n")
    with pytest.raises(Invalid, match=r"The key id=7 stands 2 times in the new table"):
        difference(two[0], tmp_path / "twice.csv", key=["id"])


#: Two numbers that one float64 stands for, and the types that tell them apart.
LONG = [
    ("9007199254740993", "9007199254740992", ["BIGINT", "UBIGINT", "DECIMAL(38,2)"]),
    ("18446744073709551615", "18446744073709551614", ["UBIGINT", "DECIMAL(38,0)"]),
    ("12345678901234567890.12", "12345678901234567890.13", ["DECIMAL(38,2)", "DECIMAL(38,4)"]),
    ("-0.1234567890123456789", "-0.1234567890123456788", ["DECIMAL(38,19)", "DECIMAL(38,38)"]),
]


@pytest.mark.parametrize(
    ("one", "other", "old", "new"),
    [(one, other, old, new) for one, other, kinds in LONG for old in kinds for new in kinds],
)
def test_a_change_of_the_last_digit_is_seen(tmp_path: Path, one: str, other: str, old: str, new: str) -> None:
    for name, kind, value in (("a", old, one), ("b", new, one), ("c", new, other)):
        with connect() as connection:
            query = f"SELECT 1 AS id, CAST('{value}' AS {kind}) AS v"
            connection.execute(f"COPY ({query}) TO '{tmp_path / name}.parquet'").fetchall()
    a, b, c = (tmp_path / f"{name}.parquet" for name in "abc")
    assert difference(a, b, key=["id"]).changed == 0
    assert (difference(a, b).added, difference(a, b, key=["v"]).added) == (0, 0)
    assert difference(a, c, key=["id"]).changed == 1
    assert (difference(a, c).added, difference(a, c, key=["v"]).added) == (1, 1)
    assert one.replace("-0", "") in difference(a, c, key=["v"]).examples[1]


@pytest.mark.parametrize(("long", "near"), [(9007199254740993, 9007199254740992), (2**64 - 1, 2**64 - 2)])
def test_long_ids_of_text_files_are_told_apart(tmp_path: Path, long: int, near: int) -> None:
    for name, value in (("a.csv", long), ("b.csv", near)):
        (tmp_path / name).write_text(f"id,v\n{value},1\n5,1\n")
    (tmp_path / "a.jsonl").write_text(f'{{"id": {long}, "v": 1}}\n{{"id": 5, "v": 1}}\n')
    assert difference(tmp_path / "a.csv", tmp_path / "a.jsonl", key=["id"]).added == 0
    assert difference(tmp_path / "a.csv", tmp_path / "b.csv", key=["id"]).examples == (
        f"+ id = {near}",
        f"- id = {long}",
    )


def test_whole_numbers_of_any_length_are_told_apart(tmp_path: Path) -> None:
    one, other = (9 * 10**38 + last for last in (1, 2))
    for name, values in (("a.csv", (one, other)), ("b.csv", (other, one))):
        (tmp_path / name).write_text("id,v\n" + "".join(f"{number},{value}\n" for number, value in enumerate(values)))
    assert difference(tmp_path / "a.csv", tmp_path / "b.csv", key=["id"]).changed == 2
    unique = Schema({"v": ColumnRule("integer", unique=True)}, others=None)
    assert violations(tmp_path / "a.csv", unique) == []
    (tmp_path / "c.csv").write_text(f"id,v\n0,{one}\n1,{one}\n")
    assert [each.count for each in violations(tmp_path / "c.csv", unique)] == [1]


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(2**53 - 3, 2**53 + 3), min_size=1, max_size=6),
    kinds=st.permutations(["BIGINT", "HUGEINT", "DECIMAL(38,0)", "DECIMAL(38,6)", "DECIMAL(21,1)", "DOUBLE"]),
)
def test_numbers_are_the_same_when_they_are_whatever_types_they_have(values: list[int], kinds: list[str]) -> None:
    one, other = kinds[:2]
    with connect() as connection:
        for mine in values:
            for yours in values:
                query = f"SELECT CAST({mine} AS {one}) AS a, CAST({yours} AS {other}) AS b"
                a, b = comparable_sql("a", one, other), comparable_sql("b", other, one)
                (same,) = connection.execute(f"SELECT {a} = {b} FROM ({query})").fetchall()[0]
                there = [int(float(v)) if kind == "DOUBLE" else v for v, kind in ((mine, one), (yours, other))]
                assert same == (there[0] == there[1]), (mine, yours)
