"""Versions change under load: no request fails, shares are kept, and what does not load never answers."""

import shutil
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mainspring.errors import MainspringError, NotFound, Unavailable
from mainspring.predictions.records import PredictionRecord
from mainspring.serve.client import PredictionClient
from mainspring.serve.process import ServerProcess
from mainspring.serve.routes import Route, RouteTable, choose, write_routes

Eventually = Callable[[Callable[[], Any]], Any]


class Load:
    """Clients that ask without a pause until they are told to stop."""

    def __init__(self, url: str, row: dict[str, object], clients: int = 4) -> None:
        self.versions: Counter[int] = Counter()
        self.ids: list[str] = []
        self.failures: list[Exception] = []
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(url, row)) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, url: str, row: dict[str, object]) -> None:
        with PredictionClient(url) as client:
            while not self._stop.is_set():
                try:
                    answer = client.predict("late-flights", [row])
                except MainspringError as error:
                    self.failures.append(error)
                    continue
                with self._lock:
                    self.versions[answer.version] += 1
                    self.ids.append(answer.predictions[0].id)


def revision(client: PredictionClient) -> int:
    return int(client.metadata("late-flights")["serving"]["revision"])


def test_no_request_fails_while_versions_change_under_load(
    site: Any, flight: dict[str, object], eventually: Eventually
) -> None:
    site.route((1, "champion", 100.0))
    with site.start() as server, PredictionClient(server.url) as client, Load(server.url, flight) as load:
        steps = [
            [(1, "champion", 95.0), (2, "canary", 5.0)],
            [(1, "champion", 50.0), (2, "canary", 50.0)],
            [(2, "champion", 100.0)],
            [(2, "champion", 100.0), (3, "shadow", 100.0)],
            [(3, "champion", 100.0)],
            [(1, "champion", 100.0)],
        ]
        for step in steps:
            wanted = site.route(*step)
            eventually(lambda wanted=wanted: revision(client) == wanted)
            before = sum(load.versions.values())
            eventually(lambda before=before: sum(load.versions.values()) > before + 40)
    assert load.failures == []
    assert set(load.versions) == {1, 2, 3}
    recorded = Counter(identifier for each in site.records() if each.route != "shadow" for identifier in each.ids)
    assert set(recorded.values()) == {1}
    assert set(load.ids) == set(recorded)


def test_a_version_that_was_loaded_comes_back_without_loading(
    site: Any, flight: dict[str, object], eventually: Eventually, tmp_path: Path
) -> None:
    copied = shutil.copytree(site.bundles[1], tmp_path / "copied")
    champion = Route(1, str(copied), "champion", 100.0)
    path = site.endpoints / "late-flights.json"
    write_routes(path, RouteTable("late-flights", 1, (champion,)))
    with site.start() as server, PredictionClient(server.url) as client:
        second = Route(2, str(site.bundles[2]), "champion", 100.0)
        write_routes(path, RouteTable("late-flights", 2, (second,)))
        eventually(lambda: revision(client) == 2)
        assert client.metadata("late-flights")["serving"]["standby"] == [1]
        (copied / "model.skops").unlink()  # so that loading it anew would fail
        write_routes(path, RouteTable("late-flights", 3, (champion,)))
        eventually(lambda: revision(client) == 3)
        assert client.predict("late-flights", [flight]).version == 1


def test_a_canary_answers_its_share_and_sticks_to_its_keys(site: Any, flight: dict[str, object]) -> None:
    site.route((1, "champion", 75.0), (2, "canary", 25.0))
    keys = [f"passenger-{number}" for number in range(400)]
    with site.start() as server, PredictionClient(server.url) as client:
        answered = {key: client.predict("late-flights", [flight], route_key=key) for key in keys}
        again = {key: client.predict("late-flights", [flight], request_id=key) for key in keys[:50]}
        unkeyed = [client.predict("late-flights", [flight]).version for _ in range(200)]
    routes = RouteTable("late-flights", 1, (Route(1, "", "champion", 75.0), Route(2, "", "canary", 25.0)))
    for key, answer in (*answered.items(), *again.items()):
        assert answer.version == choose(routes, key).version
        assert answer.route == {1: "champion", 2: "canary"}[answer.version]
    share = sum(answer.version == 2 for answer in answered.values()) / len(keys)
    assert share == pytest.approx(0.25, abs=0.09)  # four standard deviations
    assert unkeyed.count(2) / len(unkeyed) == pytest.approx(0.25, abs=0.125)


def test_a_shadow_is_recorded_and_never_answers(site: Any, flight: dict[str, object], eventually: Eventually) -> None:
    site.route((1, "champion", 100.0), (2, "shadow", 100.0))
    with site.start() as server, PredictionClient(server.url) as client:
        answers = [client.predict("late-flights", [flight], request_id=f"r{number}") for number in range(20)]
        with pytest.raises(NotFound):
            client.predict("late-flights", [flight], version=2)
        eventually(lambda: len([each for each in site.records() if each.route == "shadow"]) == 20)
        eventually(lambda: 'shadow_difference_count{model="late-flights",version="2"} 20' in client.metrics())
        assert 'shadow_rows_total{model="late-flights",version="2"} 20' in client.metrics()
        assert 'shadow_flips_total{model="late-flights",version="2"} 0' in client.metrics()
    assert {answer.version for answer in answers} == {1}
    shadows = {each.request_id: each for each in site.records() if each.route == "shadow"}
    for answer in answers:
        assert isinstance(shadows[answer.id], PredictionRecord)
        assert shadows[answer.id].ids == [each.id for each in answer.predictions]
        assert shadows[answer.id].version == 2
        assert shadows[answer.id].scores != [each.score for each in answer.predictions]


