"""The life: train on January to March, serve, and live through the year day by day until the loop has closed.

Each day its flights are sent as requests over HTTP, yesterday's outcomes are told as labels, and the loop looks once.
What was done is read from the workspace and never from memory, so a demo that is killed goes on where it stopped: a
request that was answered before is not sent again, and an answer that was acknowledged is in the log.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mainspring.demo.plant import COLLEAGUE, plant
from mainspring.demo.traffic import Request, Traffic, read_traffic
from mainspring.domain.moments import WrittenClock
from mainspring.errors import Refused, Unavailable
from mainspring.loop.definition import Loop
from mainspring.monitor.incidents import list_incidents
from mainspring.registry.approvals import approve, list_approvals, missing_approvals
from mainspring.registry.versions import find_champion, list_versions
from mainspring.serve.client import PredictionClient
from mainspring.serve.process import ServerProcess
from mainspring.serve.routes import read_routes
from mainspring.workspace import Workspace

__all__ = ["FIRST_DAY", "REVIEWER", "Day", "Life", "first_version", "live"]

FIRST_DAY = datetime(2013, 4, 1, tzinfo=UTC)
#: The person the demo plays, who looks at a version's gates and agrees.
REVIEWER = "demo-reviewer"
_ROUTES_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Day:
    """What is told of a day that was lived."""

    day: datetime
    requests: int
    rows: int
    actions: tuple[str, ...]


@dataclass
class Life:
    """One demo under way. `user` holds the names of the user's loop file, among them `loop` and `flights`.

    `acknowledged`, a file, gets a line for every answer after it came; tests compare it with the log.
    """

    loop: Loop
    user: dict[str, Any]
    workspace: Workspace
    clock: WrittenClock
    data: Path
    traffic: Traffic
    client: PredictionClient
    acknowledged: Path | None = None

    def day(self, day: datetime) -> Day:
        """Live one day: requests, labels, one look of the loop, approvals, and what else comes to pass."""
        requests = rows = 0
        done = self.workspace.log.answered(self.loop.name, since=day, until=day + timedelta(days=1))
        for request in self.traffic.of_day(day):
            self.clock.advance_to(request.at)
            if request.request_id not in done:
                self.ask(request)
            requests, rows = requests + 1, rows + len(request.rows)
        evening = day + timedelta(hours=24) - timedelta(minutes=30)
        self.clock.advance_to(evening)
        self.tell_outcomes(day - timedelta(days=1), evening)
        self.clock.advance_to(day + timedelta(days=1))
        actions = self.look()
        actions += self.review()
        actions += self.come_to_pass()
        self._await_routes()
        return Day(day, requests, rows, tuple(actions))

    def look(self) -> list[str]:
        """Let the loop look once and say what it did."""
        return [action.text for action in self.loop.tick(self.workspace)]

    def come_to_pass(self) -> list[str]:
        """Plant the mistake once the first incident is over; say what happened."""
        if not self._first_incident_is_over() or self._is_planted():
            return []
        reference = plant(self.loop, self.workspace, self.user, self.data, self.clock.now())
        return [f"{COLLEAGUE} submitted {reference}, which has learnt its own exam", *self.review()]

    def ask(self, request: Request) -> None:
        """Send a request and note that its answer came."""
        answer = self.client.predict(self.loop.name, request.rows, at=request.at, request_id=request.request_id)
        if self.acknowledged is not None:
            with self.acknowledged.open("a") as lines:
                lines.write(f"{request.request_id} {' '.join(each.id for each in answer.predictions)}\n")

    def tell_outcomes(self, day: datetime, evening: datetime) -> None:
        """Tell the outcomes of a day's flights, as they are known the evening after."""
        self.workspace.seal()
        answered = self.workspace.log.answered(self.loop.name, since=day, until=day + timedelta(days=1))
        labels = [
            (identifier, outcome)
            for request in self.traffic.of_day(day)
            for identifier, outcome in zip(answered.get(request.request_id, []), request.outcomes, strict=False)
        ]
        if labels:
            self.client.feedback(self.loop.name, labels, at=evening, source="arrivals")

    def review(self) -> list[str]:
        """Approve, as a person would, the newest version that passed its gates and waits for it."""
        store, said = self.workspace.store, []
        for version in list_versions(store, self.loop.name)[:1]:
            waits = missing_approvals(self.loop.approve, list_approvals(store, version))
            if version.status == "ready" and waits and self.loop.approve.role is not None:
                approve(
                    store,
                    version,
                    approver=REVIEWER,
                    role=self.loop.approve.role,
                    comment="read the gates and the slices",
                    at=self.clock.now(),
                )
                said.append(f"{REVIEWER} approved {version.reference}")
                said += [action.text for action in self.loop.start_waiting(self.workspace)]
        return said

    def _first_incident_is_over(self) -> bool:
        found = [each for each in list_incidents(self.workspace.store, model=self.loop.name) if each.rule == "quality"]
        return bool(found) and not found[-1].is_open

    def _is_planted(self) -> bool:
        # one that was registered and not yet asked by its gates was cut short: it is planted again
        versions = list_versions(self.workspace.store, self.loop.name)
        return any(each.created_by == COLLEAGUE and each.status != "candidate" for each in versions)

    def _await_routes(self) -> None:
        """Wait until the server follows the newest routes, so that the next day is answered as was decided."""
        wanted = read_routes(self.workspace.endpoints / f"{self.loop.name}.json").revision
        deadline = time.monotonic() + _ROUTES_SECONDS
        while self.client.metadata(self.loop.name)["serving"]["revision"] != wanted:
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"The server does not follow revision {wanted} of the routes", next_step="see its log"
                )
            time.sleep(0.02)


