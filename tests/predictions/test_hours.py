"""Served hours: requests by outcome and latency, each counted once however often a sealing begins anew."""

from datetime import timedelta

import pytest
from tests.predictions.conftest import START

from mainspring.domain.moments import to_iso
from mainspring.predictions.hours import ServedHour, served_hours
from mainspring.predictions.records import RefusedRecord

HOUR = timedelta(hours=1)


def _served(ground, model: str = "m") -> list[ServedHour]:
    return list(served_hours(ground.store, model, since=START, until=START + 24 * HOUR))


def test_requests_count_once_each_in_the_hour_in_which_they_came(ground) -> None:
    ground.write(ground.asked(5), ground.asked(1, at=START + HOUR / 2), ground.asked(2, at=START + 3 * HOUR))
    ground.seal()
    ground.seal()
    ground.write(ground.asked(1, at=START + 3 * HOUR))
    ground.seal()
    assert [(each.at, each.answered, each.asked) for each in _served(ground)] == [
        (START, 2, 2),
        (START + 3 * HOUR, 2, 2),
    ]
    assert _served(ground, "other") == []


def test_the_latency_of_most_is_right_within_its_bin(ground) -> None:
    ground.write(*(ground.asked() for _ in range(40)))
    ground.seal()
    (hour,) = _served(ground)
    assert hour.p95_ms == pytest.approx(1.5, rel=0.1)


def test_refusals_are_told_beside_answers_and_shadows_are_not(ground) -> None:
    moment = to_iso(START + HOUR / 4)
    ground.write(
        RefusedRecord(model="m", at=moment, refused=3, failed=0),
        ground.asked(),
        ground.asked(route="shadow"),
        RefusedRecord(model="m", at=moment, refused=1, failed=2, rules={"pressure.max": 1}),
    )
    assert ground.seal() == 2
    (hour,) = _served(ground)
    assert (hour.answered, hour.refused, hour.failed) == (1, 4, 2)
    assert hour.rules == {"pressure.max": 1}
