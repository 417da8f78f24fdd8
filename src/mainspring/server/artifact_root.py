"""Where new experiments keep their files, when that is not this server: what `--default-artifact-root` names.

MLflow's clients then read and write there by themselves. A folder of this machine is read by the server too, for those
who ask it for a run's files; never beyond that folder, whatever an experiment says of where its files lie.
"""

import contextlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from mainspring.errors import Conflict, Invalid, NotFound
from mainspring.tracking.files import Entry
from mainspring.tracking.limits import check_location

__all__ = ["OWN_TREE", "ArtifactRoot", "list_local", "local_path", "open_local", "put_local"]

#: The tree that the server keeps itself.
OWN_TREE = "mlflow-artifacts:"


@dataclass(frozen=True, slots=True)
class ArtifactRoot:
    """An address that new experiments are put below, and the folder that it is, if it is one of this machine."""

    location: str = OWN_TREE
    folder: Path | None = None

    @classmethod
    def named(cls, address: str) -> "ArtifactRoot":
        """Return the root that an option names; an empty one is the server's own tree.

        Raises:
            Invalid: nothing can be kept there.
        """
        if not address:
            return cls()
        check_location(address)
        scheme = urlsplit(address).scheme
        if scheme == "":
            folder = Path(address).expanduser().absolute()
            return cls(folder.as_posix(), folder)
        return cls(address.rstrip("/"), local_path(address))

    def local(self, artifact_uri: str) -> Path | None:
        """Return the folder of this machine that an address stands for; None where it is not below the root."""
        path = local_path(artifact_uri)
        if path is None or self.folder is None:
            return None
        resolved = path.resolve()
        return resolved if resolved.is_relative_to(self.folder.resolve()) else None


def local_path(address: str) -> Path | None:
    """Return the absolute path of this machine that an address is, or None."""
    parts = urlsplit(address)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    return Path(address) if parts.scheme == "" and address.startswith("/") else None


def list_local(folder: Path, name: str) -> list[Entry]:
    """Return what lies directly in a folder below `folder`, by name; one that is not there is empty."""
    place = _within(folder, name)
    if not place.is_dir():
        return []
    with os.scandir(place) as found:
        return sorted(Entry(each.name, None if each.is_dir() else each.stat().st_size) for each in found)


def open_local(folder: Path, name: str) -> tuple[BinaryIO, int, str]:
    """Return a file below `folder`, open for reading, with its size and a mark that changes when it does.

    Raises:
        NotFound: there is none.
        Invalid: it is a folder, or lies elsewhere.
    """
    place = _within(folder, name)
    if place.is_dir():
        raise Invalid(f"Artifact path refers to a directory, not a file: '{name}'", where="path")
    try:
        stream = place.open("rb")
    except OSError as error:
        raise NotFound(f"No such artifact: '{name}'", where="path", next_step="list the folder above it") from error
    is_at = os.fstat(stream.fileno())
    return stream, is_at.st_size, f"{is_at.st_mtime_ns:x}-{is_at.st_size:x}"


def put_local(folder: Path, name: str, data: bytes) -> None:
    """Keep bytes as a file below `folder`, whole or not at all.

    Raises:
        Conflict: the name is a folder, or goes through a file.
    """
    place = _within(folder, name)
    part = place.with_name(f".{secrets.token_hex(8)}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        part.replace(place)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise Conflict(f"`{name}` cannot be a file: {error.strerror}", where="path") from error


def _within(folder: Path, name: str) -> Path:
    place = (folder / name).resolve()
    if not place.is_relative_to(folder):
        raise Invalid("Invalid path", where="path")
    return place
