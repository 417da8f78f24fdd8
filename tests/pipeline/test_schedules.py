"""Schedules: which ticks come due, that each is run once by one scheduler, and what happens when one is killed."""

import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mainspring.domain.moments import SimulatedClock
from mainspring.errors import Conflict, Invalid, NotFound
from mainspring.pipeline.schedules import (
    Schedule,
    add_schedule,
    keep_house,
    keep_looking,
    list_schedules,
    remove_schedule,
)
from mainspring.pipeline.ticks import (
    LEASE,
    Interrupted,
    Lost,
    Tick,
    claim_tick,
    finish_tick,
    list_standings,
    list_ticks,
    renew_lease,
    run_due,
)
from mainspring.store.events import events
from mainspring.store.opening import open_store
from mainspring.store.protocol import Store

START = datetime(2024, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def store(store_address: str):
    made = open_store(store_address)
    yield made
    made.close()


def _claim(store: Store, holder: str, at: datetime, lease: timedelta = LEASE) -> Tick | None:
    return claim_tick(store, holder=holder, now=at, wall=at, lease=lease)


def _run(schedule: Schedule, tick: Tick, lost: Lost) -> str:
    return f"run-{tick.due_at:%H%M}"


def test_a_schedule_names_its_next_tick_and_is_audited(store: Store) -> None:
    made = add_schedule(store, "nightly", "0 6 * * *", "r.py:report", now=START, parameters=("c=1",))
    assert made.next_at == START + 6 * HOUR
    assert list_schedules(store) == [made]
    with pytest.raises(Conflict, match="already"):
        add_schedule(store, "nightly", "0 6 * * *", "r.py", now=START)
    remove_schedule(store, "nightly")
    with pytest.raises(NotFound, match="nightly"):
        remove_schedule(store, "nightly")
    assert [each.verb for each in events(store)] == ["schedule.added", "schedule.removed"]


@pytest.mark.parametrize(
    ("cron", "timezone", "words"),
    [("0 25 * * *", "UTC", "no cron"), ("hourly", "UTC", "no cron"), ("0 6 * * *", "Mars/Base", "no time zone"),
     ("0 0 30 2 *", "UTC", "no (moment|cron)")],
)  # fmt: skip
def test_a_wrong_expression_is_refused(store: Store, cron: str, timezone: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        add_schedule(store, "x", cron, "r.py", now=START, timezone=timezone)
    assert list_schedules(store) == []


def test_local_clocks_are_followed_over_the_change_to_summer(store: Store) -> None:
    made = add_schedule(
        store, "x", "0 6 * * *", "r.py", now=datetime(2024, 3, 30, 3, tzinfo=UTC), timezone="Europe/Paris"
    )
    assert made.next_at == datetime(2024, 3, 30, 5, tzinfo=UTC)
    run_due(store, SimulatedClock(made.next_at), _run)
    assert list_schedules(store)[0].next_at == datetime(2024, 3, 31, 4, tzinfo=UTC)


def test_due_ticks_run_once_and_in_order(store: Store) -> None:
    add_schedule(store, "a", "0 * * * *", "r.py", now=START, catch_up="all")
    clock = SimulatedClock(START)
    assert run_due(store, clock, _run) == []
    clock.advance_to(START + 3 * HOUR)
    ended = run_due(store, clock, _run)
    assert [(each.run_id, each.status) for each in ended] == [(f"run-0{n}00", "finished") for n in (1, 2, 3)]
    assert run_due(store, clock, _run) == []
    assert [each.run_id for each in list_ticks(store)] == ["run-0300", "run-0200", "run-0100"]


def test_ticks_missed_in_sleep_are_run_once(store: Store) -> None:
    add_schedule(store, "a", "*/5 * * * *", "r.py", now=START)
    clock = SimulatedClock(START + 48 * HOUR + timedelta(minutes=2))
    (ended,) = run_due(store, clock, _run)
    assert (ended.due_at, ended.missed) == (START + 48 * HOUR, 48 * 12 - 1)
    assert list_schedules(store)[0].next_at == START + 48 * HOUR + timedelta(minutes=5)


def test_a_run_that_fails_is_written_down_and_does_not_stop_the_rest(store: Store) -> None:
    add_schedule(store, "bad", "0 * * * *", "r.py", now=START)
    add_schedule(store, "good", "0 * * * *", "r.py", now=START)

    def run(schedule: Schedule, tick: Tick, lost: Lost) -> str:
        if schedule.name == "bad":
            raise NotFound("There is no file `r.py`")
        return "fine"

    ended = run_due(store, SimulatedClock(START + HOUR), run)
    assert [(each.schedule, each.status, each.error) for each in ended] == [
        ("bad", "failed", "There is no file `r.py`"),
        ("good", "finished", ""),
    ]


def test_a_killed_scheduler_loses_its_tick_when_the_lease_ends(store: Store) -> None:
    add_schedule(store, "a", "0 * * * *", "r.py", now=START)
    now, lease = START + HOUR, timedelta(minutes=5)
    first = _claim(store, "one", now, lease)
    assert first is not None
    assert _claim(store, "two", now + timedelta(minutes=4), lease) is None
    assert renew_lease(store, first, wall=now + timedelta(minutes=4), lease=lease)
    assert _claim(store, "two", now + timedelta(minutes=8), lease) is None
    second = _claim(store, "two", now + timedelta(minutes=10), lease)
    assert second is not None
    assert (second.due_at, second.attempts, second.holder) == (first.due_at, 2, "two")
    assert not renew_lease(store, first, wall=now + timedelta(minutes=10), lease=lease)
    assert not finish_tick(store, first, now=now + timedelta(minutes=10), run_id="late")
    assert finish_tick(store, second, now=now + timedelta(minutes=11), run_id="second")
    assert [(each.status, each.run_id) for each in list_ticks(store)] == [("finished", "second")]


def test_a_tick_that_takes_its_schedulers_with_it_is_given_up(store: Store) -> None:
    add_schedule(store, "a", "0 0 1 1 *", "r.py", now=datetime(2023, 12, 31, tzinfo=UTC))
    for hour in range(5):
        assert _claim(store, f"h{hour}", START + hour * HOUR) is not None
    assert _claim(store, "last", START + 6 * HOUR) is None
    (tick,) = list_ticks(store)
    assert (tick.status, tick.attempts) == ("failed", 5)
    assert "died 5 times" in tick.error


def test_a_scheduler_that_ends_gives_its_tick_back(store: Store) -> None:
    add_schedule(store, "a", "0 * * * *", "r.py", now=START)

    def interrupted(schedule: Schedule, tick: Tick, lost: Lost) -> str:
        raise Interrupted

    clock = SimulatedClock(START + HOUR)
    assert run_due(store, clock, interrupted, holder="one") == []
    (ended,) = run_due(store, clock, _run, holder="two")
    assert (ended.holder, ended.attempts, ended.status) == ("two", 1, "finished")


def test_whose_lease_was_lost_is_told(store: Store) -> None:
    add_schedule(store, "a", "0 * * * *", "r.py", now=START)
    clock = SimulatedClock(START + HOUR)

    def run(schedule: Schedule, tick: Tick, lost: Lost) -> str:
        other = _claim(store, "two", START + 1.5 * HOUR)
        assert other is not None
        assert lost.wait(30)
        return "late"

    run_due(store, clock, run, holder="one", lease=timedelta(milliseconds=60), wall=clock)
    assert [(each.status, each.holder) for each in list_ticks(store)] == [("claimed", "two")]


def test_what_only_others_can_run_is_left_to_them(store: Store) -> None:
    add_schedule(store, "mine", "0 * * * *", "r.py", now=START)
    add_schedule(store, "theirs", "0 * * * *", "r.py", now=START)
    clock = SimulatedClock(START + HOUR)
    ended = run_due(store, clock, _run, only=lambda schedule: schedule.name == "mine")
    assert [each.schedule for each in ended] == ["mine"]
    assert [each.schedule for each in run_due(store, clock, _run)] == ["theirs"]


def test_a_schedule_every_so_long_catches_up_with_one_look(store: Store) -> None:
    made = keep_looking(store, "look", "100ms", "loop.py", now=START)
    assert made.next_at == START
    clock = SimulatedClock(START + 48 * HOUR)
    (ended,) = run_due(store, clock, _run)
    assert (ended.due_at, ended.missed) == (START + 48 * HOUR, 48 * 36_000)
    keep_looking(store, "look", "100ms", "loop.py", now=START + 49 * HOUR)
    assert list_schedules(store)[0].next_at == START + 49 * HOUR
    keep_looking(store, "look", "1m", "loop.py", now=START + 50 * HOUR)
    assert [each.cron for each in list_schedules(store)] == ["every 1m"]
    assert [each.verb for each in events(store)] == ["schedule.added"] * 2, "started again is no change"
    with pytest.raises(Invalid, match="duration"):
        keep_looking(store, "look", "soon", "loop.py", now=START)


def test_the_newest_thousand_ticks_are_kept(store: Store) -> None:
    clock = SimulatedClock(START)
    add_schedule(store, "a", "* * * * *", "r.py", now=START - timedelta(minutes=1010), catch_up="all")
    while run_due(store, clock, _run, most=2000):
        pass
    clock.advance_to(START + timedelta(minutes=1))
    run_due(store, clock, _run)
    assert len(list_ticks(store, "a", limit=5000)) == 1000


def test_housekeeping_is_added_once_and_stays_removed(store: Store) -> None:
    keep_house(store, START)
    assert {each.name: each.duty for each in list_schedules(store)} == {"retention": "retention", "drill": "drill"}
    remove_schedule(store, "drill")
    keep_house(store, START)
    assert [each.name for each in list_schedules(store)] == ["retention"]


def test_a_standing_says_how_it_went_and_who_is_at_it(store: Store) -> None:
    add_schedule(store, "a", "0 * * * *", "r.py", now=START)
    (standing,) = list_standings(store)
    assert (standing.last, standing.at_work) == (None, None)
    run_due(store, SimulatedClock(START + HOUR), _run)
    _claim(store, "host:1", START + 2 * HOUR)
    (standing,) = list_standings(store)
    assert standing.last is not None
    assert standing.last.run_id == "run-0100"
    assert standing.at_work is not None
    assert standing.at_work.holder == "host:1"
    assert standing.schedule.next_at == START + 3 * HOUR


def test_that_a_schedule_begins_to_fail_is_told_once(store: Store) -> None:
    add_schedule(store, "a", "0 * * * *", "r.py", now=START)

    def fail(schedule: Schedule, tick: Tick, lost: Lost) -> str:
        raise NotFound("gone")

    for hour, run in enumerate((_run, fail, fail, _run, _run), start=1):
        run_due(store, SimulatedClock(START + hour * HOUR), run)
    assert [each.verb for each in events(store, verb="schedule.*")] == [
        "schedule.added", "schedule.failed", "schedule.recovered",
    ]  # fmt: skip


def test_a_schedule_has_one_tick_at_work_at_a_time(store: Store) -> None:
    add_schedule(store, "a", "0 * * * *", "r.py", now=START, catch_up="all")
    add_schedule(store, "b", "30 * * * *", "r.py", now=START, catch_up="all")
    now = START + 3 * HOUR
    one = _claim(store, "one", now)
    two = _claim(store, "two", now)
    assert one is not None
    assert two is not None
    assert {one.schedule, two.schedule} == {"a", "b"}
    assert _claim(store, "three", now) is None
    finish_tick(store, one, now=now)
    third = _claim(store, "three", now)
    assert third is not None
    assert third.schedule == one.schedule


def test_the_lease_is_renewed_while_a_run_lasts(store: Store) -> None:
    add_schedule(store, "a", "0 * * * *", "r.py", now=START)
    clock = SimulatedClock(START + HOUR)
    seen: list[bool] = []

    def run(schedule: Schedule, tick: Tick, lost: Lost) -> str:
        clock.advance_to(START + HOUR + timedelta(milliseconds=50))
        before = tick.lease_until
        for _ in range(2000):
            (now,) = list_ticks(store)
            if now.lease_until != before:
                seen.append(True)
                break
            subprocess.run(["true"], check=True)
        return "done"

    run_due(store, clock, run, lease=timedelta(milliseconds=60), wall=clock)
    assert seen == [True]


def test_no_lease_runs_out_when_a_past_is_lived_again(store: Store) -> None:
    add_schedule(store, "a", "0 * * * *", "r.py", now=START)
    clock = SimulatedClock(START + HOUR)
    others: list[list[Tick]] = []

    def run(schedule: Schedule, tick: Tick, lost: Lost) -> str:
        for hour in range(2, 10):
            clock.advance_to(START + hour * HOUR)
            others.append(run_due(store, clock, _run, holder="two"))
        return "done"

    run_due(store, clock, run, holder="one", most=1)
    assert others == [[]] * 8
    assert [(each.status, each.holder, each.attempts) for each in list_ticks(store)][-1] == ("finished", "one", 1)


def test_a_lease_runs_out_though_the_clock_stands_still(store: Store) -> None:
    add_schedule(store, "a", "0 * * * *", "r.py", now=START)
    clock, wall = SimulatedClock(START + HOUR), SimulatedClock(START)
    assert claim_tick(store, holder="killed", now=clock.now(), wall=wall.now()) is not None
    assert run_due(store, clock, _run, holder="two", wall=wall) == []
    wall.advance_to(START + LEASE)
    (ended,) = run_due(store, clock, _run, holder="two", wall=wall)
    assert (ended.due_at, ended.attempts) == (START + HOUR, 2)


_RACER = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from mainspring.domain.moments import SimulatedClock
from mainspring.pipeline.ticks import run_due
from mainspring.store.opening import open_store

store, log, name = open_store(sys.argv[1]), open(sys.argv[2], "a"), sys.argv[3]
print("ready", flush=True)
sys.stdin.readline()

def run(schedule, tick, lost):
    log.write(f"{schedule.name} {tick.due_at.isoformat()} {name}\\n")
    log.flush()
    return name

start = datetime(2024, 3, 1, tzinfo=UTC)
clock = SimulatedClock(start)
for minute in range(0, 120, 2):
    clock.advance_to(start + timedelta(minutes=minute))
    run_due(store, clock, run, holder=name)
store.close()
"""


def test_two_schedulers_never_run_the_same_tick_twice(store: Store, store_address: str, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        add_schedule(store, name, "* * * * *", "r.py", now=START, catch_up="all")
    log = tmp_path / "ran.log"
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", _RACER, store_address, str(log), name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for name in ("one", "two")
    ]  # fmt: skip
    for each in racers:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in racers:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    for each in racers:
        each.communicate(timeout=120)
        assert each.returncode == 0
    ran = [line.split() for line in log.read_text().splitlines()]
    counts = Counter((name, due) for name, due, _ in ran)
    assert set(counts.values()) == {1}
    # What one scheduler held when the other looked for the last time is left for the next look.
    late = run_due(store, SimulatedClock(START + timedelta(minutes=118)), _run)
    assert len(counts) + len(late) == 3 * 118
    assert len({who for _, _, who in ran}) == 2, "both took part"
