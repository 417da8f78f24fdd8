"""The files of segments: Parquet as it is, or encrypted with a key whose id stands in the name.

With the setting `encryption` new segments are encrypted with its first key; what its other keys encrypted, and what was
never encrypted, is read where it lies. DuckDB writes and reads Parquet among the decrypted copies of this process.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import duckdb

from mainspring.artifacts.copies import copies_of_this_process
from mainspring.artifacts.encryption import StoreKey
from mainspring.artifacts.opening import keys_named
from mainspring.data.table import quoted_files, quoted_text
from mainspring.domain.ids import new_id
from mainspring.errors import Corrupt, Refused

__all__ = ["SUFFIXES", "encrypted_anew", "is_behind", "refuse_unknown", "scan_of", "write_segment"]

_ENCRYPTED = ".encrypted"
#: What the files of segments end with, those that are not whole yet too.
SUFFIXES = (".parquet", _ENCRYPTED, ".tmp")
_PIECE_BYTES = 1 << 20


def write_segment(folder: Path, kind: str, connection: duckdb.DuckDBPyConnection, query: str) -> Path:
    """Write the rows of `query` as a new segment file, which is on the disk before its row can be committed."""
    keys = keys_named()
    if keys:
        draft = copies_of_this_process().folder / new_id()
        try:
            _copy_to(draft, connection, query)
            return _encrypt(draft, folder, kind, keys[0])
        finally:
            draft.unlink(missing_ok=True)
    path = folder / f"{kind}-{new_id()}.parquet"
    hidden = path.with_suffix(".tmp")
    _copy_to(hidden, connection, query)
    with hidden.open("rb") as file:
        os.fsync(file.fileno())
    hidden.replace(path)
    return path


def refuse_unknown(folder: Path) -> None:
    """Tell a missing or wrong key before anything is written beside what lies under another one.

    Raises:
        Refused: a segment is encrypted with a key that is not named.
    """
    keys = keys_named()
    for each in sorted(folder.iterdir()):
        if each.suffix == _ENCRYPTED:
            _key_of(each, keys)


def scan_of(folder: Path, names: Iterable[str]) -> str:
    """Return the DuckDB table function that reads segment files as one table.

    Raises:
        duckdb.IOException: one is gone, as the function would, were it not encrypted.
        Refused: one is encrypted with a key that is not named.
        Corrupt: one is damaged.
    """
    return quoted_files(_readable(folder / name) for name in names)


def encrypted_anew(path: Path, kind: str) -> Path | None:
    """Write a segment file once more, under the first key; None where it lies so, or no key is named."""
    keys = keys_named()
    if not is_behind(path):
        return None
    return _encrypt(_readable(path), path.parent, kind, keys[0])


def is_behind(path: Path) -> bool:
    """Whether a segment file should lie under another key than it does, or under one at all."""
    keys = keys_named()
    return bool(keys) and _key_id(path) != keys[0].id


def _copy_to(path: Path, connection: duckdb.DuckDBPyConnection, query: str) -> None:
    connection.execute(f"COPY ({query}) TO {quoted_text(str(path))} (FORMAT parquet, COMPRESSION zstd)")


def _encrypt(plain: Path, folder: Path, kind: str, key: StoreKey) -> Path:
    path = folder / f"{kind}-{new_id()}.{key.id}{_ENCRYPTED}"
    hidden = path.with_suffix(".tmp")
    with plain.open("rb") as source, hidden.open("wb") as target:
        writer = key.writer()
        target.write(writer.head)
        for piece in _pieces(source.fileno()):
            target.writelines(writer.feed(piece))
        target.write(writer.end())
        target.flush()
        os.fsync(target.fileno())
    hidden.replace(path)
    return path


def _readable(path: Path) -> Path:
    """Return a file of Parquet: the segment's own, or a decrypted copy."""
    if path.suffix != _ENCRYPTED:
        return path
    key = _key_of(path, keys_named())
    copies = copies_of_this_process()
    try:
        size = path.stat().st_size
        return copies.path_of(path.name, size, lambda: _decrypted(path, key))
    except FileNotFoundError as error:
        raise duckdb.IOException(f"No files found: {path}") from error


def _decrypted(path: Path, key: StoreKey) -> Iterator[bytes]:
    with path.open("rb") as file:
        try:
            yield from key.decrypt(_pieces(file.fileno()))
        except Corrupt as error:
            next_step = "restore the folder from a backup"
            raise Corrupt(f"A segment is damaged: {error.what}", where=str(path), next_step=next_step) from error


def _pieces(handle: int) -> Iterator[bytes]:
    return iter(lambda: os.read(handle, _PIECE_BYTES), b"")


def _key_of(path: Path, keys: Sequence[StoreKey]) -> StoreKey:
    key = next((each for each in keys if each.id == _key_id(path)), None)
    if key is None:
        raise Refused(
            f"A segment of the prediction log is encrypted with the key {_key_id(path)}, which is not named",
            where=str(path),
            next_step="name it in MAINSPRING_ENCRYPTION, behind a newer one",
        )
    return key


def _key_id(path: Path) -> str:
    return path.suffixes[-2].lstrip(".") if path.suffix == _ENCRYPTED else ""
