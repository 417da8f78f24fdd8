"""What the loop does about what it sees, on a small production whose world can be turned round."""

import fcntl
import itertools
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.loop.conftest import Production, write_csv

import mainspring as ms
from mainspring.deploy.rollout import active_canary, list_deployments, put_live, start_canary
from mainspring.domain.incident import Incident
from mainspring.domain.moments import to_iso
from mainspring.domain.policy import Canary
from mainspring.domain.version import GateResult
from mainspring.errors import Conflict, Invalid
from mainspring.monitor.incidents import find_incident, list_incidents, move_incident, open_incident
from mainspring.monitor.quality import quality_of
from mainspring.monitor.risk import RiskVerdict
from mainspring.predictions.journal import JournalWriter
from mainspring.predictions.records import RefusedRecord, encode_record
from mainspring.registry.approvals import approve
from mainspring.registry.versions import find_champion, find_version, list_versions
from mainspring.store.events import events, verify_chain
from mainspring.tracking.runs import find_run, start_run


def _incidents(production: Production) -> list[Incident]:
    store = production.workspace.store
    return [find_incident(store, each.incident_id) for each in reversed(list_incidents(store, model="hits"))]


def _champion(production: Production) -> int | None:
    found = find_champion(production.workspace.store, "hits")
    return None if found is None else found.version


def test_the_first_version_that_passes_its_gates_serves_at_once(production: Production) -> None:
    done = production.loop().run(production.workspace)
    assert all(gate.passed for gate in done.gates)
    assert _champion(production) == 1
    assert (production.workspace.endpoints / "hits.json").exists()


def test_a_version_that_misses_its_goal_is_refused_and_does_not_serve(production: Production) -> None:
    done = production.loop(goal="roc_auc >= 0.99").run(production.workspace)
    assert done.version.status == "refused"
    assert [gate.gate for gate in done.gates if not gate.passed] == ["goal"]
    assert _champion(production) is None


def test_a_version_waits_for_its_approval(production: Production) -> None:
    loop = production.loop(approve=ms.by("reviewer"))
    done = loop.run(production.workspace, author="ada")
    assert _champion(production) is None
    approve(
        production.workspace.store, done.version, approver="bo", role="reviewer", comment="", at=production.clock.now()
    )
    loop.start_waiting(production.workspace)
    assert _champion(production) == 1


def test_quiet_days_raise_nothing(production: Production) -> None:
    loop = production.loop()
    loop.run(production.workspace)
    assert production.live(loop, 20) == []
    assert _incidents(production) == []


def test_quiet_days_without_labels_raise_nothing(production: Production) -> None:
    loop = production.loop()
    loop.run(production.workspace)
    assert production.live(loop, 15, labelled=False) == []


def test_harder_requests_without_labels_open_a_ticket_that_labels_close(production: Production) -> None:
    loop = production.loop()
    loop.run(production.workspace)
    assert production.live(loop, 2) == []
    done = production.live(loop, 6, broken=True, labelled=False)
    assert [each.partition(":")[0] for each in done] == ["opened an incident"]
    (incident,) = _incidents(production)
    assert (incident.rule, incident.severity, incident.status) == ("estimate", "ticket", "triggered")
    assert "if scores still mean what they meant" in incident.timeline[0].text
    production.tell()
    assert "closed the incident: hits/1 is expected to be worse than promised" in production.live(loop, 1)


def test_decay_opens_one_incident_with_a_diagnosis_and_advice(production: Production) -> None:
    loop = production.loop()
    loop.run(production.workspace)
    done = production.live(loop, 25, flipped=True)
    assert sum("opened an incident" in each for each in done) == 1
    (incident,) = _incidents(production)
    assert incident.rule == "quality"
    assert incident.diagnosis["suspect"] == "model"
    assert [entry.what for entry in incident.timeline] == ["opened", "diagnosed", "suggested"]
    assert len(list_versions(production.workspace.store, "hits")) == 1


