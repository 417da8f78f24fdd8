"""Objects kept as differences: they read back to the bit, need what they need, and survive kills and damage."""

import os
import random
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from mainspring.artifacts.collect import collect
from mainspring.artifacts.local import LocalArtifactStore
from mainspring.domain.ids import Digest
from mainspring.errors import Corrupt, NotFound

LATER = datetime.max.replace(tzinfo=UTC)


def table(rows: int, edited: int = 0, seed: int = 0) -> bytes:
    rng = random.Random(seed)
    lines = [f"{number},{rng.gauss(0, 1):.6f},{rng.choice('ABCD')}" for number in range(rows)]
    for at in random.Random(edited).sample(range(rows), edited):
        lines[at] = f"{at},edited,{edited}"
    return "\n".join(lines).encode()


def files(store: LocalArtifactStore) -> dict[str, int]:
    """Return where the objects lie: how many are whole and how many are differences."""
    return {each: len(list((store.root / each).glob("??/*"))) for each in ("objects", "deltas")}


@pytest.fixture
def store(tmp_path: Path) -> LocalArtifactStore:
    return LocalArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def versions(store: LocalArtifactStore) -> list[Digest]:
    """Five versions of a table, each kept as its difference to the next but for the last."""
    digests = [store.put_bytes(table(2000, edited)) for edited in range(0, 50, 10)]
    for older, newer in pairwise(digests):
        assert store.shrink(older, newer, unless_put_since=LATER) > 30_000
    assert files(store) == {"objects": 1, "deltas": 4}
    return digests


def test_every_version_reads_back_by_every_way(
    store: LocalArtifactStore, versions: list[Digest], tmp_path: Path
) -> None:
    for edited, digest in zip(range(0, 50, 10), versions, strict=True):
        data = table(2000, edited)
        assert (store.exists(digest), store.size_bytes(digest), store.read_bytes(digest)) == (True, len(data), data)
        with store.open(digest) as stream:
            assert stream.read() == data
        store.verify(digest)
    assert files(store) == {"objects": 1, "deltas": 4}  # to read makes nothing whole
    assert set(store.digests()) == set(versions)
    assert store.path_of(versions[0]).read_bytes() == table(2000)
    assert files(store) == {"objects": 2, "deltas": 3}
    other = LocalArtifactStore(store.root)
    assert other.read_bytes(versions[1]) == table(2000, 10)


def test_a_difference_to_what_is_gone_is_missing(store: LocalArtifactStore, versions: list[Digest]) -> None:
    assert store.missing(versions) == set()
    store.path_of(versions[1])  # whole from now on
    (store.root / "objects" / versions[-1][:2] / versions[-1][2:]).unlink()
    assert store.missing(versions) == set(versions[2:])


def test_a_difference_that_is_none_is_missing_and_the_next_put_heals_it(
    store: LocalArtifactStore, versions: list[Digest]
) -> None:
    place = store.root / "deltas" / versions[0][:2] / versions[0][2:]
    place.chmod(0o644)
    place.write_bytes(b"torn")
    assert store.missing(versions) == {versions[0]}
    assert store.put_bytes(table(2000)) == versions[0]
    assert store.missing(versions) == set()
    assert store.read_bytes(versions[0]) == table(2000)


def test_what_is_put_or_claimed_or_used_is_left_whole(store: LocalArtifactStore, versions: list[Digest]) -> None:
    for use in (
        lambda: store.put_bytes(table(2000)),
        lambda: store.claim(versions[0]),
        lambda: store.path_of(versions[0]),
    ):
        before = datetime.now(UTC) - timedelta(seconds=1)
        use()
        assert store.base_of(versions[0]) is None
        assert store.shrink(versions[0], versions[1], unless_put_since=before) == 0
        assert store.shrink(versions[0], versions[1], unless_put_since=LATER) > 0


def test_nothing_becomes_a_difference_to_what_needs_it(store: LocalArtifactStore, versions: list[Digest]) -> None:
    assert store.shrink(versions[-1], versions[0], unless_put_since=LATER) == 0
    assert store.shrink(versions[-1], versions[-1], unless_put_since=LATER) == 0
    assert store.read_bytes(versions[-1]) == table(2000, 40)


@pytest.mark.parametrize("data", [b"", b"small", b'{"a": "' + b"x" * 20_000 + b'"}', os.urandom(20_000)])
def test_what_does_not_pay_or_names_others_is_left_alone(store: LocalArtifactStore, data: bytes) -> None:
    like = store.put_bytes(data[:-1] + b"!" if data[:1] == b"{" else table(2000))
    digest = store.put_bytes(data)
    assert store.shrink(digest, like, unless_put_since=LATER) == 0
    assert store.read_bytes(digest) == data


