"""The store in a bucket, against a real S3 server: the public suite, and what only networks and kills can show."""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.artifacts.s3_server import S3Server

from mainspring.artifacts.collect import collect
from mainspring.artifacts.digests import digest_of_bytes
from mainspring.artifacts.protocol import ArtifactStore
from mainspring.artifacts.remote import RemoteArtifactStore
from mainspring.domain.ids import Digest
from mainspring.errors import Invalid, Unavailable
from mainspring.testing.artifact_store import ArtifactStoreSuite

# Puts objects of 0.3 MB one after the other and says so after each; the content follows from the number.
_WRITER = """
import sys
from pathlib import Path
from mainspring.artifacts.remote import RemoteArtifactStore
store = RemoteArtifactStore(sys.argv[1], Path(sys.argv[2]))
for number in range(1000):
    print(number, store.put_bytes(b"%09d" % number * 33_333), flush=True)
"""


class TestRemoteArtifactStore(ArtifactStoreSuite):
    @pytest.fixture(autouse=True)
    def _server(self, s3: S3Server) -> None:
        self.server = s3

    def open_store(self, place: Path) -> ArtifactStore:
        return RemoteArtifactStore(f"s3://ml/{place.parent.name}", place.with_name("cache"))

    def damage(self, store: ArtifactStore, digest: Digest) -> None:
        assert isinstance(store, RemoteArtifactStore)
        data = store.read_bytes(digest)
        store.bucket.put(f"objects/{digest[:2]}/{digest[2:]}", data[:-1] + bytes([data[-1] ^ 1]))
        store.cache.path_of(digest).unlink()


def another_machine(store: RemoteArtifactStore, tmp_path: Path) -> RemoteArtifactStore:
    return RemoteArtifactStore(store.bucket.address, tmp_path / "another")


@pytest.fixture
def store(s3: S3Server, tmp_path: Path) -> RemoteArtifactStore:
    return RemoteArtifactStore(f"s3://ml/{tmp_path.name}", tmp_path / "cache")


def test_another_machine_reads_what_was_put(store: RemoteArtifactStore, tmp_path: Path) -> None:
    large = os.urandom(40 << 20)  # goes in pieces
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "large.bin").write_bytes(large)
    (tmp_path / "tree" / "small.txt").write_text("small")
    tree = store.put_tree(tmp_path / "tree")
    other = another_machine(store, tmp_path)
    with other.open(digest_of_bytes(large)) as stream:  # as it comes: nothing is kept here
        assert stream.read(10) == large[:10]
        assert stream.read() == large[10:]
    assert not other.cache.exists(digest_of_bytes(large))
    other.checkout_tree(tree, tmp_path / "out")
    assert (tmp_path / "out" / "large.bin").read_bytes() == large
    assert (tmp_path / "out" / "small.txt").read_text() == "small"


