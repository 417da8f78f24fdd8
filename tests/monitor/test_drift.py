"""Drift: statistics against SciPy, and how often the decision is wrong."""

import json
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial import distance

from mainspring.data.profile import ColumnCounts, ColumnProfile, Profile, count, merge, profile
from mainspring.errors import Invalid
from mainspring.monitor import drift as statistics
from mainspring.monitor.drift import drift

Columns = dict[str, NDArray[np.generic]]


def table(rng: np.random.Generator, n: int, *, shift_first: float = 0.0, shift_all: float = 0.0) -> Columns:
    """Twenty numbers and ten categories of 3 to 30 values, optionally moved."""
    columns: Columns = {f"n{index}": rng.normal(shift_all, 1, n) for index in range(20)}
    columns["n0"] = columns["n0"] + shift_first
    for index in range(10):
        weights = rng_weights(index)
        names = np.array([f"v{each}" for each in range(weights.size)], dtype=object)
        columns[f"c{index}"] = names[rng.choice(weights.size, n, p=weights)]
    return columns


def rng_weights(index: int) -> NDArray[np.float64]:
    weights = 1 / np.arange(1, 4 + 3 * index)
    return weights / weights.sum()


@pytest.fixture(scope="module")
def reference() -> Profile:
    return profile(table(np.random.default_rng(0), 20_000))


@pytest.mark.parametrize(("n", "reports"), [(100, 40), (1_000, 30), (20_000, 6)])
def test_quiet_windows_raise_no_false_alarm(reference: Profile, n: int, reports: int) -> None:
    alarmed = 0
    for seed in range(1, reports + 1):
        rows = drift(reference, count(reference, table(np.random.default_rng(seed), n)))
        alarmed += any(row.is_shifted for row in rows)
    assert alarmed <= max(1, 0.1 * reports)


def test_harmless_shift_of_every_column_raises_nothing_at_any_size(reference: Profile) -> None:
    for n in (1_000, 50_000):
        rows = drift(reference, count(reference, table(np.random.default_rng(n), n, shift_all=0.02)))
        assert not [row.column for row in rows if row.is_shifted]


def test_quarter_deviation_in_one_column_is_found(reference: Profile) -> None:
    found = others = 0
    for seed in range(20):
        rows = drift(reference, count(reference, table(np.random.default_rng(seed + 500), 1_000, shift_first=0.25)))
        found += rows[0].column == "n0" and rows[0].is_shifted
        others += any(row.is_shifted and row.column != "n0" for row in rows)
    assert found >= 18
    assert others <= 2
    rows = drift(reference, count(reference, table(np.random.default_rng(9), 5_000, shift_first=0.25)))
    assert [row.column for row in rows if row.is_shifted] == ["n0"]
    assert rows[0].details["mean_change"] == pytest.approx(0.25, abs=0.05)


def test_merged_windows_give_the_report_of_the_whole(reference: Profile) -> None:
    whole = table(np.random.default_rng(3), 2_000, shift_first=0.2)
    halves = [
        count(reference, {name: each[part] for name, each in whole.items()}) for part in (slice(700), slice(700, None))
    ]
    ours = {row.column: row for row in drift(reference, merge(*halves))}
    for row in drift(reference, count(reference, whole)):
        assert ours[row.column].effect == row.effect
        assert ours[row.column].p_adjusted == row.p_adjusted


def test_jump_of_missing_values_is_a_shift() -> None:
    rng = np.random.default_rng(0)
    base = profile({"x": rng.normal(size=5_000), "y": rng.normal(size=5_000)})
    gaps = rng.normal(size=1_000)
    gaps[:300] = math.nan
    row = drift(base, count(base, {"x": gaps, "y": rng.normal(size=1_000)}))[0]
    assert (row.column, row.statistic, row.is_shifted) == ("x", "missing", True)
    assert row.effect == row.details["missing_change"] == pytest.approx(0.3)
    assert json.loads(json.dumps(row.to_json()))["statistic"] == "missing"


def test_unseen_category_is_a_shift() -> None:
    rng = np.random.default_rng(0)
    base = profile({"carrier": rng.choice(["EV", "UA"], 5_000).astype(object)})
    row = drift(base, count(base, {"carrier": rng.choice(["EV", "UA", "ZZ"], 600).astype(object)}))[0]
    assert row.is_shifted
    assert row.details["unseen_share"] == pytest.approx(1 / 3, abs=0.05)


def test_time_moving_on_is_no_shift() -> None:
    base = profile({"at": np.arange("2013-01-01", "2013-02-01", dtype="datetime64[h]").astype("datetime64[us]")})
    later = np.arange("2013-06-01", "2013-07-01", dtype="datetime64[h]").astype("datetime64[us]")
    assert not drift(base, count(base, {"at": later}))[0].is_shifted


def test_column_that_lost_every_value_is_a_shift(reference: Profile) -> None:
    columns = table(np.random.default_rng(1), 500)
    columns["n3"] = np.full(500, math.nan)
    row = drift(reference, count(reference, columns))[0]
    assert (row.column, row.effect, row.is_shifted) == ("n3", 1.0, True)


@pytest.mark.parametrize("shift", [0.0, 0.1, 1.0])
def test_binned_ks_is_close_to_the_exact_one(shift: float) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=4_000), rng.normal(shift, 1, 1_500)
    base = profile({"x": a})
    ours, p_value = statistics.ks(base.columns["x"].counts.bins, count(base, {"x": b}).columns["x"].bins)
    exact = stats.ks_2samp(a, b, method="asymp")
    assert exact.statistic - 1 / 64 <= ours <= exact.statistic + 1e-12
    assert p_value >= 0.9 * exact.pvalue


