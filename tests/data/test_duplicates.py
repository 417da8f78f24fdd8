"""Repeated rows: conflicts, exact and near ones are told with the row that they repeat."""

import numpy as np

from mainspring.data.duplicates import duplicates, row_hashes
from mainspring.data.outliers import outliers
from mainspring.data.table import Columns, columns_of


def table(n: int = 400) -> Columns:
    rng = np.random.default_rng(0)
    return columns_of(
        {
            "name": [f"Person {rng.integers(10**9)}" for _ in range(n)],
            "x": rng.normal(size=n),
            "k": rng.integers(0, 9, n).astype(float),
            "at": np.datetime64("2026-01-01", "us") + rng.integers(0, 10**12, n) * np.timedelta64(1, "us"),
            "y": rng.integers(0, 2, n).astype(float),
        }
    )


def with_rows(base: Columns, *changed: dict[str, object]) -> Columns:
    """Append copies of row 3 with some cells changed."""
    columns = {name: np.concatenate([array, array[[3] * len(changed)]]) for name, array in base.items()}
    for place, cells in enumerate(changed):
        for name, value in cells.items():
            columns[name][len(base["x"]) + place] = value
    return columns


def test_good_rows_are_no_duplicates() -> None:
    assert duplicates(table(), "y") == []


def test_each_kind_is_told_with_the_row_it_repeats() -> None:
    base = table()
    columns = with_rows(base, {"y": 1 - base["y"][3]}, {}, {"x": 0.5}, {"x": 0.5, "k": 77.0, "y": 1 - base["y"][3]})
    found = [(each.row, each.of, each.kind, each.column) for each in duplicates(columns, "y")]
    assert found == [(400, 3, "conflict", "y"), (401, 3, "exact", ""), (402, 3, "near", "x")]


def test_case_and_blanks_are_no_difference_and_gaps_are_equal() -> None:
    base = table()
    base["x"][3] = np.nan
    loud = f"  {str(base['name'][3]).upper().replace(' ', '   ')} "
    assert [each.kind for each in duplicates(with_rows(base, {"name": loud}), "y")] == ["exact"]


def test_an_id_hides_no_duplicate() -> None:
    columns = with_rows(table(), *[{}] * 30)
    columns["id"] = np.arange(430.0)
    assert {(each.kind, each.column) for each in duplicates(columns, "y")} == {("near", "id")}


def test_an_id_beside_columns_that_tell_little_makes_no_duplicates() -> None:
    columns = {"id": np.arange(60.0), "k": np.arange(60) % 2.0, "y": np.arange(60) % 3.0}
    assert duplicates(columns, "y") == []


def test_a_column_in_which_rows_often_differ_alone_makes_none() -> None:
    columns = with_rows(table(), *[{"k": float(k)} for k in range(30, 60)])
    assert duplicates(columns, "y") == []


def test_equal_rows_have_equal_hashes_whatever_the_zero() -> None:
    hashes = row_hashes({"a": np.array([0.0, -0.0, 1.0]), "b": np.array(["x", "X ", "x"], dtype=object)})
    assert hashes[0] == hashes[1] != hashes[2]
    assert row_hashes({"a": np.array([1.0]), "b": np.array([2.0])}) != row_hashes(
        {"a": np.array([2.0]), "b": np.array([1.0])}
    )


def test_tables_without_rows_or_columns_have_none() -> None:
    assert duplicates({}, "y") == []
    assert duplicates({"y": np.zeros(0)}, "y") == []
    assert outliers({}) == []


def test_a_value_far_out_is_told_with_its_column_and_a_common_one_is_not() -> None:
    rng = np.random.default_rng(0)
    columns = {
        "x": rng.normal(size=5_000),
        "late": rng.exponential(size=5_000),
        "flag": (rng.random(5_000) < 0.01) * 1.0,
    }
    columns["x"][7], columns["late"][8], columns["x"][9] = 60.0, -3.0, np.inf
    told = {each.row: each.column for each in outliers(columns) if each.score > 4}
    assert told == {7: "x", 8: "late", 9: "x"}


def test_constant_and_empty_columns_have_no_outliers() -> None:
    assert outliers({"a": np.full(9, 2.0), "b": np.full(9, np.nan), "c": np.array([1.0, np.nan] + [1.0] * 7)}) == []
