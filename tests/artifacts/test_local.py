"""The store on a disk: the public suite, and what only real processes, kills and full disks can show."""

import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mainspring.artifacts.local import LocalArtifactStore
from mainspring.artifacts.protocol import ArtifactStore
from mainspring.domain.ids import Digest
from mainspring.errors import Unavailable
from mainspring.testing.artifact_store import ArtifactStoreSuite

# Puts objects of 0.3 MB one after the other and says so after each; the content follows from the number.
_WRITER = """
import sys
from pathlib import Path
from mainspring.artifacts.local import LocalArtifactStore
store, start, stop = LocalArtifactStore(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
for number in range(start, stop):
    print(number, store.put_bytes(b"%09d" % number * 33_333), flush=True)
"""


class TestLocalArtifactStore(ArtifactStoreSuite):
    def open_store(self, place: Path) -> ArtifactStore:
        return LocalArtifactStore(place)

    def damage(self, store: ArtifactStore, digest: Digest) -> None:
        path = store.path_of(digest)
        data = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def test_object_is_read_only(tmp_path: Path) -> None:
    store = LocalArtifactStore(tmp_path)
    path = store.path_of(store.put_bytes(b"data"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert path.relative_to(tmp_path).parts[0] == "objects"


def test_torn_object_is_healed_by_a_put_without_a_read(tmp_path: Path) -> None:
    store = LocalArtifactStore(tmp_path)
    path = store.path_of(store.put_bytes(b"data"))
    path.chmod(0o644)
    path.write_bytes(b"da")
    assert store.read_bytes(store.put_bytes(b"data")) == b"data"


def test_opening_a_store_writes_nothing(tmp_path: Path) -> None:
    store = LocalArtifactStore(tmp_path / "artifacts")
    assert list(store.digests()) == []
    assert not (tmp_path / "artifacts").exists()


def test_full_disk_is_unavailable_and_leaves_nothing(tmp_path: Path) -> None:
    # A limit on the size of files is the full disk that needs no root: the write fails in the middle.
    program = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from mainspring.artifacts.local import LocalArtifactStore\n"
        "from mainspring.errors import Unavailable\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "store = LocalArtifactStore(Path(sys.argv[1]))\n"
        "store.put_bytes(b'small')\n"
        "try: store.put_bytes(b'x' * 1_000_000)\n"
        "except Unavailable as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert "cannot be kept" in done.stdout
    assert len(list(LocalArtifactStore(tmp_path).digests())) == 1
    assert list((tmp_path / "incoming").iterdir()) == []


def test_unwritable_place_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises((Unavailable, OSError)):
        LocalArtifactStore(tmp_path / "file" / "artifacts").put_bytes(b"data")


def test_two_processes_and_threads_put_the_same_objects_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _WRITER, str(tmp_path), "0", "60"]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    store = LocalArtifactStore(tmp_path)
    threads = [threading.Thread(target=_put_numbers, args=(store, 60)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = [child.communicate(timeout=60)[0] for child in children]
    assert said[0] == said[1]
    assert [child.returncode for child in children] == [0, 0]
    assert len(list(store.digests())) == 60
    for digest in store.digests():
        store.verify(digest)
    assert list((tmp_path / "incoming").iterdir()) == []


def test_kill_in_the_middle_of_puts_loses_nothing_acknowledged_and_shows_nothing_torn(tmp_path: Path) -> None:
    rng = random.Random(20)
    for round_number in range(12):
        start = round_number * 10_000
        command = [sys.executable, "-c", _WRITER, str(tmp_path), str(start), str(start + 10_000)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        child.stdout.readline()  # it works now
        time.sleep(rng.random() * 0.03)  # the instant of the kill is the point of the test
        child.send_signal(signal.SIGKILL)
        acknowledged = [line.split() for line in child.stdout.read().splitlines() if len(line.split()) == 2]
        child.stdout.close()
        child.wait()
        store = LocalArtifactStore(tmp_path)
        for number, digest in acknowledged:
            if len(digest) == 64:  # the last line may be cut
                assert store.read_bytes(Digest(digest)) == b"%09d" % int(number) * 33_333
    for digest in store.digests():
        store.verify(digest)
    store.put_bytes(b"after")
    assert list((tmp_path / "incoming").iterdir()) == []


def test_sweep_spares_the_file_of_a_living_writer(tmp_path: Path) -> None:
    store = LocalArtifactStore(tmp_path)
    store.put_bytes(b"first")
    (tmp_path / "incoming" / "left-by-the-dead").write_bytes(b"half")
    with store._draft() as (draft, _):
        LocalArtifactStore(tmp_path).put_bytes(b"second")
        assert [each.name for each in (tmp_path / "incoming").iterdir()] == [draft.name]


def _put_numbers(store: ArtifactStore, n: int) -> None:
    for number in range(n):
        store.put_bytes(b"%09d" % number * 33_333)


def test_store_survives_a_fork(tmp_path: Path) -> None:
    store = LocalArtifactStore(tmp_path)
    store.put_bytes(b"parent")
    child = os.fork()
    if child == 0:
        store.put_bytes(b"child")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert len(list(store.digests())) == 2
