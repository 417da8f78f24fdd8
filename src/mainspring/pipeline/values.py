"""The value of a step at rest: a small JSON document, with tables, arrays, models and files beside it as artifacts.

Nothing here is a pickle, unless a step asks for it. A value comes back by its type: tables from Parquet, arrays from
``.npy``, estimators from the bundle's safe bytes, dataclasses and NamedTuples from their fields by the name of their
class, other libraries' types by their kind (`protocol`). Loading runs no code but the import of the module that holds
such a class; constructors are not called. Equal values give equal documents, so the digest of a document is the content
of the value, and a step whose input has not changed need not run.
"""

import base64
import dataclasses
import datetime
import decimal
import enum
import json
import math
import pickle
import shutil
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from mainspring.artifacts.protocol import ArtifactStore
from mainspring.errors import Corrupt, Invalid, MainspringError
from mainspring.pipeline._modules import class_named
from mainspring.pipeline._origin import import_name, module_file, origin_of
from mainspring.pipeline.content import is_estimator
from mainspring.pipeline.documents import TAG, Document, Held, Stored

__all__ = ["decode", "encode"]

_SMALL_BYTES = 512
#: An array above this is mapped from its file: a step that reads a part of it does not load the rest.
_MAPPED_BYTES = 64 * 2**20
# The pictures of a figure are a dataclass, and yet kept as a figure.
_FIGURES = "mainspring.pipeline._figures"


def encode(value: object, artifacts: ArtifactStore, where: str = "result", *, allow_pickle: bool = False) -> Stored:
    """Keep `value`; what is large goes to `artifacts`, durable before this returns.

    With `allow_pickle` a value that would be refused is pickled whole: its author has asked for that.

    Raises:
        Invalid: a part of the value cannot be brought back exactly; the message says which, as ``result.train[0]``.
    """
    try:
        return Stored(_encode(value, artifacts, where))
    except Invalid:
        if not allow_pickle:
            raise
    return Stored(_pickled(value, artifacts, where))


def _pickled(value: object, artifacts: ArtifactStore, where: str) -> Document:
    try:
        data = pickle.dumps(value, protocol=5)
    except Exception as error:  # an object of any class may refuse in any way
        raise Invalid(
            f"A value of type `{type(value).__qualname__}` cannot even be pickled: {error}",
            where=where,
            next_step="return something plainer, or use the value within the step",
        ) from error
    kind = type(value)
    packages = origin_of(kind.__module__, module_file(sys.modules[kind.__module__])).distributions
    name = f"{kind.__module__}:{kind.__qualname__}"
    return {TAG: "pickle", "name": name, "packages": list(packages), "data": artifacts.put_bytes(data)}


def decode(stored: Stored, artifacts: ArtifactStore, scratch: Callable[[], Path]) -> object:
    """Bring back a value. `scratch` gives a new empty folder for values that are files; they live as long as it does.

    Raises:
        Corrupt: the document or an object is not what was stored.
        NotFound: an object is gone.
        Unavailable: the module of a class cannot be imported.
    """
    return _decode(stored.document, artifacts, scratch)


def _encode(value: object, artifacts: ArtifactStore, where: str) -> Document:
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is Held:
        return {TAG: "held", "document": value.document}  # type: ignore[attr-defined]
    if kind is float:
        return value if math.isfinite(value) else {TAG: "float", "value": repr(value)}  # type: ignore[arg-type]
    if isinstance(value, list) and kind is list:
        return [_encode(each, artifacts, f"{where}[{number}]") for number, each in enumerate(value)]
    if isinstance(value, dict) and kind is dict:
        return _encode_dict(value, artifacts, where)
    if isinstance(value, tuple | set | frozenset) and kind in (tuple, set, frozenset):
        items = [_encode(each, artifacts, f"{where}[{number}]") for number, each in enumerate(value)]
        # A set's own order depends on the hash seed.
        return {TAG: kind.__name__, "items": items if kind is tuple else sorted(items, key=json.dumps)}
    if isinstance(value, enum.Enum):
        return {TAG: "enum", "class": _name_of(kind, where), "name": value.name}
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return _encode_record(value, kind, list(kind._fields), artifacts, where)
    if dataclasses.is_dataclass(kind) and not (kind.__module__ == _FIGURES and kind.__name__ == "Figure"):
        return _encode_record(value, kind, [field.name for field in dataclasses.fields(kind)], artifacts, where)
    return _encode_other(value, kind, artifacts, where)


