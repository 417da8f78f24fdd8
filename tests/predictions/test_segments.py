"""Sealing: every frame exactly once whatever dies when, typed columns, and few files however often it is done."""

import random
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pytest

from mainspring.data.table import read_columns
from mainspring.domain.moments import to_iso
from mainspring.domain.signature import Signature
from mainspring.errors import Corrupt, NotFound
from mainspring.predictions.journal import JournalWriter
from mainspring.predictions.records import encode_record
from mainspring.predictions.segments import seal, segments, traffic
from mainspring.store.opening import open_store

START = datetime(2013, 4, 1, tzinfo=UTC)

# Writes records, seals them and starts anew, for ever; says the ids that were handed to the journal.
SEALER = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from mainspring.domain.ids import new_id
from mainspring.domain.moments import to_iso
from mainspring.domain.signature import Column, Signature
from mainspring.predictions.journal import JournalWriter
from mainspring.predictions.records import LabelRecord, PredictionRecord, encode_record
from mainspring.predictions.segments import seal
from mainspring.store.opening import open_store
home = Path(sys.argv[1])
signature = Signature((Column("distance", "number"),), "late", "binary", ("no", "yes"))
store, now = open_store(sys.argv[2]), datetime.now(UTC)
while True:
    journal = JournalWriter(home / "journals", name="live", rotate_bytes=2000)
    for _ in range(10):
        ids = [new_id(), new_id()]
        journal.append(encode_record(PredictionRecord(
            model="m", version=1, route="champion", at=to_iso(now), received_at=to_iso(now), request_id=None, ids=ids,
            columns={"distance": [1, 2]}, scores=[0.1, 0.2], latency_ms=1, warnings=0)))
        journal.append(encode_record(LabelRecord(
            model="m", at=to_iso(now), ids=ids, labels=["yes", "no"], source=None)))
        os.write(1, ("\\n".join(ids) + "\\n").encode())
        seal(store, home / "journals", home / "segments", lambda model, version: signature, at=now)
    journal.close()