def test_a_copy_here_that_is_damaged_is_fetched_anew(store: RemoteArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a").write_text("good")
    tree = store.put_tree(tmp_path / "tree")
    copy = store.cache.path_of(digest_of_bytes(b"good"))
    for look in (
        lambda: store.checkout_tree(tree, tmp_path / "out"),
        lambda: store.read_bytes(Digest(copy.parent.name + copy.name)),
    ):
        copy.chmod(0o644)
        copy.write_text("evil")
        look()
        assert copy.read_text() == "good"
    assert (tmp_path / "out" / "a").read_text() == "good"


def test_a_removal_that_was_killed_half_way_takes_nothing(store: RemoteArtifactStore, tmp_path: Path) -> None:
    digest = store.put_bytes(b"wanted")
    place = f"{digest[:2]}/{digest[2:]}"
    store.bucket.copy(f"objects/{place}", f"removed/{place}")
    store.bucket.delete(f"objects/{place}")
    assert another_machine(store, tmp_path).read_bytes(digest) == b"wanted"


@pytest.mark.parametrize("step", ["copy", "delete", "find"])
def test_a_put_in_the_middle_of_a_removal_stays(
    store: RemoteArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Whatever a collector on another machine has just done, an object is there when its put returns, and stays."""
    other = another_machine(store, tmp_path)
    digest = store.put_bytes(b"wanted")
    since = other.put_at(digest) + timedelta(milliseconds=1)
    while datetime.now(UTC) < since + timedelta(seconds=1):
        time.sleep(0.05)
    done = getattr(other.bucket, step)
    put: list[Digest] = []

    def meanwhile(*words: str) -> object:
        result = done(*words)
        if not put and (step != "find" or words[0].startswith("claims/")):
            put.append(store.put_bytes(b"wanted"))
        return result

    monkeypatch.setattr(other.bucket, step, meanwhile)
    other.remove(digest, unless_put_since=since)
    assert put == [digest]
    third = RemoteArtifactStore(store.bucket.address, tmp_path / "third")
    assert third.exists(digest)
    assert third.read_bytes(digest) == b"wanted"


def test_two_removals_beside_a_put_take_nothing(
    store: RemoteArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One has looked and waits; another removes the object, and a put makes it anew; then the first goes on."""
    digest = store.put_bytes(b"wanted")
    since = store.put_at(digest) + timedelta(milliseconds=1)
    while datetime.now(UTC) < since + timedelta(seconds=1):
        time.sleep(0.05)
    slow = RemoteArtifactStore(store.bucket.address, tmp_path / "slow")
    copy = slow.bucket.copy

    def late(*words: str) -> None:
        if words[0].startswith("objects/"):
            RemoteArtifactStore(store.bucket.address, tmp_path / "quick").remove(digest, unless_put_since=since)
            store.put_bytes(b"wanted")
        copy(*words)

    monkeypatch.setattr(slow.bucket, "copy", late)
    slow.remove(digest, unless_put_since=since)
    assert RemoteArtifactStore(store.bucket.address, tmp_path / "third").read_bytes(digest) == b"wanted"


def test_what_a_killed_removal_left_is_there_for_every_question(store: RemoteArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a").write_text("of the tree")
    tree = store.put_tree(tmp_path / "tree")
    place = f"{tree[:2]}/{tree[2:]}"
    for ask in ("exists", "size_bytes", "put_at", "claim", "digests"):
        store.bucket.copy(f"objects/{place}", f"removed/{place}")
        store.bucket.delete(f"objects/{place}")
        other = RemoteArtifactStore(store.bucket.address, tmp_path / f"cache-{ask}")
        assert tree in set(other.digests()) if ask == "digests" else getattr(other, ask)(tree)
        other.read_bytes(tree)
    later = datetime.now(UTC) + timedelta(hours=1)
    assert collect(store, [tree], put_before=later).removed == 0


def test_one_bad_download_condemns_no_object(store: RemoteArtifactStore, tmp_path: Path, monkeypatch) -> None:
    digest = store.put_bytes(b"good")
    other = another_machine(store, tmp_path)
    read, spoiled = other.bucket.read, [b"evil"]
    monkeypatch.setattr(other.bucket, "read", lambda key: iter([spoiled.pop()]) if spoiled else read(key))
    assert other.read_bytes(digest) == b"good"
    assert store.exists(digest)


def test_what_a_killed_writer_told_of_is_there(s3: S3Server, tmp_path: Path) -> None:
    address = f"s3://ml/{tmp_path.name}"
    words = [sys.executable, "-c", _WRITER, address, str(tmp_path / "writer")]
    for seconds in (0.5, 0.9):
        writer = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        writer.stdout.readline()  # it is under way
        time.sleep(seconds)  # when the kill comes, not a wait
        writer.kill()
        told = [line.split() for line in writer.communicate()[0].splitlines() if line.count(" ") == 1]
        store = RemoteArtifactStore(address, tmp_path / f"reader-{seconds}")
        for number, digest in told:
            assert store.read_bytes(Digest(digest)) == b"%09d" % int(number) * 33_333
        for digest in store.digests():
            store.verify(digest)


@pytest.mark.parametrize("fault", ["key", "secret", "bucket", "away"])
def test_a_bucket_that_does_not_take_us_is_told_without_the_keys(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    bucket = "gone" if fault == "bucket" else "ml"
    if fault == "away":
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    elif fault in ("key", "secret"):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID" if fault == "key" else "AWS_SECRET_ACCESS_KEY", "not the right one")
    store = RemoteArtifactStore(f"s3://{bucket}/x", tmp_path / "cache")
    with pytest.raises(Unavailable) as told:
        store.put_bytes(b"data")
    assert s3.secret not in str(told.value)
    assert "not the right one" not in str(told.value)
    with pytest.raises(Unavailable):
        store.bucket.probe()


@pytest.mark.parametrize("address", ["ftp://ml/x", "s3://", "s3://key:secret@ml/x", "s3://ml/x?secret=1"])
def test_an_address_that_is_none_is_refused_without_its_password(tmp_path: Path, address: str) -> None:
    with pytest.raises(Invalid) as told:
        RemoteArtifactStore(address, tmp_path)
    assert "secret" not in str(told.value)


def test_copies_that_were_not_used_are_trimmed_and_come_again(store: RemoteArtifactStore) -> None:
    used, unused = store.put_bytes(b"used"), store.put_bytes(b"unused")
    since = datetime.now(UTC) + timedelta(seconds=1)
    while datetime.now(UTC) <= since + timedelta(seconds=0.2):  # files are stamped by a coarser clock
        time.sleep(0.05)
    store.read_bytes(used)
    assert store.trim(since) == len(b"unused")
    assert (store.cache.exists(used), store.cache.exists(unused)) == (True, False)
    assert store.read_bytes(unused) == b"unused"


def test_the_probe_leaves_nothing(store: RemoteArtifactStore) -> None:
    assert store.bucket.probe() < 60
    assert list(store.bucket.keys("probe")) == []
