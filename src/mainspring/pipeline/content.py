"""The content of a value as a hash: equal values hash equal in every process, whatever the hash seed or the platform.

Each value is written to the hash with its type and its length, so that no two different values write the same bytes.
Code is not hashed here: the caller says what stands for a function or a class (`identify`), which is how a fingerprint
follows the functions held in values. Libraries are recognised, never imported: whoever holds a table has its library.
"""

import dataclasses
import datetime
import decimal
import enum
import fractions
import logging
import os
import re
import types
import uuid
import zoneinfo
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from pathlib import Path, PurePath
from typing import Any

from blake3 import blake3

from mainspring.domain.ids import Digest

__all__ = ["Identify", "Unhashable", "content_digest", "is_estimator", "is_fitted"]

#: Returns what stands for a function, class or module in the hash of a value that holds it.
Identify = Callable[[object], bytes]
#: Returns what stands for the content of the file or folder that a path names; None where there is nothing to read.
ReadPath = Callable[[str], bytes | None]

# Deeper nesting than this is a value that holds itself.
_DEEPEST = 100

_CODE = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, type, types.ModuleType)
_PLAIN_BY_TEXT = (
    complex,
    datetime.date,
    datetime.datetime,
    datetime.time,
    datetime.timedelta,
    datetime.timezone,
    decimal.Decimal,
    fractions.Fraction,
    range,
    slice,
    types.EllipsisType,
    types.NotImplementedType,
    uuid.UUID,
    zoneinfo.ZoneInfo,
)


class Unhashable(Exception):  # named for what happened, as all errors here
    """A value whose content cannot be told; the caller knows which argument it was and makes the message."""

    def __init__(self, kind: type, path: str) -> None:
        self.kind = kind
        self.path = path
        super().__init__(f"{kind.__module__}.{kind.__qualname__} at {path or 'the value itself'}")


def content_digest(value: object, *, identify: Identify, read_path: ReadPath | None = None) -> Digest:
    """Return the digest of the content of `value`. Linear in its size.

    `read_path` gives the content of the files that paths (and texts that name files) stand for; without it a path is
    hashed as its text.

    Raises:
        Unhashable: something inside `value` has no content we can tell.
    """
    content = _Content(identify, read_path)
    content.put(value, "", 0)
    return Digest(content.hasher.hexdigest())


def is_estimator(value: object) -> bool:
    """Whether `value` looks like a scikit-learn estimator."""
    kind = type(value)
    return callable(getattr(kind, "get_params", None)) and callable(getattr(kind, "fit", None))


def is_fitted(estimator: object) -> bool:
    """Whether an estimator has learned something: by convention, public attributes that end in an underscore."""
    parts = [estimator]
    if callable(getattr(type(estimator), "get_params", None)):
        parts += [part for part in estimator.get_params(deep=True).values() if is_estimator(part)]  # type: ignore[attr-defined]
    return any(
        name.endswith("_") and not name.startswith("_") and not name.endswith("__")
        for part in parts
        for name in getattr(part, "__dict__", ())
    )


