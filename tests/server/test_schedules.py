"""Schedules of one Postgres, run by the control servers over it, each a process of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from mainspring.errors import Corrupt
from mainspring.loop.housekeeping import Drill, drill
from mainspring.pipeline.schedules import CatchUp, add_schedule, list_schedules
from mainspring.pipeline.ticks import list_ticks
from mainspring.registry.models import create_model
from mainspring.store.opening import open_store
from mainspring.store.protocol import Store
from mainspring.workspace import Workspace

from .conftest import Server

_PIPELINE = """
import os, time
from pathlib import Path
import mainspring as ms

HERE = Path(__file__).parent

@ms.pipeline
def report() -> int:
    with (HERE / "ran.log").open("a") as log:
        log.write(f"{os.getpid()} {os.getppid()}\\n")
    while (HERE / "hold").exists():
        time.sleep(0.01)
    return 1
"""


class Fleet:
    """Two servers on one database, and the pipeline they run."""

    def __init__(self, folder: Path, address: str) -> None:
        self._folder = folder
        self.address = address
        self.store: Store = open_store(address)
        self.target = folder / "report.py"
        self.target.write_text(_PIPELINE)
        self.servers: list[Server] = []

    def start(self, count: int = 2) -> None:
        for number in range(count):
            home = self._folder / f"host{number}"
            files = str(self._folder / "files")
            self.servers.append(
                Server(home, MAINSPRING_STORE=self.address, MAINSPRING_ARTIFACTS=files, MAINSPRING_LEASE="2s")
            )

    def schedule(self, name: str, *, since: timedelta, catch_up: CatchUp = "latest") -> None:
        """Keep a daily schedule that was last looked at so long ago."""
        now = datetime.now(UTC)
        clock = now - timedelta(minutes=1)
        cron = f"{clock.minute} {clock.hour} * * *"
        add_schedule(self.store, name, cron, str(self.target), now=now - since, catch_up=catch_up)

    def ran(self) -> list[tuple[int, int]]:
        """Return the process and its parent of every time the pipeline began."""
        log = self._folder / "ran.log"
        pairs = log.read_text().splitlines() if log.exists() else []
        return [(int(each.split()[0]), int(each.split()[1])) for each in pairs]

    def stop(self) -> None:
        for each in self.servers:
            each.stop()
        self.store.close()


@pytest.fixture
def fleet(tmp_path: Path, postgres: Any) -> Iterator[Fleet]:
    made = Fleet(tmp_path, postgres.address(tmp_path))
    yield made
    made.stop()


def _wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_two_servers_run_a_due_schedule_once_and_catch_up_as_it_says(fleet: Fleet) -> None:
    fleet.schedule("latest", since=timedelta(days=3, hours=1))
    fleet.schedule("each", since=timedelta(days=3, hours=1), catch_up="all")
    fleet.start()
    _wait(lambda: [each.status for each in list_ticks(fleet.store)] == ["finished"] * 5)
    latest = list_ticks(fleet.store, "latest")
    assert [(each.missed, each.attempts) for each in latest] == [(3, 1)]
    assert [each.missed for each in list_ticks(fleet.store, "each")] == [0] * 4
    assert len(fleet.ran()) == 5
    assert not {parent for _, parent in fleet.ran()} - {each.pid for each in fleet.servers}, "each in its own process"
    assert not {process for process, _ in fleet.ran()} & {each.pid for each in fleet.servers}
    runs = fleet.servers[0].post("runs/search", experiment_ids=["1"]).json["runs"]
    assert {each.run_id for each in list_ticks(fleet.store)} == {each["info"]["run_id"] for each in runs}


def test_the_tick_of_a_killed_server_is_taken_over_by_the_other(fleet: Fleet) -> None:
    (hold := fleet.target.with_name("hold")).touch()
    fleet.schedule("nightly", since=timedelta(hours=2))
    fleet.start()
    _wait(fleet.ran)
    (told,) = _listed(fleet, "nightly")
    holder = int(told["at_work"]["holder"].rpartition(":")[2])
    (killed,) = (each for each in fleet.servers if each.pid == holder)
    killed.kill()
    fleet.servers.remove(killed)
    _wait(lambda: not psutil.pid_exists(fleet.ran()[0][0]))  # its child went with it
    _wait(lambda: len(fleet.ran()) == 2)
    hold.unlink()
    _wait(lambda: list_ticks(fleet.store)[0].status == "finished")
    (tick,) = list_ticks(fleet.store)
    assert tick.attempts == 2
    assert tick.holder.endswith(f":{fleet.servers[0].pid}")
    (told,) = _listed(fleet, "nightly")
    assert told["at_work"] is None
    assert told["last"]["run_id"] == tick.run_id
    assert told["next_at"] > datetime.now(UTC).isoformat()


def test_a_server_that_ends_in_order_gives_its_tick_back(fleet: Fleet) -> None:
    (hold := fleet.target.with_name("hold")).touch()
    fleet.schedule("nightly", since=timedelta(hours=2))
    fleet.start(1)
    _wait(fleet.ran)
    fleet.servers.pop().stop()
    assert [(each.status, each.attempts) for each in list_ticks(fleet.store)] == [("due", 0)]
    assert not psutil.pid_exists(fleet.ran()[0][0])
    hold.unlink()


def test_a_drill_on_postgres_proves_the_chain(tmp_path: Path, postgres: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_STORE", postgres.address(tmp_path))
    with Workspace(tmp_path / "home", actor="ada") as workspace:
        create_model(workspace.store, "m", actor="ada", at=workspace.clock.now())
        assert drill(workspace) == Drill(1, 0, {})
        postgres_events = workspace.store.read("SELECT verb FROM events ORDER BY number")
        assert postgres_events == [("model.created",), ("drill.passed",)]
        workspace.store.record(lambda t: t.execute("UPDATE events SET actor = 'eve' WHERE number = 1"))
        with pytest.raises(Corrupt, match="breaks at entry 1"):
            drill(workspace)


def test_a_server_leaves_what_it_has_no_file_for(fleet: Fleet) -> None:
    fleet.schedule("gone", since=timedelta(hours=2))
    fleet.schedule("here", since=timedelta(hours=2))
    fleet.store.record(lambda t: t.execute("UPDATE schedules SET target = '/nowhere/r.py' WHERE name = 'gone'"))
    fleet.start(1)
    _wait(lambda: [each.status for each in list_ticks(fleet.store)] == ["finished"])
    assert [each.schedule for each in list_ticks(fleet.store)] == ["here"]
    assert {each.name for each in list_schedules(fleet.store)} == {"gone", "here", "retention", "drill"}


def _listed(fleet: Fleet, name: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "mainspring", "schedule", "list", "--json"],
        env={**os.environ, "MAINSPRING_STORE": fleet.address, "MAINSPRING_HOME": str(fleet.target.parent / "asks")},
        capture_output=True,
        text=True,
        check=True,
    )
    return [each for each in json.loads(done.stdout) if each["name"] == name]
