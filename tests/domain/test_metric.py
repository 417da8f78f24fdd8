"""Goals read from text, and the table of metrics."""

import math

import pytest

from mainspring.domain.metric import METRICS, Goal, MetricValue, metrics_of, parse_goal
from mainspring.errors import Invalid


@pytest.mark.parametrize(
    ("text", "goal"),
    [
        ("roc_auc >= 0.70", Goal("roc_auc", ">=", 0.7)),
        ("  brier<0.2 ", Goal("brier", "<", 0.2)),
        ("rmse <= 1e3", Goal("rmse", "<=", 1000.0)),
        ("r2 > -0.5", Goal("r2", ">", -0.5)),
    ],
)
def test_goal_is_read_from_text(text: str, goal: Goal) -> None:
    assert parse_goal(text) == goal
    assert parse_goal(str(goal)) == goal


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("roc_acu >= 0.7", "`roc_auc`"),
        ("roc_auc 0.7", "roc_auc >= 0.70"),
        ("roc_auc >= much", "roc_auc >= 0.5"),
        ("roc_auc >= nan", "roc_auc >= 0.5"),
        ("brier >= 0.2", "brier <= 0.2"),
        ("roc_auc == 0.7", "roc_auc >= 0.70"),
    ],
)
def test_wrong_goal_is_refused_with_a_way_out(text: str, hint: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_goal(text)
    assert hint in refused.value.next_step


def test_goal_is_refused_when_the_task_has_no_such_metric() -> None:
    with pytest.raises(Invalid, match="regression"):
        parse_goal("roc_auc >= 0.7", task="regression")


@pytest.mark.parametrize(("op", "met"), [(">=", True), ("<=", True), (">", False), ("<", False)])
def test_goal_knows_its_boundary(op: str, met: bool) -> None:
    goal = Goal("accuracy", op, 0.5)  # type: ignore[arg-type]
    assert goal.met_by(0.5) is met
    assert not goal.met_by(math.nan)


def test_every_metric_has_a_task_and_a_meaning() -> None:
    assert all(info.tasks and info.meaning for info in METRICS.values())
    assert "roc_auc" in metrics_of("binary")
    assert "mae" not in metrics_of("multiclass")


def test_undefined_value_travels_as_none() -> None:
    value = MetricValue("roc_auc", math.nan, math.nan, math.nan, 3, method="undefined: one class")
    assert value.to_json()["value"] is None
    assert "undefined" in str(value)
