"""Rollouts: one champion, at most one canary, every way back, and no two loops doing the same thing twice."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mainspring.deploy.rollout import (
    active_canary,
    advance,
    list_deployments,
    publish_routes,
    put_live,
    roll_back,
    roll_back_champion,
    start_canary,
    update_state,
)
from mainspring.domain.ids import Digest
from mainspring.domain.policy import canary
from mainspring.domain.version import ModelVersion
from mainspring.errors import Conflict, MainspringError, NotFound
from mainspring.registry.aliases import alias_history, current_aliases, version_at
from mainspring.registry.versions import register_version
from mainspring.serve.routes import read_routes
from mainspring.store.events import events, verify_chain
from mainspring.store.sqlite import SqliteStore

START = datetime(2013, 4, 1, tzinfo=UTC)
POLICY = canary(5, 25, 100)


class Ground:
    """Four versions of a model, and a clock that moves a day a step."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = SqliteStore(path / "store.sqlite", actor="ada")
        self.days = 0
        self.versions: list[ModelVersion] = [
            register_version(
                self.store, "m", bundle=Digest(digit * 64), run_id=None, evidence={}, author="ada", at=START
            )
            for digit in "abcd"
        ]

    def now(self) -> datetime:
        self.days += 1
        return START + timedelta(days=self.days)

    def live(self, number: int):
        return put_live(self.store, self.versions[number - 1], reason="good", at=self.now())

    def canary(self, number: int):
        return start_canary(self.store, self.versions[number - 1], POLICY, reason="new", at=self.now())

    def advance(self, deployment):
        return advance(self.store, deployment, POLICY, reason="held", at=self.now())

    def back(self) -> int:
        return roll_back_champion(self.store, "m", reason="worse", at=self.now(), actor="eve")

    def publish(self):
        return publish_routes(self.store, self.path / "endpoints", "m", lambda number: self.path / str(number))

    def standing(self) -> list[tuple[int, str]]:
        return [(each.version, each.status) for each in reversed(list_deployments(self.store, "m"))]


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    made = Ground(tmp_path)
    yield made
    assert verify_chain(made.store) == len(events(made.store))
    made.store.close()