def is_closed(workspace: Workspace, model: str) -> bool:
    """Whether the loop has closed: decay answered, the mistake rolled back, every incident resolved."""
    incidents = list_incidents(workspace.store, model=model)
    rules = {each.rule for each in incidents}
    return rules >= {"quality", "canary"} and not any(each.is_open for each in incidents)


def live(
    user: dict[str, Any],
    home: Path,
    *,
    fast: bool,
    until: datetime | None,
    acknowledged: Path | None,
    say: Callable[[str], None],
    tell: Callable[[Day, Workspace], None],
) -> bool:
    """Live from the first day, or from where a killed demo stopped, until the loop has closed; return whether it did.

    With `until` it goes on to that day even when the loop closes before. `say` is told of the stages before the first
    day, `tell` of every day.
    """
    loop: Loop = user["loop"]
    os.chdir(home)
    data = Path("data")
    clock = WrittenClock(home / ".mainspring" / "clock")
    clock.path.parent.mkdir(exist_ok=True)
    clock.advance_to(FIRST_DAY)
    with Workspace(home / ".mainspring", clock=clock) as workspace:
        if until is None and is_closed(workspace, loop.name):
            return True
        first_version(loop, workspace, data, say)
        say("reading the year's flights as requests")
        # a sixth of the flights in as few requests: an hour would hold five rows
        traffic = read_traffic(user["flights"], data, FIRST_DAY, hours=4 if fast else 1)
        workspace.seal()
        with ServerProcess.start(workspace.endpoints, workspace.journals, clock=clock.path) as server:
            say(f"serving at {server.url}")
            with PredictionClient(server.url) as client:
                life = Life(loop, user, workspace, clock, data, traffic, client, acknowledged)
                last = workspace.log.last_at(loop.name)
                for day in traffic.days:
                    if last is not None and day.date() < last.date():
                        continue
                    if until is not None and day > until:
                        break
                    tell(life.day(day), workspace)
                    if until is None and is_closed(workspace, loop.name):
                        break
                return is_closed(workspace, loop.name)


def first_version(loop: Loop, workspace: Workspace, data: Path, say: Callable[[str], None]) -> None:
    """Train on what was known on the first day, unless a version serves already."""
    if find_champion(workspace.store, loop.name) is None:
        say("training on January to March")
        done = loop.run(workspace, folder=data)
        refused = [gate for gate in done.gates if not gate.passed]
        if refused:
            raise Refused(f"The first version was refused by {refused[0].gate}: {refused[0].reason}")
        role = loop.approve.role or ""
        approve(
            workspace.store,
            done.version,
            approver=REVIEWER,
            role=role,
            comment="first version",
            at=workspace.clock.now(),
        )
        loop.start_waiting(workspace)
    workspace.publish(loop.name)
