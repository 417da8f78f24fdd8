"""Runs that W&B wrote offline: folders ``offline-run-*`` with a ``run-ID.wandb`` file and the files of the run.

Source: wandb/proto/wandb_internal.proto (field numbers) and wandb/sdk/internal/datastore.py (the log around them, which
is LevelDB's: https://github.com/google/leveldb/blob/main/doc/log_format.md).
"""

import hashlib
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

from mainspring.errors import Corrupt, NotFound
from mainspring.tracking.arrivals._protobuf import fields_of
from mainspring.tracking.arrivals.arrival import Arrival, open_file
from mainspring.tracking.metrics import Point

__all__ = ["arrivals_in_wandb"]

_MAGIC = struct.pack("<4sHB", b":W&B", 0xBEE1, 0)
_BLOCK = 32_768
_HEAD = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_HISTORY, _CONFIG, _RUN, _EXIT = 2, 5, 17, 18


def arrivals_in_wandb(folder: Path) -> Iterator[Arrival]:
    """Yield the runs in a folder, such as ``wandb``, or in one run's own folder.

    Raises:
        NotFound: there is no such run.
        Corrupt: a file is none of W&B's, or its checksums do not fit.
    """
    logs = sorted(folder.rglob("*.wandb")) if folder.is_dir() else []
    if not logs:
        raise NotFound(f"There are no offline runs in `{folder}`", next_step="name the folder `wandb`")
    for path in dict.fromkeys(each.resolve() for each in logs):  # `latest-run` is a link to one of the others
        yield _arrival(path)


def _arrival(path: Path) -> Arrival:
    parameters: dict[str, str] = {}
    told: dict[str, str] = {}
    tags: list[str] = []
    started = exit_code = 0
    ended = False
    for kind, message in _records(path):
        if kind == _CONFIG:
            parameters |= _config(message)
        elif kind == _RUN:
            for number, value in fields_of(message):
                if not isinstance(value, bytes):
                    continue
                if number == 4:
                    parameters |= _config(value)
                elif number == 10:
                    tags.append(value.decode(errors="replace"))
                elif number == 17:
                    started = _milliseconds(value)
                elif number in (1, 3, 6, 7, 8, 9):
                    told[str(number)] = value.decode(errors="replace")
        elif kind == _EXIT:
            ended = True
            exit_code = next((value for number, value in fields_of(message) if number == 1 and value), 0)  # type: ignore[assignment]
    kept = {"wandb.run_id": told.get("1", ""), "wandb.group": told.get("6", ""), "wandb.job_type": told.get("7", "")}
    kept |= {"wandb.tags": json.dumps(tags) if tags else "", "mlflow.note.content": told.get("9", "")}
    last = max((point.at_ms for point in _points(path)), default=started)
    return Arrival(
        run_id=hashlib.blake2b(f"{told.get('1', '')} {started} {path.name}".encode(), digest_size=16).hexdigest(),
        experiment=told.get("3") or "wandb",
        name=told.get("8") or told.get("1") or path.stem,
        status="failed" if exit_code else "finished" if ended else "killed",
        started_ms=started,
        ended_ms=max(last, started),
        parameters=parameters,
        tags={key: value for key, value in kept.items() if value},
        points=lambda: _points(path),
        files=lambda: _files(path.parent / "files"),
    )


def _config(message: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, item in fields_of(message):
        if number == 1 and isinstance(item, bytes):
            key, value = _item(item)
            if key and key != "_wandb":
                found |= {name: str(leaf) for name, leaf in _leaves(key, value)}
    return found


def _points(path: Path) -> Iterator[Point]:
    for kind, message in _records(path):
        if kind != _HISTORY:
            continue
        row: dict[str, object] = {}
        step = None
        for number, value in fields_of(message):
            if number == 1 and isinstance(value, bytes):
                key, leaf = _item(value)
                row[key] = leaf
            elif number == 2 and isinstance(value, bytes):
                step = next((each for part, each in fields_of(value) if part == 1 and isinstance(each, int)), 0)
        at_ms = int(float(str(row.pop("_timestamp", 0) or 0)) * 1000)
        told = row.pop("_step", None)
        step = step if step is not None else int(str(told or 0))
        for key, logged in row.items():
            if key.startswith("_"):
                continue
            for name, leaf in _leaves(key, logged):
                if isinstance(leaf, int | float) and not isinstance(leaf, bool):
                    yield Point(name, float(leaf), at_ms, step)


def _item(data: bytes) -> tuple[str, object]:
    """Return the name and value of an item; a nested name is joined by dots."""
    names: list[str] = []
    value: object = None
    for number, content in fields_of(data):
        if not isinstance(content, bytes):
            continue
        if number in (1, 2):
            names.append(content.decode(errors="replace"))
        elif number == 16:
            try:
                value = json.loads(content)
            except ValueError:
                value = content.decode(errors="replace")
    return ".".join(name for name in names if name), value


def _leaves(key: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(f"{key}.{name}", inner)
    else:
        yield key, value


def _milliseconds(timestamp: bytes) -> int:
    seconds = nanos = 0
    for number, value in fields_of(timestamp):
        if isinstance(value, int):
            seconds, nanos = (value, nanos) if number == 1 else (seconds, value)
    return seconds * 1000 + nanos // 1_000_000


def _records(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the kind and the message of each record; a torn end is passed over, as W&B's own reader does."""
    for data in _pieces(path):
        for number, value in fields_of(data):
            if number != 1 and isinstance(value, bytes) and number < 100:
                yield number, value


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            raise Corrupt(f"`{path.name}` is no file of W&B's", where=str(path))
        whole = b""
        while True:
            left = _BLOCK - stream.tell() % _BLOCK
            if left < _HEAD.size:
                stream.read(left)
                continue
            head = stream.read(_HEAD.size)
            if len(head) < _HEAD.size:
                return
            checksum, size, kind = _HEAD.unpack(head)
            data = stream.read(size)
            if len(data) < size:
                return
            if zlib.crc32(data, zlib.crc32(bytes([kind]))) & 0xFFFFFFFF != checksum:
                raise Corrupt(f"A record of `{path.name}` is damaged", where=f"{path} byte {stream.tell() - size}")
            if kind in (_FULL, _FIRST):
                whole = data
            elif kind in (_MIDDLE, _LAST):
                whole += data
            if kind in (_FULL, _LAST):
                yield whole


def _files(folder: Path) -> Iterator[tuple[str, Callable[[], BinaryIO]]]:
    if folder.is_dir():
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield path.relative_to(folder).as_posix(), partial(open_file, path)