def test_decay_leads_to_a_retrained_champion_and_a_closed_incident(production: Production) -> None:
    loop = production.loop(
        retrain=ms.retrain("canary", cooldown="3d", min_new_labels=100),
        rollout=ms.canary(20, 100, bake="2d", min_rows=50),
    )
    loop.run(production.workspace)
    production.live(loop, 60, flipped=True)
    assert (_champion(production) or 0) > 1
    first = _incidents(production)[0]
    assert first.status == "resolved"
    what = [entry.what for entry in first.timeline]
    assert what[0] == "opened"
    assert what.index("retrained") < what.index("mitigated") < what.index("resolved")
    assert verify_chain(production.workspace.store) > 0


def test_retrain_mode_retrain_makes_a_version_and_leaves_the_rollout_to_people(production: Production) -> None:
    loop = production.loop(retrain=ms.retrain("retrain", cooldown="30d", min_new_labels=100))
    loop.run(production.workspace)
    production.live(loop, 40, flipped=True)
    assert len(list_versions(production.workspace.store, "hits")) > 1
    assert _champion(production) == 1
    assert active_canary(production.workspace.store, "hits") is None


def test_data_under_an_incident_is_not_learnt(production: Production) -> None:
    loop = production.loop(retrain=ms.retrain("canary", min_new_labels=100))
    loop.run(production.workspace)
    open_incident(
        production.workspace.store,
        model="hits",
        version=1,
        rule="data",
        severity="ticket",
        title="the size column is in other units",
        text="",
        diagnosis={},
        evidence={},
        at=production.clock.now(),
    )
    production.live(loop, 30, flipped=True)
    assert len(list_versions(production.workspace.store, "hits")) == 1
    quality = next(each for each in _incidents(production) if each.rule == "quality")
    waiting = [entry.text for entry in quality.timeline if entry.what == "waiting"]
    assert waiting == ["retraining waits: the data is under an incident, and would be learnt with its fault"]


def test_a_decay_whose_suspect_is_the_data_is_not_learnt(production: Production) -> None:
    loop = production.loop(retrain=ms.retrain("canary", min_new_labels=100))
    loop.run(production.workspace)
    production.live(loop, 70, rows=60, flipped=True, broken=True)
    (incident,) = [each for each in _incidents(production) if each.rule == "quality"]
    assert incident.diagnosis["suspect"] == "data"
    assert "the diagnosis suspects the data" in incident.timeline[-1].text
    assert len(list_versions(production.workspace.store, "hits")) == 1


def test_retraining_waits_for_enough_labels(production: Production) -> None:
    loop = production.loop(retrain=ms.retrain("canary", min_new_labels=10**6))
    loop.run(production.workspace)
    production.live(loop, 25, flipped=True)
    assert len(list_versions(production.workspace.store, "hits")) == 1
    assert "1000000 are wanted" in _incidents(production)[0].timeline[-1].text


def test_retraining_keeps_its_cooldown(production: Production) -> None:
    loop = production.loop(
        retrain=ms.retrain("retrain", cooldown="5d", min_new_labels=100), gates=[_never], goal="roc_auc >= 0.55"
    )
    loop.run(production.workspace)
    # the gate lets nothing through, so the first version is put there by hand, as an override would
    put_live(
        production.workspace.store,
        find_version(production.workspace.store, "hits/1"),
        reason="override",
        at=production.clock.now(),
    )
    production.live(loop, 40, flipped=True)
    tries = [e for e in _incidents(production)[0].timeline if e.what in ("retrained", "retraining failed")]
    days = [int(each.at[8:10]) + 31 * int(each.at[5:7]) for each in tries]
    assert len(days) >= 2
    assert all(after - before >= 5 for before, after in itertools.pairwise(days))


def _never(context: object) -> GateResult:
    return GateResult("never", False, "nothing passes")