def test_a_collection_keeps_what_a_difference_needs(store: LocalArtifactStore, versions: list[Digest]) -> None:
    later = datetime.now(UTC) + timedelta(seconds=1)
    assert collect(store, [versions[0]], put_before=later).removed == 0
    assert store.read_bytes(versions[0]) == table(2000)
    freed = collect(store, [versions[3]], put_before=later)
    assert (freed.removed, freed.kept) == (3, 2)
    assert store.read_bytes(versions[3]) == table(2000, 30)
    assert not store.exists(versions[0])
    # one that is only young keeps what it needs too
    young = store.put_bytes(table(2000, 7))
    moment = datetime.now(UTC) + timedelta(seconds=5)
    assert store.shrink(young, versions[4], unless_put_since=LATER) > 0
    os.utime(store.root / "deltas" / young[:2] / young[2:], (moment.timestamp(),) * 2)
    assert collect(store, [], put_before=moment).young == 1
    assert store.read_bytes(young) == table(2000, 7)


def test_damage_is_found_and_the_next_put_heals_it(store: LocalArtifactStore, versions: list[Digest]) -> None:
    place = store.root / "deltas" / versions[0][:2] / versions[0][2:]
    place.chmod(0o644)
    place.write_bytes(place.read_bytes()[:-20] + b"x" * 20)
    with pytest.raises(Corrupt):
        store.read_bytes(versions[0])
    with pytest.raises(NotFound):
        store.read_bytes(versions[0])  # set aside
    assert store.put_bytes(table(2000)) == versions[0]
    assert store.read_bytes(versions[0]) == table(2000)
    # damage below: what is kept as a difference to it is well again when it is
    whole = store.path_of(versions[-1])
    whole.chmod(0o644)
    whole.write_bytes(b"no")
    with pytest.raises(Corrupt):
        store.read_bytes(versions[1])
    assert store.put_bytes(table(2000, 40)) == versions[-1]
    assert store.read_bytes(versions[1]) == table(2000, 10)


def test_an_object_is_read_through_any_number_of_differences(store: LocalArtifactStore) -> None:
    contents = [table(300, edited) for edited in range(250)]
    digests = [store.put_bytes(each) for each in contents]
    for older, newer in pairwise(digests):
        store.shrink(older, newer, unless_put_since=LATER)
    assert store.read_bytes(digests[0]) == contents[0]


_SHRINKER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from mainspring.artifacts.local import LocalArtifactStore
store = LocalArtifactStore(Path(sys.argv[1]))
print("ready", flush=True)
for older, newer in zip(sys.argv[2:], sys.argv[3:]):
    store.shrink(older, newer, unless_put_since=datetime.max.replace(tzinfo=UTC))
"""


def test_a_kill_in_the_middle_loses_nothing(store: LocalArtifactStore) -> None:
    contents = [table(30_000, edited) for edited in range(0, 80, 10)]
    digests = [store.put_bytes(each) for each in contents]
    for seconds in (0.02, 0.1, 0.25, 0.5):
        words = [sys.executable, "-c", _SHRINKER, str(store.root), *digests]
        shrinker = subprocess.Popen(words, stdout=subprocess.PIPE)
        assert shrinker.stdout is not None
        shrinker.stdout.readline()
        time.sleep(seconds)  # when the kill comes
        shrinker.kill()
        shrinker.communicate()
        for digest, data in zip(digests, contents, strict=True):
            assert store.read_bytes(digest) == data


def test_readers_beside_a_shrinker_see_every_object(store: LocalArtifactStore) -> None:
    contents = [table(3000, edited) for edited in range(0, 60, 10)]
    digests = [store.put_bytes(each) for each in contents]
    wrong: list[Digest] = []
    done = threading.Event()

    def read() -> None:
        other = LocalArtifactStore(store.root)
        while not done.is_set():
            wrong.extend(each for each, data in zip(digests, contents, strict=True) if other.read_bytes(each) != data)
            other.claim(digests[0])

    readers = [threading.Thread(target=read) for _ in range(3)]
    for each in readers:
        each.start()
    for _ in range(5):
        for older, newer in pairwise(digests):
            store.shrink(older, newer, unless_put_since=LATER)
            store.shrink(newer, older, unless_put_since=LATER)
        for each in digests[::2]:
            store.path_of(each)
    done.set()
    for each in readers:
        each.join()
    assert wrong == []
    assert [store.read_bytes(each) for each in digests] == contents
