"""Pin files: they say what they said, and nothing in one is trusted."""

from pathlib import Path

import pytest
import yaml

from mainspring.data.pins import Pin, find_pins, pin_of, read_pin, write_pin
from mainspring.domain.ids import Digest
from mainspring.errors import Invalid, NotFound

GOOD = Pin("images", 3, Digest("a" * 64), "images", True, 2, 30)


@pytest.mark.parametrize("path", ["images", "a b: c", 'quo"te', "#x", "é", "- x"])
def test_a_pin_reads_back_as_it_was_written_and_is_yaml(tmp_path: Path, path: str) -> None:
    pin = GOOD._replace(path=path)
    write_pin(tmp_path / "p.pin", pin)
    assert read_pin(tmp_path / "p.pin") == pin
    assert yaml.safe_load((tmp_path / "p.pin").read_text())["path"] == path
    assert [each.name for each in tmp_path.iterdir()] == ["p.pin"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"images"', '"../images"', "not a name beside it"),
        ('"images"', '"/etc/passwd"', "not a name beside it"),
        ('"images"', '".."', "not a name beside it"),
        ('"images"', '"a\\\\b"', "not a name beside it"),
        ('"images"', '"a\\u0000b"', "not a name beside it"),
        ('"images"', "7", "not a name beside it"),
        ('"images"', "images", "Expecting value"),
        ("dataset: images", "dataset: ../x", "not a dataset name"),
        ("a" * 64, "A" * 64, "not 64 hexadecimal digits"),
        ("version: 3", "version: three", "not a number"),
        ("version: 3", "version: ٣", "not a number"),
        ("folder: yes", "folder: maybe", "neither yes nor no"),
        ("mainspring_pin: 1", "mainspring_pin: 2", "newer Mainspring"),
        ("version: 3\n", "", "`version` is missing"),
        ("version: 3\n", "version: 3\nversion: 4\n", "line 4"),
        ("version: 3\n", "<<<<<<< HEAD\nversion: 3\n", "git could not merge"),
        ("version: 3\n", "version: 3\nshell: rm\n", "line 4 is not one of its words"),
        ("version: 3\n", "x" * 5000, "too long"),
    ],
)
def test_a_pin_that_is_not_as_it_should_be_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    place = tmp_path / "p.pin"
    write_pin(place, GOOD)
    place.write_text(place.read_text().replace(old, new))
    with pytest.raises(Invalid, match=said):
        read_pin(place)


def test_bytes_that_are_no_text_and_missing_pins_are_told(tmp_path: Path) -> None:
    (tmp_path / "p.pin").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Invalid, match="is no pin"):
        read_pin(tmp_path / "p.pin")
    for place in (tmp_path / "none.pin", tmp_path, tmp_path / "p.pin" / "x"):
        with pytest.raises(NotFound, match="no pin"):
            read_pin(place)


def test_pins_are_found_below_but_not_inside_pinned_or_hidden_folders(tmp_path: Path) -> None:
    for name in ("a", "a/deep", "b", ".git"):
        (tmp_path / name).mkdir()
    for name in ("a.pin", "a/inside.pin", "a/deep/x.pin", "b/c.csv.pin", ".git/x.pin"):
        (tmp_path / name).touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    assert [each.relative_to(tmp_path).as_posix() for each in find_pins(tmp_path)] == ["a.pin", "b/c.csv.pin"]
    assert pin_of(tmp_path / "b" / "c.csv") == tmp_path / "b" / "c.csv.pin"
