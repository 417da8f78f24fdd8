"""Slices: conditions that find their rows again, declared slices and the search for bad ones."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mainspring.errors import Invalid, NotFound
from mainspring.evaluate.losses import loss
from mainspring.evaluate.measure import score
from mainspring.evaluate.slice_search import search_slices
from mainspring.evaluate.slices import Condition, conditions_of, declared_slices, worst_slice

Columns = dict[str, NDArray[np.generic]]


def flights(n: int, seed: int, *, bad: bool = False) -> tuple[Columns, NDArray[np.float64], NDArray[np.float64]]:
    """Rows with four columns; when bad, the model is wrong about EV in the evening."""
    rng = np.random.default_rng(seed)
    carrier = rng.choice(["EV", "UA", "DL", "AA"], n).astype(object)
    hour = rng.integers(5, 24, n).astype(float)
    temp = rng.normal(15, 8, n)
    temp[rng.random(n) < 0.1] = math.nan
    p = rng.beta(2, 5, n)
    y = (rng.random(n) < p).astype(float)
    if bad:
        wrong = (carrier == "EV") & (hour > 19)
        y[wrong] = rng.random(int(wrong.sum())) < 1 - p[wrong]
    columns: Columns = {"carrier": carrier, "hour": hour, "temp": temp, "is_weekend": rng.random(n) < 0.3}
    return columns, y, p


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(50, 400))
def test_conditions_are_disjoint_and_find_their_rows_again(seed: int, n: int) -> None:
    columns, _, _ = flights(n, seed)
    for name, values in columns.items():
        conditions, code = conditions_of(name, values, min_rows=10)
        for index, condition in enumerate(conditions):
            np.testing.assert_array_equal(condition.holds(columns), code == index)
            assert (code == index).sum() >= 10


def test_names_read_like_the_question() -> None:
    assert str(Condition("carrier", "is", "EV")) == "carrier=EV"
    assert str(Condition("temp", "missing")) == "temp missing"
    assert str(Condition("hour", "between", low=8, high=12)) == "8<hour<=12"
    assert str(Condition("hour", "between", low=8)) == "hour>8"
    assert str(Condition("hour", "between", high=8)) == "hour<=8"


def test_times_are_not_sliced() -> None:
    assert conditions_of("at", np.array(["2013-01-01"], dtype="datetime64[us]"), 1)[0] == []


def test_declared_slice_has_the_metric_of_its_rows() -> None:
    columns, y, p = flights(2_000, 0)
    found = {each.name: each for each in declared_slices("binary", y, p, columns, ["carrier"])}
    inside = columns["carrier"] == "EV"
    assert set(found) == {"carrier=AA", "carrier=DL", "carrier=EV", "carrier=UA"}
    assert found["carrier=EV"].metric.value == score("binary", "roc_auc", y[inside], p[inside])
    assert found["carrier=EV"].rows == inside.sum()
    assert json.loads(json.dumps(found["carrier=EV"].to_json()))["excess_low"] is None


def test_small_values_are_left_out() -> None:
    columns, y, p = flights(300, 0)
    assert declared_slices("binary", y, p, columns, ["carrier"], min_rows=200) == []


def test_search_finds_the_planted_slice_first() -> None:
    columns, y, p = flights(8_000, 1, bad=True)
    found = search_slices("binary", y, p, columns, loss("binary", y, p))
    assert "carrier=EV" in found[0].name
    assert "hour" in found[0].name
    assert found[0].excess_low > 0
    planted = (columns["carrier"] == "EV") & (columns["hour"] > 19)
    assert (found[0].holds(columns) & planted).sum() > 0.5 * planted.sum()
    worst = worst_slice(found)
    assert worst is not None
    assert worst.metric.value == min(each.metric.value for each in found)


def test_search_of_a_fair_model_reports_nothing() -> None:
    reports = 0
    for seed in range(25):
        columns, y, p = flights(2_000, seed)
        # losses of equal mean everywhere, so that every report is a false one
        reports += bool(search_slices("binary", y, p, columns, np.random.default_rng(seed).beta(2, 8, 2_000)))
    assert reports <= 4


def test_bad_day_does_not_make_a_bad_slice_when_days_are_groups() -> None:
    columns, y, p = flights(2_000, 3)
    day = np.repeat(np.arange(20), 100)
    losses = np.full(2_000, 0.1) + 0.6 * (day == 7)
    columns["carrier"][(day == 7)] = "EV"
    assert not [each for each in search_slices("binary", y, p, columns, losses, groups=day) if "carrier" in each.name]


def test_unknown_column_is_refused_with_the_nearest_name() -> None:
    columns, y, p = flights(200, 0)
    with pytest.raises(NotFound) as refused:
        declared_slices("binary", y, p, columns, ["carier"])
    assert "carrier" in refused.value.next_step


def test_uneven_columns_are_refused() -> None:
    columns, y, p = flights(200, 0)
    with pytest.raises(Invalid, match="hour"):
        search_slices("binary", y, p, {**columns, "hour": np.zeros(3)}, np.zeros(200))


def test_slices_of_different_metrics_are_not_ranked() -> None:
    columns, y, p = flights(1_000, 0)
    by_auc = declared_slices("binary", y, p, columns, ["carrier"])
    by_f1 = declared_slices("binary", y, p, columns, ["carrier"], metric="f1")
    with pytest.raises(Invalid):
        worst_slice([*by_auc, *by_f1])
    assert worst_slice([]) is None
