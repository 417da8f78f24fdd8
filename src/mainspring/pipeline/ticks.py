"""Ticks: the moments of schedules that have come due, claimed by leases, so that two schedulers never run the same one.

In one transaction a scheduler turns what has come due into rows and claims one of them for the time of its lease; who
holds a lease renews it, and when a scheduler is killed another takes the tick over once the lease has run out. What was
missed while nobody looked is run once (`latest`) or tick by tick (`all`). Running is not done here: `run_due` is handed
what runs a tick. What is due goes by the workspace's clock, which whoever lives a past again moves by days at once;
leases go by the machine's, by which a scheduler at work renews them (`wall`). Owner of `schedule_ticks`.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from mainspring.domain.ids import new_id
from mainspring.domain.moments import Clock, SystemClock, from_iso, to_iso
from mainspring.errors import MainspringError
from mainspring.pipeline.schedules import Schedule, find_schedule, list_schedules, read_schedules
from mainspring.pipeline.timetable import come_due
from mainspring.store.events import Event
from mainspring.store.protocol import Row, Store, Transaction, Value

__all__ = [
    "Interrupted", "Lost", "RunTick", "Standing", "Tick", "TickStatus", "claim_tick", "finish_tick", "list_standings",
    "list_ticks", "release_tick", "renew_lease", "run_due",
]  # fmt: skip

TickStatus = Literal["due", "claimed", "finished", "failed"]

#: How long a tick belongs to a scheduler that does not renew its lease.
LEASE = timedelta(minutes=1)
#: The clock that leases go by, outside of tests.
_MACHINE = SystemClock()
#: A tick that took so many schedulers with it (a run that eats all memory) is not tried again.
_MOST_ATTEMPTS = 5
#: Ended ticks that are kept of each schedule.
_KEPT = 1000
_TICK = "name, due_at, status, holder, lease_until, attempts, missed, run_id, error"
# Ticks that can be claimed: nobody holds them, and nobody is at work on another of their schedule.
_FREE = (
    "SELECT name, due_at, attempts FROM schedule_ticks AS tick"
    " WHERE (status = 'due' OR (status = 'claimed' AND lease_until <= ?)) AND NOT EXISTS"
    " (SELECT 1 FROM schedule_ticks AS other WHERE other.name = tick.name AND other.status = 'claimed'"
    " AND other.lease_until > ?) ORDER BY due_at, name"
)


@dataclass(frozen=True, slots=True)
class Tick:
    """One moment of a schedule. `missed` is how many earlier ones it stands for; `attempts` counts the claims."""

    schedule: str
    due_at: datetime
    status: TickStatus
    holder: str
    lease_until: datetime | None
    attempts: int
    missed: int
    run_id: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a schedule stands: its last ended tick, and the one that a scheduler is at, with its holder and lease."""

    schedule: Schedule
    last: Tick | None
    at_work: Tick | None


class Interrupted(Exception):
    """The scheduler ends before the tick has: it is given back, and runs again."""


#: Set when a tick was lost to another scheduler, because the lease ran out (this machine slept): its run should end.
Lost = threading.Event
#: Runs what a schedule names for one of its ticks, and returns the id of the run.
RunTick = Callable[[Schedule, Tick, Lost], str]


def list_ticks(store: Store, name: str = "", *, limit: int = 100) -> list[Tick]:
    """Return the last ticks of one schedule, or of all, newest first."""
    rows = store.read(
        f"SELECT {_TICK} FROM schedule_ticks WHERE name = ? OR ? = '' ORDER BY due_at DESC, name LIMIT ?",
        (name, name, limit),
    )
    return [_tick(row) for row in rows]


def list_standings(store: Store) -> list[Standing]:
    """Return how every schedule stands, the next to run first."""
    standings = []
    for each in list_schedules(store):
        found = {
            kind: store.read(
                f"SELECT {_TICK} FROM schedule_ticks WHERE name = ? AND {condition} ORDER BY due_at DESC LIMIT 1",
                (each.name,),
            )
            for kind, condition in (("last", "status IN ('finished', 'failed')"), ("at_work", "status = 'claimed'"))
        }
        standings.append(Standing(each, **{kind: _tick(rows[0]) if rows else None for kind, rows in found.items()}))
    return standings


