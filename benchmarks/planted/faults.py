"""The faults that are planted, each with the hand that plants it and the people who answer what the product says."""

from datetime import UTC, datetime, timedelta

from planted.year import Fault

from mainspring.demo.plant import plant
from mainspring.deploy.rollout import list_deployments
from mainspring.monitor.incidents import list_incidents
from mainspring.registry.versions import find_version

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
    name, truth, clue = "labels", "labels", "label"
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
        if not self.reference:
            self.reference = self.submit(year)
            return [f"a colleague submitted {self.reference}", *year.review()]
        version = find_version(year.workspace.store, self.reference)
        ended = [
            each for each in list_deployments(year.workspace.store, year.loop.name) if each.version == version.version
        ]
        if version.status == "refused" or (ended and ended[0].status not in ("canary", "live")):
            self.over_at = year.clock.now()
        return []


class BadOnline(_Candidate):
    begins = _day(8, 5)
    name, clue = "bad online", "live traffic"
    what = "a candidate that has learnt its own exam: good in every test, bad on new rows"

    def submit(self, year):
        return plant(year.loop, year.workspace, year.user, year.data, year.clock.now())


FAULTS = (Duplicates, Labels, BadOnline, Units, Renamed)
