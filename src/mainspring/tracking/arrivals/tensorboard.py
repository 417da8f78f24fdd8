"""Runs in the event files of TensorBoard: each folder with such files is a run, as TensorBoard shows it.

Scalars are read, in the old form (a plain number) and the new one (a tensor with one element).
Source: tensorflow/core/util/event.proto, framework/summary.proto, framework/tensor.proto; lib/io/record_writer.h.
"""

import hashlib
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from mainspring.errors import NotFound
from mainspring.tracking.arrivals._protobuf import fields_of, signed
from mainspring.tracking.arrivals.arrival import Arrival
from mainspring.tracking.metrics import Point

__all__ = ["arrivals_in_events"]

_HEAD = struct.Struct("<QI")
_MOST_RECORD = 1 << 30
#: dtype in tensor.proto -> how one element lies in memory.
_ELEMENTS = {1: "<f", 2: "<d", 3: "<i", 9: "<q"}
#: The field of tensor.proto that holds elements of a kind by themselves.
_VALUES = {5: "<f", 6: "<d"}


def arrivals_in_events(folder: Path, experiment: str) -> Iterator[Arrival]:
    """Yield a run for each folder below `folder` that holds event files.

    Raises:
        NotFound: there is no such folder, or no event file below it.
    """
    runs = sorted(Path(at) for at, _, names in os.walk(folder) if any("tfevents" in name for name in names))
    if not runs:
        raise NotFound(f"There are no event files below `{folder}`", next_step="name the folder given to --logdir")
    for run in runs:
        files = sorted(path for path in run.iterdir() if "tfevents" in path.name and path.is_file())
        times = [at for path in files for at in _times(path)]
        if not times:
            continue
        yield Arrival(
            run_id=hashlib.blake2b(str(run.absolute()).encode(), digest_size=16).hexdigest(),
            experiment=experiment,
            name=run.relative_to(folder).as_posix() if run != folder else folder.absolute().name,
            status="finished",
            started_ms=min(times),
            ended_ms=max(times),
            points=_points(files),
        )


def _points(files: list[Path]) -> "Callable[[], Iterator[Point]]":
    def read() -> Iterator[Point]:
        for path in files:
            for event in _events(path):
                yield from _scalars(event)

    return read


def _times(path: Path) -> Iterator[int]:
    for event in _events(path):
        yield _moment(event)[0]


def _events(path: Path) -> Iterator[bytes]:
    """Yield the records of a file up to where it ends, or where one is torn: its writer may still be at work."""
    with path.open("rb") as stream:
        while record := _record(stream):
            yield record


def _record(stream: BinaryIO) -> bytes:
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return b""
    size, _ = _HEAD.unpack(head)
    if size > _MOST_RECORD:
        return b""
    data = stream.read(size)
    return data if len(data) == size and len(stream.read(4)) == 4 else b""


def _moment(event: bytes) -> tuple[int, int]:
    """Return when an event was, in milliseconds, and its step."""
    at_ms = step = 0
    for number, value in fields_of(event):
        if number == 1 and isinstance(value, bytes):
            at_ms = int(struct.unpack("<d", value)[0] * 1000)
        elif number == 2 and isinstance(value, int):
            step = signed(value)
    return at_ms, step


def _scalars(event: bytes) -> Iterator[Point]:
    at_ms, step = _moment(event)
    for number, summary in fields_of(event):
        if number != 5 or not isinstance(summary, bytes):
            continue
        for _, value in (each for each in fields_of(summary) if each[0] == 1):
            tag, scalar = "", None
            for part, content in fields_of(value) if isinstance(value, bytes) else ():
                if part == 1 and isinstance(content, bytes):
                    tag = content.decode(errors="replace")
                elif part == 2 and isinstance(content, bytes):
                    scalar = struct.unpack("<f", content)[0]
                elif part == 8 and isinstance(content, bytes):
                    scalar = _element(content)
            if tag and scalar is not None:
                yield Point(tag, float(scalar), at_ms, step)


def _element(tensor: bytes) -> float | None:
    """Return the one element of a tensor; None where it has more, or is no number."""
    form = ""
    for number, value in fields_of(tensor):
        if number == 1 and isinstance(value, int):
            form = _ELEMENTS.get(value, "")
        elif number == 4 and isinstance(value, bytes) and form and len(value) == struct.calcsize(form):
            return float(struct.unpack(form, value)[0])
        elif number in _VALUES and isinstance(value, bytes) and len(value) == struct.calcsize(_VALUES[number]):
            return float(struct.unpack(_VALUES[number], value)[0])
    return None