def _encode_dict(value: dict[object, object], artifacts: ArtifactStore, where: str) -> Document:
    if all(type(key) is str for key in value) and TAG not in value:
        return {str(key): _encode(each, artifacts, f"{where}[{key!r}]") for key, each in value.items()}
    items = [
        [_encode(key, artifacts, f"{where} key"), _encode(each, artifacts, f"{where}[{key!r}]")]
        for key, each in value.items()
    ]
    return {TAG: "dict", "items": items}


def _encode_record(value: Any, kind: type, names: list[str], artifacts: ArtifactStore, where: str) -> Document:
    fields = {
        name: _encode(getattr(value, name), artifacts, f"{where}.{name}") for name in names if hasattr(value, name)
    }
    return {TAG: "record", "class": _name_of(kind, where), "fields": fields}


def _encode_other(value: Any, kind: type, artifacts: ArtifactStore, where: str) -> Document:
    room = kind.__module__.partition(".")[0]
    if kind in (bytes, bytearray):
        if len(value) <= _SMALL_BYTES:
            return {TAG: kind.__name__, "base64": base64.b64encode(value).decode()}
        return {TAG: kind.__name__, "data": artifacts.put_bytes(bytes(value))}
    if isinstance(value, Path):
        return _encode_path(value, artifacts, where)
    if kind is datetime.datetime:
        zone = value.tzinfo.key if isinstance(value.tzinfo, ZoneInfo) else None
        return {TAG: "moment", "value": value.isoformat(), "zone": zone, "fold": value.fold}
    if kind in (datetime.date, datetime.time):
        return {TAG: kind.__name__, "value": value.isoformat()}
    if kind is datetime.timedelta:
        return {TAG: "timedelta", "value": [value.days, value.seconds, value.microseconds]}
    if kind in (decimal.Decimal, uuid.UUID):
        return {TAG: kind.__name__.lower(), "value": str(value)}
    if kind is complex:
        return {
            TAG: "complex",
            "value": [_encode(value.real, artifacts, where), _encode(value.imag, artifacts, where)],
        }
    if room == "numpy":
        return _encode_numpy(value, kind, artifacts, where)
    if room == "pandas":
        return _encode_pandas(value, kind, artifacts, where)
    if is_estimator(value):
        return _encode_estimator(value, kind, artifacts, where)
    return _encode_kind(value, kind, artifacts, where)


def _encode_kind(value: Any, kind: type, artifacts: ArtifactStore, where: str) -> Document:
    from mainspring.pipeline._kinds import kind_of  # plugins, for values that nothing above knows

    keeper = kind_of(value)
    if keeper is None:
        raise _refused(kind, where)
    fields = keeper.keep(value, artifacts, where)
    return {TAG: "kind", "kind": keeper.name, "packages": list(keeper.packages), **fields}


def _encode_path(path: Path, artifacts: ArtifactStore, where: str) -> Document:
    if path.is_dir():
        return {TAG: "folder", "name": path.name, "data": artifacts.put_tree(path)}
    if path.is_file():
        return {TAG: "file", "name": path.name, "data": artifacts.put_file(path)}
    raise Invalid(
        f"The step returns the path `{path}`, and there is no such file or folder",
        where=where,
        next_step="write the file before returning its path, or return the path as text",
    )


def _encode_numpy(value: Any, kind: type, artifacts: ArtifactStore, where: str) -> Document:
    import io

    import numpy as np  # loaded already: this is its value

    if kind is np.ndarray and not value.dtype.hasobject:
        buffer = io.BytesIO()
        np.save(buffer, value, allow_pickle=False)
        return {TAG: "array", "data": artifacts.put_bytes(buffer.getvalue())}
    if isinstance(value, np.generic) and not value.dtype.hasobject and value.dtype.names is None:
        return {TAG: "scalar", "dtype": value.dtype.str, "base64": base64.b64encode(value.tobytes()).decode()}
    raise _refused(kind, where)


