"""Tables as named arrays, and the ways in: files through DuckDB, and the frames that users hand over.

One convention for all rooms: numbers and integers are float64 with NaN for missing, booleans too (0, 1, NaN); text is
an object array of str with None for missing; moments are ``datetime64[us]`` in UTC with NaT for missing.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from mainspring.domain.signature import ColumnType
from mainspring.errors import Invalid, MissingExtra, NotFound

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Columns",
    "column_type",
    "columns_of",
    "fetch_columns",
    "frame_of",
    "n_rows",
    "quoted_files",
    "quoted_name",
    "quoted_text",
    "read_columns",
    "scan_sql",
]

#: Named arrays of equal length; `Any` because each column has its own type.
Columns = dict[str, NDArray[Any]]

_READERS = {
    ".parquet": "read_parquet({path}, hive_partitioning=false)",
    ".csv": "read_csv({path}, sample_size=-1, nullstr=['', 'NA'], hive_partitioning=false)",
    ".tsv": "read_csv({path}, sample_size=-1, nullstr=['', 'NA'], delim='\t', hive_partitioning=false)",
    ".jsonl": "read_json({path}, format='newline_delimited', sample_size=-1, hive_partitioning=false)",
    ".ndjson": "read_json({path}, format='newline_delimited', sample_size=-1, hive_partitioning=false)",
    ".json": "read_json({path}, format='array', sample_size=-1, hive_partitioning=false)",
}


def scan_sql(path: Path) -> str:
    """Return the DuckDB table function that reads `path` by its ending (a trailing ``.gz`` is seen through).

    Raises:
        NotFound: there is no such file.
        Invalid: the file is empty or its ending is not known.
    """
    if not path.is_file():
        raise NotFound(f"There is no file `{path.name}`", where=str(path), next_step="check the path")
    if path.stat().st_size == 0:
        raise Invalid(f"`{path.name}` is empty", where=str(path), next_step="give a file with a header and rows")
    ending = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    reader = _READERS.get(ending.lower())
    if reader is None:
        raise Invalid(
            f"`{path.name}` has an ending Mainspring does not read",
            where=str(path),
            next_step=f"use one of {', '.join(sorted(_READERS))}",
        )
    return reader.format(path=_one_file(path))


def quoted_files(paths: Iterable[Path]) -> str:
    """Return the DuckDB table function that reads Parquet files as one table, their columns matched by name."""
    listed = ", ".join(_one_file(path) for path in paths)
    return f"read_parquet([{listed}], union_by_name=true, hive_partitioning=false)"


def quoted_name(name: str) -> str:
    """Return a column's name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def quoted_text(text: str) -> str:
    """Return a text as SQL."""
    return "'" + text.replace("'", "''") + "'"


def _one_file(path: Path) -> str:
    """Return the path as SQL; DuckDB takes it for a pattern, so what means something in a pattern goes in brackets."""
    return quoted_text("".join(f"[{each}]" if each in "*?[" else each for each in str(path)))


def read_columns(path: Path) -> Columns:
    """Read a CSV, TSV, Parquet, JSON or JSON-lines file.

    Raises:
        NotFound, Invalid: the file is missing, empty, of an unknown kind, or does not parse (the message says where).
    """
    source = scan_sql(path)
    with duckdb.connect() as connection:
        try:
            columns = fetch_columns(connection, f"SELECT * FROM {source}")
        except duckdb.Error as error:
            first = str(error).strip().splitlines()
            told = "; ".join(line.strip() for line in first[:3])
            raise Invalid(
                f"`{path.name}` cannot be read: {told}", where=str(path), next_step="mend the line named and try again"
            ) from error
    if n_rows(columns) == 0:
        raise Invalid(f"`{path.name}` holds no rows", where=str(path), next_step="give a file with at least one row")
    return columns


def fetch_columns(connection: "duckdb.DuckDBPyConnection", query: str, parameters: Iterable[object] = ()) -> Columns:
    """Run `query` and return its result in this project's column convention."""
    bound = list(parameters)
    described = connection.execute(f"DESCRIBE {query}", bound).fetchall()
    shown = ", ".join(_cast(name, kind) for name, kind, *_ in described)
    arrays = connection.execute(f"SELECT {shown} FROM ({query})", bound).fetchnumpy()
    return {name: _settle(arrays[name]) for name, *_ in described}


