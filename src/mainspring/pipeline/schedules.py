"""Cron schedules, kept in the store and claimed by leases, so that two schedulers never run the same tick.

A tick is one moment a schedule names. In one transaction a scheduler turns what has come due into rows and claims one
of them for the time of its lease; who holds a lease renews it, and when a scheduler is killed another takes the tick
over once the lease has run out. What was missed while nobody looked is run once (`latest`) or tick by tick (`all`).
Running is not done here: `run_due` is handed what runs a tick. SQL of `schedules` and `schedule_ticks`.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from mainspring.domain.ids import new_id
from mainspring.domain.moments import Clock, from_iso, to_iso
from mainspring.errors import Conflict, Invalid, MainspringError, NotFound, nearest
from mainspring.store.events import Event
from mainspring.store.protocol import Store, Transaction, Value

__all__ = [
    "CatchUp", "Schedule", "Tick", "TickStatus", "add_schedule", "claim_tick", "finish_tick", "list_schedules",
    "list_ticks", "remove_schedule", "renew_lease", "run_due",
]  # fmt: skip

CatchUp = Literal["latest", "all"]
TickStatus = Literal["due", "claimed", "finished", "failed"]

#: How long a tick belongs to a scheduler that does not renew its lease.
LEASE = timedelta(minutes=5)
# Ticks that one look turns into rows for one schedule; the rest comes due at the next look.
_MOST_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Schedule:
    """A pipeline or loop that runs by the clock. `target` is ``FILE[:NAME]``; `next_at` the next tick."""

    name: str
    cron: str
    timezone: str
    target: str
    parameters: tuple[str, ...]
    catch_up: CatchUp
    next_at: datetime


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


def add_schedule(
    store: Store,
    name: str,
    cron: str,
    target: str,
    *,
    now: datetime,
    parameters: tuple[str, ...] = (),
    catch_up: CatchUp = "latest",
    timezone: str = "UTC",
) -> Schedule:
    """Keep a schedule; its first tick is the first that the cron expression names after `now`.

    Raises:
        Invalid: the expression or the time zone cannot be read, or the expression names no moment.
        Conflict: there is a schedule of that name.
    """
    next_at = _next(cron, timezone, now)
    made = Schedule(name, cron, timezone, target, parameters, catch_up, next_at)
    values = (
        name, cron, timezone, target, json.dumps(parameters), catch_up, to_iso(now), to_iso(next_at),
    )  # fmt: skip

    def write(transaction: Transaction) -> None:
        if transaction.execute("SELECT 1 FROM schedules WHERE name = ?", (name,)):
            raise Conflict(
                f"There is a schedule `{name}` already",
                next_step=f"mainspring schedule remove {name}, or take another name",
            )
        transaction.execute(
            "INSERT INTO schedules (name, cron, timezone, target, parameters, catch_up, created_at, next_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            values,
        )

    store.change(Event("schedule.added", name, {"cron": cron, "target": target, "timezone": timezone}), write)
    return made


def remove_schedule(store: Store, name: str) -> None:
    """Drop a schedule and its ticks; a tick that runs is not stopped.

    Raises:
        NotFound: there is no such schedule.
    """

    def write(transaction: Transaction) -> None:
        if not transaction.execute("DELETE FROM schedules WHERE name = ? RETURNING name", (name,)):
            known = [row[0] for row in transaction.execute("SELECT name FROM schedules")]
            raise NotFound(f"There is no schedule `{name}`", next_step=nearest(name, known))
        transaction.execute("DELETE FROM schedule_ticks WHERE name = ?", (name,))

    store.change(Event("schedule.removed", name), write)


def list_schedules(store: Store) -> list[Schedule]:
    """Return every schedule, the next to run first."""
    return [_schedule(row) for row in store.read(f"SELECT {_SCHEDULE} FROM schedules ORDER BY next_at, name")]


def list_ticks(store: Store, name: str = "", *, limit: int = 100) -> list[Tick]:
    """Return the last ticks of one schedule, or of all, newest first."""
    rows = store.read(
        f"SELECT {_TICK} FROM schedule_ticks WHERE name = ? OR ? = '' ORDER BY due_at DESC, name LIMIT ?",
        (name, name, limit),
    )
    return [_tick(row) for row in rows]


def claim_tick(store: Store, *, holder: str, now: datetime, lease: timedelta = LEASE) -> Tick | None:
    """Claim the oldest tick that is due, or whose lease has run out; None where there is nothing to do.

    A schedule has one tick at work at a time, so a slow run is not overtaken by the next.
    """
    at, until = to_iso(now), to_iso(now + lease)

    def write(transaction: Transaction) -> Tick | None:
        for row in transaction.execute(f"SELECT {_SCHEDULE} FROM schedules WHERE next_at <= ?", (at,)):
            _expand(transaction, _schedule(row), now)
        while True:
            found = transaction.execute(
                "SELECT name, due_at FROM schedule_ticks AS tick"
                " WHERE (status = 'due' OR (status = 'claimed' AND lease_until <= ?)) AND NOT EXISTS"
                " (SELECT 1 FROM schedule_ticks AS other WHERE other.name = tick.name AND other.status = 'claimed'"
                " AND other.lease_until > ?) ORDER BY due_at, name LIMIT 1",
                (at, at),
            )
            if not found:
                return None
            # The condition is said again, so that a backend whose reads do not lock gives it to one of two.
            claimed = transaction.execute(
                "UPDATE schedule_ticks SET status = 'claimed', holder = ?, lease_until = ?, attempts = attempts + 1"
                " WHERE name = ? AND due_at = ? AND (status = 'due' OR (status = 'claimed' AND lease_until <= ?))"
                f" RETURNING {_TICK}",
                (holder, until, *found[0], at),
            )
            if claimed:
                return _tick(claimed[0])

    return store.record(write)


def renew_lease(store: Store, tick: Tick, *, now: datetime, lease: timedelta = LEASE) -> bool:
    """Hold on to a tick; False when it was lost to another scheduler."""
    return _update(store, tick, "lease_until = ?", (to_iso(now + lease),))


def finish_tick(store: Store, tick: Tick, *, now: datetime, run_id: str = "", error: str = "") -> bool:
    """Write down how a tick ended; False when it was lost meanwhile: then the other scheduler's end is the one kept."""
    status = "failed" if error else "finished"
    values = (status, run_id, error[:2000], to_iso(now))
    return _update(store, tick, "status = ?, run_id = ?, error = ?, ended_at = ?, lease_until = NULL", values)