def _encode_pandas(value: Any, kind: type, artifacts: ArtifactStore, where: str) -> Document:
    from mainspring.pipeline._frames import encode_frame  # DuckDB, for tables only

    if kind.__name__ == "DataFrame":
        return encode_frame(value, artifacts, where)
    if kind.__name__ == "Series":
        import pandas as pd  # loaded already: this is its value

        frame = encode_frame(pd.DataFrame({0: value.reset_index(drop=True)}).set_axis(value.index), artifacts, where)
        return {TAG: "series", "name": _encode(value.name, artifacts, f"{where}.name"), "frame": frame}
    raise _refused(kind, where)


def _encode_estimator(value: Any, kind: type, artifacts: ArtifactStore, where: str) -> Document:
    from mainspring.bundle.estimators import dump_estimator  # scikit-learn, loaded already: this is its object

    try:
        data = dump_estimator(value)
    except MainspringError as error:
        error.where = f"{where} {error.where}".strip()
        raise
    kinds = {kind} | {type(part) for part in value.get_params(deep=True).values() if is_estimator(part)}
    classes: list[str] = []
    packages: set[str] = set()
    for each in sorted(kinds, key=lambda one: (one.__module__, one.__qualname__)):
        origin = origin_of(each.__module__, module_file(sys.modules[each.__module__]))
        packages.update(origin.distributions)
        if origin.kind == "project":
            classes.append(_name_of(each, where))
    return {
        TAG: "estimator",
        "class": f"{kind.__module__}:{kind.__qualname__}",
        "classes": classes,
        "packages": sorted(packages),
        "data": artifacts.put_bytes(data),
    }


def _decode(document: Document, artifacts: ArtifactStore, scratch: Callable[[], Path]) -> Any:
    if isinstance(document, list):
        return [_decode(each, artifacts, scratch) for each in document]
    if not isinstance(document, dict):
        return document
    if TAG not in document:
        return {key: _decode(each, artifacts, scratch) for key, each in document.items()}
    try:
        return _decode_tagged(document, artifacts, scratch)
    except (KeyError, ValueError, TypeError) as error:
        raise Corrupt(
            f"A kept value of kind `{document[TAG]}` cannot be read back: {error}",
            next_step="run the step again without the cache; if it was kept by a newer version, upgrade this one",
        ) from error


def _decode_tagged(document: dict[str, Any], artifacts: ArtifactStore, scratch: Callable[[], Path]) -> Any:
    match document[TAG]:
        case "float":
            return float(document["value"])
        case "tuple" | "set" | "frozenset" as tag:
            items = [_decode(each, artifacts, scratch) for each in document["items"]]
            return {"tuple": tuple, "set": set, "frozenset": frozenset}[tag](items)
        case "dict":
            return {
                _decode(key, artifacts, scratch): _decode(each, artifacts, scratch) for key, each in document["items"]
            }
        case "record":
            fields = {key: _decode(each, artifacts, scratch) for key, each in document["fields"].items()}
            return _rebuild(class_named(document["class"]), fields, document["class"])
        case "enum":
            kind = class_named(document["class"])
            if not issubclass(kind, enum.Enum):
                raise ValueError(f"{document['class']} is no enum")
            return kind.__members__[document["name"]]
        case "bytes" | "bytearray" as tag:
            data = (
                base64.b64decode(document["base64"]) if "base64" in document else artifacts.read_bytes(document["data"])
            )
            return data if tag == "bytes" else bytearray(data)
        case "file" | "folder":
            return _decode_path(document, artifacts, scratch)
        case "path":
            return Path(document["value"])
        case "moment":
            moment = datetime.datetime.fromisoformat(document["value"]).replace(fold=document["fold"])
            return moment if document["zone"] is None else moment.replace(tzinfo=ZoneInfo(document["zone"]))
        case "date":
            return datetime.date.fromisoformat(document["value"])
        case "time":
            return datetime.time.fromisoformat(document["value"])
        case "timedelta":
            return datetime.timedelta(*document["value"])
        case "decimal":
            return decimal.Decimal(document["value"])
        case "uuid":
            return uuid.UUID(document["value"])
        case "complex":
            return complex(*(_decode(each, artifacts, scratch) for each in document["value"]))
        case _:
            return _decode_heavy(document, artifacts, scratch)