def break_bundle(folder: Path) -> None:
    data = bytearray((folder / "model.skops").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "model.skops").write_bytes(data)


def test_a_bundle_that_does_not_verify_is_refused_while_the_old_one_serves(
    site: Any, flight: dict[str, object], eventually: Eventually, tmp_path: Path
) -> None:
    broken = shutil.copytree(site.bundles[2], tmp_path / "broken")
    break_bundle(broken)
    site.route((1, "champion", 100.0))
    with site.start() as server, PredictionClient(server.url) as client:
        for bad, told in ((broken, "was changed"), (tmp_path / "nowhere", "not a bundle")):
            site.bundles = {**site.bundles, 2: bad}
            site.route((2, "champion", 100.0))
            error = eventually(
                lambda told=told: (
                    (found := client.metadata("late-flights")["serving"]["last_error"])
                    and told in found["what"]
                    and found
                )
            )
            assert error["code"] in {"corrupt", "not_found"}
            assert client.predict("late-flights", [flight]).version == 1
            assert revision(client) == 1
        metrics = client.metrics()
        assert 'model_reload_failing{model="late-flights"} 1' in metrics
        assert 'model_reload_failures_total{model="late-flights"}' in metrics
        (site.endpoints / "late-flights.json").write_text("{")
        eventually(lambda: "route file" in client.metadata("late-flights")["serving"]["last_error"]["what"])
        assert client.predict("late-flights", [flight]).version == 1
        site.bundles = {**site.bundles, 2: site.bundles[3]}
        site.route((2, "champion", 100.0))
        eventually(lambda: client.predict("late-flights", [flight]).version == 2)
        assert client.metadata("late-flights")["serving"]["last_error"] is None


def test_a_bundle_that_heals_is_loaded_without_another_change(
    site: Any, flight: dict[str, object], eventually: Eventually, tmp_path: Path
) -> None:
    late, whole = tmp_path / "late", site.bundles[1]
    site.bundles = {1: late}
    site.route((1, "champion", 100.0))
    with site.start() as server, PredictionClient(server.url) as client:
        with pytest.raises(Unavailable, match="not a bundle"):
            client.predict("late-flights", [flight])
        with pytest.raises(Unavailable):
            client.send("GET", "/v2/health/ready")
        assert client.metadata("late-flights")["serving"]["ready"] is False
        shutil.copytree(whole, tmp_path / "copy")
        (tmp_path / "copy").rename(late)
        eventually(lambda: client.metadata("late-flights")["serving"]["ready"])
        assert client.predict("late-flights", [flight]).version == 1


def test_a_broken_canary_at_the_start_leaves_the_champion_answering(
    site: Any, flight: dict[str, object], tmp_path: Path
) -> None:
    broken = shutil.copytree(site.bundles[2], tmp_path / "broken")
    break_bundle(broken)
    site.bundles = {**site.bundles, 2: broken}
    site.route((1, "champion", 50.0), (2, "canary", 50.0))
    with site.start() as server, PredictionClient(server.url) as client:
        assert {client.predict("late-flights", [flight]).version for _ in range(20)} == {1}
        assert "was changed" in client.metadata("late-flights")["serving"]["last_error"]["what"]


def test_an_endpoint_goes_with_its_file_and_comes_with_it(
    site: Any, flight: dict[str, object], eventually: Eventually
) -> None:
    with site.start() as server, PredictionClient(server.url) as client:
        with pytest.raises(NotFound):
            client.predict("late-flights", [flight])
        site.route((1, "champion", 100.0))

        def answers() -> bool:
            try:
                return client.predict("late-flights", [flight]).version == 1
            except (NotFound, Unavailable):
                return False

        eventually(answers)
        (site.endpoints / "late-flights.json").unlink()
        eventually(lambda: not answers())


def test_a_row_that_a_model_cannot_take_is_refused_and_harms_no_other(
    site: Any, flight: dict[str, object], regression: Path
) -> None:
    site.route((1, "champion", 100.0))
    server = ServerProcess.start(site.endpoints, site.journals, bundles=[regression])
    with server, PredictionClient(server.url) as client:
        # The regression's column may be null by its signature, and LinearRegression cannot score a missing value.
        with pytest.raises(MainspringError, match="Version 1 of `delay` failed: ValueError") as caught:
            client.predict("delay", [{"distance": 1.0}, {"distance": None}])
        assert caught.value.where == "rows[1]"
        assert client.predict("delay", [{"distance": 2.0}]).predictions[0].score == pytest.approx(4.0)
        assert client.predict("late-flights", [flight]).version == 1
        assert 'model_requests_total{model="delay",version="1",route="champion",status="422"} 1' in client.metrics()
    assert len(site.records()) == 2
