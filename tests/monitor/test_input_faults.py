"""The marks of a broken source: what is told, and what is left to the world."""

import math
from dataclasses import replace

import numpy as np
import pytest

from mainspring.data.profile import Counts, Profile, count, profile
from mainspring.monitor.input_faults import (
    CONVERSIONS,
    LEAST_BLOCKS,
    BlockSummary,
    ColumnSummary,
    input_faults,
    renamed_from,
    summarize,
)


def _rows(seed: int, rows: int = 400) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "pressure": rng.normal(1015, 2, rows) + rng.normal(0, 6),
        "temp": rng.normal(60, 5, rows) + rng.normal(0, 5),
        "rain": rng.gamma(1, 0.2, rows) * (rng.random() < 0.2),
        "carrier": rng.choice(np.array(["UA", "EV", "DL"], dtype=object), rows, p=[0.2, 0.5, 0.3]),
    }


REFERENCE = profile(_rows(0, 2000))


def _days(days: int = 28, reference: Profile = REFERENCE) -> list[BlockSummary]:
    return [summarize(f"{day:02}", reference, count(reference, _rows(day))) for day in range(1, days + 1)]


def _day(seed: int = 99, **changed: np.ndarray) -> BlockSummary:
    return summarize("today", REFERENCE, count(REFERENCE, {**_rows(seed), **changed}))


def test_ordinary_days_show_nothing() -> None:
    days = _days(120)
    told = [input_faults(days[day - 28 : day], days[day]) for day in range(28, 120)]
    assert sum(map(bool, told)) <= 1


@pytest.mark.parametrize(
    ("column", "change", "said"),
    [
        ("pressure", lambda x: x * 0.02953, "inches of mercury instead of millibars"),
        ("temp", lambda x: (x - 32) / 1.8, "degrees Celsius instead of degrees Fahrenheit"),
        ("pressure", lambda x: np.where(np.arange(x.size) % 2, np.nan, x), "is missing in 50.0% of rows"),
        ("pressure", lambda x: x.astype(str).astype(object), "wrong type in 100.0% of rows"),
        ("carrier", lambda x: np.where(x == "UA", "UAL", x), "never seen values in"),
    ],
)
def test_a_broken_source_is_told_with_what_it_did(column: str, change, said: str) -> None:
    faults = input_faults(_days(), _day(**{column: change(_rows(99)[column])}))
    assert list(faults) == [column]
    assert said in faults[column]


def test_a_move_of_the_world_is_no_fault() -> None:
    assert input_faults(_days(), _day(temp=_rows(99)["temp"] + 20)) == {}
    assert input_faults(_days(), _day(rain=_rows(99)["rain"] + 2.0)) == {}


def test_too_few_days_or_rows_tell_nothing() -> None:
    broken = _day(pressure=_rows(99)["pressure"] * 0.02953)
    assert input_faults(_days(LEAST_BLOCKS - 1), broken) == {}
    assert input_faults(_days(), replace(broken, rows=29)) == {}
    assert "pressure" in input_faults(_days(LEAST_BLOCKS), broken)


def test_the_category_that_is_gone_is_named() -> None:
    before = count(REFERENCE, _rows(1))
    carrier = _rows(99)["carrier"]
    renamed = count(REFERENCE, {**_rows(99), "carrier": np.where(carrier == "UA", "UAL", carrier)})
    assert renamed_from(REFERENCE, before, renamed, "carrier") == "UA"
    added = count(REFERENCE, {**_rows(99), "carrier": np.where(np.arange(400) % 5 == 0, "new", carrier)})
    assert renamed_from(REFERENCE, before, added, "carrier") == ""
    assert renamed_from(REFERENCE, before, Counts(0, {}), "carrier") == ""
    assert renamed_from(REFERENCE, before, renamed, "temp") == ""


def test_each_conversion_has_its_way_back() -> None:
    for there, back in zip(CONVERSIONS[::2], CONVERSIONS[1::2], strict=True):
        assert (there.factor * 7.0 + there.offset) * back.factor + back.offset == pytest.approx(7.0)
        assert back.said == " instead of ".join(reversed(there.said.split(" instead of ")))


def test_a_summary_survives_json() -> None:
    block = BlockSummary(
        "2013-04-01", 5, {"a": ColumnSummary(0.1, 0.0, 0.2, None), "b": ColumnSummary(0, 0, 0, math.pi)}
    )
    assert BlockSummary.from_json(block.to_json()) == block
