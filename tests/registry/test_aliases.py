"""Aliases: where they point, where they pointed, and why they moved."""

from datetime import UTC, datetime, timedelta

import pytest

from mainspring.errors import Invalid, NotFound
from mainspring.registry.aliases import alias_history, current_aliases, set_alias, version_at
from mainspring.store.events import events

NOW = datetime(2013, 4, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def move(register, store):
    for digit in "abc":
        register(digit)

    def moved(version: int | None, day: int, alias: str = "champion") -> None:
        set_alias(store, "m", alias, version, at=NOW + day * DAY, reason=f"day {day}", actor="eve")

    return moved


def test_an_alias_is_its_last_move(move, store) -> None:
    move(1, 0), move(2, 1), move(3, 1, "staging")
    assert current_aliases(store, "m") == {"champion": 2, "staging": 3}
    move(None, 2)
    assert current_aliases(store, "m") == {"staging": 3}
    assert current_aliases(store, "other") == {}


def test_where_an_alias_pointed_is_known_for_every_moment(move, store) -> None:
    move(1, 0), move(2, 2), move(None, 4)
    found = [version_at(store, "m", "champion", NOW + day * DAY) for day in (-1, 0, 1, 2, 3, 4, 9)]
    assert found == [None, 1, 1, 2, 2, None, None]
    assert version_at(store, "m", "champion", NOW + 2 * DAY - timedelta(microseconds=1)) == 1


def test_the_history_tells_who_and_why(move, store) -> None:
    move(1, 0), move(2, 1)
    assert [(each.version, each.actor, each.reason) for each in alias_history(store, "m")] == [
        (1, "eve", "day 0"),
        (2, "eve", "day 1"),
    ]
    told = events(store, verb="alias.moved")
    assert [(event.subject, event.actor, event.details["from"]) for event in told] == [
        ("models/m/1", "eve", None),
        ("models/m/2", "eve", 1),
    ]


def test_an_alias_that_is_there_already_does_not_move(move, store) -> None:
    move(1, 0), move(1, 1), move(None, 1, "staging")
    assert len(alias_history(store, "m")) == len(events(store, verb="alias.moved")) == 1


def test_an_alias_of_nothing_and_one_that_is_no_name_are_refused(move, store) -> None:
    with pytest.raises(NotFound, match="no version 9"):
        move(9, 0)
    for alias in ("", "latest", "v3", "a b", "a\n"):
        with pytest.raises(Invalid, match="alias"):
            move(1, 0, alias)
    assert alias_history(store, "m") == []
    assert events(store, verb="alias.moved") == []
