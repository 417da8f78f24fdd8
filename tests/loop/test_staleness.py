"""How fast a model ages: a world that turns, one that stands still, and loops that cannot be trained to a moment."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

import mainspring as ms
from mainspring.cli.main import main
from mainspring.errors import Invalid
from mainspring.loop.staleness import staleness
from mainspring.workspace import Workspace

DAYS, EACH = 120, 60
AGES = [timedelta(days=each) for each in (15, 30, 60)]


def world(turns: float) -> pd.DataFrame:
    """Rows of 120 days; the direction that decides turns by `turns` radians from the first day to the last."""
    rng = np.random.default_rng(0)
    day = np.repeat(np.arange(DAYS), EACH)
    x, y = rng.normal(size=(2, day.size))
    angle = turns * day / DAYS
    decided = np.cos(angle) * x + np.sin(angle) * y + 0.3 * rng.normal(size=day.size) > 0
    at = np.datetime64("2025-01-01", "us") + day.astype("timedelta64[D]") + np.timedelta64(12, "h")
    return pd.DataFrame({"at": at, "x": x, "y": y, "late": decided.astype(int)})


@ms.step
def rows_until(turns: float, until: datetime) -> pd.DataFrame:
    """Return the rows that were known."""
    table = world(turns)
    return table[table["at"] < np.datetime64(until.replace(tzinfo=None))].tail(40 * EACH).reset_index(drop=True)


@ms.pipeline
def train(until: datetime, turns: float = 1.5) -> ms.Candidate:
    """Fit on the newest forty days."""
    parts = ms.split(rows_until(turns, until), time="at", target="late")
    return ms.evaluate(ms.fit(LogisticRegression(), parts), parts)


class LastDay:
    """A clock that stands at the end of the data."""

    def now(self) -> datetime:
        return datetime(2025, 5, 1, tzinfo=UTC)


@pytest.fixture
def workspace(tmp_path: Path):
    with Workspace(tmp_path / "home", clock=LastDay()) as opened:
        yield opened


def test_in_a_world_that_turns_age_costs_more_and_more(workspace: Workspace) -> None:
    found = staleness(ms.Loop("late", train=train), workspace, AGES)
    assert [each.days for each in found.ages] == [0, 15, 30, 60]
    losses = [each.loss for each in found.ages]
    assert losses == sorted(losses)
    assert [each.cost and each.cost.verdict for each in found.ages] == [None, "worse", "worse", "worse"]
    assert found.half_life_days is not None
    assert 15 < found.half_life_days < 60
    worth = [each.worth for each in found.ages]
    assert worth == sorted(worth, reverse=True)
    assert worth[-1] == 0
    assert (found.rows, found.tested) == (6 * EACH, ("2025-04-25", "2025-04-30"))
    # each model is as if it had been trained then: the one of 60 days ago equals one trained then, on the same rows
    again = staleness(ms.Loop("late", train=train), workspace, AGES[2:])
    assert again.ages[-1].loss == found.ages[-1].loss


def test_in_a_world_that_stands_still_no_age_is_surely_worse(workspace: Workspace) -> None:
    found = staleness(ms.Loop("late", train=train), workspace, AGES, turns=0.0)
    assert found.half_life_days is None
    assert {each.cost.verdict for each in found.ages if each.cost} <= {"undecided", "better"}


def test_the_command_cuts_the_time_of_a_loop_that_names_its_data(tmp_path: Path, monkeypatch, capsys) -> None:
    world(1.5).to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "loop.py").write_text(
        "import mainspring as ms\nloop = ms.Loop('late', data='rows.csv', target='late', time='at')\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "home"))
    assert main(["staleness", "loop.py", "--ages", "60d", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["days"] for each in told["ages"]] == [0, 60]
    assert told["ages"][1]["cost"]["verdict"] == "worse"
    assert main(["models", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []  # nothing is registered
    assert main(["staleness", "loop.py", "--ages", "60d"]) == 0
    assert "Half of what the oldest loses is lost after" in capsys.readouterr().out
    assert main(["staleness", "loop.py", "--ages", "900d"]) == 2
    assert "name younger ages" in capsys.readouterr().err


@ms.pipeline
def train_by_chance(until: datetime) -> ms.Candidate:
    """Deal the rows by chance."""
    parts = ms.split(rows_until(1.5, until).drop(columns="at"), target="late")
    return ms.evaluate(ms.fit(LogisticRegression(), parts), parts)


def test_a_split_by_chance_is_refused_for_it_would_test_on_what_was_learnt(workspace: Workspace) -> None:
    with pytest.raises(Invalid, match="deals its rows by chance"):
        staleness(ms.Loop("late", train=train_by_chance), workspace, AGES)


def test_ages_count_from_the_newest_row_and_each_once(workspace: Workspace) -> None:
    class LongAfter(LastDay):
        def now(self) -> datetime:
            return datetime(2026, 5, 1, tzinfo=UTC)

    found = staleness(ms.Loop("late", train=train), workspace, AGES[:1])
    workspace.clock = LongAfter()
    later = staleness(ms.Loop("late", train=train), workspace, [AGES[0], AGES[0]])
    assert [each.loss for each in later.ages] == [each.loss for each in found.ages]
    with pytest.raises(Invalid, match="No age is named"):
        staleness(ms.Loop("late", train=train), workspace, [])


@pytest.mark.parametrize(("time", "said"), [("nothing", "There is no column `nothing`"), ("x", "holds no moments")])
def test_a_column_that_is_no_time_is_told(workspace: Workspace, tmp_path: Path, time: str, said: str) -> None:
    world(0.0).to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(Invalid, match=said):
        staleness(ms.Loop("late", data=tmp_path / "rows.csv", target="late", time=time), workspace, AGES)


def test_a_loop_without_time_is_told_what_it_lacks(workspace: Workspace) -> None:
    with pytest.raises(Invalid, match="cannot be trained to an earlier moment"):
        staleness(ms.Loop("late", data="rows.csv", target="late"), workspace, AGES)