def claim_tick(
    store: Store,
    *,
    holder: str,
    now: datetime,
    wall: datetime,
    lease: timedelta = LEASE,
    only: Callable[[Schedule], bool] = lambda schedule: True,
) -> Tick | None:
    """Claim the oldest tick that is due at `now`, or whose lease has run out at `wall`; None where nothing is to do.

    A schedule has one tick at work at a time, so a slow run is not overtaken by the next. Schedules that `only` does
    not want are left to others.
    """
    at, until = to_iso(wall), to_iso(wall + lease)

    def free(transaction: Transaction) -> list[Row]:
        wanted = {each.name for each in read_schedules(transaction) if only(each)}
        return [row for row in transaction.execute(_FREE, (at, at)) if row[0] in wanted]

    def is_anything_due(snapshot: Transaction) -> bool:
        return bool(free(snapshot)) or any(each.next_at <= now and only(each) for each in read_schedules(snapshot))

    def write(transaction: Transaction) -> Tick | None:
        for each in read_schedules(transaction):
            if each.next_at <= now and only(each):
                _expand(transaction, each, now)
        for name, due_at, attempts in free(transaction):
            if attempts >= _MOST_ATTEMPTS:
                _give_up(transaction, name, due_at, to_iso(now))
                continue
            # The condition is said again, so that a backend whose reads do not lock gives it to one of two.
            claimed = transaction.execute(
                "UPDATE schedule_ticks SET status = 'claimed', holder = ?, lease_until = ?, attempts = attempts + 1"
                " WHERE name = ? AND due_at = ? AND (status = 'due' OR (status = 'claimed' AND lease_until <= ?))"
                f" RETURNING {_TICK}",
                (holder, until, name, due_at, at),
            )
            if claimed:
                return _tick(claimed[0])
        return None

    # asked by every server every second, and mostly for nothing: a look that holds up no writer comes first
    return store.record(write) if store.snapshot(is_anything_due) else None


def renew_lease(store: Store, tick: Tick, *, wall: datetime, lease: timedelta = LEASE) -> bool:
    """Hold on to a tick; False when it was lost to another scheduler."""
    return store.record(lambda transaction: _update(transaction, tick, "lease_until = ?", (to_iso(wall + lease),)))


def release_tick(store: Store, tick: Tick) -> bool:
    """Give a tick back, for the next that looks; False when it was lost already."""
    freed = "status = 'due', holder = '', lease_until = NULL, attempts = attempts - 1"
    return store.record(lambda transaction: _update(transaction, tick, freed, ()))


def finish_tick(store: Store, tick: Tick, *, now: datetime, run_id: str = "", error: str = "") -> bool:
    """Write down how a tick ended; False when it was lost meanwhile: then the other scheduler's end is the one kept.

    That a schedule begins to fail, or works again, is an event; that it goes on failing is not.
    """
    status = "failed" if error else "finished"
    before = store.read(
        "SELECT status FROM schedule_ticks WHERE name = ? AND status IN ('finished', 'failed')"
        " ORDER BY ended_at DESC LIMIT 1",
        (tick.schedule,),
    )

    def write(transaction: Transaction) -> bool:
        values = (status, run_id, error[:2000], to_iso(now))
        return _update(transaction, tick, "status = ?, run_id = ?, error = ?, ended_at = ?, lease_until = NULL", values)

    def event(is_kept: bool) -> Event | None:
        verb, said = ("failed", {"error": error[:500]}) if error else ("recovered", {"run_id": run_id})
        details = {"due_at": to_iso(tick.due_at), **said}
        return Event(f"schedule.{verb}", tick.schedule, details) if is_kept else None

    was = before[0][0] if before else "finished"
    return store.record(write) if was == status else store.change(event, write)


