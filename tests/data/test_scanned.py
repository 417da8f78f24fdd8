"""What lies in a folder: every file with its facts, whatever its name or its times, and nothing that is no file."""

import os
import socket
from pathlib import Path

import pytest

from mainspring.data import scanned
from mainspring.data.scanned import packed, scan, stat_of
from mainspring.errors import Conflict, Invalid, NotFound


def _write(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(os.fsencode(name))
    return folder


def test_a_scan_gives_what_the_system_says_of_every_file(tmp_path: Path) -> None:
    folder = _write(tmp_path / "d", "a", "b b", "deep/er/c", "deep/d", "line\nbreak", os.fsdecode(b"\xff.bin"))
    (folder / "empty").mkdir()
    (folder / "link").symlink_to(folder / "a")
    found = {name: (size, stat) for name, size, stat in scan(folder).files()}
    there = [each for each in folder.rglob("*") if each.is_file()]
    assert found == {each.relative_to(folder).as_posix(): (each.stat().st_size, stat_of(each.stat())) for each in there}
    assert len(found) == 7


def test_a_lone_file_has_no_name_and_an_empty_folder_no_files(tmp_path: Path) -> None:
    file = _write(tmp_path, "a") / "a"
    assert list(scan(file).files()) == [("", 1, stat_of(file.stat()))]
    (tmp_path / "d").mkdir()
    assert list(scan(tmp_path / "d").files()) == []
    assert scan(tmp_path / "d") != scan(file)


def test_scans_are_equal_until_a_file_changes(tmp_path: Path) -> None:
    folder = _write(tmp_path / "d", "a", "deep/b")
    before = scan(folder)
    assert scan(folder) == before == packed(list(before.files()))
    os.utime(folder / "deep" / "b", (1, 1))
    assert scan(folder) != before
    (folder / "a").rename(folder / "c")
    assert scan(folder) != before


def test_a_stat_that_is_not_trusted_stays_so_and_equals_no_scan(tmp_path: Path) -> None:
    file = _write(tmp_path, "a") / "a"
    doubtful = packed([("", 1, ())])
    assert list(doubtful.files()) == [("", 1, ())]
    assert doubtful != scan(file)


def test_times_and_inodes_at_their_ends_are_kept() -> None:
    ends = [("a", 1, (1, -(1 << 63) + 1, (1 << 63) - 1, (1 << 64) - 1)), ("b", 0, (0, -1, -1, 0))]
    assert list(packed(ends).files()) == ends
    beyond = packed([("a", 1, (1, -(1 << 65), 1 << 65, 7))])
    assert list(beyond.files()) == [("a", 1, (1, -(1 << 63) + 1, (1 << 63) - 1, 7))]


@pytest.mark.parametrize("kind", ["broken", "loop", "folder", "pipe", "socket"])
def test_what_is_no_file_is_named(tmp_path: Path, kind: str) -> None:
    folder = _write(tmp_path / "d", "a", "deep/b")
    odd = folder / "deep" / "odd"
    with socket.socket(socket.AF_UNIX) as listening:
        match kind:
            case "broken":
                odd.symlink_to("nowhere")
            case "loop":
                odd.symlink_to("odd")
            case "folder":
                odd.symlink_to(folder)
            case "pipe":
                os.mkfifo(odd)
            case _:
                listening.bind(os.path.relpath(odd))
        named = "`d` is a link" if kind == "loop" else "`deep/odd` is neither"
        with pytest.raises(Invalid, match=named):
            scan(folder)


def test_nothing_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no file"):
        scan(tmp_path / "d")


@pytest.mark.parametrize("often", [1, 100])
def test_files_that_vanish_behind_the_listing_are_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, often: int
) -> None:
    folder = _write(tmp_path / "d", "deep/a")
    listed = os.listdir
    names: list[str] = []

    def renamed(place: int | str) -> list[str]:
        """List a folder; the next moment a draft in it replaces a file, and a folder in it goes."""
        if len(names) < often:
            names.append(f"deep/{len(names)}.draft")
            _write(folder, names[-1])
            found = listed(place)
            (folder / names[-1]).replace(folder / "deep" / "a")
            return found
        return listed(place)

    monkeypatch.setattr(scanned.os, "listdir", renamed)
    if often == 1:
        ((name, size, _),) = scan(folder).files()
        assert (name, size) == ("deep/a", len(names[0]))
    else:
        with pytest.raises(Conflict, match=r"`d` changed while it was looked at, `deep/\d+.draft` for one is gone"):
            scan(folder)
