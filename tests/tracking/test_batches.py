"""Batches of a log journal: each record once, however the pieces come; on every backend."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from mainspring.artifacts.local import LocalArtifactStore
from mainspring.domain.ids import new_id
from mainspring.errors import Invalid
from mainspring.store.opening import open_store
from mainspring.store.protocol import Store
from mainspring.tracking import find_run, metric_history
from mainspring.tracking.batches import (
    Batch,
    Begin,
    End,
    Entry,
    File,
    Log,
    Record,
    forget_journals,
    keep_batch,
    put_files,
)
from mainspring.tracking.files import find_file, root_of

RUN = new_id()
RECORDS: list[Record] = [
    Begin("e", "first", 1000, {"c": "1"}, {"kind": "test"}),
    Log(1001, 0, {"loss": 1.0, "other": 2.0}),
    Log(1002, 1, {"loss": 0.5}, {}, {"stage": "early"}),
    Log(1003, 2, {"loss": "nan"}, {"d": "2"}),
    Log(1004, 3, {"loss": "inf"}, {}, {"stage": "late"}),
    End("finished", 1005),
]


@pytest.fixture
def store(store_address: str) -> Iterator[Store]:
    opened = open_store(store_address)
    yield opened
    opened.close()


def keep(store: Store, first: int, last: int, records: list[Record] = RECORDS, journal: str = "j") -> list[str]:
    entries = [Entry(10 * number + 10, record) for number, record in enumerate(records)][first:last]
    return store.record(lambda t: keep_batch(t, Batch(journal, RUN, entries), author="ada"))


def test_a_whole_journal_is_a_run(store: Store) -> None:
    assert keep(store, 0, 6) == []
    run = find_run(store, RUN)
    assert (run.experiment, run.name, run.status, run.author) == ("e", "first", "finished", "ada")
    assert (run.started_ms, run.ended_ms) == (1000, 1005)
    assert run.parameters == {"c": "1", "d": "2"}
    assert run.tags == {"kind": "test", "stage": "late"}
    assert run.metrics["other"] == 2.0
    values = [value for _, _, value in metric_history(store, RUN, "loss")]
    assert values[:2] == [1.0, 0.5]
    assert math.isnan(values[2])
    assert values[3] > 1e308


@pytest.mark.parametrize("first", range(6))
@pytest.mark.parametrize("last", [3, 6])
def test_pieces_that_overlap_count_once_and_never_turn_a_tag_back(store: Store, first: int, last: int) -> None:
    keep(store, 0, 5)
    keep(store, min(first, last - 1), last)
    assert find_run(store, RUN).tags["stage"] == "late"
    keep(store, 0, 6)
    assert find_run(store, RUN).status == "finished"
    assert len(metric_history(store, RUN, "loss")) == 4


def test_what_the_run_refuses_is_told_and_the_rest_is_kept(store: Store) -> None:
    records: list[Record] = [
        RECORDS[0],
        Log(1001, 0, {"loss": 1.0}, {"c": "another"}),
        Log(1002, 1, {"loss": 0.5}, {"d": "1"}),
        Log(1003, 2, {}, {"d": "2"}, {"t": "kept"}),
    ]
    said = keep(store, 0, 4, records)
    assert len(said) == 2
    assert "'old_value': '1', 'new_value': 'another'" in said[0]
    run = find_run(store, RUN)
    assert len(metric_history(store, RUN, "loss")) == 2
    assert run.tags["t"] == "kept"
    assert run.parameters["c"] == "1"


def test_a_file_stays_below_its_run(store: Store, tmp_path: Path) -> None:
    artifacts = LocalArtifactStore(tmp_path / "artifacts")
    records: list[Record] = [
        RECORDS[0], File("a/b.txt", b"1", 1001), File("../../x", b"2", 1002), File("a/b.txt", b"3", 1003),
    ]  # fmt: skip
    batch = Batch("j", RUN, [Entry(10 * number + 10, record) for number, record in enumerate(records)])
    files = put_files(batch, artifacts)
    assert store.record(lambda t: keep_batch(t, batch, files=files)) == ["Invalid path"]
    root = root_of(find_run(store, RUN).artifact_uri)
    assert artifacts.read_bytes(find_file(store, f"{root}/a/b.txt").digest) == b"3"
    assert len(store.read("SELECT path FROM logged_files")) == 1


def test_a_run_that_is_gone_takes_no_records_and_stops_no_journal(store: Store) -> None:
    assert keep(store, 1, 3) == [f"Run with id={RUN} not found"]
    assert keep(store, 1, 3) == []


def test_a_batch_of_nobody_is_refused_and_erasing_forgets_its_journal(store: Store) -> None:
    with pytest.raises(Invalid, match="names its run"):
        store.record(lambda t: keep_batch(t, Batch("", RUN, [])))
    keep(store, 0, 6)
    store.record(lambda t: forget_journals(t, RUN))
    assert store.read("SELECT count(*) FROM log_journals") == [(0,)]
