"""Small models as bundles, and a real prediction server over real HTTP."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from mainspring.bundle.format import write_bundle
from mainspring.domain.signature import Column, Signature
from mainspring.predictions.journal import journals, read_frames
from mainspring.predictions.records import BatchRecord, PredictionRecord, Record, RefusedRecord, decode_record
from mainspring.serve.client import PredictionClient
from mainspring.serve.process import ServerProcess
from mainspring.serve.routes import Role, Route, RouteTable, write_routes

FLIGHT = {"distance": 900.0, "carrier": "AA", "departed_at": "2013-04-01T06:00:00Z", "weekend": False}

SIGNATURE = Signature(
    columns=(
        Column("distance", "number", low=80.0, high=5000.0),
        Column("carrier", "string", nullable=True, categories=("AA", "B6", "UA")),
        Column("departed_at", "timestamp"),
        Column("weekend", "boolean"),
    ),
    target="late",
    task="binary",
    classes=("on time", "late"),
    example=dict(FLIGHT),
)


def flights(rows: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "distance": rng.uniform(80, 5000, rows),
            "carrier": pd.Series(rng.choice(["AA", "B6", "UA"], rows), dtype="str"),
            "departed_at": np.datetime64("2013-04-01", "us") + rng.integers(0, 10**12, rows).astype("timedelta64[us]"),
            "weekend": rng.integers(0, 2, rows).astype(bool),
        }
    )
    late = (frame.distance + 1000 * (frame.carrier == "B6") + rng.normal(0, 500, rows)) > 2500
    return frame, np.where(late, "late", "on time")


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Three versions of one binary model, which give different scores."""
    folder = tmp_path_factory.mktemp("bundles")
    made: dict[int, Path] = {}
    for version in (1, 2, 3):
        frame, late = flights(300, seed=version)
        encode = ColumnTransformer(
            [("n", "passthrough", ["distance", "weekend"]), ("c", OneHotEncoder(handle_unknown="ignore"), ["carrier"])]
        )
        model = make_pipeline(encode, LogisticRegression(C=0.1 * version, max_iter=5000))
        model.fit(frame, late == "late")
        signature = SIGNATURE
        model[-1].classes_ = np.array(["on time", "late"])
        made[version] = folder / str(version)
        write_bundle(made[version], model, signature, name="late-flights", facts={"run_id": f"run{version}"})
    return made


@pytest.fixture(scope="session")
def regression(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("regression") / "delay"
    model = LinearRegression().fit(pd.DataFrame({"distance": [1.0, 2.0, 3.0]}), [2.0, 4.0, 6.0])
    signature = Signature(
        (Column("distance", "number", nullable=True),), "delay", "regression", example={"distance": 2.0}
    )
    write_bundle(folder, model, signature, name="delay")
    return folder


def table(bundles: dict[int, Path], revision: int, *routes: tuple[int, Role, float]) -> RouteTable:
    return RouteTable(
        "late-flights", revision, tuple(Route(version, str(bundles[version]), role, w) for version, role, w in routes)
    )


def one_by_one(record: Record) -> Iterator[Record]:
    """Give a batch as the requests it answered."""
    if not isinstance(record, BatchRecord):
        yield record
        return
    start = 0
    for number, n_rows in enumerate(record.rows):
        end = start + n_rows
        yield PredictionRecord(
            model=record.model,
            version=record.version,
            route=record.route,
            at=record.event_at[number] or record.received_at,
            received_at=record.received_at,
            request_id=record.request_ids[number],
            ids=record.ids[start:end],
            columns={name: list(values[start:end]) for name, values in record.columns.items()},
            scores=record.scores[start:end],
            latency_ms=record.latency_ms[number],
            warnings=record.warnings[number],
        )
        start = end


class Site:
    """The folders of one server, and what is written in them."""

    def __init__(self, folder: Path, bundles: dict[int, Path]) -> None:
        self.endpoints = folder / "endpoints"
        self.journals = folder / "journals"
        self.bundles = bundles
        self.endpoints.mkdir()
        self._revision = 0

    def route(self, *routes: tuple[int, Role, float]) -> int:
        self._revision += 1
        write_routes(self.endpoints / "late-flights.json", table(self.bundles, self._revision, *routes))
        return self._revision

    def start(self, *options: str) -> ServerProcess:
        return ServerProcess.start(self.endpoints, self.journals, options=options)

    def records(self) -> list[Record]:
        """Return what was written down, but for the counts of requests that got no answer."""
        return [each for each in self._written() if not isinstance(each, RefusedRecord)]

    def refusals(self) -> list[RefusedRecord]:
        return [each for each in self._written() if isinstance(each, RefusedRecord)]

    def _written(self) -> list[Record]:
        return [
            record
            for journal in journals(self.journals)
            for payload, _ in read_frames(journal.path)
            for record in one_by_one(decode_record(payload))
        ]


@pytest.fixture
def site(tmp_path: Path, bundles: dict[int, Path]) -> Site:
    return Site(tmp_path, bundles)


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory, bundles: dict[int, Path]) -> Site:
    site = Site(tmp_path_factory.mktemp("site"), bundles)
    site.route((1, "champion", 100.0))
    return site


@pytest.fixture(scope="module")
def server(shared_site: Site, regression: Path) -> Iterator[ServerProcess]:
    """One server for the tests that only ask it."""
    options = ("--body-limit", str(4 << 20))
    with ServerProcess.start(shared_site.endpoints, shared_site.journals, bundles=[regression], options=options) as one:
        yield one


@pytest.fixture
def client(server: ServerProcess) -> Iterator[PredictionClient]:
    with PredictionClient(server.url) as one:
        yield one


@pytest.fixture(scope="session")
def without_httptools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder; with it first on its path, Python finds no httptools."""
    folder = tmp_path_factory.mktemp("path")
    (folder / "httptools.py").write_text("raise ImportError('httptools is not installed')\n")
    return folder


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Return what `condition` gives as soon as it gives something true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.005)
    raise AssertionError(f"not within {seconds} s")


def body(client: PredictionClient, method: str, path: str, value: object = None) -> Any:
    return json.loads(client.send(method, path, b"" if value is None else json.dumps(value).encode()))


@pytest.fixture
def flight() -> dict[str, object]:
    """One row that fits the model."""
    return dict(FLIGHT)


@pytest.fixture
def eventually() -> Callable[..., Any]:
    return wait_for