class _Content:
    """Writes values to one hash."""

    def __init__(self, identify: Identify, read_path: ReadPath | None) -> None:
        self.hasher = blake3()
        self._identify = identify
        self._read_path = read_path

    def put(self, value: object, path: str, depth: int) -> None:
        """Write one value; `path` says where it is, for the message."""
        kind = type(value)
        if depth > _DEEPEST:
            raise Unhashable(kind, path)
        if value is None or kind in (bool, int, float):
            self._text(kind.__name__, repr(value))
        elif kind is str:
            self._string(str(value))
        elif kind in (bytes, bytearray):
            self._bytes(kind.__name__, value)  # type: ignore[arg-type]
        elif isinstance(value, enum.Enum):
            self._text("enum", value.name or repr(value.value))
            self._code(kind)
        elif kind in (list, tuple, deque):
            self._sequence(kind.__name__, value, path, depth)  # type: ignore[arg-type]
        elif kind in (dict, OrderedDict, defaultdict, types.MappingProxyType):
            self._mapping(kind.__name__, value, path, depth)  # type: ignore[arg-type]
        elif kind in (set, frozenset):
            self._set(kind.__name__, value, path, depth)  # type: ignore[arg-type]
        elif isinstance(value, PurePath):
            self._path(value)
        elif isinstance(value, _CODE):
            self._code(value)
        elif kind in _PLAIN_BY_TEXT:
            self._text(kind.__name__, repr(value))
        elif isinstance(value, logging.Logger):
            self._text("logger", value.name)  # what is logged is no part of a result
        elif kind is re.Pattern:
            self._text("pattern", repr((value.pattern, value.flags)))  # type: ignore[attr-defined]
        else:
            self._object(value, path, depth)

    def _object(self, value: object, path: str, depth: int) -> None:
        kind = type(value)
        room = kind.__module__.partition(".")[0]
        thing: Any = value  # duck-typed below
        if isinstance(value, tuple) and hasattr(kind, "_fields"):
            self._code(kind)
            self._sequence("record", value, path, depth)
        elif dataclasses.is_dataclass(kind):
            self._code(kind)
            for field in dataclasses.fields(kind):
                self._text("field", field.name)
                self.put(getattr(value, field.name, None), f"{path}.{field.name}", depth + 1)
        elif room == "numpy":
            self._numpy(thing, path, depth)
        elif room == "pandas":
            self._code(kind)
            self._pandas(thing, path, depth)
        elif room in ("polars", "pyarrow"):
            self._code(kind)
            self._arrow(thing, room, path, depth)
        elif is_estimator(value):
            self._estimator(thing, path, depth)
        elif value is os.environ:
            self._text("environment", "")  # each variable that a step reads is traced on its own
        elif kind.__module__ == "functools" and kind.__name__ == "partial":
            self._text("partial", "")
            for name in ("func", "args", "keywords"):
                self.put(getattr(value, name), f"{path}.{name}", depth + 1)
        elif callable(getattr(value, "__wrapped__", None)) and kind.__module__.startswith(("functools", "mainspring.")):
            self._code(value)
        else:
            self._instance(value, path, depth)

    def _instance(self, value: object, path: str, depth: int) -> None:
        """Write an object of a plain class: its class and its attributes. What keeps its state elsewhere is refused."""
        kind = type(value)
        state = getattr(value, "__dict__", None)
        slots = [name for base in kind.__mro__ for name in _slots_of(base) if hasattr(value, name)]
        own = type(value).__module__.partition(".")[0]
        if own in ("builtins", "threading", "logging", "_thread", "_io", "io"):
            raise Unhashable(kind, path)
        holds_more = isinstance(value, dict | list | set | tuple | str | bytes | int | float)
        keeps_elsewhere = kind.__reduce__ is not object.__reduce__ or kind.__reduce_ex__ is not object.__reduce_ex__
        if holds_more or keeps_elsewhere or (state is None and not slots):
            self._reduced(value, path, depth)
            return
        self._code(kind)
        for name in sorted({*(state or ()), *slots}):
            self._text("attribute", name)
            self.put(getattr(value, name), f"{path}.{name}", depth + 1)

    def _reduced(self, value: object, path: str, depth: int) -> None:
        """Write an object by what it would be rebuilt from: what keeps its state below Python says so for pickling."""
        try:
            made = value.__reduce_ex__(2)
        except Exception as error:  # it refuses, in whatever way its class likes
            raise Unhashable(type(value), path) from error
        self._code(type(value))
        if not isinstance(made, tuple):
            self._text("named", f"{getattr(value, '__module__', '')}:{made}")  # a global of its module
            return
        self._text("rebuilt", str(len(made)))
        for number, part in enumerate(made):
            items = list(part) if number > 2 and part is not None else part  # iterators over items
            self.put(items, f"{path} part {number}", depth + 1)

    def _text(self, kind: str, text: str) -> None:
        self._bytes(kind, text.encode("utf-8", "surrogatepass"))

    def _bytes(self, kind: str, data: bytes | bytearray | memoryview) -> None:
        self.hasher.update(b"%s:%d:" % (kind.encode(), len(data)))
        self.hasher.update(data)

    def _code(self, value: object) -> None:
        self._bytes("code", self._identify(value))

    def _string(self, text: str) -> None:
        self._text("str", text)
        # The contract of a path argument holds for plain text too: a text that names a file means its content.
        if self._read_path is not None and 0 < len(text) < 1024 and "\n" not in text and "\0" not in text:
            content = self._read_path(text)
            if content is not None:
                self._bytes("content", content)

    def _path(self, path: PurePath) -> None:
        self._text("path", path.as_posix())
        if self._read_path is not None and isinstance(path, Path):
            content = self._read_path(os.fspath(path))
            if content is not None:
                self._bytes("content", content)

    def _sequence(self, kind: str, values: Iterable[object], path: str, depth: int) -> None:
        held = list(values)
        self._text(kind, str(len(held)))
        for number, value in enumerate(held):
            self.put(value, f"{path}[{number}]", depth + 1)

    def _mapping(self, kind: str, values: dict[object, object], path: str, depth: int) -> None:
        # The order counts: a step can see it.
        self._text(kind, str(len(values)))
        for key, value in values.items():
            self.put(key, f"{path} key", depth + 1)
            self.put(value, f"{path}[{key!r}]" if isinstance(key, str | int) else path, depth + 1)

    def _set(self, kind: str, values: Iterable[object], path: str, depth: int) -> None:
        # Code is numbered by whoever identifies it in the order it is seen, so that order must not be the set's own.
        held = sorted(values, key=lambda each: getattr(each, "__qualname__", ""))
        digests = []
        for value in held:
            inner = _Content(self._identify, self._read_path)
            inner.put(value, f"{path}{{}}", depth + 1)
            digests.append(inner.hasher.digest())
        self._bytes(kind, b"".join(sorted(digests)))

    def _numpy(self, value: Any, path: str, depth: int) -> None:
        kind = type(value)
        self._code(kind)
        if kind.__name__ == "ndarray":
            self._text("array", f"{value.dtype.str if value.dtype.names is None else value.dtype.descr}{value.shape}")
            self._array(value, path, depth)
        elif hasattr(value, "dtype") and hasattr(value, "tobytes"):
            self._text("scalar", value.dtype.str)
            self._bytes("data", value.tobytes())
        elif kind.__name__ == "ufunc":
            self._text("ufunc", value.__name__)
        elif kind.__name__.endswith("DType") or kind.__name__ == "dtype":
            self._text("dtype", repr(value))
        elif hasattr(value, "get_state") or hasattr(value, "bit_generator"):
            state = value.get_state() if hasattr(value, "get_state") else value.bit_generator.state
            self.put(state, f"{path} state", depth + 1)
        elif hasattr(value, "state"):
            self.put(value.state, f"{path} state", depth + 1)
        else:
            raise Unhashable(kind, path)

    def _array(self, array: Any, path: str, depth: int) -> None:
        """Write the elements of a numpy array; text is joined, other objects go one by one."""
        if array.dtype.hasobject:
            self._objects(array.ravel().tolist() if array.dtype.kind == "O" else list(array.ravel()), path, depth)
            return
        import numpy as np  # loaded already: this is its array

        self._bytes("data", np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)

    def _objects(self, values: list[object], path: str, depth: int) -> None:
        kinds = {type(value) for value in values}
        if kinds <= {str, type(None)}:
            # Lengths and one joined text say the same as each text on its own, many times faster.
            lengths = ",".join(["-" if value is None else str(len(value)) for value in values])  # type: ignore[arg-type]
            self._text("lengths", lengths)
            self._text("joined", "".join([value for value in values if value is not None]))  # type: ignore[misc]
        else:
            self._sequence("objects", values, path, depth)

    def _pandas(self, value: Any, path: str, depth: int) -> None:
        name = type(value).__name__
        if name == "DataFrame":
            self._text("frame", str(value.shape))
            self._pandas(value.columns, f"{path}.columns", depth + 1)
            self._pandas(value.index, f"{path}.index", depth + 1)
            for number, label in enumerate(value.columns):
                self._pandas_column(value.iloc[:, number].array, f"{path}[{label!r}]", depth + 1)
        elif name == "Series":
            self.put(value.name, f"{path}.name", depth + 1)
            self._pandas(value.index, f"{path}.index", depth + 1)
            self._pandas_column(value.array, path, depth + 1)
        elif name == "RangeIndex":
            self._text("range", repr((value.start, value.stop, value.step, value.name)))
        elif name == "MultiIndex":
            self.put(list(value.names), path, depth + 1)
            for level, codes in zip(value.levels, value.codes, strict=True):
                self._pandas(level, path, depth + 1)
                self._numpy(codes, path, depth)
        elif name.endswith("Index"):
            self.put(value.name, path, depth + 1)
            self._pandas_column(value.array, path, depth + 1)
        elif name in ("Timestamp", "Timedelta", "Period", "Interval", "NAType", "NaTType") or hasattr(value, "freqstr"):
            self._text(name, repr(value))
        elif hasattr(value, "na_value") and hasattr(value, "construct_array_type"):
            self._text("dtype", repr(value))
        elif hasattr(value, "dtype") and hasattr(value, "isna"):
            self._pandas_column(value, path, depth + 1)
        else:
            raise Unhashable(type(value), path)

    def _pandas_column(self, array: Any, path: str, depth: int) -> None:
        dtype: Any = array.dtype  # of pandas; its own types differ in what they offer
        self._text("dtype", repr(dtype))
        if hasattr(array, "categories"):
            self._pandas(array.categories, path, depth + 1)
            self._numpy(array.codes, path, depth)
        elif type(array).__name__ == "NumpyExtensionArray":
            self._array(array.to_numpy(), path, depth)
        elif hasattr(array, "_mask") and hasattr(array, "_data"):
            # Masked numbers: what lies under the mask is arbitrary.
            missing = array.isna()
            self._array(missing, path, depth)
            self._array(array[~missing].to_numpy(dtype=array._data.dtype), path, depth)
        elif dtype.kind in "mM" and hasattr(array, "asi8"):
            self._array(array.asi8, path, depth)
        else:
            # A typed column has one missing value, so its place is all there is to say.
            missing = array.isna()
            self._array(missing, path, depth)
            self._objects(array.to_numpy(dtype=object)[~missing].tolist(), path, depth)

    def _arrow(self, value: Any, room: str, path: str, depth: int) -> None:
        """Write a polars or pyarrow table column by column; how it is cut into chunks in memory does not count."""
        kind = type(value).__name__
        if room == "polars" and kind in ("DataFrame", "Series"):
            columns = [value] if kind == "Series" else value.get_columns()
            named = [(each.name, str(each.dtype), each.dtype.is_numeric(), each) for each in columns]
        elif room == "pyarrow" and kind in ("Table", "ChunkedArray", "Array"):
            import pyarrow as pa  # loaded already: this is its table

            columns = [("", value)] if kind != "Table" else list(zip(value.column_names, value.columns, strict=True))
            numbers = (pa.types.is_integer, pa.types.is_floating)
            named = [(name, str(each.type), any(ask(each.type) for ask in numbers), each) for name, each in columns]
        else:
            raise Unhashable(type(value), path)
        self._text("columns", str(len(named)))
        for name, dtype, is_number, column in named:
            self._text("column", name)
            self._text("dtype", dtype)
            if is_number:
                self._array(_as_array(column.is_null()), path, depth)
                self._array(_as_array(column.fill_null(0)), path, depth)
            else:
                self._objects(column.to_list() if room == "polars" else column.to_pylist(), path, depth)

    def _estimator(self, value: Any, path: str, depth: int) -> None:
        self._code(type(value))
        parameters = value.get_params(deep=False)
        self._text("estimator", str(len(parameters)))
        for name in sorted(parameters):
            self._text("parameter", name)
            self.put(parameters[name], f"{path}.{name}", depth + 1)
        if is_fitted(value):
            from mainspring.bundle.estimators import dump_estimator  # scikit-learn, loaded already: this is its object

            self._bytes("fitted", dump_estimator(value))


def _as_array(column: Any) -> Any:
    import numpy as np  # a table with numbers is in hand; its libraries bring it

    return np.asarray(column.to_numpy())


def _slots_of(kind: type) -> tuple[str, ...]:
    slots = kind.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(each for each in slots if not each.startswith("__"))
