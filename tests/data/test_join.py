"""Joins: every left row kept and counted, and nothing that was not known yet."""

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mainspring.data.join import join_asof, join_lookup
from mainspring.errors import Invalid

HOUR = np.timedelta64(1, "h")
T0 = np.datetime64("2013-01-01T00:00", "us")


def hours(*numbers: float | None) -> np.ndarray:
    return np.array(["NaT" if n is None else T0 + np.timedelta64(round(n * 3600e6), "us") for n in numbers], "M8[us]")


def test_a_lookup_keeps_the_left_rows_in_order_and_counts_orphans() -> None:
    left = {"k": ["b", "a", "x", None, "b"], "v": [1, 2, 3, 4, 5]}
    right = {"k": ["a", "b", None], "n": [10, 20, 30], "t": ["A", "B", "-"], "at": hours(1, 2, 3)}
    found = join_lookup(left, right, on="k")
    assert list(found.columns) == ["k", "v", "n", "t", "at"]
    assert found.columns["v"].tolist() == [1, 2, 3, 4, 5]
    np.testing.assert_array_equal(found.columns["n"], [20, 10, np.nan, np.nan, 20])
    assert found.columns["t"].tolist() == ["B", "A", None, None, "B"]
    np.testing.assert_array_equal(found.columns["at"], hours(2, 1, None, None, 2))
    assert (found.matched, found.orphans) == (3, 2)


def test_a_lookup_by_many_columns_of_many_types() -> None:
    left = {"a": [1, 1, 2, None], "b": ["x", "y", "x", "x"], "t": hours(1, 1, 1, 1)}
    right = {"a": [1, 2, None], "b": ["x", "x", "x"], "t": hours(1, 1, 1), "v": [7, 8, 9]}
    found = join_lookup(left, right, on=["a", "b", "t"])
    np.testing.assert_array_equal(found.columns["v"], [7, np.nan, 8, np.nan])
    assert (found.matched, found.orphans) == (2, 2)


def test_keys_that_stand_twice_are_refused_and_shown() -> None:
    with pytest.raises(Invalid, match=r"keys more than once, such as a=1.0, b=x \(3 times\)") as caught:
        join_lookup({"a": [1], "b": ["x"]}, {"a": [1, 1, 1, 2], "b": ["x", "x", "x", "y"]}, on=["a", "b"])
    assert "drop the duplicates" in caught.value.next_step


@pytest.mark.parametrize("name", ["_row", "_found", "_known_at", 'quo"te', "K", "i", "k0", "l", "ünï"])
def test_no_name_of_a_column_clashes_with_the_join(name: str) -> None:
    found = join_lookup({"k": [1, 2], name: ["a", "b"]}, {"k": [2, 1], "v": [20, 10]}, on="k")
    assert found.columns[name].tolist() == ["a", "b"]
    assert found.columns["v"].tolist() == [10, 20]
    as_key = join_lookup({name: [1, 2]}, {name: [2], "v": [20]}, on=name)
    np.testing.assert_array_equal(as_key.columns["v"], [np.nan, 20])


def test_names_that_differ_in_case_only_are_two_columns() -> None:
    found = join_lookup({"k": [1], "Year": [1]}, {"k": [1], "year": [2]}, on="k")
    assert {name: array[0] for name, array in found.columns.items()} == {"k": 1, "Year": 1, "year": 2}


