"""A pandas table as Parquet and back, exactly: every dtype that comes back is the one that went in, or it is refused.

DuckDB reads and writes the Parquet, so pyarrow need not be installed. The columns travel as numpy arrays in the few
types both sides hold exactly, and the rest (time zones, categories, masked integers, text types) is written down beside
the file; what `attrs` says in text travels along. One thread writes, because equal tables must give equal bytes.
"""

import contextlib
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mainspring.artifacts.protocol import ArtifactStore
from mainspring.domain.ids import Digest
from mainspring.errors import Invalid, MissingExtra

__all__ = ["decode_frame", "encode_frame"]

# A JSON document; `Any` because its shape depends on the kind of value.
_Document = dict[str, Any]
_local = threading.local()


def encode_frame(frame: Any, artifacts: ArtifactStore, where: str) -> _Document:
    """Keep a pandas DataFrame as Parquet and return the document that brings it back.

    Raises:
        Invalid: the index has several levels or a frequency, or a column holds what cannot come back exactly.
    """
    import numpy as np  # loaded already: a table is in hand
    import pandas as pd

    labels = [_label(label, where) for label in frame.columns]
    names = _stored_names(labels)
    arrays: dict[str, Any] = {}
    columns = []
    for number, (label, name) in enumerate(zip(labels, names, strict=True)):
        place = f"{where}[{label!r}]"
        dtype, array = _to_numpy(frame.iloc[:, number], place, artifacts)
        arrays[name] = array
        columns.append({"label": label, "name": name, **dtype})
    document: _Document = {
        "$": "frame",
        "rows": len(frame),
        "index": _encode_index(frame.index, artifacts, f"{where} index"),
        "columns": columns,
        "labels": None if frame.columns.name is None else _label(frame.columns.name, where),
        "label_type": _label_type(frame.columns, np, pd),
    }
    if told := {name: text for name, text in frame.attrs.items() if type(name) is type(text) is str}:
        document["attrs"] = told
    if arrays:
        document["data"] = _write_parquet(arrays, artifacts)
    return document


def decode_frame(document: _Document, artifacts: ArtifactStore) -> Any:
    """Bring back the table of `encode_frame`."""
    try:
        import pandas as pd  # heavy, and needed only when a table is really used
    except ImportError as error:
        raise MissingExtra.of("ml", "pandas", "Loading a table of an earlier run") from error
    index = _decode_index(document["index"], artifacts)
    columns = document["columns"]
    read = _read_parquet(document["data"], [each["name"] for each in columns], artifacts) if columns else {}
    made = {
        # Objects are named as such, or else pandas infers its own text type from the values.
        number: pd.Series(
            _from_numpy(each, read[each["name"]], artifacts),
            index=index,
            dtype=object if each["dtype"] == "object" else None,
            copy=False,
        )
        for number, each in enumerate(columns)
    }
    frame = pd.DataFrame(made, index=index, copy=False)
    labels = [each["label"] for each in columns]
    if document["label_type"] == "range":
        frame.columns = pd.RangeIndex(len(labels), name=document["labels"])
    else:
        frame.columns = pd.Index(labels, dtype=document["label_type"], name=document["labels"])
    frame.attrs.update(document.get("attrs", {}))
    return frame


def _encode_index(index: Any, artifacts: ArtifactStore, where: str) -> _Document:
    """Row numbers are four numbers; any other index of one level is kept as a column."""
    import pandas as pd

    name = None if index.name is None else _label(index.name, where)
    if isinstance(index, pd.RangeIndex):
        return {"range": [index.start, index.stop, index.step], "name": name}
    if isinstance(index, pd.MultiIndex) or getattr(index, "freq", None) is not None:
        raise Invalid(
            f"The table has a {type(index).__name__} that would not come back as it is",
            where=where,
            next_step="return `table.reset_index()`, and set the index where it is used",
        )
    values = pd.DataFrame({"index": pd.Series(index.array, dtype=index.dtype)})
    return {"values": encode_frame(values, artifacts, where), "name": name}


