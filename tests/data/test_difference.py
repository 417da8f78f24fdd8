"""Differences of tables: counted by key or as whole rows, with columns and figures."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.data.difference import difference
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
    assert found.examples == ("+ id = 4.0", "+ id = 5.0", "- id = 1.0", "~ id = 2.0")
    by_name = {each.column: each for each in found.columns}
    assert (by_name["x"].missing, by_name["x"].changed_rows) == ((0, 1), 1)
    assert by_name["id"].mean == (2.0, 3.5)


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
    with pytest.raises(Invalid, match=r"The key id=7.0 stands 2 times in the new table"):
        difference(two[0], tmp_path / "twice.csv", key=["id"])
