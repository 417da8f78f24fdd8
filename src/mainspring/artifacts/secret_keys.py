"""Secret keys, of pseudonyms and of encrypted stores: one file each in a folder of their own, for their owner alone.

Whoever has a key can find the pseudonym of a value he guesses, and read what is encrypted with it; whoever deletes it
cuts the pseudonyms from the people, and makes the bytes unreadable, for good. So a key lies neither in the workspace
nor in a repository, and no copy of it is made.
"""

import os
import re
from pathlib import Path

from mainspring.config import value_of
from mainspring.errors import Conflict, Invalid, NotFound, Refused

__all__ = ["make_key", "read_key"]

_BYTES = 32


def make_key(name: str) -> Path:
    """Make a key of 256 random bits and return its file.

    Raises:
        Invalid: the name is none for a file.
        Conflict: there is a key of that name; it is never replaced.
    """
    path = _path(name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise Conflict(
            f"There is a key `{name}` already", where=str(path), next_step="use it, or take another name"
        ) from error
    with os.fdopen(handle, "w") as file:
        file.write(os.urandom(_BYTES).hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    return path


def read_key(name: str) -> bytes:
    """Return a key.

    Raises:
        NotFound: there is none of that name.
        Refused: others may read its file.
        Invalid: the file holds no key.
    """
    path = _path(name)
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(2 * _BYTES + 2)
    except FileNotFoundError as error:
        raise NotFound(
            f"There is no key `{name}`",
            where=str(path),
            next_step="bring its file back: a second key of that name reads nothing of what the first one wrote; if"
            f" there never was one, mainspring data key {name}",
        ) from error
    if os.name == "posix" and mode & 0o077:
        raise Refused(f"Others may read the key `{name}`", where=str(path), next_step=f"chmod 600 {path}")
    if not re.fullmatch(rb"[0-9a-f]{%d}\n?" % (2 * _BYTES), text):
        raise Invalid(f"The key `{name}` is not of 64 hexadecimal digits", where=str(path), next_step="bring it back")
    return bytes.fromhex(text.decode().strip())


def _path(name: str) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", name):
        raise Invalid(f"`{name}` is no name of a key", where="key", next_step="use letters, digits, - and _")
    return Path(value_of("keys")).expanduser() / f"{name}.key"
