"""Questions to the sealed log: labels that come late or twice, spans, shadows, and answers that stay fast for years."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from mainspring.data.table import n_rows
from mainspring.domain.ids import new_id
from mainspring.domain.moments import to_iso
from mainspring.errors import Corrupt, NotFound
from mainspring.predictions.gaps import gaps
from mainspring.predictions.log import scores_of
from mainspring.predictions.records import LostRecord
from mainspring.predictions.segments import features_of

START = datetime(2013, 4, 1, tzinfo=UTC)
DAY = timedelta(days=1)
FOREVER = {"labelled_from": datetime(1970, 1, 1, tzinfo=UTC), "labelled_until": START + timedelta(days=5000)}


def test_a_prediction_is_found_with_everything_that_is_known_of_it(ground) -> None:
    columns = {"distance": [1.5], "carrier": [None], "sold_at": ["2013-03-01T10:00:00+02:00"]}
    record = ground.asked(at=START, request_id="r", columns=columns, scores=[0.25], version=3, route="canary")
    ground.write(record)
    ground.seal()
    found = ground.log.find(record.ids[0])
    assert (found.prediction_id, found.model, found.version, found.route) == (record.ids[0], "m", 3, "canary")
    assert (found.at, found.request_id, found.score, found.latency_ms) == (to_iso(START), "r", 0.25, 1.5)
    assert found.features == {
        "distance": 1.5,
        "carrier": None,
        "seats": None,
        "night": None,
        "sold_at": "2013-03-01T08:00:00.000000Z",
    }
    assert (found.label, found.labelled_at) == (None, None)
    ground.write(ground.labels(record.ids, ["yes"], at=START + DAY))
    ground.seal()
    found = ground.log.find(record.ids[0])
    assert (found.label, found.labelled_at) == ("yes", to_iso(START + DAY))


def test_scores_of_many_classes_come_back_in_order(ground) -> None:
    scores = [[index / 66 for index in range(12)], [0.0] * 11 + [1.0]]
    record = ground.asked(2, scores=scores)
    ground.write(record)
    ground.seal()
    assert ground.log.find(record.ids[1]).score == scores[1]
    np.testing.assert_array_equal(scores_of(ground.log.window("m", since=START, until=START + DAY)), scores)


def test_an_unknown_prediction_is_not_found(ground) -> None:
    ground.write(ground.asked())
    ground.seal()
    for identifier in (new_id(), "", "'; --"):
        with pytest.raises(NotFound, match="holds no prediction"):
            ground.log.find(identifier)


def test_the_newest_prediction_is_named_and_an_empty_log_says_so(ground) -> None:
    with pytest.raises(NotFound, match="no predictions yet"):
        ground.log.newest()
    record = ground.asked(3)
    ground.write(record)
    ground.seal()
    assert ground.log.newest() == record.ids[-1]


def test_an_empty_log_has_no_rows(ground) -> None:
    log = ground.log
    assert n_rows(log.labelled("m", **FOREVER)) == 0
    assert n_rows(log.recent("m", until=START, most=5)) == 0
    assert n_rows(log.window("m", since=START, until=START + DAY)) == 0
    assert log.answered("m", since=START, until=START + DAY) == {}
    assert log.counts("m") == (0, 0)
    assert log.last_at("m") is None


def test_labels_join_predictions_made_long_before(ground) -> None:
    record = ground.asked(2, columns={"distance": [1, 2], "carrier": ["AA", None]}, scores=[0.1, 0.9])
    ground.write(record)
    ground.seal()
    late = START + 400 * DAY
    ground.write(ground.labels([record.ids[1], new_id()], ["yes", "no"], at=late))
    ground.seal()
    found = ground.log.labelled("m", labelled_from=late, labelled_until=late + DAY)
    assert found["id"].tolist() == [record.ids[1]]
    assert found["label"].tolist() == ["yes"]
    assert found["at"].tolist() == [START.replace(tzinfo=None)]
    assert found["labelled_at"].tolist() == [late.replace(tzinfo=None)]
    assert scores_of(found).tolist() == [0.9]
    features = features_of(found)
    assert (features["distance"].tolist(), features["carrier"].tolist()) == ([2.0], [None])


def test_labels_before_and_behind_the_span_are_left_out(ground) -> None:
    record = ground.asked(3)
    ground.write(record, *(ground.labels([record.ids[day]], ["yes"], at=START + day * DAY) for day in range(3)))
    ground.seal()
    found = ground.log.labelled("m", labelled_from=START + DAY, labelled_until=START + 2 * DAY)
    assert found["id"].tolist() == [record.ids[1]]


@pytest.mark.parametrize("seal_between", [True, False])
def test_of_two_labels_the_later_counts_and_the_row_counts_once(ground, seal_between: bool) -> None:
    record = ground.asked()
    ground.write(record, ground.labels(record.ids, ["no"], at=START + DAY))
    if seal_between:
        ground.seal()
    ground.write(ground.labels(record.ids, ["yes"], at=START + 2 * DAY))
    ground.seal()
    log = ground.log
    assert log.labelled("m", **FOREVER)["label"].tolist() == ["yes"]
    assert log.find(record.ids[0]).label == "yes"
    assert log.recent("m", until=START + 9 * DAY, most=9)["label"].tolist() == ["yes"]
    # day by day it is one row, on the day of its first label, with what was known then
    days = [
        log.labelled("m", labelled_from=START + day * DAY, labelled_until=START + (day + 1) * DAY) for day in (1, 2)
    ]
    assert [n_rows(each) for each in days] == [1, 0]
    assert days[0]["label"].tolist() == ["no"]


def test_of_two_labels_of_one_moment_the_one_sealed_later_counts(ground) -> None:
    record = ground.asked()
    ground.write(record)
    for label in ("a", "c", "b"):
        ground.write(ground.labels(record.ids, [label], at=START))
        ground.seal()
    assert ground.log.labelled("m", **FOREVER)["label"].tolist() == ["b"]
    assert ground.log.find(record.ids[0]).label == "b"


def test_labels_are_filtered_by_version_and_route(ground) -> None:
    champion, canary = ground.asked(version=1), ground.asked(version=2, route="canary")
    ids = champion.ids + canary.ids
    ground.write(champion, canary, ground.labels(ids, ["no", "yes"], at=START))
    ground.seal()
    log = ground.log
    assert log.labelled("m", **FOREVER)["version"].tolist() == [1, 2]
    assert log.labelled("m", **FOREVER, version=2)["id"].tolist() == canary.ids
    assert log.labelled("m", **FOREVER, route="champion")["id"].tolist() == champion.ids
    assert n_rows(log.labelled("m", **FOREVER, version=1, route="canary")) == 0
    assert n_rows(log.labelled("other", **FOREVER)) == 0


def test_answers_among_given_ones_are_counted_for_a_version_also_as_a_shadow(ground) -> None:
    shown = ground.asked(3)
    ground.write(shown, ground.asked(2, ids=shown.ids[:2], version=2, route="shadow", scores=[0.9, 0.9]))
    ground.seal()
    ids = [*shown.ids, "f" * 32]
    assert [ground.log.answered_among("m", version, ids) for version in (1, 2, 3)] == [3, 2, 0]
    assert ground.log.answered_among("m", 1, []) == 0


def test_a_shadow_is_seen_only_by_whoever_asks_for_it(ground) -> None:
    shown = ground.asked(2, request_id="r")
    shadow = ground.asked(2, ids=shown.ids, version=2, route="shadow", scores=[0.9, 0.9], request_id="r")
    ground.write(shadow, shown, ground.labels(shown.ids, ["no", "yes"], at=START))
    ground.seal()
    log = ground.log
    assert log.find(shown.ids[0]).version == 1
    assert log.answered("m", since=START, until=START + DAY) == {"r": shown.ids}
    assert log.labelled("m", **FOREVER)["version"].tolist() == [1, 1]
    assert log.labelled("m", **FOREVER, route="shadow")["version"].tolist() == [2, 2]
    assert log.window("m", since=START, until=START + DAY)["version"].tolist() == [1, 1]
    assert log.recent("m", until=START + DAY, most=2)["version"].tolist() == [1, 1]


def test_recent_gives_the_newest_rows_oldest_first(ground) -> None:
    ids = []
    for day in range(30):
        record = ground.asked(3, at=START + day * DAY)
        ground.write(record, ground.labels(record.ids[:1], ["yes"], at=START + day * DAY))
        ground.seal()
        ids += record.ids
    log = ground.log
    assert log.recent("m", until=START + 30 * DAY, most=7)["id"].tolist() == ids[-7:]
    assert log.recent("m", until=START + 10 * DAY, most=4)["id"].tolist() == ids[26:30]
    assert log.recent("m", until=START + 10 * DAY, most=9, since=START + 8 * DAY)["id"].tolist() == ids[24:30]
    everything = log.recent("m", until=START + 30 * DAY, most=1000)
    assert everything["id"].tolist() == ids
    assert everything["label"].tolist() == ["yes", None, None] * 30


def test_recent_does_not_know_labels_of_the_future(ground) -> None:
    record = ground.asked()
    ground.write(record, ground.labels(record.ids, ["yes"], at=START + 2 * DAY))
    ground.seal()
    assert ground.log.recent("m", until=START + DAY, most=1)["label"].tolist() == [None]


def test_a_window_holds_its_beginning_and_not_its_end(ground) -> None:
    records = [ground.asked(at=START + day * DAY, version=1 + day % 2) for day in range(4)]
    ground.write(*records)
    ground.seal()
    log = ground.log
    found = log.window("m", since=START + DAY, until=START + 3 * DAY)
    assert found["id"].tolist() == records[1].ids + records[2].ids
    assert log.window("m", since=START, until=START + 4 * DAY, version=2)["id"].tolist() == [
        *records[1].ids,
        *records[3].ids,
    ]


def test_answered_names_the_rows_of_each_request_in_order(ground) -> None:
    first, second, third = (ground.asked(3, request_id=name) for name in ("a", "b", None))
    ground.write(first, second, third, ground.asked(1, at=START + DAY, request_id="later"))
    ground.seal()
    found = ground.log.answered("m", since=START, until=START + DAY)
    assert found == {"a": first.ids, "b": second.ids}


def test_a_row_shows_only_the_features_its_version_has(ground) -> None:
    from mainspring.domain.signature import Column, Signature

    old = ground.asked(1, version=1, columns={"distance": [1]})
    ground.write(old)
    ground.seal()
    ground.signature = Signature((Column("distance", "string"), Column("extra", "number")), "y", "regression")
    ids = [min(old.ids[0], "0" * 32), "f" * 32]  # spans the other segment, so both are looked at
    new = ground.asked(2, version=2, columns={"distance": ["far", "near"], "extra": [1, 2]}, ids=ids)
    ground.write(new)
    ground.seal()
    log = ground.log
    assert set(log.find(old.ids[0]).features) == {"distance", "carrier", "seats", "night", "sold_at"}
    assert log.find(ids[1]).features == {"distance": "near", "extra": 2.0}
    assert log.window("m", since=START, until=START + DAY, version=1)["x_distance"].tolist() == [1.0]


def test_a_segment_that_is_merged_under_a_question_is_looked_for_anew(ground, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in range(7):
        ground.write(ground.asked(2, at=START + day * DAY))
        ground.seal()
    log = ground.log
    scan = type(log)._scan
    merged = []

    def merge_first(self, found) -> str:
        if not merged:
            merged.append(True)
            ground.write(ground.asked(2, at=START + 7 * DAY))
            ground.seal()
        return scan(self, found)

    monkeypatch.setattr(type(log), "_scan", merge_first)
    assert n_rows(log.window("m", since=START, until=START + 9 * DAY)) == 16
    assert len(ground.files()) == 1


def test_a_segment_that_is_gone_is_corrupt(ground) -> None:
    ground.write(ground.asked())
    ground.seal()
    (name,) = ground.files()
    (Path(ground.home) / "segments" / name).unlink()
    with pytest.raises(Corrupt, match="cannot be read"):
        ground.log.window("m", since=START, until=START + DAY)


def test_years_of_daily_sealing_leave_few_files_that_answer_everything(ground) -> None:
    """200 days of traffic. What a question costs is the number of files that it opens."""
    ids: list[str] = []
    for day in range(200):
        at = START + day * DAY
        record = ground.asked(20, at=at, request_id=f"r{day}")
        before = ids[-20:]
        ground.write(record, *([ground.labels(before, ["yes"] * 20, at=at)] if before else []))
        ground.seal(at)
        ids += record.ids
    assert len(ground.files()) < 50
    log, last = ground.log, START + 199 * DAY
    questions = {
        "answered": lambda: log.answered("m", since=last, until=last + DAY),
        "labelled": lambda: log.labelled("m", labelled_from=last, labelled_until=last + DAY, version=1),
        "find": lambda: log.find(ids[2500]),
        "recent": lambda: log.recent("m", until=last + DAY, most=200),
        "everything": lambda: log.labelled("m", **FOREVER),
    }
    for name, ask in questions.items():
        assert ask(), name


def test_a_request_that_came_again_counts_once_with_its_oldest_answer(ground) -> None:
    sent = [ground.asked(3, request_id="r", scores=[0.1, 0.2, 0.3]) for _ in range(3)]
    other = ground.asked(1, request_id="s", at=START + DAY)
    ground.write(*sent, other)
    ground.seal()
    ids = [each for record in (*sent, other) for each in record.ids]
    ground.write(ground.labels(ids, ["yes"] * len(ids), at=START + DAY))
    ground.seal()
    assert set(ground.log.labelled("m", **FOREVER)["id"]) == {*sent[0].ids, *other.ids}
    assert set(ground.log.recent("m", until=START + 2 * DAY, most=100)["id"]) == {*sent[0].ids, *other.ids}
    assert ground.log.repeats("m", since=START, until=START + DAY) == (9, 6)
    assert ground.log.repeats("m", since=START + DAY, until=START + 2 * DAY) == (1, 0)
    assert n_rows(ground.log.window("m", since=START, until=START + DAY)) == 9


def test_an_id_that_names_different_requests_names_none(ground) -> None:
    ground.write(*(ground.asked(2, request_id="fixed", scores=[0.1, score]) for score in (0.2, 0.3, 0.2)))
    ground.write(*(ground.asked(1, scores=[0.5]) for _ in range(2)))
    ground.seal()
    assert ground.log.repeats("m", since=START, until=START + DAY) == (8, 0)


def test_an_answer_of_another_version_does_not_make_an_id_ambiguous(ground) -> None:
    first, again = (ground.asked(1, request_id="r", version=v, scores=[v / 10]) for v in (1, 2))
    ground.write(first, again)
    ground.seal()
    assert ground.log.repeats("m", since=START, until=START + DAY) == (2, 1)
    assert ground.log.recent("m", until=START + DAY, most=10)["id"].tolist() == first.ids


def test_requests_that_were_refused_are_told_with_when_and_why(ground) -> None:
    lost = LostRecord(
        model="m", first_at=to_iso(START), last_at=to_iso(START + DAY / 2), requests=3, rows=30, reason="no space"
    )
    ground.write(ground.asked(), lost, ground.asked())
    assert ground.seal() == 2
    assert gaps(ground.store, "m", since=START, until=START + DAY) == [lost]
    assert gaps(ground.store, "m", since=START + DAY, until=START + 2 * DAY) == []
    assert gaps(ground.store, "other", since=START, until=START + DAY) == []
    assert ground.seal() == 0
    assert len(gaps(ground.store, "m", since=START, until=START + DAY)) == 1
