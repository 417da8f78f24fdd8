"""Several control servers over one Postgres and one folder of files, as one server is over its workspace."""

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from mainspring.store.events import events, verify_chain
from mainspring.store.opening import open_store

from .conftest import Answer, Receiver, Server

MODEL = "/api/mainspring/v1/models/late"


class Cluster:
    """Servers that share a database and files; `ask` goes to one after the other, past those that have died."""

    def __init__(self, home: Path, address: str) -> None:
        self.address = address
        self._next = count()
        self.servers = [
            Server(
                home / f"host{number}",
                MAINSPRING_STORE=address,
                MAINSPRING_ARTIFACTS=str(home / "files"),
                MAINSPRING_WEBHOOKS_PRIVATE="on",
            )
            for number in range(3)
        ]

    def ask(self, use: Callable[[Server], Answer]) -> Answer:
        while True:
            servers = self.servers
            # the answer of a server that died is lost, not the request: it is sent again, as clients do
            with contextlib.suppress(OSError):
                return use(servers[next(self._next) % len(servers)])

    def stop(self) -> None:
        for each in self.servers:
            each.stop()


@pytest.fixture
def cluster(tmp_path: Path, postgres: Any) -> Iterator[Cluster]:
    made = Cluster(tmp_path, postgres.address(tmp_path))
    yield made
    made.stop()


def _together(work: Callable[[int], None], *, threads: int) -> None:
    """Run `work` on several threads at once; the first fault of any is the test's."""
    faults: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as fault:  # a thread's fault would be lost otherwise
            faults.append(fault)

    started = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for each in started:
        each.start()
    for each in started:
        each.join()
    if faults:
        raise faults[0]


def test_what_was_acknowledged_by_a_server_that_is_killed_is_there_once(cluster: Cluster) -> None:
    made = cluster.ask(lambda server: server.post("experiments/create", name="shared"))
    experiment = made.json["experiment_id"]
    promised: dict[str, set[tuple[int, float]]] = {}
    under_way = threading.Event()

    def log(number: int) -> None:
        run = cluster.ask(lambda server: server.post("runs/create", experiment_id=experiment, run_name=f"r{number}"))
        run_id = run.json["run"]["info"]["run_id"]
        promised[run_id] = set()
        for turn in range(60):
            points = [
                {"key": "loss", "value": number + place / 7, "step": place, "timestamp": 1}
                for place in range(turn * 5, turn * 5 + 5)
            ]
            answer = cluster.ask(lambda server: server.post("runs/log-batch", run_id=run_id, metrics=points))  # noqa: B023  # asked at once
            assert answer.status == 200
            promised[run_id] |= {(point["step"], point["value"]) for point in points}  # type: ignore[misc]
            if turn == 10:
                under_way.set()

    def kill(_: int) -> None:
        assert under_way.wait(60)
        killed, *cluster.servers = cluster.servers
        killed.kill()

    _together(lambda number: kill(number) if number == 6 else log(number), threads=7)
    assert len(promised) == 6
    for run_id, points in promised.items():
        for server in cluster.servers:
            page = server.get("metrics/get-history", run_id=run_id, metric_key="loss", max_results=25_000).json
            kept = Counter((each["step"], each["value"]) for each in page["metrics"])
            assert kept == Counter(points)
    found = cluster.ask(lambda server: server.post("runs/search", experiment_ids=[experiment])).json["runs"]
    assert {*promised} <= {each["info"]["run_id"] for each in found}


def test_versions_and_moves_from_many_servers_have_one_order(cluster: Cluster) -> None:
    cluster.ask(lambda server: server.post("registered-models/create", name="late"))
    numbers: list[str] = []
    moved: list[str] = []

    def register(_: int) -> None:
        for _ in range(6):
            made = cluster.ask(lambda server: server.post("model-versions/create", name="late", source="s3://b/m"))
            numbers.append(made.json["model_version"]["version"])

    _together(register, threads=4)
    assert sorted(map(int, numbers)) == list(range(1, 25))

    def promote(number: int) -> None:
        for turn in range(6):
            version = str(number * 6 + turn + 1)
            body = {"name": "late", "alias": "staging", "version": version}
            assert cluster.ask(lambda server: server.post("registered-models/alias", **body)).status == 200  # noqa: B023  # asked at once
            moved.append(version)

    _together(promote, threads=4)
    moves = cluster.ask(lambda server: server.ask("GET", f"{MODEL}/history")).json["moves"]
    assert Counter(str(each["version"]) for each in moves) == Counter(moved)
    pointed = {
        server.get("registered-models/alias", name="late", alias="staging").json["model_version"]["version"]
        for server in cluster.servers
    }
    assert pointed == {str(moves[-1]["version"])}
    with contextlib.closing(open_store(cluster.address)) as store:
        assert verify_chain(store) == store.read("SELECT count(*) FROM events")[0][0]
        assert len(events(store, verb="alias.moved")) == len(moved)


def test_one_event_is_told_once_though_every_server_has_a_courier(cluster: Cluster, receiver: Receiver) -> None:
    asked = [{"entity": "MODEL_VERSION", "action": "CREATED"}]
    made = cluster.ask(lambda server: server.post("webhooks", name="hook", url=receiver.url, events=asked))
    assert made.status == 200
    cluster.ask(lambda server: server.post("registered-models/create", name="late"))

    def register(_: int) -> None:
        for _ in range(4):
            cluster.ask(lambda server: server.post("model-versions/create", name="late", source="s3://b/m"))

    _together(register, threads=3)
    receiver.wait_for(lambda got: len(got) >= 12)
    cluster.stop()  # the deliveries that are under way are finished
    assert len({headers["x-mlflow-delivery-id"] for headers, _ in receiver.got}) == len(receiver.got) == 12
