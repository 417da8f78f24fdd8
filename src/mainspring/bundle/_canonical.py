"""One model, one byte string: rewrites a skops archive so that nothing of the process that wrote it remains.

skops names files and marks shared objects by ``id()``, keeps the order of sets, and lets zip write the clock. Here
files are named by their content, only mutable objects that are really shared keep a mark (numbered in walk order), sets
are sorted, padding inside structured arrays is zeroed, and every date is the first day of 1980.
"""

import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from blake3 import blake3

__all__ = ["SCHEMA_NAME", "canonical", "states_in", "write_archive"]

SCHEMA_NAME = "schema.json"

# Python may or may not share two equal constants, so a mark on one of these says nothing about the model.
_IMMUTABLE = frozenset(
    {"BytesNode", "DTypeNode", "FunctionNode", "JsonNode", "OperatorFuncNode", "SliceNode", "TupleNode", "TypeNode"}
)
# The state of an object, as skops writes it: JSON of unknown depth.
_State = dict[str, Any]
_NOTHING = {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "content": "null", "is_json": True}


def canonical(archive: bytes) -> bytes:
    """Return the skops archive rewritten so that equal models give equal bytes. Linear in its size."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        schema = json.loads(opened.read(SCHEMA_NAME))
        files = {name: opened.read(name) for name in opened.namelist() if name != SCHEMA_NAME}
    named: dict[str, bytes] = {}
    renamed: dict[str, str] = {}
    for name, content in files.items():
        kind = name.rpartition(".")[2]
        settled = _settled(kind, content)
        renamed[name] = f"{blake3(settled).hexdigest(length=16)}.{kind}"
        named[renamed[name]] = settled
    for state in states_in(schema):
        if isinstance(state.get("file"), str):
            state["file"] = renamed[state["file"]]
        _forget_process(state)
    _mark_shared(schema)
    text = json.dumps(schema, separators=(",", ":")).encode()
    return write_archive({SCHEMA_NAME: text} | dict(sorted(named.items())))


def states_in(value: object) -> Iterator[_State]:
    """Yield every object state below `value`, outer before inner, in the order of the file."""
    if isinstance(value, dict):
        # A user's dictionary may have a key `__loader__` too, but its value is then a state, never text.
        if isinstance(value.get("__loader__"), str):
            yield value
        for inner in value.values():
            yield from states_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from states_in(inner)


def write_archive(members: dict[str, bytes]) -> bytes:
    """Zip `members` in their order, uncompressed and undated."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # else the bytes would tell the operating system
            entry.external_attr = 0o600 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def _forget_process(state: _State) -> None:
    """Take out what an object remembers of the process it was fitted in."""
    content: Any = state.get("content")
    if state["__loader__"] == "DictNode" and "_stop_words_id" in content:
        # The text vectorizers keep an id() to skip a check they have done; without it they do it once more.
        content["_stop_words_id"] = _NOTHING | {}
    if state["__loader__"] == "PartialNode" and not content["namespace"].get("content"):
        content["namespace"] = _NOTHING | {}  # None before a round trip, {} after it


def _mark_shared(schema: _State) -> None:
    """Drop the marks of immutable and of unshared objects, sort sets, and number the rest in walk order."""
    seen: Counter[object] = Counter()
    for state in states_in(schema):
        scalar = state["__loader__"] == "NdArrayNode" and state["__class__"] != "ndarray"
        if state["__loader__"] in _IMMUTABLE or scalar:
            state.pop("__id__", None)
        elif "__id__" in state:
            seen[state["__id__"]] += 1
    for state in states_in(schema):
        if "__id__" in state and seen[state["__id__"]] == 1:
            del state["__id__"]
    for state in states_in(schema):
        if state["__loader__"] == "SetNode":
            state["content"].sort(key=json.dumps)
    numbers: dict[object, int] = {}
    for state in states_in(schema):
        if "__id__" in state:
            state["__id__"] = numbers.setdefault(state["__id__"], len(numbers) + 1)


def _settled(kind: str, content: bytes) -> bytes:
    """Return the bytes of one file with clocks, compression and uninitialised memory taken out."""
    if kind == "npz":
        with zipfile.ZipFile(io.BytesIO(content)) as inner:
            return write_archive({name: inner.read(name) for name in inner.namelist()})
    if kind == "npy":
        array = np.load(io.BytesIO(content), allow_pickle=False)
        if array.dtype.names:
            # The nodes of a tree are C structs whose padding bytes were never written.
            clean = np.frombuffer(bytearray(array.nbytes), dtype=array.dtype).reshape(array.shape)
            for name in array.dtype.names:
                clean[name] = array[name]
            buffer = io.BytesIO()
            np.save(buffer, clean, allow_pickle=False)
            return buffer.getvalue()
    return content
