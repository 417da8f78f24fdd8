"""Decrypted copies: where they lie, who may see them, how many there are, and that none outlives its process."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mainspring.artifacts import copies
from mainspring.artifacts.copies import Copies, is_in_memory, make_private, place_of_copies, shared_place
from mainspring.artifacts.digests import digest_of_bytes
from mainspring.domain.ids import Digest
from mainspring.errors import Corrupt, NotFound, Refused, Unavailable

_COPIER = """
import os, signal, sys
from mainspring.artifacts.copies import copies_of_this_process
from mainspring.artifacts.digests import digest_of_bytes
made = copies_of_this_process()
path = made.path_of(digest_of_bytes(b"x"), 1, lambda: [b"x"])
print(path, flush=True)
if sys.argv[1] == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[1] == "fork":
    child = os.fork()
    if not child:
        mine = copies_of_this_process().path_of(digest_of_bytes(b"x"), 1, lambda: [b"x"])
        print(mine != path, flush=True)
        sys.exit()
    os.waitpid(child, 0)
    print(path.exists(), flush=True)
"""


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Copies]:
    """Copies that may take 1,000 bytes, by a clock that stands still."""
    usage = copies.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(copies.shutil, "disk_usage", lambda _: usage._replace(free=2000))
    found = Copies(tmp_path, clock=lambda: clock[0])
    clock[0] = 0.0
    yield found
    found.close()


clock = [0.0]


def put(made: Copies, number: int, size: int = 400) -> tuple[Digest, Path]:
    data = bytes([number]) * size
    digest = digest_of_bytes(data)
    return digest, made.path_of(digest, size, lambda: [data[:100], data[100:]])


def test_a_copy_is_its_owners_alone_and_made_once(made: Copies) -> None:
    digest, path = put(made, 1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.read_bytes() == bytes([1]) * 400

    def never() -> list[bytes]:
        raise AssertionError("made again")

    assert made.path_of(digest, 400, never) == path
    path.unlink()
    assert put(made, 1)[1].read_bytes() == bytes([1]) * 400


def test_what_was_not_asked_for_in_a_while_makes_room_and_what_was_stays(made: Copies) -> None:
    first, second = put(made, 1)[1], put(made, 2)[1]
    with pytest.raises(Unavailable, match="no room"):
        put(made, 3)
    clock[0] = 599.0
    assert put(made, 1)[1] == first
    clock[0] = 601.0
    assert put(made, 3)[1].exists()
    assert (first.exists(), second.exists()) == (True, False)
    with pytest.raises(Unavailable, match="MAINSPRING_DECRYPTED"):
        put(made, 4, size=1001)


def test_a_copy_that_cannot_be_made_leaves_nothing_and_takes_no_room(made: Copies) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise Corrupt("the rest is gone")

    for _ in range(5):
        with pytest.raises(Corrupt):
            made.path_of(digest_of_bytes(b"?"), 900, broken)
    assert list(made.folder.iterdir()) == []
    assert put(made, 1)[1].exists()


def test_a_full_place_is_unavailable(tmp_path: Path) -> None:
    script = """
import resource, signal, sys
from pathlib import Path
from mainspring.artifacts.copies import Copies
from mainspring.domain.ids import Digest
from mainspring.errors import Unavailable
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))
made = Copies(Path(sys.argv[1]))
try:
    made.path_of(Digest("0" * 64), 9_000, lambda: [b"x" * 1_000] * 9)
except Unavailable:
    print("told", list(made.folder.iterdir()))
"""
    words = [sys.executable, "-c", script, str(tmp_path)]
    assert subprocess.run(words, capture_output=True, text=True, check=False).stdout == "told []\n"


def test_copies_are_gone_with_their_process_however_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_DECRYPTED", str(tmp_path))

    def run(how: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", _COPIER, how], capture_output=True, text=True, check=False)

    ended = run("end")
    assert (ended.returncode, Path(ended.stdout.strip()).parent.parent) == (0, tmp_path)
    assert list(tmp_path.iterdir()) == []
    killed = run("die")
    assert killed.returncode == -signal.SIGKILL
    assert Path(killed.stdout.strip()).exists()
    assert run("end").returncode == 0  # sweeps what the killed one left
    assert list(tmp_path.iterdir()) == []


def test_a_forked_child_leaves_its_parents_copies_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_DECRYPTED", str(tmp_path))
    done = subprocess.run([sys.executable, "-c", _COPIER, "fork"], capture_output=True, text=True, check=False)
    assert done.stdout.split()[1:] == ["True", "True"], done.stderr
    assert list(tmp_path.iterdir()) == []


def test_they_lie_in_memory_where_that_can_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert is_in_memory("/dev/shm") == os.path.ismount("/dev/shm")
    assert not is_in_memory("/proc")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert place_of_copies() == Path("/dev/shm")
    monkeypatch.setattr(copies, "is_in_memory", lambda _: False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert place_of_copies() == tmp_path
    monkeypatch.setenv("MAINSPRING_DECRYPTED", str(tmp_path / "absent"))
    with pytest.raises(NotFound, match="absent"):
        place_of_copies()


def test_a_shared_folder_is_its_users_alone_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_DECRYPTED", str(tmp_path))
    folder = shared_place("bundles-1")
    make_private(folder)
    make_private(folder)
    assert (folder.parent, stat.S_IMODE(folder.stat().st_mode)) == (tmp_path, 0o700)
    folder.chmod(0o755)
    with pytest.raises(Refused, match="not yours alone"):
        make_private(folder)
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused):
        make_private(folder)
    with pytest.raises(Unavailable):
        make_private(tmp_path / "absent" / "folder")
