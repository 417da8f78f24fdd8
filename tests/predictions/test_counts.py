"""Counts of segments: always the counts of the rows, however these were sealed, merged, cut, redacted or forgotten."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from mainspring.data.profile import Counts, Profile, count, profile
from mainspring.domain.moments import to_iso
from mainspring.predictions import log as log_module
from mainspring.predictions.retention import forget_before
from mainspring.predictions.segments import features_of

from .conftest import START, Ground

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
CARRIERS = ["EV", "UA", None, "never seen"]


@pytest.fixture
def counting(ground: Ground) -> Iterator[Ground]:
    rng = np.random.default_rng(0)
    ground.profile = profile(
        {
            "distance": rng.normal(1_000, 300, 5_000),
            "carrier": rng.choice(["EV", "UA", "DL"], 5_000).astype(object),
            "seats": rng.integers(20, 200, 5_000).astype(np.float64),
        }
    )
    return ground


def serve(ground: Ground, minutes: int, *, seed: int = 0, **changed: object) -> None:
    """Write a request of three rows every 20 minutes, from START on."""
    rng = np.random.default_rng(seed)
    for minute in range(0, minutes, 20):
        columns: dict[str, list[object]] = {
            "distance": [*rng.normal(1_000, 300, 2).tolist(), None],
            "carrier": [CARRIERS[each] for each in rng.integers(0, 4, 3)],
            "seats": rng.integers(20, 200, 3).tolist(),
        }
        ground.write(ground.asked(3, at=START + minute * MINUTE, columns=columns, **changed))  # type: ignore[arg-type]


def by_rows(ground: Ground, since: int, until: int) -> Counts:
    """Count the window's rows anew, in minutes from START."""
    assert ground.profile is not None
    rows = ground.log.window("m", since=START + since * MINUTE, until=START + until * MINUTE, version=1)
    whole = count(ground.profile, features_of(rows))
    return Counts(whole.rows, {name: replace(each, unseen=()) for name, each in whole.columns.items()})


def counted(ground: Ground, since: int, until: int, reference: Profile | None = None) -> Counts:
    reference = reference or ground.profile
    assert reference is not None
    return ground.log.counted("m", reference, since=START + since * MINUTE, until=START + until * MINUTE, version=1)


def assert_same(ours: Counts, rows: Counts) -> None:
    assert ours.rows == rows.rows
    assert ours.columns.keys() == rows.columns.keys()
    for name, each in ours.columns.items():
        other = rows.columns[name]
        assert replace(each, total=0.0) == replace(other, total=0.0), name
        assert each.total == pytest.approx(other.total, rel=1e-12)


@pytest.mark.parametrize(("since", "until"), [(0, 600), (60, 300), (45, 290), (65, 110), (62, 100), (-500, 5_000)])
def test_a_window_is_the_sum_of_its_hours_and_the_rows_of_the_hours_it_cuts(
    counting: Ground, since: int, until: int
) -> None:
    serve(counting, 600)
    counting.seal()
    assert counting.log.window("m", since=START + since * MINUTE, until=START + until * MINUTE)
    assert_same(counted(counting, since, until), by_rows(counting, since, until))


def test_whole_hours_need_no_row(counting: Ground) -> None:
    serve(counting, 600)
    counting.seal()
    expected = by_rows(counting, 60, 540)
    for each in (counting.home / "segments").glob("*.parquet"):
        each.unlink()
    assert_same(counted(counting, 60, 540), expected)


def test_merged_segments_keep_the_sum(counting: Ground) -> None:
    for seed in range(20):
        serve(counting, 200, seed=seed)
        counting.seal()
    assert len(counting.files()) < 20
    assert_same(counted(counting, 0, 200), by_rows(counting, 0, 200))
    paths = {row[0] for row in counting.store.read("SELECT DISTINCT path FROM segment_counts")}
    assert paths == set(counting.named())


def test_segments_without_counts_are_counted_when_asked(counting: Ground) -> None:
    known, counting.profile = counting.profile, None
    serve(counting, 200)
    counting.seal()
    counting.profile = known
    serve(counting, 200, seed=1)
    counting.seal()
    assert len(counting.store.read("SELECT DISTINCT path FROM segment_counts")) == 1
    assert_same(counted(counting, 0, 190), by_rows(counting, 0, 190))


def test_a_merge_with_what_was_not_counted_is_not_taken_for_the_whole(counting: Ground) -> None:
    known, counting.profile = counting.profile, None
    serve(counting, 40)
    counting.seal()
    counting.profile = known
    for seed in range(1, 9):
        serve(counting, 40, seed=seed)
        counting.seal()
    assert_same(counted(counting, 0, 60), by_rows(counting, 0, 60))


def test_shadows_and_other_versions_do_not_count(counting: Ground) -> None:
    serve(counting, 120)
    expected_rows = 18
    serve(counting, 120, seed=1, route="shadow")
    serve(counting, 120, seed=2, version=2)
    counting.seal()
    assert counted(counting, 0, 120).rows == expected_rows
    assert_same(counted(counting, 0, 120), by_rows(counting, 0, 120))


def test_a_column_left_out_for_a_while_counts_for_the_rows_that_had_it(counting: Ground) -> None:
    serve(counting, 60)
    counting.seal()
    rows = counting.asked(2, at=START + 10 * MINUTE, columns={"distance": [1.0, 2.0], "seats": [30, 40]})
    counting.write(replace_redacted(rows))
    counting.seal()
    found = counted(counting, 0, 60)
    assert found.columns["carrier"].rows == 9
    assert found.columns["distance"].rows == found.rows == 11


def replace_redacted(record):  # type: ignore[no-untyped-def]
    batch = record.as_batch()
    return type(batch)(**{name: getattr(batch, name) for name in batch.__struct_fields__} | {"redacted": ["carrier"]})


def test_names_that_people_sent_are_not_kept_among_the_counts(counting: Ground) -> None:
    serve(counting, 200)
    counting.seal()
    kept = " ".join(row[0] for row in counting.store.read("SELECT counts FROM segment_counts"))
    assert "never seen" not in kept


def test_forgotten_segments_leave_no_counts(counting: Ground) -> None:
    serve(counting, 200)
    counting.seal()
    forget_before(counting.store, counting.home / "segments", START + DAY)
    assert counting.store.read("SELECT * FROM segment_counts") == []
    assert counted(counting, 0, 200).rows == 0


def test_hours_of_a_span_cover_it_once() -> None:
    at = START + 7 * MINUTE
    within = log_module._hours_of(at, at + 9 * MINUTE)
    assert (within.whole, within.cut) == (("~", "~"), [(to_iso(at), to_iso(at + 9 * MINUTE))])
    whole = log_module._hours_of(START, START + DAY)
    assert (whole.whole, whole.cut) == (("2013-04-01T00", "2013-04-02T00"), [])
