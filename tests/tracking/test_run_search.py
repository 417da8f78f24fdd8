"""Searching runs: filters, orders and pages, against the same question asked of plain Python values."""

import math
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from mainspring.domain.ids import RunId, new_id
from mainspring.errors import Invalid
from mainspring.store.opening import open_store
from mainspring.store.protocol import Store, Transaction
from mainspring.tracking import run_search
from mainspring.tracking.experiments import create_experiment
from mainspring.tracking.metrics import Point
from mainspring.tracking.run_search import search_runs
from mainspring.tracking.runs import Run, create_run, log_batch, move_run

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(store_address: str) -> Iterator[Store]:
    opened = open_store(store_address)
    yield opened
    opened.close()


@pytest.fixture
def experiment(store: Store) -> int:
    """An experiment with 40 runs: ties, NaN, histories, runs without the metric, and a deleted run."""
    rng = random.Random(7)

    def write(transaction: Transaction) -> int:
        number = create_experiment(transaction, "e", at=NOW)
        for place in range(40):
            run_id = RunId(new_id())
            create_run(
                transaction,
                run_id=run_id,
                experiment_id=number,
                name=f"run {place}",
                started_ms=1000 + rng.randrange(5),
                parameters={"lr": str(place % 4)},
                tags={"team": "Red" if place % 3 else "blue"} if place % 5 else {},
            )
            value = math.nan if place % 7 == 0 else float(rng.randrange(6))
            points = [Point("loss", value + step, 5, step - 3) for step in range(4)] if place % 6 else []
            log_batch(transaction, run_id, points=points)
        gone = RunId(new_id())
        create_run(transaction, run_id=gone, experiment_id=number, name="gone", started_ms=0)
        move_run(transaction, gone, "deleted", at=NOW)
        return number

    return store.record(write)


def everything(store: Store, experiment: int, **search: object) -> list[Run]:
    """Return all pages of a search, three runs at a time."""
    found: list[Run] = []
    token = None
    while True:
        page = search_runs(store, [experiment], limit=3, token=token, **search)  # type: ignore[arg-type]
        found += page.runs
        assert len(page.runs) == 3 or page.token is None
        token = page.token
        if token is None:
            return found


def _rank(run: Run, *, ascending: bool) -> tuple[float, ...]:
    value = run.metrics.get("loss")
    rank = 2 if value is None else 1 if math.isnan(value) else 0
    shown = value if value is not None and rank == 0 else 0.0
    return (rank, shown if ascending else -shown)


ORDERS: dict[tuple[str, ...], Callable[[Run], tuple[object, ...]]] = {
    (): lambda run: (),
    ("metrics.loss DESC",): lambda run: _rank(run, ascending=False),
    ("metrics.loss",): lambda run: _rank(run, ascending=True),
    ("tags.team", "metrics.loss DESC"): lambda run: (
        "team" not in run.tags,
        run.tags.get("team", ""),
        *_rank(run, ascending=False),
    ),
    ("metrics.loss ASC", "params.lr"): lambda run: (*_rank(run, ascending=True), run.parameters["lr"]),
}


@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
@pytest.mark.parametrize("few", [0, 3000], ids=["walk", "few"])
def test_pages_hold_every_run_in_order(
    store: Store, experiment: int, order: tuple[str, ...], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_search, "_FEW", few)
    runs = everything(store, experiment)
    wanted = sorted(runs, key=lambda run: (*ORDERS[order](run), -run.started_ms, run.run_id))
    found = everything(store, experiment, order_by=order)
    assert [each.run_id for each in found] == [each.run_id for each in wanted]
    assert len({each.run_id for each in found}) == 40
    some = everything(store, experiment, order_by=order, filter="params.lr = '2'")
    assert [each.run_id for each in some] == [each.run_id for each in wanted if each.parameters["lr"] == "2"]


def _loss(run: Run) -> float:
    return run.metrics.get("loss", math.nan)


FILTERS: dict[str, Callable[[Run], bool]] = {
    "metrics.loss > 4": lambda run: _loss(run) > 4,
    "metrics.loss != 4": lambda run: "loss" in run.metrics and _loss(run) != 4,
    "params.lr = '1' and metrics.loss <= 5": lambda run: run.parameters["lr"] == "1" and _loss(run) <= 5,
    "params.lr = '1' or metrics.loss <= 5": lambda run: run.parameters["lr"] == "1" or _loss(run) <= 5,
    "not (params.lr = '1' or metrics.loss <= 5)": lambda run: not (run.parameters["lr"] == "1" or _loss(run) <= 5),
    "tags.team LIKE 'R%'": lambda run: run.tags.get("team") == "Red",
    "tags.team LIKE 'r%'": lambda run: False,
    "tags.team ILIKE 'r%'": lambda run: run.tags.get("team") == "Red",
    "tags.team IS NULL": lambda run: "team" not in run.tags,
    "tags.team NOT LIKE 'R%'": lambda run: run.tags.get("team") != "Red",
    "attributes.run_name = 'run 3'": lambda run: run.name == "run 3",
    "start_time >= 1003": lambda run: run.started_ms >= 1003,
    "status = 'RUNNING'": lambda run: True,
    "min(metrics.loss) < 1": lambda run: _loss(run) - 3 < 1,
    "max(metrics.loss) >= 8": lambda run: _loss(run) >= 8,
    "at(metrics.loss, -2) = 3": lambda run: _loss(run) - 2 == 3,
}


@pytest.mark.parametrize("text", FILTERS)
@pytest.mark.parametrize("few", [-1, 3000], ids=["walk", "few"])
def test_a_filter_finds_what_python_finds(
    store: Store, experiment: int, text: str, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_search, "_FEW", few)
    wanted = [each.name for each in everything(store, experiment) if FILTERS[text](each)]
    assert [each.name for each in everything(store, experiment, filter=text)] == wanted


def test_stages(store: Store, experiment: int) -> None:
    assert [each.name for each in search_runs(store, [experiment], stages=("deleted",)).runs] == ["gone"]
    assert len(search_runs(store, [experiment], stages=("active", "deleted")).runs) == 41


@pytest.mark.parametrize("token", ["?", "W10=", "WzEsMiwzXQ==", "bnVsbA==", "e30=", "W251bGxd"])
def test_a_token_of_another_search_is_refused(store: Store, experiment: int, token: str) -> None:
    with pytest.raises(Invalid, match="Invalid page token"):
        search_runs(store, [experiment], token=token)


def test_ordering_by_a_metric_reads_the_index_and_no_more(store: Store, experiment: int) -> None:
    page = search_runs(store, [experiment], order_by=["metrics.loss DESC"], limit=5)
    assert [each.metrics["loss"] for each in page.runs] == sorted(
        (each.metrics["loss"] for each in page.runs), reverse=True
    )
    assert page.token is not None


def test_a_field_may_be_ordered_by_once(store: Store, experiment: int) -> None:
    with pytest.raises(Invalid, match="duplicate fields"):
        search_runs(store, [experiment], order_by=["metrics.loss", "metrics.loss DESC"])