def test_a_bad_canary_is_rolled_back_and_its_incident_closes(production: Production) -> None:
    loop = production.loop(rollout=ms.canary(30, 100, bake="2d", min_rows=50))
    loop.run(production.workspace)
    good = find_version(production.workspace.store, "hits/1")
    # a candidate trained on a world turned round, let in by a person who overrode its gates
    write_csv(production.data, 3000, seed=2, flipped=True)
    bad = replace(loop, gates=()).run(production.workspace)
    assert bad.version.version == 2
    if active_canary(production.workspace.store, "hits") is None:
        start_canary(production.workspace.store, bad.version, loop.rollout, reason="by hand", at=production.clock.now())
    done = production.live(loop, 12)
    assert any("rolled back hits/2" in each for each in done)
    assert _champion(production) == good.version
    (incident,) = _incidents(production)
    assert (incident.rule, incident.version, incident.status) == ("canary", 2, "resolved")
    assert [each.status for each in list_deployments(production.workspace.store, "hits")] == ["rolled_back", "live"]


def test_a_tick_that_is_repeated_does_nothing_more(production: Production) -> None:
    loop = production.loop()
    loop.run(production.workspace)
    production.live(loop, 25, flipped=True)
    before = len(events(production.workspace.store))
    assert loop.tick(production.workspace) == []
    assert len(events(production.workspace.store)) == before