def _cast(name: str, kind: str) -> str:
    quoted = quoted_name(name)
    if kind.startswith("TIMESTAMP WITH"):
        target = f"timezone('UTC', {quoted})"
    elif kind.startswith(("TIMESTAMP", "DATE")):
        target = f"CAST({quoted} AS TIMESTAMP)"
    elif kind.startswith(("VARCHAR", "ENUM", "UUID", "TIME", "BLOB", "STRUCT", "MAP", "JSON")) or kind.endswith("[]"):
        target = f"CAST({quoted} AS VARCHAR)"
    else:
        target = f"CAST({quoted} AS DOUBLE)"
    return f"{target} AS {quoted}"


def _settle(array: Any) -> NDArray[Any]:  # NumPy array or masked array, as DuckDB hands it out
    if array.dtype.kind == "f":
        return np.asarray(np.ma.filled(array.astype(np.float64), np.nan))
    if array.dtype.kind == "M":
        return np.asarray(np.ma.filled(array.astype("datetime64[us]"), np.datetime64("NaT")))
    plain = np.asarray(np.ma.getdata(array), dtype=object)
    missing = np.ma.getmaskarray(array)
    if missing.any():
        plain = plain.copy()
        plain[missing] = None
    return plain


def columns_of(table: object) -> Columns:
    """Turn a pandas or polars frame, an Arrow table or a mapping of arrays into columns.

    Raises:
        Invalid: the value is no table, or its columns differ in length.
    """
    if isinstance(table, Mapping):
        items: Iterable[tuple[Any, Any]] = table.items()
    elif hasattr(table, "to_pydict") and hasattr(table, "column_names"):  # Arrow
        items = table.to_pydict().items()
    elif hasattr(table, "columns") and hasattr(table, "__getitem__"):  # pandas, polars
        items = ((name, table[name]) for name in table.columns)
    else:
        raise Invalid(
            f"A {type(table).__name__} is not a table",
            next_step="hand over a pandas or polars frame, or an Arrow table",
        )
    columns = {str(name): _column(values) for name, values in items}
    lengths = {len(array) for array in columns.values()}
    if len(lengths) > 1:
        raise Invalid(f"The columns differ in length: {sorted(lengths)}", next_step="give columns of equal length")
    return columns


def _column(values: Any) -> NDArray[Any]:  # a Series or sequence of any library
    if hasattr(values, "to_numpy"):
        dtype = getattr(values, "dtype", None)
        if getattr(dtype, "tz", None) is not None:  # pandas: zoned moments become UTC
            values = values.dt.tz_convert("UTC").dt.tz_localize(None)
        elif str(dtype).lower() in {"int64", "int32", "int16", "int8", "boolean", "float64", "uint8"} and hasattr(
            values, "isna"
        ):
            return np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)
        values = values.to_numpy()
    array = np.asarray(values)
    if array.dtype.kind in "iufb":
        return array.astype(np.float64)
    if array.dtype.kind == "M":
        return array.astype("datetime64[us]")
    plain = np.asarray(array, dtype=object)
    missing = np.fromiter((value is None or value != value for value in plain), dtype=bool, count=len(plain))
    if all(isinstance(value, int | float | np.number) for value in plain[~missing]) and (~missing).any():
        return np.where(missing, np.nan, plain).astype(np.float64)
    out = np.empty(len(plain), dtype=object)
    out[:] = [None if gone else str(value) for value, gone in zip(plain, missing, strict=True)]
    return out


def frame_of(columns: Mapping[str, NDArray[Any]]) -> "pd.DataFrame":
    """Return the columns as a pandas frame; text columns get pandas' own ``str`` type.

    Raises:
        MissingExtra: pandas is not installed.
    """
    try:
        import pandas as pd  # extra: ml
    except ImportError as error:
        raise MissingExtra.of("ml", "pandas", "Handing out a table as a frame") from error
    return pd.DataFrame(
        {name: pd.Series(array, dtype="str") if array.dtype == object else array for name, array in columns.items()}
    )


def n_rows(columns: Mapping[str, NDArray[Any]]) -> int:
    """Return the number of rows; 0 for a table without columns."""
    return len(next(iter(columns.values()))) if columns else 0


def column_type(array: NDArray[Any]) -> ColumnType:
    """Return the type a column has by its values: whole numbers count as integers, 0 and 1 alone stay numbers."""
    if array.dtype.kind == "M":
        return "timestamp"
    if array.dtype == object:
        return "string"
    present = array[~np.isnan(array)]
    return "integer" if present.size and bool(np.all(present == np.floor(present))) else "number"
