"""The scheduler's own children: what becomes of them when the machine sleeps, and when they fail."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mainspring.domain.moments import SimulatedClock
from mainspring.pipeline.scheduler import Scheduler
from mainspring.pipeline.schedules import add_schedule
from mainspring.pipeline.ticks import list_ticks
from mainspring.workspace import Workspace

START = datetime(2024, 3, 1, tzinfo=UTC)
_PIPELINE = """
import time
from pathlib import Path
import mainspring as ms

HERE = Path(__file__).parent

@ms.pipeline
def slow() -> int:
    with (HERE / "ran.log").open("a") as log:
        log.write("ran\\n")
    while (HERE / "hold").exists():
        time.sleep(0.01)
    return 1

@ms.pipeline
def broken() -> int:
    return 1 // 0
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Workspace, SimulatedClock, Path]]:
    clock, file = SimulatedClock(START), tmp_path / "job.py"
    file.write_text(_PIPELINE)
    with Workspace(tmp_path / "home", clock=clock, actor="ada") as workspace:
        yield workspace, clock, file


def _wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_machine_that_slept_does_not_begin_again_what_it_is_still_at(
    site: tuple[Workspace, SimulatedClock, Path],
) -> None:
    workspace, clock, file = site
    (hold := file.with_name("hold")).touch()
    add_schedule(workspace.store, "slow", "0 * * * *", f"{file}:slow", now=START)
    clock.advance_to(START + timedelta(hours=1))
    scheduler = Scheduler(workspace.store, clock, workspace.home, lease=timedelta(seconds=3))
    scheduler.start(every_seconds=0.02)
    try:
        _wait(file.with_name("ran.log").exists)
        woken = START + timedelta(minutes=90)
        clock.advance_to(woken)  # the lease ran out in the sleep; both hands look before it is renewed
        _wait(lambda: (until := list_ticks(workspace.store)[0].lease_until) is not None and until > woken)
        hold.unlink()
        _wait(lambda: list_ticks(workspace.store)[0].status == "finished")
    finally:
        scheduler.stop()
    assert list_ticks(workspace.store)[0].attempts == 1
    assert file.with_name("ran.log").read_text() == "ran\n"


def test_the_reason_of_a_child_that_failed_is_kept(site: tuple[Workspace, SimulatedClock, Path]) -> None:
    workspace, clock, file = site
    for name in ("broken", "missing"):
        add_schedule(workspace.store, name, "0 * * * *", f"{file}:{name}", now=START)
    clock.advance_to(START + timedelta(hours=1))
    scheduler = Scheduler(workspace.store, clock, workspace.home)
    scheduler.start(every_seconds=0.02)
    try:
        _wait(lambda: [each.status for each in list_ticks(workspace.store)] == ["failed", "failed"])
    finally:
        scheduler.stop()
    said = {each.schedule: each.error for each in list_ticks(workspace.store)}
    assert "division" in said["broken"]
    assert "no loop or pipeline `missing`" in said["missing"]