def at_once(work: Callable[[], object], times: int = 2) -> list[str]:
    """Return what each of some threads that do the same got: its result's type, or its error's."""
    said: list[str] = []

    def run() -> None:
        try:
            work()
            said.append("done")
        except MainspringError as error:
            said.append(type(error).__name__)

    threads = [threading.Thread(target=run) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(said)


def test_the_first_version_goes_live_at_once(ground: Ground) -> None:
    deployment = ground.live(1)
    assert (deployment.version, deployment.status, deployment.weight) == (1, "live", 100)
    assert current_aliases(ground.store, "m") == {"champion": 1}
    assert [move.alias for move in alias_history(ground.store, "m")] == ["champion"]
    assert events(ground.store, verb="model.promoted")[0].subject == "models/m/1"


def test_a_new_champion_supersedes_the_old_one_and_ends_a_canary(ground: Ground) -> None:
    ground.live(1), ground.canary(2), ground.live(3)
    assert ground.standing() == [(1, "superseded"), (2, "rolled_back"), (3, "live")]
    assert current_aliases(ground.store, "m") == {"champion": 3}
    assert active_canary(ground.store, "m") is None
    assert all(each.ended_at for each in list_deployments(ground.store, "m")[1:])


def test_a_canary_goes_through_its_shares_and_becomes_champion(ground: Ground) -> None:
    ground.live(1)
    deployment = ground.canary(2)
    assert (deployment.status, deployment.stage, deployment.weight) == ("canary", 0, 5)
    assert current_aliases(ground.store, "m") == {"champion": 1, "challenger": 2}
    started = deployment.started_at
    deployment = ground.advance(deployment)
    assert (deployment.status, deployment.stage, deployment.weight) == ("canary", 1, 25)
    assert deployment.stage_at > started == deployment.started_at
    deployment = ground.advance(deployment)
    assert (deployment.status, deployment.weight) == ("live", 100)
    assert ground.standing() == [(1, "superseded"), (2, "live")]
    assert current_aliases(ground.store, "m") == {"champion": 2}
    assert version_at(ground.store, "m", "champion", START + timedelta(days=2)) == 1
    told = [event.verb for event in events(ground.store)[4:]]
    assert told == ["model.promoted", "canary.started", "canary.advanced", "model.promoted"]


def test_a_canary_that_is_taken_off_leaves_the_champion_alone(ground: Ground) -> None:
    ground.live(1)
    deployment = roll_back(ground.store, ground.canary(2), reason="worse", evidence={"rows": 9}, at=ground.now())
    assert (deployment.status, deployment.weight, deployment.reason) == ("rolled_back", 0, "worse")
    assert current_aliases(ground.store, "m") == {"champion": 1}
    assert events(ground.store)[-1].details == {"reason": "worse", "evidence": {"rows": 9}}
    ground.canary(3)  # the way is free again


def test_a_canary_needs_a_champion_and_the_road_for_itself(ground: Ground) -> None:
    with pytest.raises(Conflict, match="has no champion"):
        ground.canary(1)
    ground.live(1)
    with pytest.raises(Conflict, match="champion already"):
        ground.canary(1)
    ground.canary(2)
    with pytest.raises(Conflict, match="is under way"):
        ground.canary(3)
    assert ground.standing() == [(1, "live"), (2, "canary")]
    assert len(events(ground.store)) == 4 + 2


def test_a_canary_that_moved_on_is_not_moved_again(ground: Ground) -> None:
    ground.live(1)
    first = ground.canary(2)
    second = ground.advance(first)
    for work in (
        lambda: ground.advance(first),
        lambda: roll_back(ground.store, first, reason="", evidence={}, at=START),
    ):
        with pytest.raises(Conflict, match="has moved on"):
            work()
    roll_back(ground.store, second, reason="", evidence={}, at=ground.now())
    with pytest.raises(Conflict, match="has moved on"):
        ground.advance(second)


def test_of_two_loops_that_do_the_same_the_second_gets_a_conflict(ground: Ground) -> None:
    assert at_once(lambda: ground.live(1)) == ["Conflict", "done"]
    assert at_once(lambda: ground.canary(2), times=4) == ["Conflict"] * 3 + ["done"]
    deployment = active_canary(ground.store, "m")
    assert deployment is not None
    assert at_once(lambda: ground.advance(deployment)) == ["Conflict", "done"]
    wider = active_canary(ground.store, "m")
    assert wider is not None
    assert at_once(lambda: ground.advance(wider)) == ["Conflict", "done"]
    assert ground.standing() == [(1, "superseded"), (2, "live")]
    assert len(events(ground.store)) == 4 + 4


def test_a_rollback_against_a_promotion_gives_one_or_the_other(ground: Ground) -> None:
    ground.live(1)
    deployment = ground.advance(ground.canary(2))
    barrier = threading.Barrier(2)
    said: list[str] = []

    def race(work: Callable[[], object]) -> None:
        barrier.wait()
        try:
            work()
            said.append("done")
        except Conflict:
            said.append("Conflict")

    works = (
        lambda: ground.advance(deployment),
        lambda: roll_back(ground.store, deployment, reason="", evidence={}, at=START),
    )
    threads = [threading.Thread(target=race, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == ["Conflict", "done"]
    assert sum(status == "live" for _, status in ground.standing()) == 1


def test_going_back_goes_back_one_champion_each_time_and_never_to_a_harmful_one(ground: Ground) -> None:
    ground.live(1), ground.live(2), ground.live(3)
    assert ground.back() == 2
    assert current_aliases(ground.store, "m") == {"champion": 2}
    assert ground.standing()[-2:] == [(3, "rolled_back"), (2, "live")]
    assert ground.back() == 1
    with pytest.raises(NotFound, match="no earlier champion"):
        ground.back()
    ground.live(4)
    assert ground.back() == 1


def test_going_back_after_a_promotion_by_hand_undoes_that_promotion(ground: Ground) -> None:
    ground.live(1), ground.live(2), ground.live(1)
    assert ground.back() == 2


def test_a_version_that_was_mended_and_served_again_can_be_gone_back_to(ground: Ground) -> None:
    ground.live(1), ground.live(2)
    assert ground.back() == 1
    ground.live(2), ground.live(3)
    assert ground.back() == 2


def test_going_back_ends_a_canary_with_its_challenger(ground: Ground) -> None:
    ground.live(1), ground.live(2), ground.canary(3)
    assert ground.back() == 1
    assert current_aliases(ground.store, "m") == {"champion": 1}
    assert active_canary(ground.store, "m") is None
    told = events(ground.store)[-1]
    assert (told.verb, told.subject, told.actor) == ("model.rolled_back", "models/m/2", "eve")
    assert told.details == {"to": 1, "reason": "worse"}


def test_nothing_to_go_back_to_is_not_found_and_leaves_no_event(ground: Ground) -> None:
    with pytest.raises(NotFound):
        ground.back()
    ground.live(1)
    before = len(events(ground.store))
    with pytest.raises(NotFound):
        ground.back()
    assert len(events(ground.store)) == before


def test_routes_follow_the_database_and_their_revision_rises_with_each_change(ground: Ground) -> None:
    with pytest.raises(NotFound, match="no champion to serve"):
        ground.publish()
    ground.live(1)
    path = ground.path / "endpoints" / "m.json"
    seen = []

    def published() -> list[tuple[int, str, float]]:
        table = ground.publish()
        assert read_routes(path) == table
        seen.append(table.revision)
        stamp = path.stat()
        assert ground.publish() == table
        assert (path.stat().st_mtime_ns, path.stat().st_ino) == (stamp.st_mtime_ns, stamp.st_ino)
        return [(route.version, route.role, route.weight) for route in table.routes]

    assert published() == [(1, "champion", 100)]
    deployment = ground.canary(2)
    assert published() == [(1, "champion", 95), (2, "canary", 5)]
    deployment = ground.advance(deployment)
    assert published() == [(1, "champion", 75), (2, "canary", 25)]
    ground.advance(deployment)
    assert published() == [(2, "champion", 100)]
    ground.back()
    assert published() == [(1, "champion", 100)]
    assert seen == [1, 2, 3, 4, 5]


def test_a_route_file_that_was_broken_by_hand_is_written_anew(ground: Ground) -> None:
    ground.live(1)
    ground.publish()
    path = ground.path / "endpoints" / "m.json"
    path.write_text("{")
    assert ground.publish().champion.version == 1
    assert read_routes(path).champion.version == 1


def test_publishers_at_once_leave_what_the_database_says(ground: Ground) -> None:
    ground.live(1)
    deployment = ground.canary(2)

    def both() -> None:
        for _ in range(10):
            ground.publish()

    threads = [threading.Thread(target=both) for _ in range(3)]
    for thread in threads:
        thread.start()
    ground.advance(ground.advance(deployment))
    for thread in threads:
        thread.join()
    assert [route.version for route in ground.publish().routes] == [2]


def test_the_state_of_a_canary_is_kept(ground: Ground) -> None:
    ground.live(1)
    deployment = update_state(ground.store, ground.canary(2), {"rows": 7})
    assert deployment.state == {"rows": 7}
    assert active_canary(ground.store, "m") == deployment
