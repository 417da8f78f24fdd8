"""Small files under keys such as ``versions/flights/3.json``, beside the objects of a remote: in a folder or encrypted.

A `Bucket` keeps them as it is. Encrypted, the part of a key before the last stroke becomes a keyed hash, and the last
part its form by AES-256-SIV (RFC 5297), which whoever has the key turns back, so that a listing can still be read.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from blake3 import blake3

from mainspring.artifacts.encryption import StoreKey
from mainspring.domain.ids import new_id

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

__all__ = ["EncryptedNotes", "FolderNotes", "Notes"]


class Notes(Protocol):
    """Small files under keys; each is there whole or not at all."""

    def put(self, key: str, content: bytes) -> None: ...
    def read(self, key: str) -> Iterator[bytes]: ...
    def keys(self, shelf: str) -> Iterator[str]: ...
    def delete(self, *keys: str) -> None: ...


class FolderNotes:
    """Small files in a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, key: str, content: bytes) -> None:
        place = self._root / key
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_name(f".{new_id()}")
        try:
            with draft.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(place)
        finally:
            draft.unlink(missing_ok=True)

    def read(self, key: str) -> Iterator[bytes]:
        yield (self._root / key).read_bytes()

    def keys(self, shelf: str) -> Iterator[str]:
        for place in sorted((self._root / shelf).rglob("[!.]*")):
            if place.is_file():
                yield place.relative_to(self._root).as_posix()

    def delete(self, *keys: str) -> None:
        for key in keys:
            (self._root / key).unlink(missing_ok=True)


class EncryptedNotes:
    """Notes that lie encrypted in others; the first key is written with, and what lies there as it is, is read too."""

    def __init__(self, inner: Notes, keys: Sequence[StoreKey]) -> None:
        self._inner, self._keys = inner, keys

    def put(self, key: str, content: bytes) -> None:
        first = self._keys[0]
        self._inner.put(_place(first, key), first.encrypt(content))

    def read(self, key: str) -> Iterator[bytes]:
        for each in self._keys:
            place = _place(each, key)
            if place in self._inner.keys(place.rpartition("/")[0]):
                return each.decrypt(self._inner.read(place))
        return self._inner.read(key)

    def keys(self, shelf: str) -> Iterator[str]:
        from cryptography.exceptions import InvalidTag  # of an extra

        found: dict[str, None] = {}
        for each in self._keys:
            for place in self._inner.keys(_shelf(each, shelf)):
                try:
                    name = _siv(each).decrypt(bytes.fromhex(place.rpartition("/")[2]), [shelf.encode()])
                except (InvalidTag, ValueError):  # not ours
                    continue
                found[f"{shelf}/{name.decode()}"] = None
        found |= dict.fromkeys(self._inner.keys(shelf))
        return iter(found)

    def delete(self, *keys: str) -> None:
        self._inner.delete(*keys, *(_place(each, key) for key in keys for each in self._keys))

    def settle(self, shelf: str, key_of: Callable[[bytes], str]) -> int:
        """Bring all notes under the first key; return how many. `key_of` tells by its content where a note belongs.

        Of what is not encrypted only that below `shelf` is brought over.
        """
        behind = [
            (place, b"".join(each.decrypt(self._inner.read(place))))
            for each in self._keys[1:]
            for place in self._inner.keys(f"encrypted/{each.id}/records")
        ]
        behind += [(place, b"".join(self._inner.read(place))) for place in self._inner.keys(shelf)]
        for place, content in behind:
            key = key_of(content)
            self.put(key, content)
            self._inner.delete(place)
            # another one, with its keys in opposite order, may have removed ours before it could see that we remove its
            if key not in self.keys(key.rpartition("/")[0]):
                self.put(key, content)
        return len(behind)


def _place(key: StoreKey, note: str) -> str:
    shelf, _, name = note.rpartition("/")
    return f"{_shelf(key, shelf)}/{_siv(key).encrypt(name.encode(), [shelf.encode()]).hex()}"


def _shelf(key: StoreKey, shelf: str) -> str:
    return f"encrypted/{key.id}/records/{blake3(shelf.encode(), key=key.for_records[:32]).hexdigest()[:32]}"


def _siv(key: StoreKey) -> "AESSIV":
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV  # of an extra

    return AESSIV(key.for_records[32:])
