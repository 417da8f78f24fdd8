"""Served features are computed again; what differs is told, and whether it was late or wrong."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mainspring.domain.moments import SimulatedClock, to_iso
from mainspring.domain.signature import Column, Signature
from mainspring.errors import NotFound
from mainspring.features import FeatureView
from mainspring.features.materializing import materialize
from mainspring.features.online import FeatureReader, OnlineStore
from mainspring.features.opening import open_online
from mainspring.features.skew import SkewReport, check_skew
from mainspring.predictions.journal import JournalWriter
from mainspring.predictions.log import PredictionLog
from mainspring.predictions.records import BatchRecord, FeatureLookup, encode_record
from mainspring.predictions.segments import seal
from mainspring.serve.lookup import ServedViews
from mainspring.store.opening import open_store

START = datetime(2026, 1, 1, tzinfo=UTC)
SIGNATURE = Signature(
    (Column("fare", "number", nullable=True), Column("mean", "number", nullable=True),
     Column("dear", "number", nullable=True), Column("word", "string", nullable=True),
     Column("seen", "timestamp", nullable=True), Column("n", "number", nullable=True)),
    "y", "regression",
)  # fmt: skip
BIG = 9007199254740993  # no float64 is this number


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


class Shop:
    """A source, a view, an online store and a log, with a clock that is moved by hand."""

    def __init__(self, folder: Path, **words: Any) -> None:
        self.folder, self.source = folder, folder / "trips.csv"
        self.rows: list[tuple[int, float, float]] = []
        features = {"fare": "f", "mean": "avg(f) OVER day", "dear": "f > 5", "word": "'w' || CAST(f AS INTEGER)",
                    "seen": '"at"', "n": "count(*) OVER history"}  # fmt: skip
        said = {"keys": "id", "time": "at", "windows": {"day": "1d"}, "features": features, **words}
        self.view = FeatureView("stats", source=self.source, **said)
        self.online: OnlineStore = open_online(str(folder / "online"))
        self.clock = SimulatedClock(START)
        self.store = open_store(f"sqlite:///{folder / 'store.sqlite'}")

    def write(self, *rows: tuple[int, float, float]) -> None:
        self.rows += rows
        lines = [f"{key},{at(hours):%Y-%m-%d %H:%M:%S},{fare}" for key, hours, fare in self.rows]
        self.source.write_text("\n".join(["id,at,f", *lines, ""]))

    def materialize(self, hours: float) -> None:
        materialize(self.view, self.source, self.online, until=at(hours), now=at(hours))

    def ask(self, hours: float, *keys: int, redact: bool = False) -> None:
        """Do what the server does with a request, at a moment."""
        self.clock.advance_to(at(hours))
        lookup = ServedViews([FeatureReader(self.online, "stats", self.view.version)], self.clock).lookup_for(SIGNATURE)
        assert lookup is not None
        rows, lookups = lookup.fill([{"id": key} for key in keys])
        if redact:
            lookups = [{name: _without_keys(each) for name, each in row.items()} for row in lookups]
        record = BatchRecord(
            model="m", version=1, route="champion", received_at=to_iso(at(hours)), rows=[len(keys)], event_at=[None],
            request_ids=[None], trace_ids=[None], latency_ms=[1.0], warnings=[0],
            ids=[f"{hours:06.2f}-{key}" for key in keys],
            columns={name: [row.get(name) for row in rows] for name in SIGNATURE.names},
            scores=[0.0] * len(keys), lookups=lookups,
        )  # fmt: skip
        with JournalWriter(self.folder / "journals", name="p") as journal:
            journal.append(encode_record(record))

    def check(self, **words: Any) -> SkewReport:
        segments = self.folder / "segments"
        seal(self.store, self.folder / "journals", segments, lambda model, version: SIGNATURE, at=self.clock.now())
        log = PredictionLog(self.store, segments)
        return check_skew(log, "m", self.online, since=START, until=at(9999), **words)


def _without_keys(lookup: Any) -> Any:
    return type(lookup)(version=lookup.version, keys={}, until=lookup.until, at=lookup.at)


@pytest.fixture
def shop(tmp_path: Path) -> Any:
    made: list[Shop] = []

    def make(**words: Any) -> Shop:
        made.append(Shop(tmp_path, **words))
        return made[-1]

    yield make
    for each in made:
        each.online.close()
        each.store.close()


def told(report: SkewReport) -> list[tuple[str, str, str, object, object]]:
    return [(each.kind, each.prediction_id, each.feature, each.served, each.computed) for each in report.found]


def test_what_was_served_right_passes(shop: Callable[..., Shop]) -> None:
    one = shop(delay="1h", ttl="50h")
    one.write((1, 1, 0.1), (1, 2, 0.2), (2, 2, 7), (BIG, 1, 4), (1, 20, 9))
    one.materialize(4)
    one.ask(4.5, 1, 2, 3, BIG)
    one.materialize(22)
    one.ask(22.5, 1, 2)
    one.ask(60, 1, 2, BIG)
    report = one.check()
    assert report == SkewReport(9, 54, 0, [])
    log = PredictionLog(one.store, one.folder / "segments")
    (looked_up,) = log.find(f"022.50-{1}").lookups.items()
    assert looked_up[0] == "stats"
    assert looked_up[1] == FeatureLookup(
        version=one.view.version, keys={"id": 1}, until=to_iso(at(22)), at=to_iso(at(22.5))
    )


def test_a_store_that_was_behind_is_stale_and_a_past_that_changed_is_skewed(shop: Callable[..., Shop]) -> None:
    one = shop(features={"fare": "f", "word": "'w' || CAST(f AS INTEGER)"})
    one.write((1, 1, 3), (1, 5, 4), (2, 1, 8))
    one.materialize(2)
    one.ask(4, 1, 2)
    one.ask(6, 1, 2)
    assert told(one.check()) == [
        ("stale", "006.00-1", "fare", 3.0, 4.0),
        ("stale", "006.00-1", "word", "w3", "w4"),
    ]
    assert one.check().skewed == []
    one.write((2, 0.5, 1), (2, 1.5, 9))  # came late: the first changes nothing, the second does
    assert sorted(each for each in told(one.check()) if each[0] == "skewed") == [
        ("skewed", "004.00-2", "fare", 8.0, 9.0),
        ("skewed", "004.00-2", "word", "w8", "w9"),
        ("skewed", "006.00-2", "fare", 8.0, 9.0),
        ("skewed", "006.00-2", "word", "w8", "w9"),
    ]
    assert len(one.check(most=1).found) <= 2


def test_what_was_too_old_when_it_was_served_is_not_held_against_it(shop: Callable[..., Shop]) -> None:
    one = shop(ttl="10h", features={"fare": "f", "seen": '"at"'})
    one.write((1, 1, 3))
    one.materialize(2)
    one.ask(10.9, 1)
    one.ask(11.1, 1)
    assert one.check() == SkewReport(2, 4, 0, [])
    one.write((1, 9, 5))
    report = one.check()
    assert {(each.kind, each.prediction_id) for each in report.found} == {("stale", "010.90-1"), ("stale", "011.10-1")}
    assert {each.served for each in report.found if each.feature == "fare"} == {3.0, None}


def test_rows_without_keys_are_counted_and_a_view_that_is_gone_is_told(shop: Callable[..., Shop]) -> None:
    one = shop()
    one.write((1, 1, 3), (2, 1, 4))
    with pytest.raises(NotFound, match="No prediction of `m`"):
        one.check()
    one.materialize(2)
    one.ask(3, 1, 2)
    one.ask(4, 1, redact=True)
    report = one.check()
    assert (report.rows, report.values, report.unchecked, report.found) == (3, 12, 1, [])
    one.online.close()
    for file in (one.folder / "online").iterdir():
        file.unlink()
    with pytest.raises(NotFound, match="not in the online store any more"):
        one.check()
