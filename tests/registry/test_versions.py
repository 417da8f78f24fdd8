"""Versions: numbered without gaps or doubles whoever registers at once, and found by what people write."""

import subprocess
import sys
from datetime import UTC, datetime

import pytest

from mainspring.domain.version import GateResult
from mainspring.errors import Invalid, NotFound
from mainspring.registry.aliases import set_alias
from mainspring.registry.evidence import gate_results, record_gates
from mainspring.registry.versions import (
    find_champion,
    find_version,
    list_versions,
    set_status,
)
from mainspring.store.events import events
from mainspring.store.opening import open_store
from mainspring.store.protocol import Store

NOW = datetime(2013, 4, 1, tzinfo=UTC)

REGISTRAR = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from mainspring.registry.versions import register_version
from mainspring.store.opening import open_store
store = open_store(sys.argv[1], actor=sys.argv[2])
for number in range(20):
    bundle = (f"{sys.argv[2]}{number:063d}" if sys.argv[3] == "own" else f"{number:064d}")
    now = datetime.now(UTC)
    print(register_version(store, "m", bundle=bundle, run_id=None, evidence={}, author="x", at=now).version)
store.close()
"""


def test_versions_are_numbered_on_for_each_model(register) -> None:
    assert [register(digit).reference for digit in "abc"] == ["m/1", "m/2", "m/3"]
    assert register("a", model="other").reference == "other/1"


def test_a_bundle_that_is_registered_gives_its_old_version_and_leaves_no_event(register, store: Store) -> None:
    first = register("a")
    register("b")
    assert register("a") == first
    assert len(list_versions(store, "m")) == 2
    assert [event.details["version"] for event in events(store, verb="model.registered")] == [1, 2]


@pytest.mark.parametrize("whose", ["own", "same"])
def test_processes_that_register_at_once_get_distinct_numbers(store_address: str, whose: str) -> None:
    command = [sys.executable, "-c", REGISTRAR, store_address]
    children = [subprocess.Popen([*command, name, whose], stdout=subprocess.PIPE, text=True) for name in "abc"]
    numbers = [[int(line) for line in child.communicate(timeout=60)[0].split()] for child in children]
    assert [child.returncode for child in children] == [0] * 3
    if whose == "own":
        assert sorted(each for some in numbers for each in some) == list(range(1, 61))
    else:
        assert numbers[0] == numbers[1] == numbers[2]
        assert sorted(numbers[0]) == list(range(1, 21))
    store = open_store(store_address)
    assert len(events(store, verb="model.registered")) == (60 if whose == "own" else 20)
    store.close()


def test_a_version_is_found_by_number_alias_champion_or_as_the_newest(register, store: Store) -> None:
    for digit in "abc":
        register(digit)
    assert find_version(store, "m").version == 3
    set_alias(store, "m", "champion", 1, at=NOW, reason="r")
    set_alias(store, "m", "staging", 2, at=NOW, reason="r")
    assert find_version(store, "m").version == 1
    assert find_version(store, "m@staging").version == 2
    assert find_version(store, "m/3").aliases == ()
    assert find_champion(store, "m").aliases == ("champion",)
    assert find_champion(store, "none") is None


def test_what_is_not_there_is_told_with_what_is(register, store: Store) -> None:
    register("a", model="churn")
    set_alias(store, "churn", "staging", 1, at=NOW, reason="r")
    for reference, hint in (("chrun", "Did you mean `churn`"), ("churn/9", "newest is 1"), ("churn@prod", "staging")):
        with pytest.raises(NotFound, match=f"(?s){hint}"):
            find_version(store, reference)
    for reference in ("churn/x", "churn/²", "churn@a b", "../x", ""):
        with pytest.raises(Invalid):
            find_version(store, reference)


def test_a_status_moves_with_its_reason_in_the_log(register, store: Store) -> None:
    set_status(store, register("a"), "ready", reason="passed")
    assert find_version(store, "m/1").status == "ready"
    assert events(store)[-1].verb == "model.ready"


def test_the_newest_answer_of_each_gate_counts_and_all_are_kept(register, store: Store) -> None:
    version = register("a")
    record_gates(store, version, [GateResult("goal", False, "low"), GateResult("latency", True, "fast")], NOW)
    record_gates(store, version, [GateResult("goal", True, "high", {"value": 0.8})], NOW)
    found = gate_results(store, version)
    assert [(each.gate, each.passed, each.reason) for each in found] == [
        ("goal", True, "high"),
        ("latency", True, "fast"),
    ]
    assert found[0].evidence == {"value": 0.8}
    assert store.read("SELECT count(*) FROM gate_results") == [(3,)]
    assert events(store, verb="model.gated")[0].details["passed"] == {"goal": False, "latency": True}


@pytest.mark.parametrize("name", ["", "a/b", "-a", "a b", "x" * 101, "a\n", "é"])
def test_a_name_that_cannot_stand_in_a_url_is_refused(register, name: str) -> None:
    with pytest.raises(Invalid, match="cannot be served"):
        register("a", model=name)
