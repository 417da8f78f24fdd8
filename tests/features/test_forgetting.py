"""What is forgotten cannot be looked up, whatever is materialized later, and leaves nothing behind."""

from pathlib import Path
from typing import Any

import pytest
from tests.features.test_online import NOW, ROWS, START, address, at, online, redis_address, view, write

from mainspring.errors import Conflict, NotFound
from mainspring.features.forgetting import forget
from mainspring.features.materializing import materialize
from mainspring.features.online import FeatureReader, OnlineStore, SqliteOnlineStore
from mainspring.features.view import FeatureView

__all__ = ["address", "online", "redis_address"]  # fixtures

KEYS = [(1, "a"), (1, "b"), (2, "a"), (3, "c")]


def there(online: OnlineStore, made: FeatureView) -> list[bool]:
    found = FeatureReader(online, made.name, made.version).read(KEYS, at=START)
    return [row is not None for row in found.rows]


def run(online: OnlineStore, made: FeatureView, path: Path, hours: float, **words: Any) -> Any:
    return materialize(made, path, online, until=at(hours), now=NOW, **words)


def test_a_forgotten_entity_is_gone_from_every_view_and_comes_back_in_none(online: OnlineStore, tmp_path: Path) -> None:
    path = write(tmp_path / "trips.csv", ROWS)
    made, other = view(path), view(path, delay="1h")
    run(online, made, path, 9)
    run(online, other, path, 9)
    reader = FeatureReader(online, made.name, made.version)
    assert reader.read([(1, "a")], at=NOW).rows != [None]
    done = forget(online, "driver", ["1", "77"])
    assert sorted((each.view, each.version, each.rows) for each in done) == sorted(
        ("stats", each.version, 2) for each in (made, other)
    )
    assert reader.read([(1, "a"), (1, "b")], at=NOW).rows == [None, None]  # who holds the view sees it too
    assert there(online, made) == there(online, other) == [False, False, True, True]
    assert [each.entities for each in online.states()] == [2, 2]

    write(path, [*ROWS, (1, "a", 10, 2.0), (1, "z", 10, 2.0), (2, "a", 10, 3.0)])
    assert (run(online, made, path, 11).written, there(online, made)) == (1, [False, False, True, True])
    assert run(online, made, path, 11, anew=True).state.entities == 2
    third = view(path, features={"fare_now": "fare"})
    assert run(online, third, path, 11).state.entities == 2
    assert there(online, third) == [False, False, True, True]

    assert [each.rows for each in forget(online, "place", ["a"])] == [1, 1, 1]
    assert there(online, made) == [False, False, False, True]
    forget(online, "driver", ["1"], undo=True)
    assert run(online, made, path, 11, anew=True).state.entities == 3
    assert there(online, made) == [False, True, False, True]


def test_a_view_of_one_key_needs_no_look_at_all_rows(online: OnlineStore, tmp_path: Path) -> None:
    path = write(tmp_path / "trips.csv", ROWS)
    made = view(path, keys="driver")
    run(online, made, path, 9)
    assert [each.rows for each in forget(online, "driver", ["1", "2", "x"])] == [2]
    assert sorted(online.keys(made.name, made.version)) == [b"\x91\x03"]
    with pytest.raises(NotFound, match=r"has the key `drivers`[\s\S]*Did you mean `driver`"):
        forget(online, "drivers", ["1"])


def test_who_materializes_meanwhile_has_to_begin_again(online: OnlineStore, tmp_path: Path) -> None:
    path = write(tmp_path / "trips.csv", ROWS)
    made = view(path)
    before = run(online, made, path, 2).state
    forget(online, "driver", ["1"])
    with pytest.raises(Conflict, match="Somebody else"):
        online.write(before, [], after=before, replace=True)
    assert there(online, made) == [False, False, True, False]


def test_nothing_is_left_in_the_file_of_what_is_forgotten(tmp_path: Path) -> None:
    rows = [(1, f"place {n}", 1, 100.0 + n) for n in range(500)] + [(2, "kept place", 1, 1.0)]
    path = write(tmp_path / "trips.csv", rows)
    made = view(path, features={"word": "place || ' visited'"})
    online = SqliteOnlineStore(tmp_path / "online")
    run(online, made, path, 1)
    reader = FeatureReader(online, made.name, made.version)  # stays open, as in a server
    assert reader.read([(1, "place 7")], at=NOW).rows == [["place 7 visited"]]
    write(path, rows[:100] + rows[-1:])
    run(online, made, path, 2)  # what was there before is freed
    forget(online, "driver", ["1"])
    held = b"".join(file.read_bytes() for file in (tmp_path / "online").iterdir())
    assert b"place 7" not in held
    assert b"place 400" not in held
    assert b"kept place visited" in held
    online.close()