def run_due(
    store: Store,
    clock: Clock,
    run: Callable[[Schedule, Tick], str],
    *,
    holder: str = "",
    lease: timedelta = LEASE,
    most: int = 1000,
) -> list[Tick]:
    """Claim and run every tick that is due, one after the other, and return them as they ended.

    `run` is given the schedule and the tick and returns the id of the run; an error it raises is written down and does
    not stop the others. `holder` names this scheduler (default: a name of its own).
    """
    holder = holder or new_id()
    ended: list[Tick] = []
    while len(ended) < most:
        tick = claim_tick(store, holder=holder, now=clock.now(), lease=lease)
        if tick is None:
            break
        schedule = next((each for each in list_schedules(store) if each.name == tick.schedule), None)
        if schedule is None:  # removed since it was claimed
            continue
        run_id, error = "", ""
        with _kept_lease(store, clock, tick, lease):
            try:
                run_id = run(schedule, tick)
            except Exception as failure:  # the edge of the tick: one that fails must not stop the scheduler
                error = failure.what if isinstance(failure, MainspringError) else f"{type(failure).__name__}: {failure}"
        finish_tick(store, tick, now=clock.now(), run_id=run_id, error=error)
        status: TickStatus = "failed" if error else "finished"
        ended.append(Tick(tick.schedule, tick.due_at, status, holder, None, tick.attempts, tick.missed, run_id, error))
    return ended


