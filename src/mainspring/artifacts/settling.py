"""Brings what lies under older keys, and under none, under the newest one: `layered` says what a layer is."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from mainspring.artifacts.encrypted import EncryptedArtifactStore
from mainspring.artifacts.layered import LayeredArtifactStore, copy_object
from mainspring.artifacts.local import LocalArtifactStore
from mainspring.artifacts.opening import root_of
from mainspring.artifacts.protocol import ArtifactStore
from mainspring.artifacts.remote import RemoteArtifactStore
from mainspring.errors import Corrupt, Invalid, NotFound

if sys.platform != "win32":
    import fcntl

__all__ = ["Settled", "is_settled", "settle"]


class Settled(NamedTuple):
    """What was brought over: objects and their bytes, and how many lay in the first layer already.

    `damaged` objects, which had been set aside and could not be brought over, were removed.
    """

    objects: int
    size_bytes: int
    already: int
    damaged: int


def is_settled(store: LayeredArtifactStore) -> bool:
    """Whether nothing lies outside of the first layer: no object, none that was set aside, none in a cache here."""
    return all(map(_is_empty, map(_place_of, store.layers[1:])))


def settle(store: ArtifactStore, tell: Callable[[int, int], None] | None = None) -> Settled:
    """Bring every object of the other layers into the first one, then remove it there; `tell` hears how many of all.

    A kill at any instant leaves each object in one layer at least; the next call goes on. What is put into another
    layer meanwhile, by a process that does not know of the first one, stays there for the next call. Of two calls with
    their keys in opposite order one waits for the other; where they cannot see each other, on two machines that use one
    bucket, each leaves alone what the other claims.

    Raises:
        Invalid: the store has one layer only.
        Corrupt: an object is damaged, and was set aside; the others were brought over, and nothing was removed.
        Unavailable: there is no room for both; nothing was removed.
    """
    if not isinstance(store, LayeredArtifactStore):
        raise Invalid(
            "No key is named to encrypt with",
            where="MAINSPRING_ENCRYPTION",
            next_step="make one, mainspring data key NAME, and name it in MAINSPRING_ENCRYPTION",
        )
    with _alone(root_of(store)):
        return _settled(store, tell)


def _settled(store: LayeredArtifactStore, tell: Callable[[int, int], None] | None) -> Settled:
    began = datetime.now(UTC)
    waiting = [(layer, digest) for layer in store.layers[1:] for digest in layer.digests()]
    objects = size = 0
    found: list[Corrupt] = []
    for number, (layer, digest) in enumerate(waiting, start=1):
        try:
            if store.first.exists(digest):
                store.first.verify(digest)
            else:
                size += copy_object(layer, store.first, digest)
                objects += 1
        except Corrupt as error:
            found.append(error)
        except NotFound:  # a collection was faster
            pass
        if tell is not None:
            tell(number, len(waiting))
    if found:
        raise found[0]
    for layer, digest in waiting:
        if store.first.claim(digest):
            layer.remove(digest, unless_put_since=began)
    damaged = 0
    for place in map(_place_of, store.layers[1:]):
        damaged += len(place.aside())
        place.clear_aside()
        if isinstance(place, RemoteArtifactStore):
            place.trim(began)
    return Settled(objects, size, len(waiting) - objects, damaged)


def _is_empty(place: LocalArtifactStore | RemoteArtifactStore) -> bool:
    if isinstance(place, RemoteArtifactStore) and not _is_empty(place.cache):
        return False
    return not place.aside() and not any(place.digests())


def _place_of(layer: ArtifactStore) -> LocalArtifactStore | RemoteArtifactStore:
    inner = layer.inner if isinstance(layer, EncryptedArtifactStore) else layer
    assert isinstance(inner, LocalArtifactStore | RemoteArtifactStore)
    return inner


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    root.mkdir(parents=True, exist_ok=True)
    with (root / "settle.lock").open("ab") as stream:
        if sys.platform != "win32":
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