def _decode_index(document: _Document, artifacts: ArtifactStore) -> Any:
    import pandas as pd

    if "range" in document:
        return pd.RangeIndex(*document["range"], name=document["name"])
    values = decode_frame(document["values"], artifacts)["index"]
    return pd.Index(values.array, dtype=values.dtype, name=document["name"])


def _label(label: object, where: str) -> str | int:
    if isinstance(label, str) and type(label) is str:
        return label
    if isinstance(label, int) and not isinstance(label, bool):
        return label
    item = getattr(label, "item", None)
    if item is not None and type(item()) is int:
        return int(item())
    raise Invalid(
        f"The table has a column labelled {label!r}", where=where, next_step="label columns with text or whole numbers"
    )


def _label_type(columns: Any, np: Any, pd: Any) -> str:
    return (
        "range"
        if isinstance(columns, pd.RangeIndex) and columns.equals(pd.RangeIndex(len(columns)))
        else str(columns.dtype)
    )


def _stored_names(labels: list[str | int]) -> list[str]:
    """Return the names inside the file: the labels where SQL can tell them apart, else numbered names."""
    folded = [label.casefold() if isinstance(label, str) else "" for label in labels]
    if all(folded) and len(set(folded)) == len(folded) and "\0" not in "".join(folded):
        return [str(label) for label in labels]
    return [f"column_{number}" for number in range(len(labels))]


def _to_numpy(series: Any, where: str, artifacts: ArtifactStore) -> tuple[_Document, Any]:
    """Return how to name the type of a column, and its values in a type that Parquet keeps exactly."""
    import numpy as np
    import pandas as pd

    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        categories = encode_frame(pd.DataFrame({"category": dtype.categories}), artifacts, f"{where} categories")
        codes = {"dtype": "category", "ordered": bool(dtype.ordered), "categories": categories}
        return codes, series.cat.codes.to_numpy()
    text = str(dtype)
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf" and dtype.itemsize <= 8:
        return {"dtype": text}, series.to_numpy().astype("float32") if text == "float16" else series.to_numpy()
    if isinstance(dtype, np.dtype) and dtype.kind == "O":
        return _object_text(series, where)
    if not _comes_back(dtype, text, pd):
        raise _refused(text, where)
    if isinstance(dtype, pd.StringDtype):
        values = series.to_numpy(dtype=object, na_value=None)
        return {"dtype": text}, values
    if dtype.kind in "mM":
        # Moments travel as whole numbers of their unit: no engine then rounds or converts them.
        return {"dtype": text}, _moments(series, np, pd)
    if hasattr(series.array, "_mask") and dtype.kind in "biuf":
        missing = series.isna().to_numpy()
        values = series.array[~missing].to_numpy(dtype=dtype.numpy_dtype)
        if dtype.kind == "f" and np.isnan(values).any():
            raise _refused(f"{text} with both NaN and NA", where)
        whole = np.zeros(len(series), dtype=dtype.numpy_dtype)
        whole[~missing] = values
        return {"dtype": text}, np.ma.masked_array(whole, mask=missing)
    raise _refused(text, where)


def _comes_back(dtype: Any, text: str, pd: Any) -> bool:
    """Whether the name of a type means the same type again: an exact return must not depend on an option."""
    try:
        return bool(pd.api.types.pandas_dtype(text) == dtype)
    except (TypeError, ValueError):
        return False


def _moments(series: Any, np: Any, pd: Any) -> Any:
    whole = series.array.asi8
    return np.ma.masked_array(whole, mask=series.isna().to_numpy())


