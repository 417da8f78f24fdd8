"""The encrypted store: the public suite, what an outsider sees, and what damage, kills and wrong keys come to."""

import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.artifacts.s3_server import S3Server

from mainspring.artifacts.collect import collect
from mainspring.artifacts.digests import digest_of_bytes
from mainspring.artifacts.encrypted import EncryptedArtifactStore
from mainspring.artifacts.encryption import StoreKey, plain_bytes
from mainspring.artifacts.layered import LayeredArtifactStore
from mainspring.artifacts.local import SMALL_BYTES, LocalArtifactStore
from mainspring.artifacts.opening import open_artifacts, trim
from mainspring.artifacts.protocol import ArtifactStore
from mainspring.artifacts.secret_keys import make_key
from mainspring.artifacts.settling import settle
from mainspring.domain.ids import Digest
from mainspring.errors import Corrupt, NotFound, Refused
from mainspring.testing.artifact_store import ArtifactStoreSuite

pytest.importorskip("cryptography", reason="pip install 'mainspring[encryption]'")

_MIB = 1 << 20
_MARK = b"a-marker-that-nobody-may-see"

# Puts objects of 3 MB one after the other and says so after each; the content follows from the number.
_WRITER = """
import sys
from pathlib import Path
from mainspring.artifacts.encryption import StoreKey
from mainspring.artifacts.opening import open_artifacts
store = open_artifacts(sys.argv[1], Path(sys.argv[1] + "-cache"), [StoreKey("one")])
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    print(number, store.put_bytes(b"%09d" % number * 333_333), flush=True)
"""