@contextmanager
def _kept_lease(store: Store, clock: Clock, tick: Tick, lease: timedelta) -> Iterator[None]:
    """Renew a lease, three times in its length, for as long as the block runs."""
    done = threading.Event()

    def renew() -> None:
        while not done.wait(lease.total_seconds() / 3):
            if not renew_lease(store, tick, now=clock.now(), lease=lease):
                return

    thread = threading.Thread(target=renew, name="schedule-lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _expand(transaction: Transaction, schedule: Schedule, now: datetime) -> None:
    """Turn what has come due since the last look into ticks, and move the schedule on."""
    moments, missed = [schedule.next_at], 0
    while (following := _next(schedule.cron, schedule.timezone, moments[-1])) <= now:
        if schedule.catch_up == "latest":  # a year of missed minutes is looked through, and one of them is kept
            moments, missed = [following], missed + 1
        elif len(moments) < _MOST_AT_ONCE:
            moments.append(following)
        else:
            break
    moved = transaction.execute(
        "UPDATE schedules SET next_at = ? WHERE name = ? AND next_at = ? RETURNING name",
        (to_iso(_next(schedule.cron, schedule.timezone, moments[-1])), schedule.name, to_iso(schedule.next_at)),
    )
    if moved:
        transaction.execute_many(
            "INSERT INTO schedule_ticks (name, due_at, status, holder, attempts, missed, run_id, error)"
            " VALUES (?, ?, 'due', '', 0, ?, '', '') ON CONFLICT (name, due_at) DO NOTHING",
            [(schedule.name, to_iso(moment), missed) for moment in moments],
        )


def _update(store: Store, tick: Tick, what: str, values: tuple[str, ...]) -> bool:
    """Change a tick that is still held under the lease it was claimed with."""
    sql = (
        f"UPDATE schedule_ticks SET {what} WHERE name = ? AND due_at = ? AND holder = ? AND attempts = ?"
        " AND status = 'claimed' RETURNING name"
    )
    bound: list[Value] = [*values, tick.schedule, to_iso(tick.due_at), tick.holder, tick.attempts]
    return bool(store.record(lambda transaction: transaction.execute(sql, bound)))


def _next(cron: str, timezone: str, after: datetime) -> datetime:
    """Return the first moment after `after` that a cron expression names, by the clocks of `timezone`."""
    from cronsim import CronSim, CronSimError  # needed only where something is scheduled

    try:
        zone = ZoneInfo(timezone)
    except (KeyError, ValueError, OSError) as error:
        raise Invalid(f"`{timezone}` is no time zone", next_step="write one such as Europe/Paris or UTC") from error
    try:
        return next(CronSim(cron, after.astimezone(zone))).astimezone(UTC)
    except CronSimError as error:
        raise Invalid(
            f"`{cron}` is no cron expression: {error}",
            next_step='write minute, hour, day, month and weekday, such as "0 6 * * *" for six every morning',
        ) from error
    except StopIteration:
        raise Invalid(
            f"`{cron}` names no moment in the next fifty years", next_step="mend the day or the month"
        ) from None


_SCHEDULE = "name, cron, timezone, target, parameters, catch_up, next_at"
_TICK = "name, due_at, status, holder, lease_until, attempts, missed, run_id, error"


def _schedule(row: tuple[object, ...]) -> Schedule:
    name, cron, timezone, target, parameters, catch_up, next_at = (str(each) for each in row)
    kept: CatchUp = "all" if catch_up == "all" else "latest"
    return Schedule(name, cron, timezone, target, tuple(json.loads(parameters)), kept, from_iso(next_at))


def _tick(row: tuple[object, ...]) -> Tick:
    columns: Mapping[str, object] = dict(zip(_TICK.split(", "), row, strict=True))
    until = columns["lease_until"]
    return Tick(
        str(columns["name"]),
        from_iso(str(columns["due_at"])),
        columns["status"],  # type: ignore[arg-type]  # only ever written as one of its words
        str(columns["holder"]),
        None if until is None else from_iso(str(until)),
        int(str(columns["attempts"])),
        int(str(columns["missed"])),
        str(columns["run_id"]),
        str(columns["error"]),
    )