def _object_text(series: Any, where: str) -> tuple[_Document, Any]:
    """A column of Python objects is kept when it is text with one kind of missing value."""
    import numpy as np

    values = series.to_numpy()
    missing = {type(value).__name__ for value in values if not isinstance(value, str)}
    if any(type(value) is not str for value in values if isinstance(value, str)) or len(missing) > 1:
        raise _refused("object with values of several types", where)
    if missing == {"float"} and all(value != value for value in values if not isinstance(value, str)):
        return {"dtype": "object", "missing": "nan"}, np.array(
            [value if isinstance(value, str) else None for value in values], dtype=object
        )
    if missing - {"NoneType"}:
        raise _refused(f"object with values of type {missing.pop()}", where)
    return {"dtype": "object", "missing": "none"}, values


def _refused(what: str, where: str) -> Invalid:
    return Invalid(
        f"A column of {what} cannot be kept exactly",
        where=where,
        next_step="convert it with `astype` to numbers, booleans, text, datetime64 or category",
    )


def _from_numpy(column: _Document, array: Any, artifacts: ArtifactStore) -> Any:
    """Undo `_to_numpy`."""
    import numpy as np
    import pandas as pd

    dtype = column["dtype"]
    mask = np.ma.getmaskarray(array)
    data = np.asarray(array.data if isinstance(array, np.ma.MaskedArray) else array)
    if dtype == "category":
        held = decode_frame(column["categories"], artifacts)["category"]
        categories = pd.Index(held.array, dtype=held.dtype)
        return pd.Categorical.from_codes(data, dtype=pd.CategoricalDtype(categories, ordered=column["ordered"]))
    if dtype == "object":
        values = data.astype(object)
        values[mask] = np.nan if column["missing"] == "nan" else None
        return values
    kind = pd.api.types.pandas_dtype(dtype)
    if isinstance(kind, pd.StringDtype):
        values = data.astype(object)
        values[mask] = None
        return pd.array(values, dtype=kind)
    if kind.kind in "mM":
        whole = data.astype("int64")
        whole[mask] = np.iinfo("int64").min
        unit = np.datetime_data(kind.base if isinstance(kind, pd.DatetimeTZDtype) else kind)[0]
        plain = whole.view(f"{kind.kind}8[{unit}]")
        if isinstance(kind, pd.DatetimeTZDtype):
            return pd.DatetimeIndex(plain).tz_localize("UTC").tz_convert(kind.tz).array
        return plain
    if isinstance(kind, np.dtype):
        if kind.kind == "f":
            data = data.astype(kind, copy=True)
            data[mask] = np.nan
        return data.astype(kind, copy=False)
    values = pd.array(np.where(mask, np.zeros(1, dtype=data.dtype), data).astype(kind.numpy_dtype), dtype=kind)
    values[mask] = pd.NA
    return values


def _connection() -> Any:  # duckdb.DuckDBPyConnection, a library that may not be loaded yet
    """Return this thread's own in-memory engine: starting one for each table would cost more than the table."""
    connection: Any = getattr(_local, "connection", None)
    if connection is None:
        import duckdb  # heavy, and needed only when a table is kept or loaded

        connection = duckdb.connect(":memory:", config={"threads": 1})
        # Columns of objects are text here; guessing from a sample would type an empty one as numbers.
        connection.execute("SET pandas_analyze_sample = 0")
        _local.connection = connection
    return connection


def _write_parquet(arrays: dict[str, Any], artifacts: ArtifactStore) -> Digest:
    connection = _connection()
    with _scratch_file() as path:
        connection.register("arrays", arrays)
        try:
            connection.execute(f"COPY arrays TO {_quoted(str(path))} (FORMAT parquet, COMPRESSION zstd)").fetchall()
        finally:
            connection.unregister("arrays")
        return artifacts.put_file(path)


def _read_parquet(digest: Digest, names: list[str], artifacts: ArtifactStore) -> dict[str, Any]:
    path = artifacts.path_of(digest)
    artifacts.verify(digest)
    result = _connection().execute(f"SELECT * FROM read_parquet({_quoted(str(path))})").fetchnumpy()
    return {name: result[name] for name in names}


@contextlib.contextmanager
def _scratch_file() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mainspring-") as folder:
        yield Path(folder) / "table.parquet"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