def test_only_one_loop_works_in_a_workspace(production: Production) -> None:
    loop = production.loop()
    loop.run(production.workspace)
    with (production.workspace.home / "loop.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Conflict, match="Another loop"):
            loop.tick(production.workspace)


def test_running_again_on_the_same_data_makes_no_new_version(production: Production) -> None:
    loop = production.loop()
    first = loop.run(production.workspace)
    again = loop.run(production.workspace)
    assert all(step.cached for step in again.outcome.steps)
    assert again.version == first.version


@pytest.mark.parametrize(
    ("choices", "told"),
    [
        ({}, "one way to train"),
        ({"data": "a.csv"}, "target is not named"),
        ({"data": "a.csv", "target": "y", "goal": "roc_auk > 0.5"}, "no metric `roc_auk`"),
        ({"data": "a.csv", "target": "y", "goal": "brier >= 0.5"}, "worse brier"),
    ],
)
def test_a_definition_that_makes_no_sense_is_refused_at_once(choices: dict[str, object], told: str) -> None:
    with pytest.raises(Invalid, match=told):
        ms.Loop("hits", **choices)  # type: ignore[arg-type]


def test_canary_stages_must_rise_to_all_of_the_traffic() -> None:
    with pytest.raises(Invalid, match="do not rise"):
        ms.canary(5, 50)
    assert isinstance(ms.canary(5, 100), Canary)


def test_a_canary_that_cannot_be_compared_is_rolled_back_with_the_reason(production: Production) -> None:
    loop = production.loop(rollout=ms.canary(30, 100, bake="2d", min_rows=50))
    loop.run(production.workspace)
    good = find_version(production.workspace.store, "hits/1")
    lines = [line.split(",") for line in production.data.read_text().splitlines()]
    gone = lines[0].index("size")  # a candidate that is not asked for a column of the champion's
    production.data.write_text("".join(",".join(line[:gone] + line[gone + 1 :]) + "\n" for line in lines))
    other = replace(loop, gates=()).run(production.workspace)
    if active_canary(production.workspace.store, "hits") is None:
        reason, now = "by hand", production.clock.now()
        start_canary(production.workspace.store, other.version, loop.rollout, reason=reason, at=now)
    done = production.live(loop, 2)
    assert any("rolled back hits/2" in each and "not asked for `size`" in each for each in done), done
    assert _champion(production) == good.version


def test_inputs_in_other_units_open_a_ticket_that_holds_retraining_back(production: Production) -> None:
    loop = production.loop(retrain=ms.retrain("canary", min_new_labels=100))
    loop.run(production.workspace)
    assert production.live(loop, 16) == []
    assert production.live(loop, 1, units=25.4) == []  # a day may be odd
    done = production.live(loop, 1, units=25.4)
    assert len(done) == 1
    assert "`size` looks as if it came in millimetres instead of inches" in done[0]
    (incident,) = _incidents(production)
    assert (incident.rule, incident.severity, incident.diagnosis["suspect"]) == ("inputs", "ticket", "data")
    for day in production.live(loop, 30, units=25.4, flipped=True):
        assert "retrained" not in day
    quality = next(each for each in _incidents(production) if each.rule == "quality")
    assert quality.diagnosis["suspect"] == "data"
    assert "`size` looks as if" in str(quality.diagnosis["reason"])
    assert "the data is under an incident" in quality.timeline[-1].text
    assert "closed the incident: hits is asked with broken inputs: `size`" in production.live(loop, 1)


def test_a_change_of_inputs_that_is_meant_is_learnt_when_its_ticket_is_resolved(production: Production) -> None:
    loop = production.loop()
    loop.run(production.workspace)
    production.live(loop, 18)
    production.live(loop, 2, units=25.4)
    (incident,) = _incidents(production)
    move_incident(
        production.workspace.store, incident, "resolved", text="it is meant", at=production.clock.now(), actor="ada"
    )
    production.live(loop, 20, units=25.4)
    assert [each.rule for each in _incidents(production) if each.rule == "inputs"] == ["inputs"]


def test_requests_that_come_again_are_told_and_counted_once(production: Production) -> None:
    loop = production.loop()
    loop.run(production.workspace)
    production.live(loop, 1, copies=3)
    (incident,) = _incidents(production)
    assert (incident.rule, incident.diagnosis["suspect"]) == ("repeats", "infrastructure")
    assert "240 of the 360 rows" in incident.timeline[0].text
    found = watched(production, loop)
    assert found.rows == 120
    assert "closed the incident: Requests to hits come more than once" in production.live(loop, 1)


def test_a_service_that_fails_pages_until_it_answers_again(production: Production) -> None:
    loop = production.loop()
    loop.run(production.workspace)
    with JournalWriter(production.workspace.journals, name="refused") as journal:
        failed = to_iso(production.day + timedelta(hours=7))
        journal.append(encode_record(RefusedRecord(model=loop.name, at=failed, refused=2, failed=30)))
    assert any("93.8% of the requests from 2024-03-01 07:00" in each for each in production.live(loop, 1))
    (incident,) = _incidents(production)
    assert (incident.rule, incident.severity, incident.diagnosis["suspect"]) == ("errors", "page", "infrastructure")
    assert "closed the incident: hits fails to answer" in production.live(loop, 1)


def test_labels_that_stay_away_open_a_ticket_until_they_come(production: Production) -> None:
    loop = production.loop()
    loop.run(production.workspace)
    production.live(loop, 10)
    done = production.live(loop, 5, labelled=False)
    assert [each.partition(":")[0] for each in done] == ["opened an incident"]
    assert "no label has come for" in done[0]
    production.tell()
    assert "closed the incident: hits gets no labels" in production.live(loop, 1)


def test_a_retraining_whose_process_died_is_told_and_done_again(production: Production) -> None:
    loop = production.loop(retrain=ms.retrain("canary", cooldown="30d", min_new_labels=100))
    loop.run(production.workspace)
    with pytest.raises(_Killed):
        production.live(replace(loop, gates=[_dies]), 40, flipped=True)
    (incident,) = _incidents(production)
    assert incident.timeline[-1].what == "retraining"
    run_id = start_run(
        production.workspace.store,
        experiment="train",
        name="train",
        parameters={},
        at=production.clock.now(),
        tags={"mainspring.incident": incident.incident_id},
    )
    loop.tick(production.workspace)
    what = [entry.what for entry in _incidents(production)[0].timeline]
    assert what[what.index("retraining") :][:4] == [
        "retraining",
        "retraining was cut short",
        "retraining",
        "retrained",
    ]
    assert find_run(production.workspace.store, run_id).status == "killed"


class _Killed(BaseException):
    """Ends a process at once, as far as a test can."""


def _dies(context: object) -> GateResult:
    raise _Killed


def watched(production: Production, loop: ms.Loop) -> RiskVerdict:
    """Return what the monitor of quality has counted."""
    champion = find_champion(production.workspace.store, loop.name)
    assert champion is not None
    found = quality_of(production.workspace.store, champion, loop.monitor, now=production.clock.now())
    assert found is not None
    return found