@pytest.mark.parametrize(
    ("left", "right", "on", "said"),
    [
        ({"key": [1]}, {"k": [1]}, "key", "The right table has no column `key`"),
        ({"k": [1]}, {"key": [1]}, "key", "The left table has no column `key`"),
        ({"k": [1], "v": [1]}, {"k": [1], "v": [1]}, "k", "Both tables have a column `v`"),
        ({"k": ["1"]}, {"k": [1]}, "k", "holds text in the left table and numbers in the right one"),
        ({"k": [1]}, {"k": [1]}, [], "needs a key"),
        ({"k": [2**60 + 1]}, {"k": [2**60]}, "k", "too large"),
        ({"k": [2**53 + 1]}, {"k": [2**53]}, "k", "9007199254740992 is too large"),
    ],
)
def test_tables_that_do_not_fit_are_refused(left: Any, right: Any, on: Any, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        join_lookup(left, right, on=on)


def test_empty_tables_join_to_nothing() -> None:
    none = {"k": np.array([]), "v": np.array([], dtype=object)}
    found = join_lookup({"k": ["a", "b"]}, none, on="k")
    assert found.columns["v"].tolist() == [None, None]
    assert (found.matched, found.orphans) == (0, 2)
    assert join_lookup({"k": np.array([])}, {"k": [1], "v": [2]}, on="k").matched == 0


def test_text_that_begins_with_many_gaps_is_matched() -> None:
    keys: list[str | None] = [None] * 50_000
    found = join_lookup({"k": [*keys, "a"]}, {"k": [*keys, "a"], "v": [0] * 50_000 + [1]}, on="k")
    assert (found.matched, found.columns["v"][-1]) == (1, 1)


def test_frames_are_joined_like_columns() -> None:
    found = join_lookup(pd.DataFrame({"k": ["a"]}), pd.DataFrame({"k": ["a"], "v": [1]}), on="k")
    assert found.columns["v"].tolist() == [1]


keys = st.one_of(st.none(), st.sampled_from(["a", "b", "c", "A", ""]))


@settings(max_examples=60, deadline=None)
@given(left=st.lists(keys, max_size=12), right=st.lists(keys, unique=True, max_size=6))
def test_a_lookup_is_the_naive_one(left: list[str | None], right: list[str | None]) -> None:
    table = {"k": np.array(right, dtype=object), "v": np.arange(len(right), dtype=float)}
    found = join_lookup({"k": np.array(left, dtype=object)}, table, on="k")
    known = {key: float(row) for row, key in enumerate(right) if key is not None}
    np.testing.assert_array_equal(found.columns["v"], [known.get(key, np.nan) for key in left])
    assert found.matched == sum(key in known for key in left)


def asof(left: dict[str, Any], right: dict[str, Any], delay: Any = "1h", on: Any = "k") -> np.ndarray:
    return join_asof(left, right, on=on, left_time="at", right_time="seen_at", delay=delay).columns["v"]


def test_the_newest_row_that_was_known_is_taken_and_an_exact_tie_counts_as_known() -> None:
    right = {"k": ["a"] * 3, "seen_at": hours(0, 1, 2), "v": [0, 1, 2]}
    left = {"k": ["a"] * 5, "at": hours(0.99, 1, 1.5, 2, 9)}
    np.testing.assert_array_equal(asof(left, right), [np.nan, 0, 0, 1, 2])
    np.testing.assert_array_equal(asof(left, right, delay="0s"), [0, 1, 1, 2, 2])
    np.testing.assert_array_equal(asof(left, right, delay=timedelta(0)), [0, 1, 1, 2, 2])


def test_a_tie_is_decided_to_the_microsecond() -> None:
    right = {"k": ["a"], "seen_at": hours(0), "v": [1]}
    known = hours(1)[0]
    left = {"k": ["a"] * 2, "at": np.array([known - np.timedelta64(1, "us"), known])}
    np.testing.assert_array_equal(asof(left, right), [np.nan, 1])


def test_of_rows_of_one_time_the_last_in_the_table_counts() -> None:
    for size in (2, 1000):
        right = {"k": ["a"] * size, "seen_at": hours(*[0] * size), "v": np.arange(size)}
        assert asof({"k": ["a"], "at": hours(5)}, right).tolist() == [size - 1]


def test_rows_without_key_or_time_find_nothing_and_are_found_by_nothing() -> None:
    left = {"k": ["a", None, "a", "z"], "at": hours(5, 5, None, 5)}
    right = {"k": ["a", None, "a"], "seen_at": hours(0, 1, None), "v": [1, 2, 3]}
    found = join_asof(left, right, on="k", left_time="at", right_time="seen_at", delay="1h")
    np.testing.assert_array_equal(found.columns["v"], [1, np.nan, np.nan, np.nan])
    assert (found.matched, found.orphans) == (1, 3)
    assert list(found.columns) == ["k", "at", "seen_at", "v"]


def test_without_keys_every_right_row_is_a_partner() -> None:
    right = {"seen_at": hours(0, 2), "v": [0, 1]}
    np.testing.assert_array_equal(asof({"at": hours(0, 1, 3)}, right, on=[]), [np.nan, 0, 1])


@pytest.mark.parametrize("delay", [timedelta(microseconds=-1), "-1h", "soon"])
def test_a_delay_that_sees_the_future_or_is_none_is_refused(delay: Any) -> None:
    with pytest.raises(Invalid):
        asof({"k": ["a"], "at": hours(5)}, {"k": ["a"], "seen_at": hours(0), "v": [1]}, delay=delay)


def test_times_that_are_no_moments_are_refused() -> None:
    with pytest.raises(Invalid, match="`at` holds no moments"):
        asof({"k": ["a"], "at": ["2013-01-01"]}, {"k": ["a"], "seen_at": hours(0), "v": [1]})
    with pytest.raises(Invalid, match="no column `seen_at`"):
        asof({"k": ["a"], "at": hours(1)}, {"k": ["a"], "v": [1]})


ticks = st.integers(0, 12)
left_rows = st.lists(st.tuples(st.sampled_from("ab"), ticks), max_size=10)
right_rows = st.lists(st.tuples(st.sampled_from("abc"), ticks), max_size=10)


def tables(left: list[tuple[str, int]], right: list[tuple[str, int]]) -> tuple[dict[str, Any], dict[str, Any]]:
    def text(rows: list[tuple[str, int]]) -> np.ndarray:
        return np.array([key for key, _ in rows], dtype=object)

    return (
        {"k": text(left), "at": hours(*(tick for _, tick in left))},
        {"k": text(right), "seen_at": hours(*(tick for _, tick in right)), "v": np.arange(len(right), dtype=float)},
    )


@settings(max_examples=80, deadline=None)
@given(left=left_rows, right=right_rows, delay=st.integers(0, 3))
@example(left=[("a", 3)], right=[("a", 1), ("a", 2), ("a", 1)], delay=1)
def test_an_asof_join_is_the_naive_one(left: Any, right: Any, delay: int) -> None:
    def newest(key: str, at: int) -> float:
        known = [(seen, row) for row, (other, seen) in enumerate(right) if other == key and seen + delay <= at]
        return float(max(known)[1]) if known else np.nan

    found = asof(*tables(left, right), delay=timedelta(hours=delay))
    np.testing.assert_array_equal(found, [newest(*row) for row in left])


@settings(max_examples=60, deadline=None)
@given(left=left_rows, right=right_rows, delay=st.integers(0, 3), now=ticks, data=st.data())
def test_nothing_that_becomes_known_later_changes_an_answer(
    left: Any, right: Any, delay: int, now: int, data: st.DataObject
) -> None:
    """Altering, moving and dropping right rows that are known only after `now` leaves all answers up to `now` alone."""
    past = [row for row in left if row[1] <= now]
    future = [row for row in right if row[1] + delay > now]
    shifted = [(key, tick + data.draw(st.integers(0, 5))) for key, tick in future if data.draw(st.booleans())]
    known = [row for row in right if row[1] + delay <= now]
    wait = timedelta(hours=delay)
    before, after = asof(*tables(past, known + future), wait), asof(*tables(past, known + shifted), wait)
    np.testing.assert_array_equal(before, after)


def test_duplicates_are_counted_and_the_first_or_last_is_taken_when_told() -> None:
    right = {"k": ["a", "a", "b", None], "v": [1, 2, 3, 4]}
    for which, taken in (("first", [1, 3]), ("last", [2, 3])):
        found = join_lookup({"k": ["a", "b"]}, right, on="k", duplicates=which)
        assert (found.columns["v"].tolist(), found.duplicates, found.orphans) == (taken, 1, 0)


def test_orphans_are_kept_dropped_or_refused_and_always_counted() -> None:
    left, right = {"k": ["x", "b", None]}, {"k": ["b"], "v": [3]}
    assert join_lookup(left, right, on="k").orphans == 2
    dropped = join_lookup(left, right, on="k", orphans="drop")
    assert (dropped.columns["k"].tolist(), dropped.columns["v"].tolist(), dropped.orphans) == (["b"], [3], 2)
    with pytest.raises(Invalid, match=r"2 left rows find nothing, the first with k=x.*rows\[0\]"):
        join_lookup(left, right, on="k", orphans="refuse")
    times = {"at": np.array(["2013-01-01"], dtype="datetime64[us]")}
    late = {"seen": np.array(["2013-01-02"], dtype="datetime64[us]"), "v": np.array([1.0])}
    found = join_asof(times, late, on=[], left_time="at", right_time="seen", delay="1h", orphans="drop")
    assert (len(found.columns["at"]), found.orphans) == (0, 1)


def test_a_join_of_one_to_one_refuses_left_keys_that_stand_twice() -> None:
    with pytest.raises(Invalid, match=r"The left table has keys more than once, such as k=a \(2 times\)"):
        join_lookup({"k": ["a", "a"]}, {"k": ["a"]}, on="k", cardinality="one-to-one")
