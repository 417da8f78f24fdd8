"""Aliases move through one door: rules are asked, refusals and overrides audited, and a champion is a deployment."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mainspring.deploy.promotion import erase_model, erase_version, move_alias, move_stage, rename, undo_move
from mainspring.deploy.rollout import list_deployments
from mainspring.domain.ids import Digest
from mainspring.domain.policy import automatic, by
from mainspring.domain.version import GateResult
from mainspring.errors import Conflict, Denied, GateFailed, Invalid, NotFound
from mainspring.registry.aliases import alias_history, current_aliases
from mainspring.registry.approvals import approve
from mainspring.registry.control import (
    Mover,
    alias_rules,
    keep_loop_rule,
    objections,
    protect_alias,
    unprotect_alias,
)
from mainspring.registry.evidence import record_gates
from mainspring.registry.models import create_model
from mainspring.registry.versions import create_version, find_version, register_version, set_status
from mainspring.store.events import events, verify_chain
from mainspring.store.sqlite import SqliteStore

NOW = datetime(2013, 4, 1, tzinfo=UTC)
EVE = Mover("eve", ("reviewer",))
BOB = Mover("bob", ("data scientist",))
HOW = {"reason": "because", "at": NOW}


@pytest.fixture
def store(tmp_path: Path):
    opened = SqliteStore(tmp_path / "store.sqlite", actor="ada")
    yield opened
    opened.close()


@pytest.fixture
def version(store):
    """Make version after version, each with other bytes."""

    def made(number: int = 1, status: str = "ready"):
        bundle = Digest(f"{number:064x}")
        found = register_version(store, "m", bundle=bundle, run_id=None, evidence={}, author="ada", at=NOW)
        set_status(store, found, status, reason="r")
        return find_version(store, found.reference)

    return made


def test_without_rules_anybody_moves_anything(store, version) -> None:
    one = version(1, "candidate")
    move_alias(store, "m", "staging", one, mover=BOB, **HOW)
    move_alias(store, "m", "champion", one, mover=BOB, **HOW)
    assert current_aliases(store, "m") == {"champion": 1, "staging": 1}
    assert [each.status for each in list_deployments(store, "m")] == ["live"]
    move_alias(store, "m", "champion", one, mover=BOB, **HOW)
    assert len(alias_history(store, "m", "champion")) == 1


def test_a_champion_needs_what_its_loop_asks(store, version) -> None:
    keep_loop_rule(store, "m", by("reviewer", count=2), actor="ada", at=NOW)
    one = version(1, "candidate")
    for said in ("gates have not answered", "approval of 2 reviewer"):
        with pytest.raises(GateFailed, match=said):
            move_alias(store, "m", "champion", one, mover=EVE, **HOW)
    record_gates(store, one, [GateResult("latency", False, "too slow")], NOW)
    with pytest.raises(GateFailed, match="latency: too slow"):
        move_alias(store, "m", "champion", one, mover=EVE, **HOW)
    record_gates(store, one, [GateResult("latency", True, "fast")], NOW)
    set_status(store, one, "ready", reason="r")
    for who in ("eve", "bob"):
        with pytest.raises(GateFailed, match=f"approval of {2 if who == 'eve' else 1} reviewer"):
            move_alias(store, "m", "champion", one, mover=EVE, **HOW)
        approve(store, one, approver=who, role="reviewer", at=NOW)
    move_alias(store, "m", "champion", one, mover=EVE, **HOW)
    assert current_aliases(store, "m") == {"champion": 1}
    refused = events(store, verb="alias.refused")
    assert [event.actor for event in refused] == ["eve"] * 5
    assert refused[0].details["code"] == "gate_failed"
    # other aliases are free
    move_alias(store, "m", "staging", version(2, "refused"), mover=BOB, **HOW)
    assert verify_chain(store) == len(events(store))


def test_a_rule_of_roles_binds_people_and_not_the_loop(store, version) -> None:
    protect_alias(store, "m", "prod", roles=["reviewer"], actor="ada", at=NOW)
    one = version()
    with pytest.raises(Denied, match="only reviewer may move prod, and `bob` is none"):
        move_alias(store, "m", "prod", one, mover=BOB, **HOW)
    assert objections(store.read, "m", "prod", one, Mover("loop", roles=None)) == []
    move_alias(store, "m", "prod", one, mover=EVE, **HOW)
    with pytest.raises(Denied):
        move_alias(store, "m", "prod", None, mover=BOB, **HOW)
    assert unprotect_alias(store, "m", "prod", actor="ada")
    assert not unprotect_alias(store, "m", "prod", actor="ada")
    move_alias(store, "m", "prod", None, mover=BOB, **HOW)
    assert current_aliases(store, "m") == {}


def test_a_rule_may_hold_for_every_model_and_the_loops_stays(store, version) -> None:
    (
        keep_loop_rule(store, "m", automatic, actor="ada", at=NOW),
        keep_loop_rule(store, "m", automatic, actor="ada", at=NOW),
    )
    protect_alias(store, "*", "champion", approval=by("risk"), actor="ada", at=NOW)
    assert [(each.model, each.origin) for each in alias_rules(store.read, "m")] == [("*", "person"), ("m", "loop")]
    with pytest.raises(GateFailed, match="approval of 1 risk"):
        move_alias(store, "m", "champion", version(), mover=EVE, **HOW)
    unprotect_alias(store, "*", "champion", actor="ada")
    assert not unprotect_alias(store, "m", "champion", actor="ada")
    with pytest.raises(GateFailed, match="its status is refused"):
        move_alias(store, "m", "champion", version(2, "refused"), mover=EVE, **HOW)
    with pytest.raises(Invalid, match="asks for nothing"):
        protect_alias(store, "m", "prod", actor="ada", at=NOW)
    assert len(events(store, verb="alias.protected")) == 2


def test_an_override_says_what_it_went_past_and_why(store, version) -> None:
    keep_loop_rule(store, "m", by("reviewer"), actor="ada", at=NOW)
    one = version(1, "refused")
    with pytest.raises(Invalid, match="needs a reason"):
        move_alias(store, "m", "champion", one, mover=EVE, reason=" ", override=True, at=NOW)
    move_alias(store, "m", "champion", one, mover=EVE, override=True, **HOW)
    (told,) = events(store, verb="model.overridden")
    assert (told.actor, told.subject) == ("eve", "models/m/1")
    assert told.details == {
        "alias": "champion",
        "reason": "because",
        "against": ["its status is refused", "it waits for the approval of 1 reviewer"],
    }


def test_an_override_does_not_go_past_who_may_move(store, version) -> None:
    protect_alias(store, "m", "prod", roles=["operator"], gates=True, actor="ada", at=NOW)
    with pytest.raises(Denied, match="only operator"):
        move_alias(store, "m", "prod", version(1, "refused"), mover=EVE, override=True, **HOW)
    move_alias(store, "m", "prod", version(1), mover=Mover("olga", ("operator",)), override=True, **HOW)
    assert current_aliases(store, "m") == {"prod": 1}


def test_production_is_moved_under_the_rules_of_the_champion(store, version) -> None:
    one = version(1, "refused")
    keep_loop_rule(store, "m", automatic, actor="ada", at=NOW)
    with pytest.raises(GateFailed):
        move_stage(store, one, "Production", archive_others=False, mover=BOB, at=NOW)
    move_stage(store, one, "Staging", archive_others=False, mover=BOB, at=NOW)
    set_status(store, one, "ready", reason="r")
    move_stage(store, find_version(store, "m/1"), "Production", archive_others=False, mover=BOB, at=NOW)
    assert find_version(store, "m/1").stage == "Production"
    assert len(events(store, verb="alias.refused")) == 1


def test_what_is_deleted_has_nothing_in_production(store) -> None:
    create_model(store, "m", actor="eve", at=NOW)
    for _ in range(2):
        taken = create_version(store, "m", source="s3://b", author="eve", at=NOW)
    move_alias(store, "m", "champion", taken, mover=EVE, **HOW)
    with pytest.raises(Conflict, match="champion points at it"):
        erase_version(store, taken, actor="eve", at=NOW)
    erase_version(store, taken, drop_aliases=True, actor="eve", at=NOW)
    move_alias(store, "m", "champion", find_version(store, "m/1"), mover=EVE, **HOW)
    assert sorted(each.status for each in list_deployments(store, "m")) == ["live", "superseded"]
    assert erase_model(store, "m", actor="eve", at=NOW) == 1
    assert [each.status for each in list_deployments(store, "m")] == ["superseded"] * 2


def test_a_model_that_serves_keeps_its_name_and_another_takes_its_deployments_along(store, version, tmp_path) -> None:
    move_alias(store, "m", "champion", version(), mover=EVE, **HOW)
    renamed = rename(store, tmp_path, "m", "n", actor="eve", at=NOW)
    assert renamed.aliases == {"champion": 1}
    assert [each.status for each in list_deployments(store, "n")] == ["live"]
    (tmp_path / "n.json").touch()
    with pytest.raises(Conflict, match="has served"):
        rename(store, tmp_path, "n", "o", actor="eve", at=NOW)


def test_a_move_is_undone_under_the_same_rules(store, version) -> None:
    one, two = version(1), version(2)
    for number, each in enumerate((one, two)):
        move_alias(store, "m", "champion", each, mover=EVE, reason="r", at=NOW + timedelta(days=number))
    assert undo_move(store, "m", "champion", mover=BOB, **HOW) == 1
    assert current_aliases(store, "m") == {"champion": 1}
    assert [each.status for each in list_deployments(store, "m")].count("live") == 1
    protect_alias(store, "m", "champion", roles=["reviewer"], actor="ada", at=NOW)
    with pytest.raises(Denied):
        undo_move(store, "m", "champion", mover=BOB, **HOW)
    move_alias(store, "m", "staging", one, mover=BOB, **HOW)
    assert undo_move(store, "m", "staging", mover=BOB, **HOW) is None
    with pytest.raises(NotFound, match="never had an alias"):
        undo_move(store, "m", "prod", mover=BOB, **HOW)
