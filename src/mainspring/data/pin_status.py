"""What a pin names against what lies beside it: added, changed, removed.

Neighbours: `pins` is the file, `file_index` what was seen, `pinned` brings back what a pin names.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from mainspring.artifacts.digests import digest_of_file
from mainspring.artifacts.protocol import ArtifactStore
from mainspring.artifacts.trees import parse_tree
from mainspring.data.file_index import SeenFile, look, read_index, root_digest, write_index
from mainspring.data.pins import Pin, read_pin
from mainspring.domain.ids import Digest
from mainspring.errors import NotFound

__all__ = ["PinStatus", "beside", "digests_of", "status_of", "wanted_of"]

#: missing: nothing is there; unknown: what the pin names is not in this artifact store, so it cannot be compared
State = Literal["unchanged", "changed", "missing", "unknown"]


class PinStatus(NamedTuple):
    """How what lies beside a pin differs from what it names: files by their relative names, ``""`` for a lone file."""

    pin: Path
    version: str
    state: State
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


def status_of(pin_file: Path, artifacts: Callable[[], ArtifactStore], indexes: Path) -> PinStatus:
    """Compare what a pin names with what is there; files that were seen before and have not changed are not read.

    `artifacts` is called, and opens the store, only where neither the index nor the files say what the pin names.

    Raises:
        NotFound, Invalid: there is no such pin, or it is none.
        MainspringError: the artifact store cannot be opened: a key is missing, or it is not the right one.
    """
    pin = read_pin(pin_file)
    version, path = f"{pin.dataset}/{pin.version}", beside(pin_file, pin)
    if not path.exists():
        return PinStatus(pin_file, version, "missing")
    index = read_index(indexes, path)
    now = look(path, index, digest_of_file)
    if now is index and index.digest == pin.digest:
        return PinStatus(pin_file, version, "unchanged")
    seen = now.files()
    if index.digest == pin.digest:
        wanted: Mapping[str, Digest] = digests_of(index.files())
    elif root_digest(seen) == pin.digest:
        wanted = digests_of(seen)
    else:
        store = artifacts()
        try:
            wanted = wanted_of(store, pin.digest, folder=pin.folder)
        except NotFound:
            return PinStatus(pin_file, version, "unknown")
    added = tuple(sorted(seen.keys() - wanted.keys()))
    removed = tuple(sorted(wanted.keys() - seen.keys()))
    changed = tuple(sorted(name for name, each in seen.items() if wanted.get(name, each.digest) != each.digest))
    now = now._replace(digest=pin.digest)
    if not (added or removed or changed) and now != index:
        write_index(indexes, path, now)  # so that they need not be read the next time
    state: State = "changed" if added or removed or changed else "unchanged"
    return PinStatus(pin_file, version, state, added, changed, removed)


def beside(pin_file: Path, pin: Pin) -> Path:
    """Return where that lies which a pin names."""
    return Path(os.path.abspath(pin_file)).with_name(pin.path)


def digests_of(files: Mapping[str, SeenFile]) -> dict[str, Digest]:
    """Return the digests of files that were seen."""
    return {name: each.digest for name, each in files.items()}


def wanted_of(artifacts: ArtifactStore, digest: Digest, *, folder: bool) -> dict[str, Digest]:
    """Return the digests of the files that `digest` names, as an artifact store knows them.

    Raises:
        NotFound: the artifact store does not have it.
    """
    if not folder:
        artifacts.size_bytes(digest)  # NotFound tells which store was asked
        return {"": digest}
    return {each.path: each.digest for each in parse_tree(artifacts.read_bytes(digest), digest)}
