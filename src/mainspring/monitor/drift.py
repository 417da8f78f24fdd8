"""Have the inputs moved? Tests and distances between a reference profile and a window's counts.

Every statistic is a function of counts, so no raw row is needed and windows may be merged first. A column is called
shifted only when a test is significant after correction *and* its effect reaches a floor: p-values alone alarm on
nearly every quiet day with 30 columns or with 500,000 rows, distances with fixed thresholds alarm on small windows, and
both together stayed quiet in simulation and still found a shift of a quarter deviation in 1,000 rows.
Drift is evidence beside an incident, never by itself a reason to wake somebody: harm is `risk`'s business.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mainspring.data.profile import ColumnCounts, ColumnProfile, Counts, Profile
from mainspring.errors import Invalid
from mainspring.evaluate.distributions import chi2_sf, kolmogorov_sf

__all__ = [
    "ColumnDrift",
    "Statistic",
    "chi_square",
    "drift",
    "holm",
    "jensen_shannon",
    "ks",
    "missing_change",
    "psi",
    "total_variation",
    "wasserstein",
]

Bins = Sequence[int] | NDArray[np.float64]
Statistic = Literal["ks", "chi2", "missing"]


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """How one column of a window differs from the reference, by its most telling test.

    `statistic` names that test: ``ks`` of numbers, ``chi2`` of categories, ``missing`` of the share of absent values.
    `effect` is in shares of rows, 0..1: the largest gap between the cumulative shares (ks), the share of rows that
    changed category (chi2), the change of the missing share. `p_adjusted` allows for every test of the report.
    `details` holds the distances people ask for: psi, jensen_shannon, wasserstein in reference deviations, the mean's
    change in deviations, the missing share's change, and the shares of unseen, outside and mistyped values.
    """

    column: str
    statistic: Statistic
    p_value: float
    p_adjusted: float
    effect: float
    is_shifted: bool
    details: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Return JSON-able fields."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Test:
    statistic: Statistic
    p_value: float
    effect: float


def drift(reference: Profile, window: Counts, *, alpha: float = 0.05, floor: float = 0.05) -> list[ColumnDrift]:
    """Compare every column of `window` with `reference`: shifted columns first, then by falling effect.

    `alpha` is the chance that a window just like the reference has any shifted column. `floor` is the smallest effect
    worth a person's time: 5 % of the rows moved. Moments in time always move on; of them only the missing share is
    compared. p-values take rows as independent; rows of one day are not, which is one more reason for the floor.
    Cost: some microseconds a bin, whatever the rows.

    Raises:
        Invalid: the counts were not made with this profile.
    """
    tested: list[tuple[str, list[_Test]]] = []
    for name, column in reference.columns.items():
        counts = window.columns.get(name)
        if counts is None or len(counts.bins) != len(column.counts.bins):
            raise Invalid(f"Column `{name}` was not counted with this profile", where=f"columns.{name}")
        tested.append((name, _tests(column, counts)))
    adjusted = iter(holm([test.p_value for _, tests in tested for test in tests]))
    rows = []
    for name, tests in tested:
        judged = [(test, next(adjusted)) for test in tests]
        if judged:
            rows.append(_row(name, judged, alpha, floor, _details(reference.columns[name], window.columns[name])))
    return sorted(rows, key=lambda row: (not row.is_shifted, -row.effect, row.column))


def ks(reference: Bins, window: Bins) -> tuple[float, float]:
    """Return the Kolmogorov-Smirnov distance of binned samples and its p-value (1 when a sample is empty).

    Binning can only lower the distance, so the p-value errs to the safe side.
    Source: Stephens 1970, JRSS B 32(1), the small-sample factor of the limiting distribution.
    """
    a, b = _array(reference), _array(window)
    if not a.sum() or not b.sum():
        return 0.0, 1.0
    distance = float(np.abs(np.cumsum(a) / a.sum() - np.cumsum(b) / b.sum()).max())
    size = math.sqrt(a.sum() * b.sum() / (a.sum() + b.sum()))
    return distance, min(1.0, kolmogorov_sf(distance * (size + 0.12 + 0.11 / size)))


def chi_square(reference: Bins, window: Bins) -> tuple[float, float]:
    """Return the chi-square statistic that two samples share their shares, and its p-value.

    Categories expected fewer than five times in the smaller sample are pooled, or the p-value would mean nothing
    (Cochran 1954, Biometrics 10(4)).
    """
    table = _pooled(reference, window)
    total = table.sum()
    if table.shape[1] < 2 or not table.sum(1).all():
        return 0.0, 1.0
    expected = table.sum(1, keepdims=True) * table.sum(0) / total
    statistic = float(((table - expected) ** 2 / expected).sum())
    return statistic, chi2_sf(statistic, table.shape[1] - 1)


def total_variation(reference: Bins, window: Bins) -> float:
    """Return the share of rows that would have to change category, after pooling rare ones as `chi_square` does."""
    table = _pooled(reference, window)
    if not table.sum(1).all():
        return 0.0
    shares = table / table.sum(1, keepdims=True)
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def psi(reference: Bins, window: Bins) -> float:
    """Return the population stability index; every bin is given half a row, so that empty ones stay finite.

    Its expectation without any drift is about (bins - 1) * (1/n + 1/m): thresholds such as 0.1 need large windows.
    """
    a, b = _array(reference) + 0.5, _array(window) + 0.5
    p, q = a / a.sum(), b / b.sum()
    return float(((p - q) * np.log(p / q)).sum())


def jensen_shannon(reference: Bins, window: Bins) -> float:
    """Return the Jensen-Shannon distance (root of the divergence in bits), 0..1; 0 when a sample is empty."""
    a, b = _array(reference), _array(window)
    if not a.sum() or not b.sum():
        return 0.0
    p, q = a / a.sum(), b / b.sum()
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log2(p / middle), 0) + np.where(q > 0, q * np.log2(q / middle), 0)
    return math.sqrt(max(0.0, float(terms.sum()) / 2))


def wasserstein(reference: ColumnProfile, window: ColumnCounts) -> float:
    """Return the Wasserstein-1 distance in reference deviations: how far the average row moved.

    Between edges both distributions count as even, or, where every value of the reference has a bin, as lying on the
    upper edge. Beyond the reference's range only the mean of what lies there matters, and the window's total gives it.
    So the error is at most half a bin's width times the shares of both samples in it, summed over the bins (a whole
    width times the window's share where values have bins), and the shares outside times how far they reach. 0 when a
    sample is empty or the reference does not vary.
    """
    a, b = _array(reference.counts.bins), _array(window.bins)
    if not a.sum() or not b.sum() or not reference.deviation or window.low is None or window.high is None:
        return 0.0
    edges = np.array(reference.edges)
    gap = (np.cumsum(a) / a.sum() - np.cumsum(b) / b.sum())[:-1]
    has_atoms = reference.distinct == edges.size - 1
    inside = np.abs(gap[:-1]) if has_atoms else _mean_distance(gap[:-1], gap[1:])
    centres = edges[1:] if has_atoms else (edges[:-1] + edges[1:]) / 2
    reach = np.array([max(edges[0] - window.low, 0.0), max(window.high - edges[-1], 0.0)])
    outside = _outside(b, float(window.total - b[1:-1] @ centres), edges, reach)
    return float((inside @ np.diff(edges) + outside / b.sum()) / reference.deviation)


def _mean_distance(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of |gap| over bins in which the gap runs evenly from `left` to `right`."""
    # a gap that changes sign inside a bin covers two triangles, not a trapezoid
    apart = np.abs(left) + np.abs(right)
    crosses = left * right < 0
    triangles = np.divide(left**2 + right**2, 2 * apart, out=np.zeros_like(apart), where=crosses)
    return np.where(crosses, triangles, apart / 2)


