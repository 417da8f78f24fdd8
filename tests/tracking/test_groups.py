"""Runs in groups: means and deviations against Python's own."""

import math
import statistics
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from mainspring.errors import Invalid
from mainspring.store.opening import open_store
from mainspring.store.protocol import Store
from mainspring.tracking import finish_run, start_run
from mainspring.tracking.experiments import find_experiment_named
from mainspring.tracking.groups import group_runs
from mainspring.tracking.metrics import Point
from mainspring.tracking.runs import log_batch

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LOSSES = {"tree": [0.5, 0.25, 0.75], "line": [1e9, 1e9 + 1, 1e9 + 2], "one": [3.0]}


@pytest.fixture
def store(store_address: str) -> Iterator[Store]:
    opened = open_store(store_address)
    for model, losses in LOSSES.items():
        for seed, loss in enumerate(losses):
            run = start_run(opened, experiment="e", name="r", parameters={"model": model, "seed": seed}, at=NOW)
            points = [Point("loss", loss + 1, 1, 0), Point("loss", loss, 1, 1)]
            opened.record(lambda t, run=run, points=points: log_batch(t, run, points=points))
            finish_run(opened, run, "finished", NOW)
    nan = start_run(opened, experiment="e", name="r", parameters={"model": "tree"}, at=NOW)
    opened.record(lambda t: log_batch(t, nan, points=[Point("loss", math.nan, 1, 0)]))
    yield opened
    opened.close()


@pytest.fixture
def experiment(store: Store) -> int:
    return find_experiment_named(store, "e").experiment_id


def test_each_group_has_its_mean_and_deviation(store: Store, experiment: int) -> None:
    groups = {group.key["params.model"]: group for group in group_runs(store, [experiment], ["params.model"])}
    assert {name: group.runs for name, group in groups.items()} == {"tree": 4, "line": 3, "one": 1}
    for name, losses in LOSSES.items():
        summary = groups[name].metrics["loss"]
        assert (summary.runs, summary.lowest, summary.highest) == (len(losses), min(losses), max(losses))
        assert summary.mean == pytest.approx(statistics.mean(losses))
        wanted = statistics.stdev(losses) if len(losses) > 1 else None
        assert summary.deviation == (None if wanted is None else pytest.approx(wanted))


def test_groups_are_filtered_measured_and_ordered_by_a_mean(store: Store, experiment: int) -> None:
    groups = group_runs(
        store,
        [experiment],
        ["params.model", "attributes.status"],
        filter="params.model != 'one' and status = 'FINISHED'",
        order_by="metrics.loss DESC",
        measure="max",
    )
    assert [group.key for group in groups] == [
        {"params.model": "line", "attributes.status": "FINISHED"},
        {"params.model": "tree", "attributes.status": "FINISHED"},
    ]
    assert groups[1].metrics["loss"].highest == 1.75


@pytest.mark.parametrize(("by", "order"), [([], ""), (["metrics.loss"], ""), (["params.model"], "params.model")])
def test_what_groups_nothing_is_refused(store: Store, experiment: int, by: list[str], order: str) -> None:
    with pytest.raises(Invalid):
        group_runs(store, [experiment], by, order_by=order)