def test_ks_p_value_is_scipys_when_every_value_has_a_bin() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 40, 900).astype(float), rng.integers(1, 41, 700).astype(float)
    base = profile({"x": a})
    ours, p_value = statistics.ks(base.columns["x"].counts.bins, count(base, {"x": b}).columns["x"].bins)
    exact = stats.ks_2samp(a, b, method="asymp")
    assert ours == pytest.approx(exact.statistic, abs=1e-12)
    assert p_value == pytest.approx(exact.pvalue, rel=0.1)


def test_chi_square_equals_scipy() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.multinomial(3_000, rng_weights(3)), rng.multinomial(800, rng_weights(3))
    expected = stats.chi2_contingency(np.stack([a, b]), correction=False)
    assert statistics.chi_square(a, b) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)


def test_chi_square_is_calibrated_with_a_thousand_rare_categories() -> None:
    weights = 1 / np.arange(1, 1_001)
    weights = weights / weights.sum()
    rng = np.random.default_rng(3)
    rejected = sum(
        statistics.chi_square(rng.multinomial(20_000, weights), rng.multinomial(300, weights))[1] < 0.05
        for _ in range(300)
    )
    assert rejected <= 30


def test_jensen_shannon_equals_scipy() -> None:
    a, b = np.array([5, 0, 7, 3]), np.array([1, 4, 0, 9])
    assert statistics.jensen_shannon(a, b) == pytest.approx(distance.jensenshannon(a, b, base=2), abs=1e-12)


def test_psi_of_large_counts_is_the_textbook_sum() -> None:
    a, b = np.array([3e6, 5e6, 2e6]), np.array([2e6, 5e6, 3e6])
    p, q = a / a.sum(), b / b.sum()
    assert statistics.psi(a, b) == pytest.approx(float(((p - q) * np.log(p / q)).sum()), rel=1e-5)


DISTRIBUTIONS = {
    "normal": lambda rng, n: rng.normal(2, 5, n),
    "long tail": lambda rng, n: rng.lognormal(0, 1, n),
    "exponential": lambda rng, n: rng.exponential(3, n),
    "whole numbers": lambda rng, n: rng.poisson(20, n).astype(float),
}


@pytest.mark.parametrize("shift", [-2.0, 0.0, 0.1, 0.5, 3.0])
@pytest.mark.parametrize("shape", DISTRIBUTIONS)
def test_wasserstein_is_scipys_within_the_stated_bound(shape: str, shift: float) -> None:
    rng = np.random.default_rng(4)
    draw = DISTRIBUTIONS[shape]
    a, b = draw(rng, 20_000), draw(rng, 5_000)
    b = b + shift * a.std()
    base = profile({"x": a})
    column, window = base.columns["x"], count(base, {"x": b}).columns["x"]
    ours = statistics.wasserstein(column, window)
    exact = stats.wasserstein_distance(a, b) / a.std()
    assert abs(ours - exact) <= wasserstein_bound(column, window) + 1e-9
    if shape in ("normal", "exponential") and shift <= 0.5:  # far better than the worst case where bins are narrow
        assert ours == pytest.approx(exact, rel=0.07, abs=0.02)


def wasserstein_bound(column: ColumnProfile, window: ColumnCounts) -> float:
    edges, p, q = np.array(column.edges), np.array(column.counts.bins), np.array(window.bins)
    p, q = p / p.sum(), q / q.sum()
    shares = q if column.distinct == edges.size - 1 else (p + q) / 2
    reach = q[0] * max(0, edges[0] - window.low) + q[-1] * max(0, window.high - edges[-1])
    return float((shares[1:-1] @ np.diff(edges) + reach) / column.deviation)


@pytest.mark.parametrize("n", [200, 5_000])
def test_jensen_shannon_of_bins_is_at_most_that_of_finer_bins(n: int) -> None:
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=20_000), rng.normal(0.3, 1, n)
    coarse, fine = profile({"x": a}), profile({"x": a}, bins=1_024)
    bins = [(each.columns["x"].counts.bins, count(each, {"x": b}).columns["x"].bins) for each in (coarse, fine)]
    assert statistics.jensen_shannon(*bins[0]) <= statistics.jensen_shannon(*bins[1]) + 1e-12


def test_missing_change_is_the_two_proportion_test() -> None:
    base = profile({"x": np.array([1.0] * 900 + [math.nan] * 100)})
    window = count(base, {"x": np.array([1.0] * 420 + [math.nan] * 80)}).columns["x"]
    change, p_value = statistics.missing_change(base.columns["x"].counts, window)
    expected = stats.chi2_contingency([[100, 900], [80, 420]], correction=False)
    assert change == pytest.approx(0.06)
    assert p_value == pytest.approx(expected.pvalue, rel=1e-9)


def test_holm_equals_stepping_down_by_hand() -> None:
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([]) == []


def test_empty_window_shifts_nothing(reference: Profile) -> None:
    empty = count(reference, {name: each[:0] for name, each in table(np.random.default_rng(0), 5).items()})
    assert not any(row.is_shifted for row in drift(reference, empty))


def test_counts_of_another_profile_are_refused(reference: Profile) -> None:
    other = profile({"x": np.arange(3.0)})
    with pytest.raises(Invalid):
        drift(reference, count(other, {"x": np.arange(3.0)}))