def run_due(
    store: Store,
    clock: Clock,
    run: RunTick,
    *,
    holder: str = "",
    lease: timedelta = LEASE,
    most: int = 1000,
    only: Callable[[Schedule], bool] = lambda schedule: True,
    wall: Clock = _MACHINE,
) -> list[Tick]:
    """Claim and run every tick that is due by `clock`, one after the other, and return them as they ended.

    `run` is given the schedule and the tick and returns the id of the run; an error it raises is written down and does
    not stop the others. `holder` names this scheduler (default: a name of its own). Leases go by `wall`.
    """
    holder = holder or new_id()
    ended: list[Tick] = []
    while len(ended) < most:
        tick = claim_tick(store, holder=holder, now=clock.now(), wall=wall.now(), lease=lease, only=only)
        if tick is None:
            break
        run_id, error = "", ""
        with _kept_lease(store, wall, tick, lease) as lost:
            try:
                run_id = run(find_schedule(store, tick.schedule), tick, lost)
            except Interrupted:
                release_tick(store, tick)
                break
            except Exception as failure:  # the edge of the tick: one that fails must not stop the scheduler
                error = failure.what if isinstance(failure, MainspringError) else f"{type(failure).__name__}: {failure}"
        finish_tick(store, tick, now=clock.now(), run_id=run_id, error=error)
        ended.append(
            replace(tick, status="failed" if error else "finished", lease_until=None, run_id=run_id, error=error)
        )
    return ended


@contextmanager
def _kept_lease(store: Store, wall: Clock, tick: Tick, lease: timedelta) -> Iterator[Lost]:
    """Renew a lease, three times in its length, while the block runs; what is yielded is set when it was lost."""
    done, lost = threading.Event(), Lost()

    def renew() -> None:
        while not done.wait(lease.total_seconds() / 3):
            try:
                if not renew_lease(store, tick, wall=wall.now(), lease=lease):
                    lost.set()
                    return
            except MainspringError:  # a database that is away for a moment; when it is back it knows whose the tick is
                continue

    thread = threading.Thread(target=renew, name="schedule-lease", daemon=True)
    thread.start()
    try:
        yield lost
    finally:
        done.set()
        thread.join()


def _expand(transaction: Transaction, schedule: Schedule, now: datetime) -> None:
    """Turn what has come due since the last look into ticks, and move the schedule on."""
    due = come_due(schedule.cron, schedule.timezone, schedule.next_at, now, each=schedule.catch_up == "all")
    moved = transaction.execute(
        "UPDATE schedules SET next_at = ? WHERE name = ? AND next_at = ? RETURNING name",
        (to_iso(due.next_at), schedule.name, to_iso(schedule.next_at)),
    )
    if not moved:
        return
    transaction.execute_many(
        "INSERT INTO schedule_ticks (name, due_at, status, holder, attempts, missed, run_id, error)"
        " VALUES (?, ?, 'due', '', 0, ?, '', '') ON CONFLICT (name, due_at) DO NOTHING",
        [(schedule.name, to_iso(moment), due.missed) for moment in due.moments],
    )
    transaction.execute(
        "DELETE FROM schedule_ticks WHERE name = ? AND status IN ('finished', 'failed') AND due_at <= (SELECT due_at"
        " FROM schedule_ticks WHERE name = ? ORDER BY due_at DESC LIMIT 1 OFFSET ?)",
        (schedule.name, schedule.name, _KEPT),
    )


def _give_up(transaction: Transaction, name: str, due_at: str, at: str) -> None:
    transaction.execute(
        "UPDATE schedule_ticks SET status = 'failed', error = ?, ended_at = ?, lease_until = NULL"
        " WHERE name = ? AND due_at = ?",
        (f"its scheduler died {_MOST_ATTEMPTS} times at it", at, name, due_at),
    )


def _update(transaction: Transaction, tick: Tick, what: str, values: tuple[str, ...]) -> bool:
    """Change a tick that is still held under the lease it was claimed with."""
    sql = (
        f"UPDATE schedule_ticks SET {what} WHERE name = ? AND due_at = ? AND holder = ? AND attempts = ?"
        " AND status = 'claimed' RETURNING name"
    )
    bound: list[Value] = [*values, tick.schedule, to_iso(tick.due_at), tick.holder, tick.attempts]
    return bool(transaction.execute(sql, bound))


def _tick(row: Row) -> Tick:
    name, due_at, status, holder, until, attempts, missed, run_id, error = row
    return Tick(
        name,
        from_iso(due_at),
        status,
        holder,
        None if until is None else from_iso(until),
        attempts,
        missed,
        run_id,
        error,
    )
