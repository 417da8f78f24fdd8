"""The faults that are planted, each with the hand that plants it and the people who answer what the product says."""

import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from planted.candidates import spoilt_candidate
from planted.year import Asked, Fault, Found

from mainspring.demo.plant import plant
from mainspring.deploy.rollout import list_deployments
from mainspring.domain.moments import from_iso
from mainspring.errors import Unavailable
from mainspring.loop.inputs import keep_inputs
from mainspring.monitor.incidents import find_incident, list_incidents
from mainspring.registry.evidence import gate_results
from mainspring.registry.versions import find_version
from mainspring.tracking.runs import list_runs

__all__ = ["FAULTS"]


def _day(month: int, day: int) -> datetime:
    return datetime(2013, month, day, tzinfo=UTC)


class _BrokenInput(Fault):
    """A sender that sends a column wrongly until somebody reads of it in an incident and mends it, a day later."""

    truth = "data"

    def evening(self, year):
        now = year.clock.now()
        if self.over_at is not None:
            return []
        opened = [each.opened_at for each in list_incidents(year.workspace.store, model=year.loop.name, only_open=True)]
        if any(datetime.fromisoformat(at) >= self.begins for at in opened) or now >= self.begins + timedelta(days=60):
            self.over_at = now + timedelta(days=1)
        return []

    def is_under_way(self, at):
        return at >= self.begins and (self.over_at is None or at < self.over_at)


class Units(_BrokenInput):
    begins = _day(9, 10)
    name, clue = "units", "pressure"
    what = "`pressure` comes in inches of mercury instead of millibars"

    def spoil(self, row):
        return row if row["pressure"] is None else {**row, "pressure": row["pressure"] * 0.02953}


class Renamed(_BrokenInput):
    begins = _day(10, 8)
    name, clue = "renamed", "carrier"
    what = "the carrier code UA comes as UAL"

    def spoil(self, row):
        return {**row, "carrier": "UAL"} if row["carrier"] == "UA" else row


class Labels(Fault):
    begins = _day(5, 6)
    name, truth, clue = "labels", "data", "labels stopped coming"
    what = "the labels of three weeks are held back, and told then"
    lasts_days = 30

    def holds_labels(self, day):
        return day < self.begins + timedelta(days=21)

    def touches(self, row, sent, answer):
        return True

    def evening(self, year):
        if year.clock.now() >= self.begins + timedelta(days=23):
            self.over_at = year.clock.now()
        return []


class Duplicates(Fault):
    begins = _day(4, 22)
    lead_days, lasts_days = 3, 12
    name, truth, clue = "duplicates", "infrastructure", "more than once"
    what = "each request is sent three times for a week, and one a hundred times"

    def send(self, year, request, rows):
        is_worst = request.at == self.begins + timedelta(days=2, hours=17)
        for _ in range(99 if is_worst else 2):
            year.send(request, rows)
        return year.send(request, rows)

    def touches(self, row, sent, answer):
        return True

    def evening(self, year):
        if year.clock.now() >= self.begins + timedelta(days=7):
            self.over_at = year.clock.now()
        return []


class _Candidate(Fault):
    """A bad version that somebody submits on the first evening."""

    reference = ""
    truth, lead_days, lasts_days = "model", 7, 21

    def submit(self, year) -> str:
        raise NotImplementedError

    def touches(self, row, sent, answer):
        return self.reference.endswith(f"/{answer.version}")

    def evening(self, year):
        done = []
        if not self.reference:
            self.reference, self.struck_at = self.submit(year), year.clock.now()
            done = [f"a colleague submitted {self.reference}", *year.review()]
        version = find_version(year.workspace.store, self.reference)
        ended = [
            each for each in list_deployments(year.workspace.store, year.loop.name) if each.version == version.version
        ]
        if version.status == "refused" or (ended and ended[0].status not in ("canary", "live")):
            self.over_at = year.clock.now()
        return done


