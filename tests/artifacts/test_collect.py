"""Collecting objects that nothing names: what stays, what goes, and writers that are at work meanwhile."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mainspring.artifacts.collect import collect, digests_in, reachable
from mainspring.artifacts.local import LocalArtifactStore
from mainspring.domain.ids import Digest

# Puts the same few objects again and again, after pauses in which they grow old, and reads each back while it may
# count on it: an object that is gone within the grace of its put is what must never be.
WRITER = """
import random, sys, time
from pathlib import Path
from mainspring.artifacts.local import LocalArtifactStore
from mainspring.errors import NotFound
store, grace, chance = LocalArtifactStore(Path(sys.argv[1])), float(sys.argv[2]), random.Random(sys.argv[3])
end, rounds = time.monotonic() + 3, 0
while time.monotonic() < end:
    time.sleep(chance.random() * 2 * grace)
    data = b"shared %d" % chance.randrange(5)
    begun = time.time()
    digest = store.put_bytes(data)
    time.sleep(grace * 0.3)
    try:
        assert store.read_bytes(digest) == data
        assert store.path_of(digest).read_bytes() == data
        rounds += 1
    except NotFound:
        if time.time() - begun < grace - 0.02:  # a file's time is that of the last tick of the kernel's clock
            raise
print(rounds)
"""
LATER = timedelta(days=400)


@pytest.fixture
def artifacts(tmp_path: Path) -> LocalArtifactStore:
    return LocalArtifactStore(tmp_path / "artifacts")


def test_what_is_named_by_roots_trees_and_documents_stays(artifacts: LocalArtifactStore, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number}.txt").write_text(f"file {number}")
    tree = artifacts.put_tree(folder)
    plain, lonely = artifacts.put_bytes(b"\x00plain"), artifacts.put_bytes(b"\x00lonely")
    document = artifacts.put_bytes(json.dumps({"parts": [{"data": tree}, {"data": plain}]}).encode())
    done = collect(artifacts, [document], put_before=datetime.now(UTC) + LATER)
    assert (done.removed, done.removed_bytes, done.kept, done.young) == (1, 7, 23, 0)
    assert not artifacts.exists(lonely)
    artifacts.checkout_tree(tree, tmp_path / "out")
    assert (tmp_path / "out" / "7.txt").read_text() == "file 7"


def test_a_dry_run_tells_the_same_and_removes_nothing(artifacts: LocalArtifactStore) -> None:
    kept = artifacts.put_bytes(b"kept")
    for number in range(10):
        artifacts.put_bytes(b"x" * number)
    told = collect(artifacts, [kept], put_before=datetime.now(UTC) + LATER, dry_run=True)
    assert len(list(artifacts.digests())) == 11
    assert collect(artifacts, [kept], put_before=datetime.now(UTC) + LATER) == told
    assert (told.removed, told.removed_bytes) == (10, 45)
    assert list(artifacts.digests()) == [kept]


def test_what_was_put_within_the_grace_stays(artifacts: LocalArtifactStore) -> None:
    old, young = artifacts.put_bytes(b"old"), artifacts.put_bytes(b"young")
    os.utime(artifacts.path_of(old), (0, 0))
    done = collect(artifacts, [], put_before=datetime.now(UTC) - timedelta(hours=1))
    assert (done.removed, done.young) == (1, 1)
    assert list(artifacts.digests()) == [young]


@pytest.mark.parametrize("before", [0, 1, (1 << 20) - 65, (1 << 20) - 33, (1 << 20) - 1, 1 << 20, (3 << 20) + 5])
def test_a_digest_is_found_wherever_it_stands_in_a_long_document(artifacts: LocalArtifactStore, before: int) -> None:
    named = artifacts.put_bytes(b"\x00named")
    document = artifacts.put_bytes(b"[" + b" " * before + json.dumps(named).encode() + b"]")
    assert reachable(artifacts, [document]) == {document, named}


def test_documents_that_name_each_other_or_what_is_gone_are_no_trouble(artifacts: LocalArtifactStore) -> None:
    gone = Digest("ab" * 32)
    document = artifacts.put_bytes(json.dumps([gone, "c" * 63, "d" * 65]).encode())
    outer = artifacts.put_bytes(json.dumps([document, document]).encode())
    assert reachable(artifacts, [outer, gone]) == {outer, document}
    assert digests_in(f"a{gone} {gone}x {gone}") == [gone, gone]
    assert digests_in(None) == []


def test_writers_that_put_again_what_is_collected_never_miss_an_object(artifacts: LocalArtifactStore) -> None:
    artifacts.put_bytes(b"first")
    grace = 0.05
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(artifacts.root), str(grace), name], stdout=subprocess.PIPE)
        for name in "abc"
    ]
    removed = 0
    while any(each.poll() is None for each in writers):
        removed += collect(artifacts, [], put_before=datetime.now(UTC) - timedelta(seconds=grace)).removed
    rounds = [int(each.communicate(timeout=60)[0]) for each in writers]
    assert [each.returncode for each in writers] == [0] * 3
    assert min(rounds) > 5
    assert removed > 10
