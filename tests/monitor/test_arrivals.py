"""Labels that stay away: how late they may be is learnt from before."""

from datetime import UTC, datetime, timedelta

from mainspring.domain.policy import monitor
from mainspring.domain.version import ModelVersion
from mainspring.monitor.arrivals import overdue_labels
from mainspring.monitor.finding import Finding

START = datetime(2024, 3, 1, tzinfo=UTC)
VERSION = ModelVersion("m", 1, None, None, "ready", "", "")
DAY = timedelta(days=1)


def _look(labelled_on: list[int], today: int, *, asked_until: int = 1000) -> Finding | None:
    sealed = [
        (f"{START + day * DAY:%Y-%m-%dT12:00:00.000000Z}", kind, 100)
        for day in range(today)
        for kind in ("predictions", "labels")
        if (day in labelled_on if kind == "labels" else day < asked_until)
    ]
    return overdue_labels(VERSION, sealed, monitor(), now=START + today * DAY)


def test_labels_that_stay_away_are_told_after_two_days_more_than_ever() -> None:
    daily = list(range(20))
    assert _look(daily, 20) is None
    assert _look(daily, 21) is None
    found = _look(daily, 22)
    assert found is not None
    assert "no label has come for 3 days, in which 200 rows were answered" in found.text
    assert found.suspect == "data"


def test_labels_that_come_once_a_week_may_be_away_for_a_week() -> None:
    weekly = list(range(0, 70, 7))
    assert _look(weekly, 71) is None
    assert _look(weekly, 63 + 9) is not None


def test_labels_that_came_again_are_no_finding() -> None:
    assert _look([*range(20), 30], 31) is None


def test_without_requests_no_labels_are_missed() -> None:
    assert _look(list(range(20)), 40, asked_until=20) is None


def test_a_model_whose_labels_never_came_often_says_nothing() -> None:
    assert _look([0, 1, 2], 40) is None
    assert _look([], 40) is None