class BadOnline(_Candidate):
    begins = _day(8, 5)
    name, clue = "bad online", "live traffic"
    what = "a candidate that has learnt its own exam: good in every test, bad on new rows"

    def submit(self, year):
        return plant(year.loop, year.workspace, year.user, year.data, year.clock.now())


class BadSlice(_Candidate):
    begins = _day(8, 26)
    name, clue = "bad slice", "carrier=VX"
    what = "a candidate as good as the champion, but on the flights of VX: it was taught that most of them are late"

    def submit(self, year):
        kept = keep_inputs(year.workspace, year.loop.name, {"folder": year.data})
        candidate = spoilt_candidate(year, "VX")
        return year.loop.submit(year.workspace, candidate, author="careless-colleague", data=kept)[0].reference

    def found(self, year):
        results = gate_results(year.workspace.store, find_version(year.workspace.store, self.reference))
        refused = [each for each in results if not each.passed]
        if not refused:
            return super().found(year)
        reason = "; ".join(f"{each.gate}: {each.reason}" for each in refused)
        title = f"{self.reference} was refused by {' and '.join(each.gate for each in refused)}"
        return Found(self.struck_at, title, self.truth, reason, "refused; it never answered a request")


class KilledRetraining(Fault):
    """`mainspring up` is killed when it retrains for the first time, and started again."""

    begins = _day(6, 26)
    name, truth, clue = "killed", "infrastructure", "cut short"
    what = "`mainspring up` is killed with SIGKILL in the midst of its first retraining"
    lead_days, lasts_days = 86, 30

    def look(self, year):
        while self.struck_at is None and not year.up.is_settled():
            if any(each.status == "running" for each in list_runs(year.workspace.store, limit=1)):
                time.sleep(1.0)  # in the midst: the run has begun, and a step of it is under way
                year.up.kill()
                self.struck_at = year.clock.now()
                year.start_again()
                return [*year.await_look(), "mainspring up was killed while it retrained"]
            time.sleep(0.02)
        return year.await_look()

    def evening(self, year):
        found = self.found(year)
        if found is not None and found.done.startswith("retrained"):
            self.over_at = year.clock.now()
        return []

    def incidents(self, year):
        return []  # the decay that it retrained for was not planted

    def found(self, year):
        for each in list_incidents(year.workspace.store, model=year.loop.name):
            timeline = find_incident(year.workspace.store, each.incident_id).timeline
            for place, entry in enumerate(timeline):
                if self.clue in entry.what:
                    done = next((after for after in timeline[place:] if after.what == "retrained"), None)
                    told = "not tried again" if done is None else f"retrained on {done.at[5:10]}"
                    reason = f"{entry.what}: {entry.text}"
                    return Found(from_iso(entry.at), each.title, entry.evidence["suspect"], reason, told)
        return None


class DiskFull(Fault):
    """The journals lie on a small file system of their own, which is filled to its last byte for a while."""

    begins = _day(6, 5)
    name, truth, clue = "disk full", "infrastructure", "No space left"
    what = "the disk of the prediction log is full for a minute: requests are tried five times, then space is made"
    lasts_days = 5

    def send(self, year, request, rows):
        if request.at < self.begins + timedelta(hours=15) or self.touched:
            return year.send(request, rows)
        with year.full_disk(year.up.server):
            for _ in range(5):
                with suppress(Unavailable):
                    year.send(request, rows)
                    raise AssertionError("a request was answered though the disk was full")
                self.asked.append(Asked(request.at, 0, refused=len(rows)))
        return year.send(request, rows)

    def touches(self, row, sent, answer):
        return False

    def evening(self, year):
        if self.touched:
            self.over_at = self.touched[0].at + timedelta(minutes=1)
        return []


FAULTS = (Duplicates, Labels, DiskFull, KilledRetraining, BadOnline, BadSlice, Units, Renamed)