@pytest.fixture(autouse=True)
def keys(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_KEYS", str(tmp_path_factory.mktemp("keys")))
    for name in ("one", "two"):
        make_key(name)


def opened(place: Path | str, *names: str) -> ArtifactStore:
    return open_artifacts(str(place), Path(f"{place}-cache".replace("s3://", "")), [StoreKey(each) for each in names])


def only(place: Path, name: str = "one") -> EncryptedArtifactStore:
    """Return the store of one key, which the layers lead to."""
    layered = opened(place, name)
    assert isinstance(layered, LayeredArtifactStore)
    assert isinstance(layered.first, EncryptedArtifactStore)
    return layered.first


def file_of(store: ArtifactStore, digest: Digest) -> Path:
    first = store.first if isinstance(store, LayeredArtifactStore) else store
    assert isinstance(first, EncryptedArtifactStore)
    assert isinstance(first.inner, LocalArtifactStore)
    name = first.key.name_of(digest)
    return first.inner.root / "objects" / name[:2] / name[2:]


def write_over(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


class TestEncryptedArtifactStore(ArtifactStoreSuite):
    def open_store(self, place: Path) -> ArtifactStore:
        return opened(place, "one")

    def damage(self, store: ArtifactStore, digest: Digest) -> None:
        path = file_of(store, digest)
        data = path.read_bytes()
        write_over(path, data[:-1] + bytes([data[-1] ^ 1]))


class TestEncryptedArtifactStoreUnderANewKey(ArtifactStoreSuite):
    """What is put under an old key is read, and removed, by a store with a new one in front."""

    def open_store(self, place: Path) -> ArtifactStore:
        return opened(place, "two", "one")


class TestEncryptedArtifactStoreInABucket(ArtifactStoreSuite):
    @pytest.fixture(autouse=True)
    def bucket(self, s3: S3Server) -> None:
        self.server = s3

    def open_store(self, place: Path) -> ArtifactStore:
        return open_artifacts(f"s3://ml/{place.parent.name}", place, [StoreKey("one")])

    def damage(self, store: ArtifactStore, digest: Digest) -> None:
        assert isinstance(store, LayeredArtifactStore)
        trim(store, datetime.max.replace(tzinfo=UTC))  # else it is read from here
        first = store.first
        assert isinstance(first, EncryptedArtifactStore)
        name = first.key.name_of(digest)
        (path,) = self.server.root.rglob(f"encrypted/{first.key.id}/objects/{name[:2]}/{name[2:]}")
        data = path.read_bytes()
        write_over(path, data[:-1] + bytes([data[-1] ^ 1]))


def test_a_bucket_is_told_no_digest_whatever_is_asked_of_it(s3: S3Server, tmp_path: Path) -> None:
    store = open_artifacts(f"s3://ml/{tmp_path.name}", tmp_path / "cache", [StoreKey("two"), StoreKey("one")])
    digest, absent = store.put_bytes(_MARK * 100), digest_of_bytes(b"absent")
    assert (store.claim(digest), store.claim(absent), store.exists(absent)) == (True, False, False)
    assert not store.remove(absent, unless_put_since=datetime.now(UTC) + timedelta(days=1))
    with pytest.raises(NotFound):
        store.path_of(absent)
    assert store.put_bytes(_MARK * 100) == digest
    assert store.remove(digest, unless_put_since=datetime.now(UTC) + timedelta(days=1))
    for told in (*_told_by(s3.root / "ml" / tmp_path.name), *_told_by(tmp_path / "cache")):
        assert not any(each in told for each in (_MARK, digest[2:].encode(), absent[2:].encode()))


@pytest.mark.parametrize("size", [0, 1, _MIB - 1, _MIB, _MIB + 1, 2 * _MIB, SMALL_BYTES + 1])
def test_any_length_comes_back_and_its_size_is_told(tmp_path: Path, size: int) -> None:
    store, data = only(tmp_path / "a"), random.Random(size).randbytes(size)
    digest = store.put_bytes(data)
    assert store.read_bytes(digest) == data
    assert store.size_bytes(digest) == size == plain_bytes(file_of(store, digest).stat().st_size)
    assert store.path_of(digest).read_bytes() == data
    with store.open(digest) as stream:
        assert stream.read() == data


def test_who_has_no_key_sees_neither_the_bytes_nor_which_file_it_is(tmp_path: Path) -> None:
    data = _MARK * 100_000
    plain, store = opened(tmp_path / "plain"), opened(tmp_path / "encrypted", "one")
    digest = plain.put_bytes(data)
    assert store.put_bytes(data) == digest
    seen = {place: b"".join(_told_by(tmp_path / place)) for place in ("plain", "encrypted")}
    for told in (_MARK, digest[:16].encode(), digest[2:].encode()):
        assert (told in seen["plain"]) == (told != digest[:16].encode())
        assert told not in seen["encrypted"]


def test_equal_segments_and_equal_objects_under_two_keys_look_different(tmp_path: Path) -> None:
    data = bytes(4 * _MIB)
    one, two = only(tmp_path / "a", "one"), only(tmp_path / "b", "two")
    lain = [file_of(store, store.put_bytes(data)).read_bytes() for store in (one, two)]
    blocks = [each[at : at + 64] for each in lain for at in range(40, len(each) - 64, 4096)]
    assert len(set(blocks)) == len(blocks)
    assert one.key.name_of(digest_of_bytes(data)) != two.key.name_of(digest_of_bytes(data))


@pytest.mark.parametrize("how", ["flipped", "shortened", "cut at a segment", "grown", "swapped", "segments", "head"])
def test_damage_of_a_large_object_is_found_by_every_reader(tmp_path: Path, how: str) -> None:
    store, seeds = only(tmp_path / "a"), random.Random(7)
    data, other = seeds.randbytes(10 * _MIB), seeds.randbytes(10 * _MIB)
    digest, place = store.put_bytes(data), file_of(store, store.put_bytes(other))
    lain, segment = file_of(store, digest).read_bytes(), _MIB + 16
    middle = 40 + 3 * segment
    damaged = {
        "flipped": lain[:middle] + bytes([lain[middle] ^ 1]) + lain[middle + 1 :],
        "shortened": lain[:-100],
        "cut at a segment": lain[: 40 + 5 * segment],
        "grown": lain + b"x",
        "swapped": place.read_bytes(),
        "segments": lain[:40]
        + lain[40 + segment : 40 + 2 * segment]
        + lain[40 : 40 + segment]
        + lain[40 + 2 * segment :],
        "head": lain[:20] + bytes([lain[20] ^ 1]) + lain[21:],
    }[how]
    for find in (store.read_bytes, store.verify, lambda it: b"".join(store._pieces(it)), store.path_of):
        write_over(file_of(store, digest), damaged) if file_of(store, digest).exists() else None
        with pytest.raises(Corrupt):
            find(digest)
        assert store.put_bytes(data) == digest
    write_over(file_of(store, digest), damaged)
    with pytest.raises(Corrupt):
        _drain(store, digest)


def test_a_wrong_key_is_told_and_nothing_is_decrypted_or_set_aside(tmp_path: Path) -> None:
    digest = opened(tmp_path / "a", "one").put_bytes(_MARK)
    before = sorted(each for each in (tmp_path / "a").rglob("*"))
    with pytest.raises(Refused, match="`two`"):
        opened(tmp_path / "a", "two")
    with pytest.raises(Refused, match="no key is named"):
        opened(tmp_path / "a")
    Path(os.environ["MAINSPRING_KEYS"], "one.key").write_text("0" * 64)
    with pytest.raises(Refused, match="encrypted with the key"):
        opened(tmp_path / "a", "one")
    Path(os.environ["MAINSPRING_KEYS"], "one.key").unlink()
    with pytest.raises(NotFound, match="no key `one`"):
        opened(tmp_path / "a", "one")
    assert sorted(each for each in (tmp_path / "a").rglob("*")) == before
    assert digest


def test_a_new_key_takes_what_is_new_and_the_old_one_still_reads(tmp_path: Path) -> None:
    old = opened(tmp_path / "a").put_bytes(b"from before there was a key")
    first = opened(tmp_path / "a", "one").put_bytes(b"first")
    store = opened(tmp_path / "a", "two", "one")
    second = store.put_bytes(b"second")
    assert {store.read_bytes(each) for each in (old, first, second)} == {
        b"from before there was a key",
        b"first",
        b"second",
    }
    assert set(store.digests()) == {old, first, second}
    assert list(only_of(store, 0).digests()) == [second]


def test_everything_is_brought_under_the_newest_key_and_nothing_stays_behind(tmp_path: Path) -> None:
    kept = {opened(tmp_path / "a").put_bytes(_MARK * number) for number in range(1, 30)}
    kept |= {opened(tmp_path / "a", "one").put_bytes(b"first %d" % number) for number in range(30)}
    store = opened(tmp_path / "a", "two", "one")
    twice = store.put_bytes(_MARK)
    heard: list[tuple[int, int]] = []
    done = settle(store, lambda number, of: heard.append((number, of)))
    assert (done.objects, done.already) == (58, 1)
    assert heard[-1] == (59, 59)
    assert set(only_of(store, 0).digests()) == kept | {twice}
    assert [list(only_of(store, each).digests()) for each in (1, 2)] == [[], []]
    assert not any(_MARK in each for each in _told_by(tmp_path / "a"))
    assert settle(store).objects == 0


def test_a_key_that_is_named_twice_is_not_emptied_into_itself(tmp_path: Path) -> None:
    folder = Path(os.environ["MAINSPRING_KEYS"])
    shutil.copy(folder / "one.key", folder / "again.key")
    digest = opened(tmp_path / "a", "one").put_bytes(b"once")
    for names in (("one", "one"), ("again", "one"), ("one", "again")):
        store = opened(tmp_path / "a", *names)
        assert settle(store).objects == 0
        assert store.read_bytes(digest) == b"once"


def test_a_settling_that_is_killed_goes_on_and_loses_nothing(tmp_path: Path) -> None:
    kept = {opened(tmp_path / "a").put_bytes(random.Random(number).randbytes(200_000)) for number in range(40)}
    script = """
import os, signal, sys
from pathlib import Path
from mainspring.artifacts.settling import settle
from mainspring.artifacts.encryption import StoreKey
from mainspring.artifacts.opening import open_artifacts
left = int(sys.argv[2])
def tell(number, of):
    if number == left:
        os.kill(os.getpid(), signal.SIGKILL)
store = open_artifacts(sys.argv[1], Path(sys.argv[1] + "-cache"), [StoreKey("one")])
plain = store.layers[1]
remove, taken = plain.remove, []
def removing(digest, **words):
    taken.append(digest)
    if len(taken) == left - 100:
        os.kill(os.getpid(), signal.SIGKILL)
    return remove(digest, **words)
plain.remove = removing
settle(store, tell)
"""
    for left in (1, 13, 40, 101, 120):
        words = [sys.executable, "-c", script, str(tmp_path / "a"), str(left)]
        assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
        store = opened(tmp_path / "a", "one")
        assert set(store.digests()) == kept
        for digest in kept:
            store.verify(digest)
    settle(store)
    assert set(only_of(store, 0).digests()) == kept
    assert list(only_of(store, 1).digests()) == []


def test_garbage_is_collected_by_plain_digests_in_every_layer(tmp_path: Path) -> None:
    lost = opened(tmp_path / "a").put_bytes(b"\0lost")
    opened(tmp_path / "a", "one").put_bytes(b"\0lost")
    store = opened(tmp_path / "a", "two", "one")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_bytes(b"\0kept")
    tree = store.put_tree(tmp_path / "folder")
    young = collect(store, [tree], put_before=datetime.now(UTC) - timedelta(hours=1))
    assert (young.removed, young.young, young.kept) == (0, 1, 2)
    done = collect(store, [tree], put_before=datetime.now(UTC) + timedelta(days=1))
    assert (done.removed, done.removed_bytes, done.kept) == (1, 5, 2)
    assert not store.exists(lost)
    assert store.read_bytes(digest_of_bytes(b"\0kept")) == b"\0kept"


def test_a_pickled_store_holds_no_key(tmp_path: Path) -> None:
    store = opened(tmp_path / "a", "one")
    digest = store.put_bytes(b"data")
    told = pickle.dumps(store)
    secret = Path(os.environ["MAINSPRING_KEYS"], "one.key").read_text().strip()
    assert secret.encode() not in told
    assert bytes.fromhex(secret) not in told
    assert pickle.loads(told).read_bytes(digest) == b"data"


def test_kill_in_the_middle_of_puts_loses_nothing_acknowledged_and_shows_nothing_torn(tmp_path: Path) -> None:
    acknowledged = 0
    for _ in range(4):
        words = [sys.executable, "-c", _WRITER, str(tmp_path / "a"), str(acknowledged), "100000"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for line in writer.stdout:
                acknowledged = int(line.split()[0]) + 1
                if acknowledged % 3 == 0:
                    writer.kill()
                    break
    store = opened(tmp_path / "a", "one")
    digests = set(store.digests())
    for number in range(acknowledged):
        assert digest_of_bytes(b"%09d" % number * 333_333) in digests
    for digest in digests:
        store.verify(digest)
    store.put_bytes(b"sweeps what was left")
    assert list((tmp_path / "a").glob("encrypted/*/incoming/*")) == []


def test_two_processes_and_threads_put_the_same_objects_at_once(tmp_path: Path) -> None:
    words = [sys.executable, "-c", _WRITER, str(tmp_path / "a"), "0", "8"]
    writers = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    store = opened(tmp_path / "a", "one")
    threads = [
        threading.Thread(target=lambda: [store.put_bytes(b"%09d" % each * 333_333) for each in range(8)])
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    told = {writer.communicate()[0] for writer in writers}
    for thread in threads:
        thread.join()
    assert len(told) == 1
    assert len(list(store.digests())) == 8
    for digest in store.digests():
        store.verify(digest)


def test_full_disk_is_unavailable_and_leaves_nothing(tmp_path: Path) -> None:
    script = """
import resource, signal, sys
from pathlib import Path
from mainspring.artifacts.encryption import StoreKey
from mainspring.artifacts.opening import open_artifacts
from mainspring.errors import Unavailable
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
store = open_artifacts(sys.argv[1], Path(sys.argv[1] + "-cache"), [StoreKey("one")])
try:
    store.put_bytes(b"x" * 5_000_000)
except Unavailable as error:
    print("told", list(store.digests()))
"""
    words = [sys.executable, "-c", script, str(tmp_path / "a")]
    assert subprocess.run(words, capture_output=True, text=True, check=False).stdout == "told []\n"


def _drain(store: ArtifactStore, digest: Digest) -> None:
    with store.open(digest) as stream:
        while stream.read(_MIB):
            pass


def only_of(store: ArtifactStore, layer: int) -> ArtifactStore:
    assert isinstance(store, LayeredArtifactStore)
    return store.layers[layer]


def _told_by(place: Path) -> list[bytes]:
    """Return what somebody reads who may read a folder: every name, and the bytes of every file."""
    return [each for path in place.rglob("*") for each in (bytes(path), path.read_bytes() if path.is_file() else b"")]
