"""Profiles: counting in parts equals counting the whole, and nothing is lost on the way through JSON."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mainspring.data.profile import Counts, Profile, count, merge, profile
from mainspring.errors import Corrupt, Invalid

Columns = dict[str, NDArray[np.generic]]

numbers = st.one_of(st.just(math.nan), st.integers(-3, 3).map(float), st.floats(-1e6, 1e6), st.just(math.inf))
texts = st.one_of(st.none(), st.sampled_from(["EV", "UA", "DL", ""]), st.text(max_size=3))
tables = st.lists(st.tuples(numbers, texts, st.booleans()), min_size=1, max_size=60)


def columns_of(rows: list[tuple[float, str | None, bool]]) -> Columns:
    return {
        "number": np.array([each[0] for each in rows], dtype=np.float64),
        "text": np.array([each[1] for each in rows], dtype=object),
        "flag": np.array([each[2] for each in rows], dtype=np.bool_),
    }


@settings(max_examples=100, deadline=None)
@given(reference=tables, first=tables, second=tables, bins=st.integers(2, 70))
def test_merging_parts_equals_counting_the_whole(
    reference: list[tuple[float, str | None, bool]],
    first: list[tuple[float, str | None, bool]],
    second: list[tuple[float, str | None, bool]],
    bins: int,
) -> None:
    base = profile(columns_of(reference), bins=bins)
    a, b, whole = (count(base, columns_of(rows)) for rows in (first, second, first + second))
    merged = merge(a, b)
    assert merged.rows == whole.rows
    for name, each in whole.columns.items():
        found = merged.columns[name]
        assert (found.bins, found.missing, found.mistyped, found.low, found.high, found.unseen) == (
            each.bins,
            each.missing,
            each.mistyped,
            each.low,
            each.high,
            each.unseen,
        )
        assert found.total == pytest.approx(each.total, abs=1e-6)
        assert found.rows == merged.rows
    assert merge(b, a).columns["text"] == merged.columns["text"]


@settings(max_examples=60, deadline=None)
@given(rows=tables)
def test_profile_and_counts_survive_json(rows: list[tuple[float, str | None, bool]]) -> None:
    base = profile(columns_of(rows))
    assert Profile.from_json(json.loads(json.dumps(base.to_json()))) == base
    window = count(base, columns_of(rows))
    assert Counts.from_json(json.loads(json.dumps(window.to_json()))) == window


@settings(max_examples=60, deadline=None)
@given(rows=tables)
def test_reference_counts_are_those_of_its_own_rows(rows: list[tuple[float, str | None, bool]]) -> None:
    base = profile(columns_of(rows))
    window = count(base, columns_of(rows))
    assert {name: each.counts for name, each in base.columns.items()} == window.columns
    if base.columns["number"].edges:
        assert window.columns["number"].bins[0] == sum(each[0] == -math.inf for each in rows)
    assert window.columns["text"].bins[-1] == 0


def test_bins_hold_about_equal_mass() -> None:
    values = np.random.default_rng(0).lognormal(size=64_000)
    bins = profile({"x": values}).columns["x"].counts.bins
    assert len(bins) == 66
    assert set(bins[1:-1]) == {1_000}


def test_few_distinct_numbers_get_a_bin_each() -> None:
    column = profile({"day": np.array([1.0, 2, 2, 7, math.nan])}).columns["day"]
    assert column.counts.bins == (0, 1, 2, 1, 0)
    assert (column.counts.missing, column.distinct, column.mean) == (1, 3, 3.0)


def test_values_outside_the_reference_have_bins_of_their_own() -> None:
    base = profile({"x": np.linspace(0, 1, 1_000)})
    counts = count(base, {"x": np.array([-1.0, 0.0, 1.0, 2.0, 3.0, math.inf])}).columns["x"]
    assert (counts.bins[0], counts.bins[-1]) == (1, 3)
    assert (counts.low, counts.high) == (-1.0, 3.0)


def test_unseen_categories_are_counted_apart_and_named() -> None:
    base = profile({"carrier": np.array(["EV", "UA", "EV", None], dtype=object)})
    counts = count(base, {"carrier": np.array(["EV", "ZZ", None, "ZY", "ZZ"], dtype=object)}).columns["carrier"]
    assert (counts.bins, counts.missing, counts.unseen) == ((1, 0, 3), 1, ("ZY", "ZZ"))


def test_rare_categories_of_a_wide_column_are_pooled() -> None:
    names = np.array([f"id{number:05d}" for number in range(1_500)] + ["id00000"], dtype=object)
    column = profile({"id": names}).columns["id"]
    assert (len(column.categories), column.distinct) == (1_000, 1_500)
    assert column.categories[0] == "id00000"
    assert column.counts.bins[-1] == 500


def test_text_among_numbers_is_mistyped() -> None:
    base = profile({"x": np.arange(5.0)})
    counts = count(base, {"x": np.array([1, "2", None, "n/a", 3.0], dtype=object)}).columns["x"]
    assert (counts.present, counts.missing, counts.mistyped) == (2, 1, 2)


def test_booleans_that_travelled_as_numbers_are_the_same_categories() -> None:
    base = profile({"flag": np.array([True, False, True])})
    counts = count(base, {"flag": np.array([1.0, 0.0, math.nan])}).columns["flag"]
    assert (counts.bins, counts.missing) == ((1, 1, 0), 1)


def test_timestamps_keep_their_range_and_gaps() -> None:
    at = np.array(["2013-01-01T00:00:00", "NaT", "2013-01-02T00:00:00"], dtype="datetime64[us]")
    column = profile({"at": at}).columns["at"]
    assert (column.kind, column.counts.missing) == ("timestamp", 1)
    assert (column.counts.high or 0) - (column.counts.low or 0) == 86_400


def test_empty_column_is_profiled_as_missing() -> None:
    column = profile({"x": np.full(3, math.nan)}).columns["x"]
    assert (column.counts.bins, column.counts.missing, column.mean) == ((0,), 3, None)
    assert count(Profile(3, {"x": column}), {"x": np.array([1.0, 2.0])}).columns["x"].present == 2


def test_window_without_a_column_is_refused_by_name() -> None:
    with pytest.raises(Invalid, match="`x`"):
        count(profile({"x": np.arange(3.0)}), {"y": np.arange(3.0)})


def test_uneven_columns_are_refused() -> None:
    with pytest.raises(Invalid, match="2 rows"):
        profile({"x": np.arange(3.0), "y": np.arange(2.0)})


def test_counts_of_other_profiles_do_not_add() -> None:
    one, other = profile({"x": np.arange(3.0)}), profile({"x": np.arange(9.0)})
    with pytest.raises(Invalid):
        merge(count(one, {"x": np.arange(3.0)}), count(other, {"x": np.arange(3.0)}))


def test_malformed_json_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="rows"):
        Profile.from_json({"rows": "three", "columns": {}})
