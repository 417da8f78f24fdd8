"""Answers with contributions, over real HTTP: they add up, they are bounded, and they keep nobody else waiting."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from mainspring.bundle import load_bundle
from mainspring.serve.client import PredictionClient
from mainspring.serve.process import ServerProcess

PREDICT = "/models/late-flights/predict"


def post(server: ServerProcess, path: str, value: Any, kind: str = "application/json") -> tuple[int, Any]:
    connection = HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    try:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        connection.request("POST", path, body, {"content-type": kind})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_contributions_and_base_are_the_score(server: ServerProcess, shared_site: Any, flight: dict[str, Any]) -> None:
    rows = [flight | {"distance": 4000.0, "carrier": "B6"}, flight, flight | {"carrier": None}]
    status, answer = post(server, f"{PREDICT}?explain=true", {"rows": rows, "id": "mine"})
    assert (status, answer["id"], answer["version"], answer["explanation"]["passes"]) == (200, "mine", 1, [0, 0, 0])
    predictor = load_bundle(shared_site.bundles[1])
    assert answer["explanation"]["reference"] == dict(predictor.signature.example)
    plain = post(server, PREDICT, {"rows": rows})[1]
    for explained, alone in zip(answer["predictions"], plain["predictions"], strict=True):
        assert explained["score"] == alone["score"]
        total = answer["explanation"]["base"] + sum(explained["contributions"].values())
        assert total == pytest.approx(explained["score"], abs=1e-12)
        assert "errors" not in explained
    first, example, _ = answer["predictions"]
    assert first["contributions"]["distance"] > first["contributions"]["carrier"] > 0
    assert set(example["contributions"].values()) == {0.0}


def test_an_explained_answer_is_logged_like_any_other(
    server: ServerProcess, shared_site: Any, flight: dict[str, Any], eventually: Any
) -> None:
    _, answer = post(server, f"{PREDICT}?explain=1&explain_ms=50", [flight])
    (identifier,) = [each["id"] for each in answer["predictions"]]
    assert eventually(lambda: any(identifier in each.ids for each in shared_site.records()))


@pytest.mark.parametrize("value", ["false", "0", "no", ""])
def test_who_does_not_want_it_gets_the_plain_answer(server: ServerProcess, flight: dict[str, Any], value: str) -> None:
    status, answer = post(server, f"{PREDICT}?explain={value}", [flight])
    assert (status, "explanation" in answer) == (200, False)


@pytest.mark.parametrize("budget", ["soon", "0", "-5", "10001", "1e3", ""])
def test_a_time_budget_that_is_none_is_refused(server: ServerProcess, flight: dict[str, Any], budget: str) -> None:
    status, problem = post(server, f"{PREDICT}?explain=true&explain_ms={budget}", [flight])
    assert (status, problem["where"]) == (422, "query explain_ms")


def test_tables_and_crowds_are_not_explained(server: ServerProcess, flight: dict[str, Any]) -> None:
    line = "distance,carrier,departed_at,weekend\n900,AA,2013-04-01T06:00:00Z,false\n"
    status, problem = post(server, f"{PREDICT}?explain=true", line.encode(), "text/csv")
    assert (status, problem["where"]) == (422, "query explain")
    status, problem = post(server, f"{PREDICT}?explain=true", line.encode(), "application/x-ndjson")
    assert (status, problem["where"]) == (422, "query explain")
    status, problem = post(server, f"{PREDICT}?explain=true", [flight] * 101)
    assert (status, problem["where"]) == (413, "rows to explain")
    status, problem = post(server, f"{PREDICT}?explain=true", [flight, flight | {"distance": "far"}])
    assert (status, problem["where"]) == (422, "rows[1].distance")


def test_too_many_at_once_are_turned_away_and_others_go_on(server: ServerProcess, flight: dict[str, Any]) -> None:
    """Of 24 requests at once 16 are taken on, and predictions do not wait for them."""
    rows = [flight | {"distance": float(number)} for number in np.linspace(100, 4000, 100)]
    done = threading.Event()
    scores: list[float] = []

    def predict() -> None:
        with PredictionClient(server.url) as client:
            while not done.is_set():
                scores.append(client.predict("late-flights", [flight]).predictions[0].score)

    other = threading.Thread(target=predict)
    other.start()
    with ThreadPoolExecutor(24) as pool:
        replies = list(pool.map(lambda _: post(server, f"{PREDICT}?explain=true", rows), range(24)))
    done.set()
    other.join()
    statuses = [status for status, _ in replies]
    assert set(statuses) <= {200, 429}
    assert 429 in statuses
    assert statuses.count(200) >= 16
    assert len(set(scores)) == 1
    assert post(server, f"{PREDICT}?explain=true", [flight])[0] == 200


def test_the_page_shows_what_each_column_added(server: ServerProcess) -> None:
    connection = HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    form = "distance=4900&carrier=B6&departed_at=2013-04-01T06%3A00%3A00Z&weekend=true"
    connection.request("POST", "/models/late-flights", form, {"content-type": "application/x-www-form-urlencoded"})
    page = connection.getresponse().read().decode()
    connection.close()
    assert "added to the probability of late" in page
    assert page.index("<td>distance</td><td>+") < page.index("<td>carrier</td>")
