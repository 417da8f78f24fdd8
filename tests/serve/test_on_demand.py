"""Many models in little room: loaded when somebody asks, let go when others need the room, and every answer right."""

import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from mainspring.bundle.format import write_bundle
from mainspring.domain.signature import Column, Signature
from mainspring.errors import Unavailable
from mainspring.serve.budget import Budget
from mainspring.serve.client import PredictionClient
from mainspring.serve.routes import Route, RouteTable, write_routes

MODELS = 5
#: Larger than what loading such a small model does to the memory of a process, so that the test knows what fits.
PADDING = 6 << 20


class Used(NamedTuple):
    model: str
    used_at: float


def test_the_longest_unasked_makes_way_and_no_more_than_must() -> None:
    budget = Budget(100)
    for name, size in (("a", 30), ("b", 30), ("c", 30)):
        budget.took(name, size)
    loaded = [Used("a", 3.0), Used("b", 1.0), Used("c", 2.0)]
    assert budget.making_way(loaded, "d", 10) == []
    assert [each.model for each in budget.making_way(loaded, "d", 30)] == ["b"]
    assert [each.model for each in budget.making_way(loaded, "d", 60)] == ["b", "c"]
    assert [each.model for each in budget.making_way(loaded, "d", 1000)] == ["b", "c", "a"]
    assert budget.making_way([Used("a", 3.0)], "a", 1000) == []
    budget.took("d", 90)
    assert len(budget.making_way(loaded, "d", 1)) == 3  # what it took once, it is expected to take again


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models that multiply by 1, 2, 3..."""
    folder = tmp_path_factory.mktemp("many")
    made = {}
    for number in range(1, MODELS + 1):
        x = np.arange(4.0)
        model = LinearRegression().fit(pd.DataFrame({"x": x}), number * x)
        signature = Signature((Column("x", "number"),), "y", "regression", example={"x": 1.0})
        made[f"times-{number}"] = folder / str(number)
        padding = {"padding.bin": bytes(PADDING)}
        write_bundle(
            folder / str(number), model, signature, name=f"times-{number}", extra_files=padding, sample={"x": x}
        )
    return made


@pytest.fixture
def many(site: Any, bundles: dict[str, Path]) -> Any:
    for name, bundle in bundles.items():
        write_routes(site.endpoints / f"{name}.json", RouteTable(name, 1, (Route(1, str(bundle), "champion", 100.0),)))
    return site


def evictions(client: PredictionClient) -> float:
    lines = [line for line in client.metrics().splitlines() if line.startswith("model_evictions_total{")]
    return sum(float(line.split()[-1]) for line in lines)


def test_nothing_is_loaded_before_it_is_asked_for_and_two_fit(many: Any) -> None:
    with many.start("--models-memory", "13") as server, PredictionClient(server.url) as client:
        assert "model_info{" not in client.metrics()
        for number in (1, 2, 1, 2):
            assert client.predict(f"times-{number}", [{"x": 3.0}]).predictions[0].score == pytest.approx(3.0 * number)
        assert evictions(client) == 0
        client.predict("times-3", [{"x": 1.0}])
        assert evictions(client) == 1
        assert 'model_evictions_total{model="times-1"} 1' in client.metrics()
        # a label, the form and the metadata of a model that is not loaded are as good as an answer
        answer = client.predict("times-1", [{"x": 1.0}])
        client.predict("times-4", [{"x": 1.0}])
        client.predict("times-5", [{"x": 1.0}])
        client.feedback("times-1", [(answer.predictions[0].id, 1.0)])
    assert [record.labels for record in many.records() if hasattr(record, "labels")] == [[1.0]]


def test_many_ask_for_all_of_them_at_once_and_each_gets_its_own_answer(many: Any) -> None:
    wrong: list[object] = []

    def ask(seed: int, url: str) -> None:
        rng = np.random.default_rng(seed)
        with PredictionClient(url) as client:
            for _ in range(60):
                number, x = int(rng.integers(1, MODELS + 1)), float(rng.integers(0, 100))
                score = client.predict(f"times-{number}", [{"x": x}]).predictions[0].score
                if score != pytest.approx(number * x, abs=1e-9):
                    wrong.append((number, x, score))

    with many.start("--models-memory", "13") as server, PredictionClient(server.url) as client:
        asking = [threading.Thread(target=ask, args=(seed, server.url)) for seed in range(6)]
        for each in asking:
            each.start()
        for each in asking:
            each.join(60)
        assert not wrong
        assert evictions(client) > 20


def test_a_model_that_cannot_be_loaded_fails_alone_and_heals(
    many: Any, tmp_path: Path, bundles: dict[str, Path]
) -> None:
    broken = tmp_path / "moved"
    route = RouteTable("late", 1, (Route(1, str(broken), "champion", 100.0),))
    write_routes(many.endpoints / "late.json", route)
    with many.start("--models-memory", "50") as server, PredictionClient(server.url) as client:
        for _ in range(2):
            with pytest.raises(Unavailable):
                client.predict("late", [{"x": 1.0}])
        assert client.predict("times-2", [{"x": 2.0}]).predictions[0].score == pytest.approx(4.0)
        bundles["times-3"].rename(broken)
        try:
            assert client.predict("late", [{"x": 2.0}]).predictions[0].score == pytest.approx(6.0)
        finally:
            broken.rename(bundles["times-3"])
