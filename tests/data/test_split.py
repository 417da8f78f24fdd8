"""Splits lose no row, and by time nothing later stands before anything earlier."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.data.split import Split, split_by_share, split_by_time
from mainspring.errors import Invalid

DAYS = np.datetime64("2013-01-01", "us") + np.arange(400) * np.timedelta64(1, "D")


def every_row(parts: Split) -> list[int]:
    return sorted([*parts.train.tolist(), *parts.validation.tolist(), *parts.test.tolist()])


def test_by_time_the_newest_rows_are_for_test() -> None:
    order = np.random.default_rng(0).permutation(100)
    parts = split_by_time(DAYS[:100][order], validation=0.2, test=0.1)
    moments = DAYS[:100][order]
    assert [len(parts.train), len(parts.validation), len(parts.test)] == [70, 20, 10]
    assert moments[parts.train].max() < moments[parts.validation].min()
    assert moments[parts.validation].max() < moments[parts.test].min()
    assert (np.diff(parts.train) > 0).all()


share = st.floats(0.05, 0.45)


@settings(max_examples=150, deadline=None)
@given(ticks=st.lists(st.integers(0, 40), max_size=80), validation=share, test=share)
def test_by_time_moments_never_mix_and_no_row_is_lost(ticks: list[int], validation: float, test: float) -> None:
    moments = DAYS[np.array(ticks, dtype=int)]
    try:
        parts = split_by_time(moments, validation=validation, test=test)
    except Invalid:
        return  # few rows, or many of one moment; when a split must succeed is the next test's matter
    assert every_row(parts) == list(range(len(ticks)))
    assert moments[parts.train].max() < moments[parts.validation].min()
    assert moments[parts.validation].max() < moments[parts.test].min()


@settings(max_examples=60, deadline=None)
@given(ticks=st.lists(st.integers(0, 399), unique=True, min_size=40), validation=share, test=share)
def test_moments_that_are_all_different_are_split_by_their_shares(
    ticks: list[int], validation: float, test: float
) -> None:
    parts = split_by_time(DAYS[np.array(ticks)], validation=validation, test=test)
    assert len(parts.test) == round(len(ticks) * test)
    assert len(parts.validation) + len(parts.test) == round(len(ticks) * (validation + test))


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(0, 300), validation=share, test=share, seed=st.integers(0, 5))
def test_by_share_no_row_is_lost_and_a_seed_gives_the_same_parts(
    rows: int, validation: float, test: float, seed: int
) -> None:
    try:
        parts = split_by_share(rows, validation=validation, test=test, seed=seed)
    except Invalid:
        assert rows < 40
        return
    assert every_row(parts) == list(range(rows))
    again = split_by_share(rows, validation=validation, test=test, seed=seed)
    assert all(np.array_equal(getattr(parts, name), getattr(again, name)) for name in ("train", "validation", "test"))
    assert abs(len(parts.test) - rows * test) <= 1


def test_another_seed_deals_otherwise() -> None:
    assert split_by_share(100, seed=1).test.tolist() != split_by_share(100, seed=2).test.tolist()


@pytest.mark.parametrize(
    ("moments", "said"),
    [
        (np.array(["2013-01-01"], dtype=object), "holds no moments"),
        (np.array([1.0, 2.0]), "holds no moments"),
        (np.array(["2013-01-01", "NaT"], "M8[us]"), "A row has no time"),
        (np.array([], "M8[us]"), "no rows"),
        (DAYS[:1], "would be empty"),
        (np.repeat(DAYS[:2], 50), "would be empty"),
    ],
)
def test_a_time_column_that_cannot_be_split_is_refused(moments: np.ndarray, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        split_by_time(moments)


@pytest.mark.parametrize("shares", [(0.0, 0.1), (0.5, 0.5), (-0.1, 0.5), (float("nan"), 0.1), (1, 0.1)])
def test_shares_that_leave_nothing_are_refused(shares: tuple[float, float]) -> None:
    for split in (lambda: split_by_time(DAYS, validation=shares[0], test=shares[1]),
                  lambda: split_by_share(100, validation=shares[0], test=shares[1])):  # fmt: skip
        with pytest.raises(Invalid, match="leave nothing"):
            split()
