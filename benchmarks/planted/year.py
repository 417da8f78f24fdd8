"""A year of real flights under `mainspring up` with faults planted in it: the demo's life, with a hand on the requests
and labels, where the product itself looks when the day is over.

What is answered wrongly because of a fault is known exactly: the champion of that moment also scores the rows as they
should have been sent, and a row counts as wrong when its answer is and the champion's own would have been right.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
from planted.up import Up

from mainspring.demo.life import Life
from mainspring.domain.moments import from_iso
from mainspring.errors import MainspringError
from mainspring.evaluate.measure import predict_labels
from mainspring.monitor.incidents import find_incident, list_incidents
from mainspring.monitor.quality import baseline_of
from mainspring.monitor.risk import limit_of
from mainspring.registry.versions import find_champion
from mainspring.serve.client import PredictionClient

__all__ = ["Asked", "Fault", "Found", "Year"]

#: Labels that a server takes at once.
MOST_LABELS = 10_000


@dataclass(frozen=True)
class Asked:
    """One request of a fault's time: rows that the fault touched, answers that it made wrong, rows it left without."""

    at: datetime
    touched: int
    wrong: int = 0
    refused: int = 0


@dataclass(frozen=True)
class Found:
    """What the product made of a fault: when, under which title, the cause it told, and what it did."""

    at: datetime
    title: str
    suspect: str
    reason: str
    done: str


class Fault:
    """Something planted. Subclasses say what it does to the rows, to the requests, to the labels or to a look.

    `truth` is the cause that the diagnosis should name, `clue` a word that it should say. A run with this fault alone
    begins `lead_days` before it and ends `lasts_days` after. `over_at` is when the fault was gone.
    """

    begins: datetime
    name = what = truth = clue = ""
    lead_days, lasts_days = 21, 24

    def __init__(self) -> None:
        self.over_at: datetime | None = None
        self.struck_at: datetime | None = None
        self.asked: list[Asked] = []

    @property
    def first_at(self) -> datetime | None:
        """When the first request was touched; of a fault that touches none, when it struck."""
        return self.touched[0].at if self.touched else self.struck_at

    @property
    def touched(self) -> list[Asked]:
        """The requests that the fault touched."""
        return [each for each in self.asked if each.touched or each.refused]

    def found(self, year: "Year") -> Found | None:
        """Return what the product made of this fault: the first incident that was opened while it lasted."""
        incidents = self.incidents(year)
        if not incidents:
            return None
        first = incidents[0]
        done = "; ".join(f"{each.at[5:10]} {each.what}" for each in first.timeline[1:])
        title = f"{first.title} (rule {first.rule}, {first.severity})"
        suspect, reason = (str(first.diagnosis.get(name)) for name in ("suspect", "reason"))
        return Found(from_iso(first.opened_at), title, suspect, reason, done)

    def incidents(self, year: "Year") -> list:
        """Return the incidents that were opened while it lasted, and shortly after, with their timelines."""
        store, (first, last) = year.workspace.store, self.span(year)
        found = list_incidents(store, model=year.loop.name)
        return [
            find_incident(store, each.incident_id)
            for each in reversed(found)
            if first <= from_iso(each.opened_at) <= last
        ]

    def span(self, year: "Year") -> tuple[datetime, datetime]:
        """Return from when to when what happens may be this fault's doing: what it leaves is seen by later looks."""
        return self.begins, (self.over_at or year.clock.now()) + timedelta(days=4)

    def is_under_way(self, at: datetime) -> bool:
        """Whether the fault is there at a moment."""
        return at >= self.begins and self.over_at is None

    def spoil(self, row: dict) -> dict:
        """Return a row as the faulty sender sends it."""
        return row

    def send(self, year: "Year", request, rows: list[dict]):
        """Send a request and return the answer that its sender goes by."""
        return year.send(request, rows)

    def touches(self, row: dict, sent: dict, answer) -> bool:
        """Whether a row was touched: it was sent otherwise than it should have been."""
        return row != sent

    def holds_labels(self, day: datetime) -> bool:
        """Whether the labels of a day are kept back."""
        return False

    def look(self, year: "Year") -> list[str]:
        """Wait until the product has looked; say what it did."""
        return year.await_look()

    def evening(self, year: "Year") -> list[str]:
        """Do what the fault does in the evening, and what people do about it; say what happened."""
        return []


