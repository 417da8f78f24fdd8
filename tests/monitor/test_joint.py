"""Two times told apart by all columns together: found where no column moved alone, and not found where none did."""

import numpy as np
import pytest

from mainspring.data.table import Columns
from mainspring.monitor.joint import JointDrift, joint_drift

pytest.importorskip("sklearn", reason="pip install 'mainspring[ml]'")


def rows(count: int, seed: int, *, correlation: float = 0.0, shift: float = 0.0) -> Columns:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=count)
    y = correlation * x + np.sqrt(1 - correlation**2) * rng.normal(size=count)
    return {
        "x": x + shift,
        "y": np.where(rng.uniform(size=count) < 0.1, np.nan, y),
        "carrier": rng.choice(np.array(["AA", "UA", None], dtype=object), size=count),
        "id": np.array([f"{seed}-{number}" for number in range(count)], dtype=object),
        "at": np.datetime64("2026-01-01") + seed * 100 + np.arange(count).astype("timedelta64[m]"),
    }


def drift(before: Columns, after: Columns) -> JointDrift | None:
    found = joint_drift(before, after)
    return None if found is None else found.drift


@pytest.mark.parametrize("seed", range(5))
def test_equal_times_are_not_told_apart_though_ids_and_moments_differ(seed: int) -> None:
    found = drift(rows(2000, seed), rows(1500, 100 + seed))
    assert found is not None
    assert not found.is_shifted
    assert found.area == pytest.approx(0.5, abs=0.05)


def test_columns_that_move_only_together_are_found() -> None:
    found = drift(rows(3000, 1), rows(3000, 2, correlation=0.9))
    assert found is not None
    assert found.is_shifted
    assert found.low < found.area < found.high


def test_a_difference_too_small_to_matter_is_no_shift_however_sure() -> None:
    found = drift(rows(20_000, 1), rows(20_000, 2, shift=0.2))
    assert found is not None
    assert not found.is_shifted
    assert found.low > 0.5


def test_few_rows_or_none_say_nothing() -> None:
    assert joint_drift({}, rows(1000, 1)) is None
    assert joint_drift(rows(100, 1), rows(1000, 2)) is None
    assert joint_drift({"at": rows(500, 1)["at"]}, {"at": rows(500, 2)["at"]}) is None


def test_rows_count_for_as_many_as_they_have_become() -> None:
    rng = np.random.default_rng(0)
    before, after = ({"x": (rng.random(8000) < share).astype(float)} for share in (0.1, 0.6))
    found = joint_drift(before, after)
    assert found is not None
    assert found.weights.mean() == pytest.approx(1.0)
    marked = before["x"][found.rows] > 0
    assert float(found.weights[marked].sum() / found.weights.sum()) == pytest.approx(0.6, abs=0.05)


def test_a_column_that_only_grows_leaves_few_rows_that_speak_for_the_later_time() -> None:
    number = np.arange(2800.0)
    found = joint_drift(
        {"x": number[:2000] % 7, "number": number[:2000]}, {"x": number[2000:] % 7, "number": number[2000:]}
    )
    assert found is not None
    assert found.drift.is_shifted
    assert found.effective_rows < 200
