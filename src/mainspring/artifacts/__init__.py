"""Content-addressed files: bytes go in, their BLAKE3 digest comes out, and the digest brings the same bytes back.

Nouns: `ArtifactStore` (what a backend must do), object (immutable bytes under their digest), tree (a folder as a list
of relative paths and objects, itself an object), `TreeFile` (one line of it). Facts about objects live in `store`.
Start reading in `protocol.py`; `local.py` is the backend on a disk, `remote.py` the one in a `bucket.py` with a local
one in front; `trees.py` keeps folders inside their walls (`folders.py` moves them), `collect.py` removes what nothing
names. `encrypted.py` keeps objects that nobody reads without a key (`encryption.py`), `layered.py` reads what lies
under older ones, and `opening.py` makes of an address and keys a store.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mainspring.artifacts.digests import digest_of_bytes, digest_of_file
    from mainspring.artifacts.local import LocalArtifactStore
    from mainspring.artifacts.protocol import ArtifactStore
    from mainspring.artifacts.trees import TreeFile

__all__ = ["ArtifactStore", "LocalArtifactStore", "TreeFile", "digest_of_bytes", "digest_of_file"]

# Lazy, because a reader of the protocol needs no hash library.
_HOMES = {
    "ArtifactStore": "protocol",
    "LocalArtifactStore": "local",
    "TreeFile": "trees",
    "digest_of_bytes": "digests",
    "digest_of_file": "digests",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
