"""Runs: begun, logged to, ended once, and found again."""

import math
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from mainspring.domain.ids import RunId
from mainspring.domain.moments import to_iso
from mainspring.errors import Invalid, NotFound
from mainspring.store.opening import open_store
from mainspring.store.protocol import Store
from mainspring.tracking import find_run, finish_run, list_runs, log_metrics, metric_history, set_tags, start_run
from mainspring.tracking.metrics import Point, history, sampled_history
from mainspring.tracking.runs import log_batch

NOW = datetime(2013, 4, 1, tzinfo=UTC)


@pytest.fixture
def store(store_address: str):
    opened = open_store(store_address)
    yield opened
    opened.close()


@pytest.fixture
def run_id(store: Store) -> RunId:
    return start_run(
        store, experiment="e", name="first", parameters={"c": 1.5, "path": Path("x")}, at=NOW, tags={"a": "b"}
    )


def test_a_run_is_found_with_what_it_was_given(store: Store, run_id: RunId) -> None:
    run = find_run(store, run_id)
    assert (run.run_id, run.experiment, run.name, run.status) == (run_id, "e", "first", "running")
    assert (run.started_at, run.ended_at) == (to_iso(NOW), None)
    assert (run.parameters, run.tags, run.metrics) == ({"c": "1.5", "path": "x"}, {"a": "b"}, {})


def test_a_run_keeps_its_first_ending(store: Store, run_id: RunId) -> None:
    finish_run(store, run_id, "failed", NOW + timedelta(hours=1))
    finish_run(store, run_id, "finished", NOW + timedelta(hours=2))
    run = find_run(store, run_id)
    assert (run.status, run.ended_at) == ("failed", to_iso(NOW + timedelta(hours=1)))


def test_the_latest_step_of_a_metric_counts_and_its_history_is_kept(store: Store, run_id: RunId) -> None:
    for step, value in ((0, 0.5), (2, np.float32(0.25)), (1, 0.75)):
        log_metrics(store, run_id, {"loss": value}, NOW, step=np.int64(step))
    log_metrics(store, run_id, {"loss": 0.125}, NOW + timedelta(seconds=1), step=2)
    log_metrics(store, run_id, {"loss": 0.125}, NOW + timedelta(seconds=1), step=2)  # told twice, kept once
    assert find_run(store, run_id).metrics == {"loss": 0.125}
    assert [(step, value) for step, _, value in metric_history(store, run_id, "loss")] == [
        (0, 0.5),
        (1, 0.75),
        (2, 0.25),
        (2, 0.125),
    ]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "many", None])
def test_a_metric_that_is_no_finite_number_is_refused_and_nothing_is_kept(
    store: Store, run_id: RunId, value: object
) -> None:
    with pytest.raises(Invalid, match="The metric `bad`"):
        log_metrics(store, run_id, {"good": 1.0, "bad": value}, NOW)  # type: ignore[dict-item]  # the point of the test
    assert find_run(store, run_id).metrics == {}


def test_tags_take_the_new_value(store: Store, run_id: RunId) -> None:
    set_tags(store, run_id, {"a": "c", "d": "e"})
    assert find_run(store, run_id).tags == {"a": "c", "d": "e"}


def test_a_run_that_does_not_exist_is_not_found_whatever_is_done_to_it(store: Store) -> None:
    nobody = RunId("0" * 32)
    for work in (
        lambda: log_metrics(store, nobody, {"loss": 1.0}, NOW),
        lambda: set_tags(store, nobody, {"a": "b"}),
        lambda: finish_run(store, nobody, "finished", NOW),
        lambda: find_run(store, nobody),
    ):
        with pytest.raises(NotFound, match=r"No run has the id|Run with id=0+ not found"):
            work()


def test_a_run_is_found_by_either_end_of_its_id(store: Store, run_id: RunId) -> None:
    other = start_run(store, experiment="e", name="second", parameters={}, at=NOW)
    assert find_run(store, run_id[-8:]).run_id == run_id
    assert find_run(store, other[-8:]).run_id == other
    with pytest.raises(NotFound, match="More than one run has"):
        find_run(store, run_id[:8])
    for short in ("", run_id[:3], "%" * 8):
        with pytest.raises(NotFound, match="No run has"):
            find_run(store, short)


def test_runs_are_listed_newest_first_with_their_metrics(store: Store) -> None:
    ids = []
    for number in range(1200):  # more than one statement can bind
        ids.append(
            start_run(
                store,
                experiment=f"e{number % 2}",
                name=str(number),
                parameters={"n": number},
                at=NOW + timedelta(number),
            )
        )
    log_metrics(store, ids[7], {"loss": 1.0}, NOW)
    found = list_runs(store, limit=5000)
    assert [run.run_id for run in found] == ids[::-1]
    assert found[-8].metrics == {"loss": 1.0}
    assert all(run.parameters == {"n": run.name} for run in found)
    assert [run.name for run in list_runs(store, experiment="e1", limit=2)] == ["1199", "1197"]
    assert list_runs(store, experiment="none") == []


def test_threads_log_to_one_run_and_nothing_is_lost(store: Store, run_id: RunId) -> None:
    def log(start: int) -> None:
        for step in range(start, start + 50):
            log_metrics(store, run_id, {"loss": float(step), "time": 1.0}, NOW, step=step)

    threads = [threading.Thread(target=log, args=(start,)) for start in (0, 50, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [value for _, _, value in metric_history(store, run_id, "loss")] == [float(step) for step in range(150)]
    assert find_run(store, run_id).metrics == {"loss": 149.0, "time": 1.0}


def test_a_history_is_sampled_evenly_and_ends_with_its_last_point(store: Store, run_id: RunId) -> None:
    points = [Point("loss", step / 4, 7, step) for step in range(10)]
    store.record(lambda transaction: log_batch(transaction, run_id, points=points))

    def steps(most: int, between: tuple[int, int] | None = None) -> list[int]:
        return [each.step for each in sampled_history(store, run_id, "loss", most=most, steps=between)]

    assert steps(5) == [0, 2, 4, 6, 9]
    assert steps(3) == [0, 4, 9]
    assert steps(100) == list(range(10))
    assert steps(5, (2, 4)) == [2, 3, 4]
    assert steps(5, (20, 40)) == []


def test_odd_values_are_kept_as_the_nearest_that_every_database_has(store: Store, run_id: RunId) -> None:
    values = (-0.0, math.inf, -math.inf, math.nan, 5e-324)
    points = [Point("odd", value, 7, step) for step, value in enumerate(values)]
    store.record(lambda transaction: log_batch(transaction, run_id, points=points))
    kept = [each.value for each in history(store, run_id, "odd")]
    assert [math.copysign(1, kept[0]), *kept[:3]] == [1, 0.0, sys.float_info.max, -sys.float_info.max]
    assert math.isnan(kept[3])
    assert kept[4] == 5e-324
    assert sampled_history(store, run_id, "odd", most=2)[0].value == 0.0
