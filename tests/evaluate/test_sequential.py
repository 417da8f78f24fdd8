"""Confidence sequences: their promise at all times, and that cutting the data differently changes nothing."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mainspring.errors import Invalid
from mainspring.evaluate import sequential
from mainspring.evaluate.sequential import SequentialState

ALPHA = 0.1


def looks(
    values: NDArray[np.float64], every: int, low: float = 0.0, high: float = 1.0
) -> list[tuple[int, float, float]]:
    """Feed `values` in steps and note the bounds at each."""
    state, seen = sequential.start(low, high), []
    for begin in range(0, values.size, every):
        state = sequential.update(state, values[begin : begin + every])
        seen.append((state.n, sequential.lower(state, ALPHA), sequential.upper(state, ALPHA)))
    return seen


@pytest.mark.parametrize("kind", ["rare", "beta", "constant"])
def test_bounds_of_independent_values_hold_at_all_times(kind: str) -> None:
    below = above = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        values = {"rare": rng.random(500) < 0.1, "beta": rng.beta(2, 10, 500), "constant": np.full(500, 0.3)}[kind]
        truth = {"rare": 0.1, "beta": 2 / 12, "constant": 0.3}[kind]
        seen = looks(values.astype(float), every=20)
        below += any(low > truth + 1e-12 for _, low, _ in seen)
        above += any(high < truth - 1e-12 for _, _, high in seen)
    assert max(below, above) <= ALPHA * 120


def test_bounds_hold_for_the_running_mean_of_a_drifting_risk() -> None:
    risk = 0.1 + 0.3 * (np.arange(600) > 300) - 0.2 * (np.arange(600) > 450)
    running = np.cumsum(risk) / np.arange(1, 601)
    missed = 0
    for seed in range(100):
        values = (np.random.default_rng(seed).random(600) < risk).astype(float)
        missed += any(not low <= running[n - 1] <= high for n, low, high in looks(values, every=25))
    assert missed <= 2 * ALPHA * 100


def test_real_difference_is_found_and_its_size_bracketed() -> None:
    difference = np.clip(np.random.default_rng(0).normal(0.02, 0.1, 5_000), -1, 1)
    state = sequential.update(sequential.start(-1, 1), difference)
    assert 0 < sequential.lower(state, 0.05) < 0.02 < sequential.upper(state, 0.05) < 0.04


def test_bounds_are_not_far_from_those_of_one_look() -> None:
    values = np.random.default_rng(0).beta(2, 10, 10_000)
    state = sequential.update(sequential.start(), values)
    one_look = 1.645 * values.std() / math.sqrt(values.size)
    assert sequential.mean(state) - sequential.lower(state, 0.05) < 3 * one_look


@settings(max_examples=30, deadline=None)
@given(values=st.lists(st.floats(0, 1), max_size=60), cuts=st.lists(st.integers(0, 60), max_size=4))
def test_feeding_in_parts_equals_feeding_at_once(values: list[float], cuts: list[int]) -> None:
    parts = sequential.start()
    for part in np.split(np.array(values), sorted(cuts)):
        parts = sequential.update(parts, part)
    whole = sequential.update(sequential.start(), np.array(values))
    assert parts.n == whole.n
    assert (parts.total, parts.variation) == pytest.approx((whole.total, whole.variation), abs=1e-9)


def test_state_survives_json() -> None:
    state = sequential.update(sequential.start(-1, 1), np.array([0.1, -0.2]))
    assert SequentialState(**json.loads(json.dumps(state.to_json()))) == state


def test_before_the_first_value_nothing_is_known() -> None:
    state = sequential.start(-1, 1)
    assert (sequential.lower(state), sequential.upper(state)) == (-1, 1)
    assert math.isnan(sequential.mean(state))


def test_huge_samples_stay_numerically_sound() -> None:
    state = SequentialState(0, 1, 10_000_000, 1_500_000.0, 1_275_000.0)
    assert 0.1493 < sequential.lower(state, 0.05) < 0.15 < sequential.upper(state, 0.05) < 0.1507


@pytest.mark.parametrize("value", [1.2, -0.1, math.nan])
def test_values_outside_the_range_are_refused(value: float) -> None:
    with pytest.raises(Invalid) as refused:
        sequential.update(sequential.start(), np.array([0.5, value]))
    assert refused.value.where == "values[1]"


def test_senseless_parameters_are_refused() -> None:
    with pytest.raises(Invalid):
        sequential.start(1, 1)
    with pytest.raises(Invalid):
        sequential.lower(sequential.update(sequential.start(), np.array([0.5])), 0.7)