def _outside(b: NDArray[np.float64], total: float, edges: NDArray[np.float64], reach: NDArray[np.float64]) -> float:
    """Return by how much all values outside the edges are outside, given the `total` of these values."""
    times = b[[0, -1]]
    room = times * reach
    if not room.sum():
        return 0.0
    # start with both sides halfway, and let the total say how much further up or down they lie
    up = (total - times @ edges[[0, -1]] - (room[1] - room[0]) / 2) / room.sum()
    return float(room @ np.clip(0.5 + np.array([-up, up]), 0.0, 1.0))


def missing_change(reference: ColumnCounts, window: ColumnCounts) -> tuple[float, float]:
    """Return the change of the share of missing or mistyped values, and the p-value of the two shares being equal."""
    if not reference.rows or not window.rows:
        return 0.0, 1.0
    absent = np.array([reference.rows - reference.present, window.rows - window.present], dtype=np.float64)
    rows = np.array([reference.rows, window.rows], dtype=np.float64)
    change = float(absent[1] / rows[1] - absent[0] / rows[0])
    pooled = absent.sum() / rows.sum()
    variance = float(pooled * (1 - pooled) * (1 / rows).sum())
    return change, math.erfc(abs(change) / math.sqrt(2 * variance)) if variance > 0 else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for all of them being looked at. Source: Holm 1979, Scand. J. Statistics 6(2)."""
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda each: p_values[each])):
        running = max(running, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = running
    return adjusted


def _tests(column: ColumnProfile, window: ColumnCounts) -> list[_Test]:
    tests = []
    if column.kind == "number" and column.edges and window.present:
        distance, p_value = ks(column.counts.bins, window.bins)
        tests.append(_Test("ks", p_value, distance))
    if column.kind == "category" and column.categories and window.present:
        _, p_value = chi_square(column.counts.bins, window.bins)
        tests.append(_Test("chi2", p_value, total_variation(column.counts.bins, window.bins)))
    change, p_value = missing_change(column.counts, window)
    # a column that never lacks a value needs no test, and each test less leaves the others more power
    if column.counts.present < column.counts.rows or window.present < window.rows or not tests:
        tests.append(_Test("missing", p_value, abs(change)))
    return tests


def _row(
    name: str, judged: list[tuple[_Test, float]], alpha: float, floor: float, details: dict[str, float]
) -> ColumnDrift:
    def shifted(test: _Test, p_adjusted: float) -> bool:
        return p_adjusted <= alpha and test.effect >= floor

    test, p_adjusted = max(judged, key=lambda each: (shifted(*each), each[0].effect))
    is_shifted = shifted(test, p_adjusted)
    return ColumnDrift(name, test.statistic, test.p_value, p_adjusted, test.effect, is_shifted, details)


def _details(column: ColumnProfile, window: ColumnCounts) -> dict[str, float]:
    change, _ = missing_change(column.counts, window)
    found = {"missing_change": change, "mistyped_share": window.mistyped / window.rows if window.rows else 0.0}
    present = window.present
    if column.kind == "timestamp" or not present:
        return found
    found["psi"] = psi(column.counts.bins, window.bins)
    found["jensen_shannon"] = jensen_shannon(column.counts.bins, window.bins)
    if column.kind == "category":
        # where the reference had more categories than are kept, the last bin is "other", not news
        before = column.counts.bins[-1] / column.counts.present if column.counts.present else 0.0
        found["unseen_share"] = max(0.0, window.bins[-1] / present - before)
        return found
    found["wasserstein"] = wasserstein(column, window)
    if column.edges:
        found["outside_share"] = (window.bins[0] + window.bins[-1]) / present
    if column.mean is not None and column.deviation:
        found["mean_change"] = (window.total / present - column.mean) / column.deviation
    return found


def _pooled(reference: Bins, window: Bins) -> NDArray[np.float64]:
    """Return the table (2, categories) without empty categories, rare ones added together in the last."""
    table = np.stack([_array(reference), _array(window)])
    table = table[:, table.sum(0) > 0]
    total = table.sum()
    if not total:
        return table
    rare = table.sum(0) * table.sum(1).min() / total < 5
    if not rare.any():
        return table
    return np.column_stack([table[:, ~rare], table[:, rare].sum(1)])


def _array(bins: Bins) -> NDArray[np.float64]:
    return np.asarray(bins, dtype=np.float64)
