"""Opens the artifact store of an address: a folder or a bucket, as it lies or encrypted with named keys.

Encrypted objects lie below ``encrypted/ID/``, one such place for each key, whose id follows from it; beside it lies
what was put before there was a key. A place whose key is not named is refused, and so is writing plain bytes where
others are encrypted: a wrong, forgotten or missing key is told before anything is read or written.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mainspring.artifacts.digests import BY_DIGEST, Naming
from mainspring.artifacts.local import LocalArtifactStore
from mainspring.artifacts.protocol import ArtifactStore
from mainspring.config import value_of
from mainspring.errors import Refused

if TYPE_CHECKING:  # a plain folder, the usual store, is opened without them
    from mainspring.artifacts.encryption import StoreKey
    from mainspring.artifacts.remote import RemoteArtifactStore

__all__ = ["keys_named", "keys_of", "open_artifacts", "root_of", "trim"]

_SHELF = "encrypted"
#: What lies under a key: objects, and what a remote knows of versions.
_KINDS = ("objects", "records")


def keys_named() -> "tuple[StoreKey, ...]":
    """Return the keys of the setting `encryption`, the one that is written with first; none where it is empty.

    Raises:
        NotFound: there is no key of such a name.
    """
    names = [each.strip() for each in value_of("encryption").split(",") if each.strip()]
    if not names:
        return ()
    from mainspring.artifacts.encryption import StoreKey

    return tuple(map(StoreKey, names))


def open_artifacts(address: str, cache: Path, keys: "Sequence[StoreKey]") -> ArtifactStore:
    """Open the store at `address`, a folder or the address of a bucket, which has `cache` in front of it.

    Raises:
        Refused: something in it is encrypted with a key that is not among `keys`.
        Unavailable: the bucket does not answer.
    """
    # a key that is named twice, or under two names, is one place: it must not be emptied into itself
    keys = tuple({key.id: key for key in keys}.values())
    _refuse_unknown(address, keys)
    plain = _open(address, cache, BY_DIGEST)
    if not keys:
        return plain
    from mainspring.artifacts.encrypted import EncryptedArtifactStore
    from mainspring.artifacts.layered import LayeredArtifactStore

    sealed = [
        EncryptedArtifactStore(_open(f"{address.rstrip('/')}/{_SHELF}/{key.id}", cache / _SHELF / key.id, key), key)
        for key in keys
    ]
    return LayeredArtifactStore([*sealed, plain])


def keys_of(artifacts: ArtifactStore) -> "tuple[StoreKey, ...]":
    """Return the keys a store was opened with; none when it lies as it is."""
    if isinstance(artifacts, LocalArtifactStore):  # for which the rest need not be imported
        return ()
    from mainspring.artifacts.encrypted import EncryptedArtifactStore
    from mainspring.artifacts.layered import LayeredArtifactStore

    layers = artifacts.layers if isinstance(artifacts, LayeredArtifactStore) else ()
    return tuple(each.key for each in layers if isinstance(each, EncryptedArtifactStore))


def root_of(artifacts: ArtifactStore) -> Path:
    """Return the folder of a store that was opened here; of one in a bucket that of its cache."""
    from mainspring.artifacts.layered import LayeredArtifactStore
    from mainspring.artifacts.remote import RemoteArtifactStore

    plain = artifacts.layers[-1] if isinstance(artifacts, LayeredArtifactStore) else artifacts
    if isinstance(plain, RemoteArtifactStore):
        return plain.cache.root
    assert isinstance(plain, LocalArtifactStore)
    return plain.root


def trim(artifacts: ArtifactStore, unused_since: datetime) -> int:
    """Take from the caches of buckets what was not used since that moment; return the bytes that frees."""
    from mainspring.artifacts.encrypted import EncryptedArtifactStore
    from mainspring.artifacts.layered import LayeredArtifactStore
    from mainspring.artifacts.remote import RemoteArtifactStore

    if isinstance(artifacts, LayeredArtifactStore):
        return sum(trim(layer, unused_since) for layer in artifacts.layers)
    inner = artifacts.inner if isinstance(artifacts, EncryptedArtifactStore) else artifacts
    return inner.trim(unused_since) if isinstance(inner, RemoteArtifactStore) else 0


def _open(address: str, cache: Path, naming: Naming) -> "LocalArtifactStore | RemoteArtifactStore":
    if "://" in address:
        from mainspring.artifacts.remote import RemoteArtifactStore

        return RemoteArtifactStore(address, cache, naming)
    return LocalArtifactStore(Path(address).expanduser(), naming)


def _refuse_unknown(address: str, keys: "Sequence[StoreKey]") -> None:
    unknown = next(_unknown_ids(address, {key.id for key in keys}), None)
    if unknown is None:
        return
    named = ", ".join(f"`{key.name}` ({key.id})" for key in keys)
    what = f"and none of the keys that are named is that one: {named}" if keys else "and no key is named"
    raise Refused(
        f"The artifact store is encrypted with the key {unknown}, {what}",
        where=f"{address}/{_SHELF}/{unknown}",
        next_step="name it in MAINSPRING_ENCRYPTION, behind a newer one; if its file is gone, bring it back into the"
        " folder of keys: what it encrypted can without it only be deleted",
    )


def _unknown_ids(address: str, known: set[str]) -> Iterator[str]:
    """Yield the ids of keys that something lies under; a place that was emptied needs its key no more."""
    if "://" in address:
        from mainspring.artifacts.bucket import Bucket

        bucket = Bucket(address)
        for each in bucket.folders(_SHELF):
            if each not in known and any(any(bucket.keys(f"{_SHELF}/{each}/{kind}")) for kind in _KINDS):
                yield each
        return
    folder = Path(address).expanduser() / _SHELF
    for place in sorted(folder.iterdir()) if folder.is_dir() else ():
        if place.name not in known and any(any(place.glob(f"{kind}/*/*")) for kind in _KINDS):
            yield place.name
