"""Leakage: a join that looks ahead is caught by another future, and columns that know too much are named."""

import numpy as np
import pytest

from mainspring.data.join import join_asof
from mainspring.data.leakage import future_leaks, leakage_suspects
from mainspring.data.table import Columns
from mainspring.errors import Invalid

HOURS = np.datetime64("2013-01-01", "us") + np.arange(60) * np.timedelta64(1, "h")
ON = np.array(["a"] * 60, dtype=object)
SOURCES: dict[str, Columns] = {
    "trips": {"on": ON, "at": HOURS + np.timedelta64(30, "m")},
    "weather": {"on": ON, "seen": HOURS, "temp": np.arange(60.0)},
}
KNOWN = {"weather": ("seen", "1h")}


def joined(delay: str):
    def build(tables: dict[str, Columns]) -> Columns:
        return join_asof(
            tables["trips"], tables["weather"], on="on", left_time="at", right_time="seen", delay=delay
        ).columns

    return build


def test_a_join_that_waits_for_its_rows_does_not_leak() -> None:
    assert future_leaks(joined("1h"), SOURCES, KNOWN, time="at") == []


def test_a_join_that_does_not_wait_is_caught_at_every_cut() -> None:
    found = future_leaks(joined("0s"), SOURCES, KNOWN, time="at", cuts=4)
    assert [(each.column, each.n_rows) for each in found] == [("temp", 1)] * 4


def test_an_aggregate_over_all_rows_is_caught() -> None:
    def build(tables: dict[str, Columns]) -> Columns:
        table = joined("1h")(tables)
        return {**table, "usual": np.full(60, tables["weather"]["temp"].mean())}

    found = future_leaks(build, SOURCES, KNOWN, time="at", cuts=1)
    assert {each.column for each in found} == {"usual"}
    assert found[0].n_rows > 20


def test_rows_that_are_chosen_by_the_future_are_refused() -> None:
    def build(tables: dict[str, Columns]) -> Columns:
        table = joined("0s")(tables)
        return {name: array[table["temp"] >= 0] for name, array in table.items()}

    with pytest.raises(Invalid, match="with another future"):
        future_leaks(build, SOURCES, KNOWN, time="at")


@pytest.mark.parametrize("known", [{"rain": ("seen", "1h")}, {"weather": ("sen", "1h")}, {"weather": ("temp", "1h")}])
def test_what_is_not_there_is_named(known: dict[str, tuple[str, str]]) -> None:
    with pytest.raises(Invalid):
        future_leaks(joined("1h"), SOURCES, known, time="at")


def table(rng: np.random.Generator) -> Columns:
    n = 400
    late = (rng.random(n) < 0.4).astype(float)
    at = np.datetime64("2013-01-01", "us") + np.arange(n) * np.timedelta64(1, "h")
    return {
        "late": late,
        "at": at,
        "fair": late + rng.normal(size=n),
        "carrier": rng.choice(["AA", "B6"], n).astype(object),
        "minutes": np.where(late == 1, 20, -5) + rng.normal(size=n),
        "verdict": np.where(late == 1, "late", "fine").astype(object),
        "ticket": np.array([f"T{n}" for n in range(n)], dtype=object),
        "landed": at + np.timedelta64(2, "h"),
        "ordered": at - np.timedelta64(2, "D"),
    }


def test_columns_that_know_too_much_are_named_and_the_others_are_not() -> None:
    columns = table(np.random.default_rng(0))
    found = leakage_suspects(columns, target="late", time="at")
    assert {(each.column, each.reason) for each in found} == {
        ("minutes", "target"), ("verdict", "target"), ("ticket", "id"), ("landed", "after"),
    }  # fmt: skip


def test_a_number_that_is_the_target_on_another_scale_is_named() -> None:
    rng = np.random.default_rng(1)
    value = rng.normal(size=300)
    columns = {"y": value, "same": np.exp(value), "like": value + rng.normal(size=300)}
    assert [each.column for each in leakage_suspects(columns, target="y")] == ["same"]


def test_rows_that_stand_on_both_sides_of_a_split_are_counted() -> None:
    columns = {"y": np.array([0.0, 1, 0, 1]), "x": np.array([1.0, np.nan, 1, 3])}
    (found,) = leakage_suspects(columns, target="y", test=np.array([False, False, True, True]))
    assert (found.reason, found.score) == ("repeated", 0.5)


def test_a_target_that_is_not_there_is_refused() -> None:
    with pytest.raises(Invalid, match="no column `lat`"):
        leakage_suspects({"late": np.ones(3)}, target="lat")
    with pytest.raises(Invalid, match="missing everywhere"):
        leakage_suspects({"late": np.full(3, np.nan)}, target="late")
