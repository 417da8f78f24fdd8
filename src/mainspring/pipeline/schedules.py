"""Schedules: what runs by the clock, kept in the store. What has come due is claimed in `ticks`; owner of `schedules`.

What a schedule does is its duty. A run and a look name a user's file; the rest is housekeeping, which every store
begins with and which a user may remove or move to another hour.
"""

import contextlib
import json
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from mainspring.domain.moments import from_iso, to_iso
from mainspring.errors import Conflict, NotFound, nearest
from mainspring.pipeline.timetable import moments_after
from mainspring.store.events import Event, events
from mainspring.store.protocol import Row, Store, Transaction

__all__ = [
    "CatchUp", "Duty", "Schedule", "add_schedule", "find_schedule", "keep_house", "keep_looking", "list_schedules",
    "read_schedules", "remove_schedule", "split_target",
]  # fmt: skip

CatchUp = Literal["latest", "all"]
#: What a tick does: run a pipeline or loop; let a loop look at production; forget what was kept for long enough; prove
#: that what is kept could be restored.
Duty = Literal["run", "look", "retention", "drill"]

#: What every store begins with, at hours when little else is done: name, which is its duty, and cron expression.
_HOUSE: dict[Duty, str] = {"retention": "17 3 * * *", "drill": "41 4 * * 0"}
_COLUMNS = "name, cron, timezone, target, parameters, catch_up, next_at, duty"


@dataclass(frozen=True, slots=True)
class Schedule:
    """What runs by the clock. `target` is ``FILE[:NAME]``, empty for housekeeping; `next_at` the next tick."""

    name: str
    cron: str
    timezone: str
    target: str
    parameters: tuple[str, ...]
    catch_up: CatchUp
    next_at: datetime
    duty: Duty = "run"

    @property
    def is_here(self) -> bool:
        """Whether this machine has what the schedule runs: of many servers, not each has each user's files."""
        return not self.target or split_target(self.target)[0].is_file()


def split_target(target: str) -> tuple[Path, str]:
    """Split ``FILE[:NAME]`` into the file and the name (empty when none is given)."""
    file, _, name = target.partition(":")
    return Path(file), name


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
    duty: Duty = "run",
) -> Schedule:
    """Keep a schedule; its first tick is the first behind `now` that `cron` names: five fields, or ``every 10m``.

    Raises:
        Invalid: the expression or the time zone cannot be read, or the expression names no moment.
        Conflict: there is a schedule of that name.
    """
    made = Schedule(name, cron, timezone, target, parameters, catch_up, next(moments_after(cron, timezone, now)), duty)

    def write(transaction: Transaction) -> None:
        if transaction.execute("SELECT 1 FROM schedules WHERE name = ?", (name,)):
            raise Conflict(
                f"There is a schedule `{name}` already",
                next_step=f"mainspring schedule remove {name}, or take another name",
            )
        _insert(transaction, made, now)

    store.change(_added(made), write)
    return made


def keep_looking(store: Store, name: str, every: str, target: str, *, now: datetime) -> Schedule:
    """Let the loop of `target` look at production now and then `every` so long; one that is kept already is changed."""
    made = Schedule(name, f"every {every}", "UTC", target, (), "latest", now, "look")
    next(moments_after(made.cron, made.timezone, now))  # raises where it cannot be read

    def write(transaction: Transaction) -> None:
        transaction.execute("DELETE FROM schedules WHERE name = ?", (name,))
        _insert(transaction, made, now)

    standing = {each.name: each for each in list_schedules(store)}.get(name)
    if standing is not None and replace(standing, next_at=now) == made:
        store.record(write)  # started again: nothing is new but the next look
    else:
        store.change(_added(made), write)
    return made


def keep_house(store: Store, now: datetime) -> None:
    """Add the housekeeping that was never added; what somebody removed stays removed."""
    known = {each.subject for each in events(store, verb="schedule.added")}
    for duty, cron in _HOUSE.items():
        if duty not in known:
            with contextlib.suppress(Conflict):  # another server was first
                add_schedule(store, duty, cron, "", now=now, duty=duty)


def remove_schedule(store: Store, name: str) -> None:
    """Drop a schedule and its ticks; a tick that runs is not stopped.

    Raises:
        NotFound: there is no such schedule.
    """

    def write(transaction: Transaction) -> None:
        if not transaction.execute("DELETE FROM schedules WHERE name = ? RETURNING name", (name,)):
            raise _unknown(name, transaction.execute("SELECT name FROM schedules"))
        transaction.execute("DELETE FROM schedule_ticks WHERE name = ?", (name,))

    store.change(Event("schedule.removed", name), write)


def list_schedules(store: Store) -> list[Schedule]:
    """Return every schedule, the next to run first."""
    return sorted(store.snapshot(read_schedules), key=lambda each: (each.next_at, each.name))


def find_schedule(store: Store, name: str) -> Schedule:
    """Return a schedule by its name.

    Raises:
        NotFound: there is no such schedule.
    """
    known = list_schedules(store)
    for each in known:
        if each.name == name:
            return each
    raise _unknown(name, [(each.name,) for each in known])


def read_schedules(transaction: Transaction) -> list[Schedule]:
    """Return every schedule, as a transaction sees them."""
    found = []
    for *texts, next_at, duty in transaction.execute(f"SELECT {_COLUMNS} FROM schedules"):
        name, cron, timezone, target, parameters, catch_up = texts
        found.append(
            Schedule(name, cron, timezone, target, tuple(json.loads(parameters)), catch_up, from_iso(next_at), duty)
        )
    return found


def _insert(transaction: Transaction, made: Schedule, now: datetime) -> None:
    transaction.execute(
        f"INSERT INTO schedules ({_COLUMNS}, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            made.name, made.cron, made.timezone, made.target, json.dumps(made.parameters), made.catch_up,
            to_iso(made.next_at), made.duty, to_iso(now),
        ),
    )  # fmt: skip


def _added(made: Schedule) -> Event:
    details = {"cron": made.cron, "target": made.target, "timezone": made.timezone, "duty": made.duty}
    return Event("schedule.added", made.name, details)


def _unknown(name: str, known: list[Row]) -> NotFound:
    return NotFound(f"There is no schedule `{name}`", next_step=nearest(name, [str(row[0]) for row in known]))
