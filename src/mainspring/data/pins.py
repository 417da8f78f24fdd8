"""Pin files: one small text file beside a file or folder says which dataset version belongs there.

It is lines of ``word: value``, which git merges and shows well, and which is YAML too. Nothing in a pin is trusted: the
path is a name beside the pin, the digest is a digest. Neighbours: `pinned` compares and checks out what a pin names.
"""

import json
import os
import re
from pathlib import Path
from typing import NamedTuple

from mainspring.artifacts.digests import is_digest
from mainspring.domain.ids import Digest, new_id
from mainspring.errors import Invalid, NotFound

__all__ = ["ENDING", "Pin", "check_name", "find_pins", "pin_of", "read_pin", "write_pin"]

ENDING = ".pin"
_FORMAT = "1"
_MOST_BYTES = 4096
_WORDS = ("mainspring_pin", "dataset", "version", "digest", "path", "folder", "files", "size_bytes")
_REMOTE = "remote"


class Pin(NamedTuple):
    """Which version belongs at `path`, a name beside the pin file; `digest` says which bytes that is, for ever.

    `remote` is where it was pushed to, if it was.
    """

    dataset: str
    version: int
    digest: Digest
    path: str
    folder: bool
    files: int
    size_bytes: int
    remote: str = ""


def check_name(name: str) -> None:
    """Raise `Invalid` unless a dataset can be called `name`."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise Invalid(
            f"`{name}` is not a dataset name", where="--name", next_step="use letters, digits, dots and dashes"
        )


def pin_of(path: Path) -> Path:
    """Return where the pin of a file or folder lies: beside it."""
    absolute = Path(os.path.abspath(path))
    return absolute.with_name(absolute.name + ENDING)


def write_pin(place: Path, pin: Pin) -> None:
    """Write a pin file; whoever reads meanwhile sees the old one or the new one."""
    folder = "yes" if pin.folder else "no"
    values = (_FORMAT, pin.dataset, pin.version, pin.digest, json.dumps(pin.path), folder, pin.files, pin.size_bytes)
    text = "".join(f"{word}: {value}\n" for word, value in zip(_WORDS, values, strict=True))
    text += f"{_REMOTE}: {json.dumps(pin.remote)}\n" if pin.remote else ""
    draft = place.with_name(f".{place.name}.{new_id()}")
    try:
        draft.write_text(text, encoding="ascii")
        draft.replace(place)
    finally:
        draft.unlink(missing_ok=True)


def read_pin(place: Path) -> Pin:
    """Read a pin file.

    Raises:
        NotFound: there is none.
        Invalid: it is not one, or names something that is not beside it.
    """
    try:
        with place.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise NotFound(f"There is no pin `{place.name}`", where=str(place), next_step="check the path") from error
    found: dict[str, str] = {}
    try:
        if len(data) > _MOST_BYTES:
            raise ValueError("it is too long")
        for number, line in enumerate(data.decode("utf-8").splitlines(), start=1):
            if line.startswith("<<<<<<<"):
                raise ValueError(f"line {number} is a conflict that git could not merge")
            word, colon, value = line.partition(": ")
            if not colon or word not in (*_WORDS, _REMOTE) or word in found:
                raise ValueError(f"line {number} is not one of its words: {', '.join(_WORDS)}")
            found[word] = value
        missing = [word for word in _WORDS if word not in found]
        if missing:
            raise ValueError(f"`{missing[0]}` is missing")
        return _pin(found)
    except ValueError as error:
        raise Invalid(
            f"`{place.name}` is no pin: {error}", where=str(place), next_step="take it from git again, or pin anew"
        ) from error


def _pin(found: dict[str, str]) -> Pin:
    if found["mainspring_pin"] != _FORMAT:
        raise ValueError("its format is unknown; it may be of a newer Mainspring")
    numbers = []
    for word in ("version", "files", "size_bytes"):
        if not re.fullmatch(r"[0-9]{1,18}", found[word], re.ASCII):
            raise ValueError(f"`{word}` is not a number")
        numbers.append(int(found[word]))
    if not is_digest(found["digest"]):
        raise ValueError("`digest` is not 64 hexadecimal digits")
    if found["folder"] not in ("yes", "no"):
        raise ValueError("`folder` is neither yes nor no")
    path = json.loads(found["path"])
    if not isinstance(path, str) or path in ("", ".", "..") or any(each in path for each in "/\\\0"):
        raise ValueError("`path` is not a name beside it")
    try:
        check_name(found["dataset"])
    except Invalid as error:
        raise ValueError(error.what) from error
    remote = json.loads(found.get(_REMOTE, '""'))
    if not isinstance(remote, str) or not remote.isprintable():
        raise ValueError("`remote` is not a text")
    folder = found["folder"] == "yes"
    version, files, size = numbers
    return Pin(found["dataset"], version, Digest(found["digest"]), path, folder, files, size, remote)


def find_pins(folder: Path) -> list[Path]:
    """Return the pin files in `folder` and below, sorted; pinned folders and hidden ones are not searched."""
    found: list[Path] = []
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        with os.scandir(here) as entries:
            listed = list(entries)
        pins = {each.name for each in listed if each.name.endswith(ENDING) and each.is_file()}
        found += [here / name for name in pins]
        waiting += [
            here / each.name
            for each in listed
            if each.is_dir(follow_symlinks=False) and each.name[0] != "." and each.name + ENDING not in pins
        ]
    return sorted(found)
