"""The journal: what was acknowledged survives a kill -9, a full disk and a torn tail, and is read exactly once."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.errors import Corrupt, Invalid, NotFound, Unavailable
from mainspring.predictions.journal import JournalWriter, TornTail, journals, read_frames

WRITER = """
import os, random, sys
from pathlib import Path
from mainspring.predictions.journal import JournalWriter
folder, seed, rotate = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
sizes = random.Random(seed)
with JournalWriter(folder, name="crash", rotate_bytes=rotate) as journal:
    for number in range(1_000_000):
        journal.append(b"%d:" % number + b"x" * sizes.randrange(20_000))
        os.write(1, b"%d\\n" % number)
"""

FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from mainspring.errors import Unavailable
from mainspring.predictions.journal import JournalWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
journal = JournalWriter(Path(sys.argv[1]), name="full")
journal.append(b"before")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
for _ in range(2):
    try:
        journal.append(b"lost" * 1000)
    except Unavailable as error:
        print(error.what)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
journal.append(b"after")
journal.close()
"""


def payloads(path: Path, offset: int = 0) -> list[bytes]:
    return [payload for payload, _ in read_frames(path, offset)]


def written(folder: Path, *frames: bytes) -> Path:
    with JournalWriter(folder, name="test") as journal:
        for frame in frames:
            journal.append(frame)
    return journals(folder)[0].path


def test_frames_are_read_back_in_order_and_from_any_offset(tmp_path: Path) -> None:
    path = written(tmp_path, b"one", b"two", b"three")
    assert payloads(path) == [b"one", b"two", b"three"]
    ends = [end for _, end in read_frames(path)]
    assert payloads(path, ends[0]) == [b"two", b"three"]
    assert payloads(path, ends[2]) == []
    assert ends[2] == path.stat().st_size


def test_a_reader_follows_a_live_file_to_its_end_again_and_again(tmp_path: Path) -> None:
    with JournalWriter(tmp_path, name="live") as journal:
        offset, seen = 0, []
        for number in range(5):
            journal.append(b"%d" % number)
            (file,) = journals(tmp_path)
            assert not file.ended
            for payload, end in read_frames(file.path, offset):
                seen.append(payload)
                offset = end
    assert seen == [b"0", b"1", b"2", b"3", b"4"]
    assert journals(tmp_path)[0].ended


def test_rotation_ends_a_file_and_keeps_the_order_of_birth(tmp_path: Path) -> None:
    with JournalWriter(tmp_path, name="small", rotate_bytes=20) as journal:
        for number in range(7):
            journal.append(b"frame-%d" % number)
        files = journals(tmp_path)
        assert [each.ended for each in files] == [True, True, True, False]
        journal.rotate()
        assert all(each.ended for each in journals(tmp_path))
    assert [payload for each in files for payload in payloads(each.path)] == [b"frame-%d" % n for n in range(7)]
    assert sorted(each.id for each in files) == [each.id for each in files]


def test_a_writer_that_wrote_nothing_leaves_no_file(tmp_path: Path) -> None:
    JournalWriter(tmp_path, name="idle").close()
    assert journals(tmp_path) == []
    assert journals(tmp_path / "nowhere") == []


def test_two_writers_in_one_folder_have_files_of_their_own(tmp_path: Path) -> None:
    with JournalWriter(tmp_path, name="a") as one, JournalWriter(tmp_path, name="b-c") as two:
        one.append(b"1")
        two.append(b"2")
        assert {each.name: payloads(each.path) for each in journals(tmp_path)} == {"a": [b"1"], "b-c": [b"2"]}


def test_a_durable_journal_reads_like_any_other(tmp_path: Path) -> None:
    with JournalWriter(tmp_path, name="durable", durable=True) as journal:
        journal.append(b"kept")
    assert payloads(journals(tmp_path)[0].path) == [b"kept"]


def test_an_empty_payload_and_a_bad_name_are_refused(tmp_path: Path) -> None:
    with JournalWriter(tmp_path, name="x") as journal, pytest.raises(Invalid):
        journal.append(b"")
    with pytest.raises(Invalid, match="cannot name"):
        JournalWriter(tmp_path, name="../x")


def test_a_missing_journal_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        payloads(tmp_path / "none.journal")


