"""Features that a request leaves out: read from the online store, answered as if they were sent, and written down."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.features.test_online import redis_address
from tests.serve.conftest import FLIGHT, Site

from mainspring.cli.main import main
from mainspring.domain.moments import SimulatedClock, from_iso
from mainspring.domain.signature import Column, Signature
from mainspring.errors import Invalid, Refused, Unavailable
from mainspring.features import FeatureView
from mainspring.features.materializing import materialize
from mainspring.features.online import FeatureReader
from mainspring.features.opening import open_online
from mainspring.predictions.journal import journals, read_frames
from mainspring.predictions.records import BatchRecord, decode_record
from mainspring.serve import reading
from mainspring.serve.asking import Question
from mainspring.serve.client import PredictionClient
from mainspring.serve.lookup import ServedViews
from mainspring.serve.problems import InvalidRows
from mainspring.serve.process import ServerProcess
from mainspring.serve.reading import RemoteReads

__all__ = ["redis_address"]  # a fixture

ROUTES = """route,seen_at,km,maker
7,2026-01-01 00:00:00,900.0,AA
8,2026-01-01 00:00:00,,
"""


def view(source: Path, **words: Any) -> FeatureView:
    features = {"distance": "km", "carrier": "maker"}
    return FeatureView(
        "routes", **{"source": source, "keys": "route", "time": "seen_at", "features": features, **words}
    )


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureView:
    monkeypatch.setenv("MAINSPRING_FEATURES", str(tmp_path / "online"))
    source = tmp_path / "routes.csv"
    source.write_text(ROUTES)
    online = open_online(str(tmp_path / "online"))
    now = datetime.now(UTC)
    materialize(view(source), source, online, until=now, now=now)
    online.close()
    return view(source)


@pytest.fixture
def served(made: FeatureView, site: Site) -> Iterator[ServerProcess]:
    site.route((1, "champion", 100.0), (2, "shadow", 100.0))
    with site.start("--view", f"routes/{made.version}", "--redact", "carrier") as one:
        yield one


def batches(site: Site) -> list[BatchRecord]:
    found = [decode_record(payload) for each in journals(site.journals) for payload, _ in read_frames(each.path)]
    return [each for each in found if isinstance(each, BatchRecord)]


def test_a_request_with_the_key_alone_is_answered_as_one_with_its_features(
    served: ServerProcess, site: Site, made: FeatureView
) -> None:
    beside = {name: FLIGHT[name] for name in ("departed_at", "weekend")}
    before = datetime.now(UTC)
    with PredictionClient(served.url) as client:
        whole = client.predict("late-flights", [FLIGHT, FLIGHT])
        short = client.predict("late-flights", [{"route": 7, **beside}, {**FLIGHT, "route": 7}])
        assert [each.score for each in short.predictions] == [each.score for each in whole.predictions]
        with pytest.raises(Invalid, match="route") as caught:
            client.predict("late-flights", [FLIGHT, beside])
        assert caught.value.where == "rows[1].route"
        with pytest.raises(Invalid, match="whole number") as caught:
            client.predict("late-flights", [{**beside, "route": "7"}])
        assert caught.value.where == "rows[0].route"
        with pytest.raises(Invalid) as caught:  # an entity that nobody knows, and a column that must have a value
            client.predict("late-flights", [{**beside, "route": 9}])
        assert caught.value.where == "rows[0].distance"
    served.stop()
    looked = [each for each in batches(site) if each.lookups]
    assert {each.route for each in looked} == {"champion", "shadow"}
    for each in looked:
        assert each.columns["distance"] == [900.0, 900.0]
        assert "carrier" not in each.columns
        first, second = each.lookups
        assert second == {}
        assert (first["routes"].version, first["routes"].keys) == (made.version, {"route": 7})
        assert from_iso(first["routes"].until) < before < from_iso(first["routes"].at)


def test_served_features_are_computed_again_and_differences_named(
    made: FeatureView, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path))
    assert site.journals == tmp_path / "journals"
    site.route((1, "champion", 100.0))
    beside = {name: FLIGHT[name] for name in ("departed_at", "weekend")}
    assert main(["features", "skew", "late-flights"]) == 3
    with site.start("--view", f"routes/{made.version}") as one, PredictionClient(one.url) as client:
        asked = client.predict("late-flights", [{"route": 7, **beside}, FLIGHT])
    capsys.readouterr()
    assert main(["features", "skew", "late-flights"]) == 0
    assert capsys.readouterr().out == "1 predictions, 2 values: 0 skewed, 0 stale\n"
    assert made.source_file is not None
    made.source_file.write_text(f"{ROUTES}7,2026-01-02 00:00:00,950.0,AA\n")
    assert main(["features", "skew", "late-flights", "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)["skew"]
    assert (found["kind"], found["feature"], found["served"], found["computed"]) == ("skewed", "distance", 900, 950)
    assert (found["prediction_id"], found["keys"]) == (asked.predictions[0].id, {"route": 7})
    assert main(["features", "skew", "late-flights", "--stale-ok"]) == 1
    assert "skewed" in capsys.readouterr().out


def signature(*columns: Column) -> Signature:
    return Signature(columns, "y", "regression")


def readers(folder: Path, *views: FeatureView) -> list[FeatureReader]:
    online = open_online(str(folder / "online"))
    now = datetime(2026, 2, 1, tzinfo=UTC)
    for each in views:
        assert each.source_file is not None
        materialize(each, each.source_file, online, until=now, now=now)
    return [FeatureReader(online, each.name, each.version) for each in views]


def test_rows_are_filled_by_the_columns_of_the_model(tmp_path: Path) -> None:
    source = tmp_path / "routes.csv"
    source.write_text(ROUTES)
    made = view(source, features={"far": "km > 500", "km": "km", "seen": "seen_at"}, ttl="60d")
    clock = SimulatedClock(datetime(2026, 2, 1, tzinfo=UTC))
    views = ServedViews(readers(tmp_path, made), clock)
    assert views.lookup_for(signature(Column("x", "number"))) is None
    lookup = views.lookup_for(
        signature(Column("far", "number"), Column("seen", "timestamp"), Column("route", "number"))
    )
    assert lookup is not None
    rows, told = lookup.fill([{"route": 7}, {"route": 8}, {"route": 9}, {"route": 7, "far": 0.0, "seen": None}])
    seen = "2026-01-01T00:00:00.000000Z"
    assert rows == [
        {"route": 7, "far": 1.0, "seen": seen}, {"route": 8, "far": None, "seen": seen},
        {"route": 9, "far": None, "seen": None}, {"route": 7, "far": 0.0, "seen": None},
    ]  # fmt: skip
    assert [sorted(each) for each in told] == [["routes"], ["routes"], ["routes"], []]
    clock.advance_to(datetime(2026, 4, 1, tzinfo=UTC))
    assert lookup.fill([{"route": 7}])[0] == [{"route": 7, "far": None, "seen": None}]
    flags = views.lookup_for(signature(Column("far", "boolean")))
    assert flags is not None
    assert flags.fill([{"route": 8}])[0] == [{"far": None}]
    with pytest.raises(InvalidRows, match="key `route` is missing"):
        flags.fill([{}])


def test_a_model_is_served_by_the_version_it_was_trained_on(tmp_path: Path) -> None:
    source = tmp_path / "routes.csv"
    source.write_text(ROUTES)
    first, second = view(source, features={"km": "km"}), view(source, features={"km": "km * 2"})
    both = readers(tmp_path, first, second)
    wanted = signature(Column("km", "number"))
    for made, km in ((first, 900.0), (second, 1800.0)):
        lookup = ServedViews(both).lookup_for(wanted, {"routes": made.version, "other": "x"})
        assert lookup is not None
        rows, told = lookup.fill([{"route": 7}])
        assert rows == [{"km": km}]
        assert told[0]["routes"].version == made.version
    with pytest.raises(Refused, match=f"trained on `routes/{first.version[:12]}`"):
        ServedViews(both[1:]).lookup_for(wanted, {"routes": first.version})


def test_views_that_do_not_fit_are_told_at_the_start(tmp_path: Path) -> None:
    source = tmp_path / "routes.csv"
    source.write_text(ROUTES)
    made = view(source)
    other = FeatureView("more", source=source, keys="route", time="seen_at", features={"distance": "km"})
    with pytest.raises(Invalid, match="both give `distance`"):
        ServedViews(readers(tmp_path, made, other))
    with pytest.raises(Invalid, match="No model here has a column of the view"):
        ServedViews(readers(tmp_path, made)).check({"other"})


class HeldRedis:
    """A Redis behind a TCP port, whose look-ups can be held back."""

    def __init__(self, address: str) -> None:
        self._address = address.removeprefix("unix://")
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.let_go, self.seen = threading.Event(), threading.Event()
        self.let_go.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._address)
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with one, other:
            while True:
                try:
                    some = one.recv(1 << 16)
                    if b"HMGET" in some:
                        self.seen.set()
                        self.let_go.wait(30)
                    if not some:
                        return
                    other.sendall(some)
                except OSError:
                    return

    def close(self) -> None:
        self.let_go.set()
        self._listening.close()


def test_others_are_answered_while_a_look_up_waits_for_the_network(
    redis_address: str, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = HeldRedis(redis_address)
    address = f"redis://127.0.0.1:{held.port}/0"
    monkeypatch.setenv("MAINSPRING_FEATURES", address)
    source = tmp_path / "routes.csv"
    source.write_text(ROUTES)
    now = datetime.now(UTC)
    online = open_online(address)
    materialize(view(source), source, online, until=now, now=now)
    online.close()
    site.route((1, "champion", 100.0), (2, "shadow", 100.0))
    beside = {name: FLIGHT[name] for name in ("departed_at", "weekend")}
    with (
        site.start("--view", f"routes/{view(source).version}") as one,
        PredictionClient(one.url) as client,
        PredictionClient(one.url) as other,
    ):
        wanted = client.predict("late-flights", [FLIGHT]).predictions[0].score
        held.seen.clear()
        held.let_go.clear()
        answers: list[Any] = []
        asking = threading.Thread(
            target=lambda: answers.append(client.predict("late-flights", [{"route": 7, **beside}]))
        )
        asking.start()
        assert held.seen.wait(30)
        assert other.predict("late-flights", [FLIGHT]).predictions[0].score == wanted
        assert not answers
        held.let_go.set()  # a server whose loop had waited would have given up by now
        asking.join()
        assert answers[0].predictions[0].score == wanted
        with pytest.raises(Invalid, match="route") as caught:
            client.predict("late-flights", [beside])
        assert caught.value.where == "rows[0].route"
        one.stop()
    held.close()
    looked = [each for each in batches(site) if each.route == "champion" and any(each.lookups)]
    assert [each.lookups[0]["routes"].keys for each in looked] == [{"route": 7}]


def test_requests_that_wait_for_a_store_that_does_not_answer_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_THREADS", 1)
    monkeypatch.setattr(reading, "_MOST_UNDER_WAY", 3)
    monkeypatch.setattr(reading, "_LONGEST_WAIT_SECONDS", 0.0)
    answers, told = threading.Event(), []

    def read() -> Question:
        assert answers.wait(30)
        return Question(None, lambda name, row: "")

    async def ask() -> None:
        reads = RemoteReads()
        for _ in range(3):
            reads.run(read, told.append, told.append)
        with pytest.raises(Unavailable, match="3 requests wait"):
            reads.run(read, told.append, told.append)
        answers.set()
        while not reads.is_idle:
            await asyncio.sleep(0)
        reads.close()

    asyncio.run(ask())
    assert [isinstance(each, Unavailable) for each in told][1:] == [True, True]
    assert "keep this one waiting" in str(told[-1])
