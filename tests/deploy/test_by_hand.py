"""Rollouts that people steer: shares and shadows, and that they leave the ways back as they were."""

import pytest
from tests.deploy.test_rollout import Ground, ground

from mainspring.deploy import by_hand
from mainspring.deploy.by_hand import active_shadows, set_share, start_shadow, stop_rollouts
from mainspring.deploy.rollout import active_canary
from mainspring.errors import Conflict, NotFound
from mainspring.store.events import events

__all__ = ["ground"]


def shadow(ground: Ground, number: int, percent: float = 100.0):
    version = ground.versions[number - 1]
    return start_shadow(ground.store, version, percent, reason="look", at=ground.now(), actor="eve")


def stop(ground: Ground, version: int | None = None) -> list[int]:
    ended = stop_rollouts(ground.store, "m", version, reason="enough", at=ground.now(), actor="eve")
    return [each.version for each in ended]


def routes(ground: Ground) -> list[tuple[int, str, float]]:
    return [(each.version, each.role, each.weight) for each in ground.publish().routes]


def test_canary_and_shadows_stand_beside_the_champion_until_they_are_stopped(ground: Ground) -> None:
    ground.live(1)
    ground.canary(2)
    shadow(ground, 3)
    shadow(ground, 4, 10)
    set_share(ground.store, "m", 40, reason="more", at=ground.now(), actor="eve")
    assert routes(ground) == [
        (1, "champion", 60.0), (2, "canary", 40.0), (3, "shadow", 100.0), (4, "shadow", 10.0),
    ]  # fmt: skip
    assert stop(ground, 4) == [4]
    assert stop(ground) == [2, 3]
    assert routes(ground) == [(1, "champion", 100.0)]
    with pytest.raises(NotFound, match="No canary or shadow"):
        stop(ground)
    told = [(each.verb, each.actor) for each in events(ground.store) if each.verb.startswith(("shadow", "canary"))]
    assert told.count(("shadow.ended", "eve")) == 2
    assert ("canary.rolled_back", "eve") in told


def test_who_answers_already_shadows_nobody(ground: Ground) -> None:
    ground.live(1)
    shadow(ground, 3)
    for number, said in ((1, "champion"), (3, "shadow")):
        with pytest.raises(Conflict, match=f"is {said} already"):
            shadow(ground, number)
    ground.canary(2)
    with pytest.raises(Conflict, match="is canary already"):
        shadow(ground, 2)


def test_a_shadow_that_becomes_canary_or_champion_is_a_shadow_no_more(ground: Ground) -> None:
    ground.live(1)
    shadow(ground, 2)
    ground.canary(2)
    assert active_shadows(ground.store, "m") == []
    shadow(ground, 3)
    stop(ground, 2)
    ground.live(3)
    assert routes(ground) == [(3, "champion", 100.0)]


def test_having_been_a_shadow_makes_no_version_one_to_go_back_to(ground: Ground) -> None:
    for number in (1, 2, 3):
        ground.live(number)
    assert ground.back() == 2  # 3 did harm
    shadow(ground, 3)
    stop(ground)
    ground.live(4)
    assert ground.back() == 2


def test_a_share_is_given_to_a_canary_only(ground: Ground) -> None:
    ground.live(1)
    with pytest.raises(NotFound, match="No canary of `m` is under way"):
        set_share(ground.store, "m", 5, reason="", at=ground.now(), actor="eve")
    assert active_canary(ground.store, "m") is None


def test_a_share_that_comes_after_the_end_changes_nothing_and_is_told(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.live(1)
    ground.canary(2)
    seen = active_canary(ground.store, "m")
    stop(ground)
    monkeypatch.setattr(by_hand, "active_canary", lambda store, model: seen)  # as it was a moment ago
    told = len(events(ground.store))
    with pytest.raises(Conflict, match="has moved on"):
        set_share(ground.store, "m", 40, reason="more", at=ground.now(), actor="eve")
    assert len(events(ground.store)) == told