def test_a_torn_tail_of_a_dead_file_is_skipped_and_told(tmp_path: Path) -> None:
    path = written(tmp_path, b"whole", b"half of this is missing")
    os.truncate(path, path.stat().st_size - 9)
    torn: list[TornTail] = []
    assert [payload for payload, _ in read_frames(path, on_torn=torn.append)] == [b"whole"]
    assert [(each.offset, each.size_bytes) for each in torn] == [(13, 22)]


def test_zeros_at_the_end_as_a_power_cut_leaves_them_are_a_torn_tail(tmp_path: Path) -> None:
    path = written(tmp_path, b"whole")
    with path.open("ab") as file:
        file.write(bytes(100))
    torn: list[TornTail] = []
    assert [payload for payload, _ in read_frames(path, on_torn=torn.append)] == [b"whole"]
    assert torn[0].size_bytes == 100


def test_a_torn_tail_of_a_live_file_ends_the_reading_quietly(tmp_path: Path) -> None:
    with JournalWriter(tmp_path, name="live") as journal:
        journal.append(b"whole")
        path = journals(tmp_path)[0].path
        with path.open("ab") as file:
            file.write(b"\x50\x00\x00\x00half")
        torn: list[TornTail] = []
        assert [payload for payload, _ in read_frames(path, on_torn=torn.append)] == [b"whole"]
        assert torn == []


@pytest.mark.parametrize("position", [0, 3, 4, 8, 12])
def test_damage_before_whole_frames_is_corrupt_and_names_the_byte(tmp_path: Path, position: int) -> None:
    path = written(tmp_path, b"first", b"second", b"third")
    data = bytearray(path.read_bytes())
    data[13 + position] ^= 0xFF
    path.write_bytes(data)
    reading = read_frames(path)
    assert next(reading) == (b"first", 13)
    with pytest.raises(Corrupt, match="whole frames follow") as caught:
        next(reading)
    assert "byte 13" in caught.value.where


def test_a_file_shorter_than_the_offset_is_corrupt(tmp_path: Path) -> None:
    with pytest.raises(Corrupt, match="shorter"):
        payloads(written(tmp_path, b"x"), 1000)


@settings(max_examples=60, deadline=None)
@given(frames=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=6), data=st.data())
def test_a_file_cut_anywhere_gives_a_prefix_of_its_frames(
    tmp_path_factory: pytest.TempPathFactory, frames: list[bytes], data: st.DataObject
) -> None:
    path = written(tmp_path_factory.mktemp("cut"), *frames)
    size = data.draw(st.integers(0, path.stat().st_size))
    os.truncate(path, size)
    whole = [end for _, end in read_frames(written(tmp_path_factory.mktemp("all"), *frames)) if end <= size]
    assert payloads(path) == frames[: len(whole)]


def test_a_full_disk_is_told_cut_off_and_gone_on_from(tmp_path: Path) -> None:
    # The limit on a file's size makes the kernel take a part of the frame and refuse the rest, as a full disk does.
    done = subprocess.run([sys.executable, "-c", FULL_DISK, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["The journal cannot be written: File too large"] * 2
    torn: list[TornTail] = []
    (file,) = journals(tmp_path)
    assert [payload for payload, _ in read_frames(file.path, on_torn=torn.append)] == [b"before", b"after"]
    assert torn == []


def test_a_folder_that_vanished_is_unavailable_and_heals(tmp_path: Path) -> None:
    folder = tmp_path / "journals"
    with JournalWriter(folder, name="x") as journal:
        folder.rmdir()
        with pytest.raises(Unavailable):
            journal.append(b"lost")
        folder.mkdir()
        journal.append(b"kept")
    assert payloads(journals(folder)[0].path) == [b"kept"]


@pytest.mark.parametrize("seed", range(6))
def test_every_acknowledged_frame_survives_a_kill_exactly_once(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    rotate = chance.choice([50_000, 1 << 30])
    command = [sys.executable, "-c", WRITER, str(tmp_path), str(seed), str(rotate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        acknowledged = [int(child.stdout.readline()) for _ in range(chance.randrange(1, 400))]
        child.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in child.stdout.read().split(b"\n")[:-1]]
    files = journals(tmp_path)
    assert all(each.ended for each in files)
    found = [int(payload.partition(b":")[0]) for each in files for payload in payloads(each.path)]
    assert found[: len(acknowledged)] == acknowledged == list(range(len(acknowledged)))
    # The last append may have reached the file without its acknowledgement reaching us.
    assert len(found) - len(acknowledged) in (0, 1)