@dataclass
class Year(Life):
    """The demo's life with `faults`, one at a time."""

    up: Up = field(kw_only=True)
    full_disk: Callable[[int], AbstractContextManager[None]] = field(kw_only=True)
    faults: Sequence[Fault] = ()
    losses: dict[str, list[float]] = field(default_factory=dict)
    _held: list[tuple[str, str]] = field(default_factory=list)

    @property
    def fault(self) -> Fault | None:
        """The fault that is under way."""
        now = self.clock.now()
        return next((each for each in self.faults if each.is_under_way(now)), None)

    def ask(self, request) -> None:
        """Send a request as the fault of the moment lets it be sent, and note what came of it."""
        self.up.settle()  # the housekeeping of the night
        fault = self.fault
        if fault is None:
            self._note(request, self.send(request, request.rows))
            return
        rows = [fault.spoil(row) for row in request.rows]
        try:
            answer = fault.send(self, request, rows)
        except MainspringError:
            fault.asked.append(Asked(request.at, 0, refused=len(rows)))
            return
        self._note(request, answer)
        touched = sum(fault.touches(row, sent, answer) for row, sent in zip(request.rows, rows, strict=True))
        fault.asked.append(Asked(request.at, touched, self._wrong(request, answer)))

    def send(self, request, rows):
        """Send rows in the place of a request's own."""
        return self.client.predict(self.loop.name, rows, at=request.at, request_id=request.request_id)

    def look(self) -> list[str]:
        """Let the product look, as the fault of the moment lets it."""
        return self.await_look() if self.fault is None else self.fault.look(self)

    def await_look(self) -> list[str]:
        """Wait until the product has looked; say what it did."""
        self.up.settle()
        return self.up.said()

    def start_again(self) -> None:
        """Start the product after a kill, and ask the server that it starts from now on; its tick comes free soon."""
        self.up.start()
        self.client.close()
        self.client = PredictionClient(self.up.url)

    def come_to_pass(self) -> list[str]:
        """Let the fault of the moment go on."""
        return [] if self.fault is None else self.fault.evening(self)

    def tell_outcomes(self, day: datetime, evening: datetime) -> None:
        """Tell the outcomes of a day, unless they are held back; what was held back is told with the next ones."""
        self.workspace.seal()
        answered = self.workspace.log.answered(self.loop.name, since=day, until=day + timedelta(days=1))
        for request in self.traffic.of_day(day):
            ids = answered.get(request.request_id, [])
            # who sent a request twice finds both answers by its id
            self._held += [(each, request.outcomes[place % len(request.rows)]) for place, each in enumerate(ids)]
        if self.fault is not None and self.fault.holds_labels(day):
            return
        for start in range(0, len(self._held), MOST_LABELS):
            some = self._held[start : start + MOST_LABELS]
            self.client.feedback(self.loop.name, some, at=evening, source="arrivals")
        self._held.clear()

    def _note(self, request, answer) -> None:
        champion = find_champion(self.workspace.store, self.loop.name)
        scores = np.array([each.score for each in answer.predictions])
        truth = np.array([int(each) for each in request.outcomes])
        kept = self.losses.setdefault(f"{request.at:%G-W%V}", [0.0, 0.0, 0.0])
        base = baseline_of(champion)
        kept[0] += float(((scores - truth) ** 2).sum())
        kept[1] += len(truth)
        kept[2] = limit_of(base, self.loop.monitor.tolerance)

    def _wrong(self, request, answer) -> int:
        """Return how many answers are wrong where the champion's own, of rows as they should be, would be right."""
        champion = find_champion(self.workspace.store, self.loop.name)
        columns = {
            name: np.array([row[name] for row in request.rows], dtype=object if _is_text(request.rows, name) else float)
            for name in request.rows[0]
        }
        healthy = self.workspace.predictor(champion).predict(columns)
        threshold = champion.evidence["threshold"]
        labels = np.array([int(each.label) for each in answer.predictions])
        truth = np.array([int(each) for each in request.outcomes])
        return int(((labels != truth) & (predict_labels(healthy, threshold) == truth)).sum())


def _is_text(rows: list[dict], name: str) -> bool:
    return any(isinstance(row[name], str) for row in rows)