"""


def sealed_ids(ground, kind: str) -> list[str]:
    with duckdb.connect() as connection:
        paths = [str(ground.home / "segments" / each) for each in ground.named() if each.startswith(kind)]
        return [row[0] for row in connection.execute("SELECT id FROM read_parquet(?)", [paths]).fetchall()]


def only_file(ground) -> dict[str, np.ndarray]:
    (name,) = ground.files()
    return read_columns(ground.home / "segments" / name)


def test_what_was_journaled_is_sealed_once(ground) -> None:
    first = ground.asked(3)
    ground.write(first, ground.labels(first.ids[:2], ["yes", "no"], at=START))
    assert ground.seal() == 5
    assert ground.seal() == 0
    assert sealed_ids(ground, "predictions") == first.ids
    assert sealed_ids(ground, "labels") == first.ids[:2]
    assert list((ground.home / "journals").iterdir()) == []
    assert ground.store.read("SELECT * FROM journal_offsets") == []


def test_a_live_journal_is_sealed_as_it_grows_and_left_in_place(ground) -> None:
    ids = []
    with JournalWriter(ground.home / "journals", name="live") as journal:
        for _ in range(3):
            record = ground.asked(2)
            ids += record.ids
            journal.append(encode_record(record))
            assert ground.seal() == 2
            assert len(list((ground.home / "journals").iterdir())) == 1
    assert ground.seal() == 0
    assert list((ground.home / "journals").iterdir()) == []
    assert sorted(sealed_ids(ground, "predictions")) == ids


@pytest.mark.parametrize("round_", range(2))
def test_every_row_is_sealed_exactly_once_whenever_the_sealer_is_killed(
    ground, store_address: str, round_: int
) -> None:
    chance = random.Random(round_)
    ground.store.close()
    said: list[str] = []
    for _ in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", SEALER, str(ground.home), store_address], stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            said += [child.stdout.readline().decode().strip() for _ in range(chance.randrange(1, 50))]
            child.send_signal(signal.SIGKILL)
            said += [line.decode() for line in child.stdout.read().split(b"\n")[:-1]]
    ground.store = open_store(store_address)
    ground.seal()
    found, labelled = sealed_ids(ground, "predictions"), sealed_ids(ground, "labels")
    assert len(found) == len(set(found))
    assert len(labelled) == len(set(labelled))
    assert set(said) <= set(found) & set(labelled)
    assert len(found) - len(said) <= 4 * 2  # journaled and not yet said: one record a round
    assert ground.files() == ground.named()
    rows = ground.store.read("SELECT sum(n_rows) FROM log_segments WHERE kind = 'predictions'")
    assert rows == [(len(found),)]
    assert sum(each[2] for each in traffic(ground.store) if each[1] == "predictions") == len(found)


def test_two_processes_that_seal_at_once_seal_each_row_once(ground, store_address: str) -> None:
    records = [ground.asked(2) for _ in range(200)]
    with JournalWriter(ground.home / "journals", name="test", rotate_bytes=5000) as journal:
        for record in records:
            journal.append(encode_record(record))
    program = SEALER.partition("while True")[0] + (
        "print(seal(store, home / 'journals', home / 'segments', lambda model, version: signature, at=now))"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", program, str(ground.home), store_address], stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    assert sum(int(child.communicate(timeout=60)[0]) for child in children) == 400
    assert sorted(sealed_ids(ground, "predictions")) == sorted(each for record in records for each in record.ids)


def test_what_a_dead_sealer_left_is_swept(ground) -> None:
    ground.write(ground.asked())
    ground.seal()
    folder = ground.home / "segments"
    (folder / "predictions-dead.parquet").write_bytes(b"renamed and not committed")
    (folder / "predictions-dead.tmp").write_bytes(b"half")
    ground.store.record(lambda t: t.execute("INSERT INTO journal_offsets VALUES ('gone.journal', 7, 0)"))
    ground.seal()
    assert ground.files() == ground.named()
    assert [each for each in folder.iterdir() if each.suffix == ".tmp"] == []
    assert ground.store.read("SELECT * FROM journal_offsets") == []


def test_columns_have_the_types_of_the_signature(ground) -> None:
    columns = {
        "distance": [1, None, 2.5],
        "carrier": ["AA", None, "it's"],
        "seats": [100, 200, None],
        "night": [True, False, None],
        "sold_at": ["2013-03-01T10:00:00+02:00", None, "2013-03-02"],
        "unknown": [1, 2, 3],
    }
    ground.write(ground.asked(3, columns=columns, request_id="r"))
    ground.seal()
    found = only_file(ground)
    np.testing.assert_array_equal(found["x_distance"], [1, np.nan, 2.5])
    assert found["x_carrier"].tolist() == ["AA", None, "it's"]
    np.testing.assert_array_equal(found["x_seats"], [100, 200, np.nan])
    np.testing.assert_array_equal(found["x_night"], [1, 0, np.nan])
    assert found["x_sold_at"].astype(str).tolist() == [
        "2013-03-01T08:00:00.000000",
        "NaT",
        "2013-03-02T00:00:00.000000",
    ]
    assert "x_unknown" not in found
    assert found["request_id"].tolist() == ["r"] * 3


def test_columns_without_any_value_keep_their_types(ground) -> None:
    ground.write(ground.asked(2, columns={}))
    ground.seal()
    found = only_file(ground)
    assert {name: array.dtype.kind for name, array in found.items() if name.startswith("x_")} == {
        "x_distance": "f",
        "x_carrier": "O",
        "x_seats": "f",
        "x_night": "f",
        "x_sold_at": "M",
    }
    assert found["request_id"].tolist() == [None, None]


def test_a_text_column_that_begins_with_many_gaps_stays_text(ground) -> None:
    columns = {"carrier": [None] * 5000 + ["AA"], "distance": [1.0] * 5001}
    ground.write(ground.asked(5001, columns=columns))
    ground.seal()
    assert only_file(ground)["x_carrier"][-1] == "AA"


def test_values_that_do_not_fit_their_column_are_missing_and_stop_nothing(ground) -> None:
    columns = {"distance": ["far", 1.0], "carrier": [7, "AA"], "sold_at": ["soon", 5], "seats": [[1], 2]}
    ground.write(ground.asked(2, columns=columns))
    assert ground.seal() == 2
    found = only_file(ground)
    np.testing.assert_array_equal(found["x_distance"], [np.nan, 1])
    np.testing.assert_array_equal(found["x_seats"], [np.nan, 2])
    assert found["x_carrier"].tolist() == ["7", "AA"]
    assert np.isnat(found["x_sold_at"]).all()


def test_names_of_features_cannot_hide_columns_of_the_log(ground) -> None:
    from mainspring.domain.signature import Column

    names = ("id", "at", "version", 'quo"te', "score", "X_ID")
    ground.signature = Signature(tuple(Column(name, "number") for name in names), "y", "regression")
    ground.write(ground.asked(1, columns={name: [number] for number, name in enumerate(names)}, scores=[9.0]))
    ground.seal()
    found = only_file(ground)
    assert [found["x_" + name][0] for name in names] == [0, 1, 2, 3, 4, 5]
    assert found["score"][0] == 9


def test_scores_of_many_classes_have_a_column_each(ground) -> None:
    ground.write(ground.asked(2, scores=[[0.1, 0.2, 0.7], [1.0, 0.0, 0.0]]))
    ground.seal()
    found = only_file(ground)
    assert [found[f"score_{index}"].tolist() for index in range(3)] == [[0.1, 1.0], [0.2, 0.0], [0.7, 0.0]]
    assert "score" not in found


def test_a_version_the_registry_does_not_know_is_logged_by_what_was_asked(ground) -> None:
    def unknown(model: str, version: int) -> Signature:
        raise NotFound("no such version")

    ground.write(ground.asked(2, columns={"a": [1, None], "b": ["x", 2]}))
    assert seal(ground.store, ground.home / "journals", ground.home / "segments", unknown, at=START) == 2
    found = only_file(ground)
    np.testing.assert_array_equal(found["x_a"], [1, np.nan])
    assert found["x_b"].tolist() == ["x", "2"]


def test_records_without_rows_are_passed_over(ground) -> None:
    empty = ground.asked(1, ids=None, columns={}, scores=[])
    empty.ids.clear()
    ground.write(empty, ground.labels([], [], at=START))
    assert ground.seal() == 0
    assert ground.files() == []


def test_a_folder_with_quotes_and_patterns_in_its_name_can_be_sealed_into(tmp_path: Path, ground) -> None:
    ground.home = tmp_path / "it's [v2] *" / "year=2013"
    first = ground.asked(2)
    ground.write(first)
    assert ground.seal() == 2
    assert ground.log.find(first.ids[1]).features["distance"] == 1
    assert "x_year" not in ground.log.window("m", since=START, until=START + timedelta(days=1))
    assert "year" not in ground.log.window("m", since=START, until=START + timedelta(days=1))


def test_damage_in_a_journal_is_told_once_and_the_rest_is_sealed(ground) -> None:
    records = [ground.asked(1) for _ in range(3)]
    with JournalWriter(ground.home / "journals", name="a") as journal:
        for record in records:
            journal.append(encode_record(record))
    (path,) = (ground.home / "journals").iterdir()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    good = ground.asked(1)
    ground.write(good)
    with pytest.raises(Corrupt, match="damaged") as caught:
        ground.seal()
    assert ".journal.damaged byte" in caught.value.where
    assert sorted(sealed_ids(ground, "predictions")) == sorted([*records[0].ids, *good.ids])
    assert [each.suffix for each in (ground.home / "journals").iterdir()] == [".damaged"]
    assert ground.seal() == 0


def test_spans_of_segments_prune_by_time_id_and_version(ground) -> None:
    days = [START + timedelta(days=day) for day in range(5)]
    made = []
    for day in days:
        made.append(ground.asked(2, at=day, version=1 + (day == days[4])))
        ground.write(made[-1])
        ground.seal(day)
    store = ground.store
    assert len(segments(store, "m", "predictions")) == 5
    assert len(segments(store, "other", "predictions")) == 0
    assert len(segments(store, "m", "predictions", since=to_iso(days[3]))) == 2
    assert len(segments(store, "m", "predictions", until=to_iso(days[3]))) == 3
    assert len(segments(store, "m", "predictions", ids=(made[1].ids[0], made[2].ids[0]))) == 2
    assert [each.model_version for each in segments(store, "m", "predictions", version=2)] == [2]


def many_days(ground, days: int, rows: int = 3) -> list[str]:
    """Seal `days` days of predictions, and of labels that come a day later; return the prediction ids."""
    ids: list[str] = []
    before: list[str] = []
    for day in range(days):
        at = START + timedelta(days=day)
        record = ground.asked(rows, at=at, request_id=f"r{day}")
        ground.write(record, *([ground.labels(before, ["yes"] * rows, at=at)] if before else []))
        ground.seal(at)
        before = record.ids
        ids += record.ids
    return ids


def test_small_segments_are_merged_and_nothing_is_lost(ground) -> None:
    ids = many_days(ground, 70)
    assert sealed_ids(ground, "predictions") == ids
    assert sealed_ids(ground, "labels") == ids[:-3]
    assert len(segments(ground.store, "m", "predictions")) < 8 + 8
    assert ground.files() == ground.named()
    for each in segments(ground.store, "m", "predictions"):
        columns = read_columns(ground.home / "segments" / each.path)
        assert len(columns["id"]) == each.n_rows
        assert (min(columns["id"]), max(columns["id"])) == (each.first_id, each.last_id)
        assert (min(columns["at"]), max(columns["at"])) == (each.first_at, each.last_at)
    log = ground.log
    assert log.counts("m") == (210, 207)
    assert log.find(ids[100]).label == "yes"


def test_merging_keeps_the_traffic_of_each_day(ground) -> None:
    many_days(ground, 20)
    told = traffic(ground.store, "m")
    assert [rows for _, kind, rows in told if kind == "predictions"] == [3] * 20
    assert [at for at, kind, _ in told if kind == "labels"] == [
        to_iso(START + timedelta(days=day)) for day in range(1, 20)
    ]
    assert traffic(ground.store, "other") == []


def test_versions_are_not_merged_with_each_other(ground) -> None:
    for number in range(24):
        ground.write(ground.asked(1, version=1 + number % 2, columns={}))
        ground.seal()
    for each in segments(ground.store, "m", "predictions"):
        assert set(read_columns(ground.home / "segments" / each.path)["version"]) == {each.model_version}


def test_a_kill_between_commit_and_clean_up_of_a_merge_leaves_only_strays(
    ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("mainspring.predictions._merge.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            many_days(ground, 20)
    # died before the commit: the merged file is a stray, the small ones stand
    ids = sealed_ids(ground, "predictions")
    assert len(ids) == len(set(ids)) == 8 * 3
    ground.seal()
    assert sealed_ids(ground, "predictions") == ids
    assert ground.files() == ground.named()
