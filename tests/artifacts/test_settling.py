"""Bringing everything under the newest key: two that do it at once, and what was damaged."""

import fcntl
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.artifacts.s3_server import S3Server

from mainspring.artifacts.encryption import StoreKey
from mainspring.artifacts.layered import LayeredArtifactStore
from mainspring.artifacts.opening import open_artifacts
from mainspring.artifacts.secret_keys import make_key
from mainspring.artifacts.settling import is_settled, settle
from mainspring.domain.ids import Digest
from mainspring.errors import Corrupt

pytest.importorskip("cryptography", reason="pip install 'mainspring[encryption]'")

_MARK = b"a-marker-that-nobody-may-see"
_SETTLER = """
import sys
from pathlib import Path
from mainspring.artifacts.encryption import StoreKey
from mainspring.artifacts.opening import open_artifacts
from mainspring.artifacts.settling import settle
settle(open_artifacts(sys.argv[1], Path(sys.argv[1] + "-cache"), [StoreKey(each) for each in sys.argv[2:]]))
"""


@pytest.fixture(autouse=True)
def keys(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_KEYS", str(tmp_path_factory.mktemp("keys")))
    for name in ("one", "two"):
        make_key(name)


def opened(address: str, cache: Path, *names: str) -> LayeredArtifactStore:
    store = open_artifacts(address, cache, [StoreKey(each) for each in names])
    assert isinstance(store, LayeredArtifactStore)
    return store


def test_nobody_else_settles_meanwhile(tmp_path: Path) -> None:
    store = opened(str(tmp_path), tmp_path, "one")
    held: list[bool] = []

    def tell(done: int, of: int) -> None:
        with (tmp_path / "settle.lock").open() as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.append(True)

    store.layers[1].put_bytes(b"plain")
    assert settle(store, tell).objects == 1
    assert held == [True]


def test_two_processes_with_their_keys_in_opposite_order_lose_nothing(tmp_path: Path) -> None:
    place = str(tmp_path / "a")
    kept = {opened(place, tmp_path, "one", "two").put_bytes(b"first %d" % number) for number in range(60)}
    kept |= {opened(place, tmp_path, "two", "one").put_bytes(b"first %d" % number) for number in range(30, 90)}
    orders = (("one", "two"), ("two", "one")) * 2
    settlers = [subprocess.Popen([sys.executable, "-c", _SETTLER, place, *names]) for names in orders]
    assert [each.wait(60) for each in settlers] == [0] * 4
    store = opened(place, tmp_path, "one", "two")
    assert set(store.digests()) == kept
    for digest in kept:
        store.verify(digest)


def test_two_machines_with_their_keys_in_opposite_order_lose_nothing_in_a_bucket(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"s3://ml/{tmp_path.name}"
    here = opened(address, tmp_path / "here", "one", "two")
    there = opened(address, tmp_path / "there", "two", "one")
    digest = here.put_bytes(b"data")
    assert there.put_bytes(b"data") == digest
    for path in (s3.root / "ml" / tmp_path.name).rglob("*"):
        os.utime(path, (1e9, 1e9))
    second: Any = here.layers[1]
    remove = second.remove

    def late(digest: Digest, *, unless_put_since: datetime) -> bool:
        settle(there)  # the other machine does all of it between our look and our removal
        return bool(remove(digest, unless_put_since=unless_put_since))

    monkeypatch.setattr(second, "remove", late)
    settle(here)
    assert opened(address, tmp_path / "third", "one", "two").read_bytes(digest) == b"data"


@pytest.mark.parametrize("is_bucket", [False, True])
def test_what_was_damaged_and_set_aside_does_not_stay_readable(tmp_path: Path, s3: S3Server, is_bucket: bool) -> None:
    address = f"s3://ml/{tmp_path.name}" if is_bucket else str(tmp_path / "a")
    place = s3.root / "ml" / tmp_path.name if is_bucket else tmp_path / "a"
    plain = open_artifacts(address, tmp_path / "cache", ())
    digest = plain.put_bytes(_MARK * 10)
    (path,) = place.rglob(f"objects/{digest[:2]}/{digest[2:]}")
    path.chmod(0o644)
    path.write_bytes(_MARK * 11)
    with pytest.raises(Corrupt):
        plain.verify(digest)
    store = opened(address, tmp_path / "cache", "one")
    assert not is_settled(store)
    assert settle(store).damaged == 1
    assert is_settled(store)
    told = [each for root in (place, tmp_path / "cache") for each in root.rglob("*") if each.is_file()]
    assert not any(_MARK in each.read_bytes() for each in told)