def _decode_heavy(document: dict[str, Any], artifacts: ArtifactStore, scratch: Callable[[], Path]) -> Any:
    """Bring back what needs a library; imported here, so that a run that is found whole imports none."""
    tag = document[TAG]
    if tag == "frame":
        from mainspring.pipeline._frames import decode_frame  # DuckDB and pandas

        return decode_frame(document, artifacts)
    if tag == "series":
        from mainspring.pipeline._frames import decode_frame  # DuckDB and pandas

        return decode_frame(document["frame"], artifacts)[0].rename(_decode(document["name"], artifacts, scratch))
    if tag in ("array", "scalar"):
        import io

        import numpy as np

        if tag == "array" and artifacts.size_bytes(document["data"]) > _MAPPED_BYTES:
            artifacts.verify(document["data"])
            # Copy on write: a step may change its argument, and nobody else sees it.
            return np.load(artifacts.path_of(document["data"]), mmap_mode="c", allow_pickle=False)
        if tag == "array":
            return np.load(io.BytesIO(artifacts.read_bytes(document["data"])), allow_pickle=False)
        return np.frombuffer(base64.b64decode(document["base64"]), dtype=np.dtype(document["dtype"]))[0]
    if tag == "estimator":
        from mainspring.bundle.estimators import load_estimator  # scikit-learn

        return load_estimator(artifacts.read_bytes(document["data"]))
    if tag == "kind":
        from mainspring.pipeline._kinds import kind_named  # the library of the value comes with it

        return kind_named(document["kind"]).load(document, artifacts, scratch())
    if tag == "pickle":
        # Only there because a step said `pickle=True`; the ledger names it, and so does every plan.
        return pickle.loads(artifacts.read_bytes(document["data"]))  # noqa: S301
    raise ValueError(f"unknown kind {tag}")


def _decode_path(document: dict[str, Any], artifacts: ArtifactStore, scratch: Callable[[], Path]) -> Path:
    name = Path(document["name"]).name or "folder"
    target = scratch() / name
    if document[TAG] == "folder":
        artifacts.checkout_tree(document["data"], target)
    else:
        artifacts.verify(document["data"])
        shutil.copyfile(artifacts.path_of(document["data"]), target)
    return target


def _rebuild(kind: Any, fields: dict[str, object], name: str) -> object:
    """Make a dataclass or NamedTuple from its fields without running its code: the value was valid when it was kept."""
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        if tuple(fields) != tuple(kind._fields):
            raise ValueError(f"the class {name} has other fields now")
        return tuple.__new__(kind, fields.values())
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise ValueError(f"{name} is no dataclass and no NamedTuple")
    known = {field.name for field in dataclasses.fields(kind)}
    if not set(fields) <= known:
        raise ValueError(f"the class {name} has other fields now")
    made = object.__new__(kind)
    for key, value in fields.items():
        object.__setattr__(made, key, value)
    return made


def _name_of(kind: type, where: str) -> str:
    """Return the import path of a class as ``module:Name``, after checking that it leads back to the class."""
    if "<locals>" in kind.__qualname__:
        raise Invalid(
            f"The class `{kind.__qualname__}` is defined inside a function, so no other process could find it",
            where=where,
            next_step="define it at the top level of a module",
        )
    return f"{import_name(kind.__module__)}:{kind.__qualname__}"


def _refused(kind: type, where: str) -> Invalid:
    return Invalid(
        f"A value of type `{kind.__module__}.{kind.__qualname__}` cannot be kept",
        where=where,
        next_step="return plain values, tables, arrays, paths, estimators, or dataclasses and NamedTuples of these;"
        " or add the type by a `ValueKind`; or write @step(pickle=True), or @step(cache=False)",
    )
