"""Tables as named arrays, and the ways in: files through DuckDB, and the frames that users hand over.

One convention for all rooms: numbers and integers are float64 with NaN for missing, booleans too (0, 1, NaN); text is
an object array of str with None for missing; moments are ``datetime64[us]`` in UTC with NaT for missing.
"""

import atexit
import csv
import gzip
import math
import os
import re
import shutil
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from mainspring.artifacts.scratch import make_scratch
from mainspring.config import value_of
from mainspring.data.exact import WHOLE, can_round
from mainspring.domain.signature import ColumnType
from mainspring.errors import Invalid, MissingExtra, NotFound, Unavailable

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Columns",
    "cast_sql",
    "column_type",
    "columns_of",
    "connect",
    "exact_sql",
    "fetch_columns",
    "frame_of",
    "n_rows",
    "numbered_scan",
    "quoted_files",
    "quoted_name",
    "quoted_text",
    "read_columns",
    "scan_sql",
    "settled_scan",
    "typed_sql",
    "unreadable",
    "unreadable_unseen",
    "without_value",
]

_DIALECT = (
    "delim={delimiter}, header=true, skip=0, quote='\"', escape='\"', comment='', nullstr=['', 'NA'],"
    # no BOOLEAN: it would take yes and no, t and f for truth values, which in a file are more often text
    " auto_type_candidates=['NULL', 'BIGINT', 'HUGEINT', 'BIGNUM', 'DOUBLE', 'TIME', 'DATE', 'TIMESTAMP',"
    " 'TIMESTAMP WITH TIME ZONE', 'VARCHAR']"
)
_TRUTH = {"true": 1.0, "false": 0.0, None: math.nan}
#: Characters of a file's own line that an error repeats.
_LONGEST_QUOTE = 300
#: What the engine says when a file cannot be written, of all that goes wrong with files.
_NO_ROOM = re.compile("could not write|no space left|write failed", re.IGNORECASE)
#: Named arrays of equal length; `Any` because each column has its own type.
Columns = dict[str, NDArray[Any]]

_READERS = {
    ".parquet": "read_parquet({path}, hive_partitioning=false)",
    # A dialect that is guessed from all lines makes sense of a broken file by dropping rows; so only types are guessed.
    ".csv": "read_csv({path}, {dialect}, sample_size=-1, hive_partitioning=false)",
    ".tsv": "read_csv({path}, {dialect}, sample_size=-1, hive_partitioning=false)",
    ".jsonl": "read_json({path}, format='newline_delimited', sample_size=-1, hive_partitioning=false)",
    ".ndjson": "read_json({path}, format='newline_delimited', sample_size=-1, hive_partitioning=false)",
    ".json": "read_json({path}, format='array', sample_size=-1, hive_partitioning=false)",
}


_engines: dict[int, "duckdb.DuckDBPyConnection"] = {}
_spills: dict[int, tuple[Path, int]] = {}
_engines_lock = threading.Lock()


def connect() -> "duckdb.DuckDBPyConnection":
    """Return a new connection to this process's engine, for one thread; close it or use it as a context manager.

    Making an engine takes some 16 ms and a connection to one 0.3 ms. What is registered on a connection is its own.
    What does not fit in the memory that the setting `memory` allows goes to a folder of `scratch`. A forked child gets
    an engine of its own, for the threads of its parent's did not come along.
    """
    with _engines_lock:
        engine = _engines.get(os.getpid())
        if engine is None:
            config: dict[str, str | bool | int | float | list[str]] = {
                "enable_external_file_cache": False,
                # the bounds in a Parquet file do not tell of NaN, and the first of these believes that there is none;
                # the second lets the reader of a CSV file fail where TRY_CAST would give NULL (DuckDB 2.0.1)
                "disabled_optimizers": "statistics_propagation,type_pushdown",
            }
            if memory := value_of("memory"):
                config["memory_limit"] = memory
            if scratch := make_scratch():
                _spills[os.getpid()] = scratch
                config["temp_directory"] = str(scratch[0])
            engine = _engine(config, memory)
            engine.execute("SET GLOBAL TimeZone = 'UTC'")  # times without an offset mean the same on every machine
            _engines[os.getpid()] = engine
        return engine.cursor()


def _engine(config: dict[str, str | bool | int | float | list[str]], memory: str) -> "duckdb.DuckDBPyConnection":
    try:
        return duckdb.connect(config=config)
    except duckdb.Error as error:
        if not memory:
            raise
        said = str(error).strip().splitlines()[0]
        raise Invalid(
            f"`{memory}` is no amount of memory: {said}", where="MAINSPRING_MEMORY", next_step="write it as 2GB"
        ) from error


@atexit.register
def _close_engines() -> None:
    """Let the engine end before the interpreter does: it is noisy about being torn down with it."""
    engine = _engines.pop(os.getpid(), None)
    if engine is not None:
        engine.close()
    if scratch := _spills.pop(os.getpid(), None):
        shutil.rmtree(scratch[0], ignore_errors=True)
        os.close(scratch[1])


def scan_sql(path: Path, *, as_written: bool = False) -> str:
    """Return the DuckDB table function that reads `path` by its ending (a trailing ``.gz`` is seen through).

    `as_written` keeps the values of CSV and TSV files as their text, to be written again without a change.

    Raises:
        NotFound: there is no such file.
        Invalid: the file is empty or its ending is not known.
    """
    if not path.is_file():
        raise NotFound(f"There is no file `{path.name}`", where=str(path), next_step="check the path")
    if path.stat().st_size == 0:
        raise Invalid(f"`{path.name}` is empty", where=str(path), next_step="give a file with a header and rows")
    ending = _ending(path)
    reader = _READERS.get(ending)
    if reader is None:
        raise Invalid(
            f"`{path.name}` has an ending Mainspring does not read",
            where=str(path),
            next_step=f"use one of {', '.join(sorted(_READERS))}",
        )
    scan = reader.format(path=_one_file(path), dialect=_dialect(path) if ending in (".csv", ".tsv") else "")
    if as_written and ending in (".csv", ".tsv"):
        return scan.replace("nullstr=['', 'NA']", "nullstr=['']").replace("sample_size=-1", "all_varchar=true")
    return scan


def settled_scan(connection: "duckdb.DuckDBPyConnection", path: Path) -> tuple[str, list[tuple[str, str]]]:
    """Return the table function that reads `path` with its types settled, and the names and types of its columns.

    The types of a text file are told by all of its lines; settled once, they are not looked for again by each query.

    Raises:
        NotFound, Invalid: as `read_columns`.
    """
    sql = scan_sql(path)
    try:
        described = [(row[0], row[1]) for row in connection.execute(f"DESCRIBE SELECT * FROM {sql}").fetchall()]
    except duckdb.Error as error:
        raise unreadable(path, error) from error
    if "sample_size=-1" in sql and described:
        listed = ", ".join(f"{quoted_text(name)}: {quoted_text(kind)}" for name, kind in described)
        sql = re.sub(r" auto_type_candidates=\[.*?\],", "", sql)
        sql = sql.replace("sample_size=-1", f"auto_detect=false, columns={{{listed}}}")
    return sql, described


def numbered_scan(scan: str, names: Iterable[str]) -> tuple[str, str]:
    """Return the scan with the numbers of its rows, from 0, and their expression; `names` are its columns.

    The engine numbers the rows of a Parquet file while it reads it with all threads, those of others with one.
    """
    if not scan.startswith("read_parquet(") or any(name.lower() == "file_row_number" for name in names):
        return scan, "row_number() OVER () - 1"
    return scan.removesuffix(")") + ", file_row_number=true)", "file_row_number"


def _ending(path: Path) -> str:
    return (path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix).lower()


def _dialect(path: Path) -> str:
    """Return how a file of separated values is read; what separates them is told by its first line."""
    outside_quotes = "".join(_first_line(path).split('"')[::2])
    delimiter = "\t" if _ending(path) == ".tsv" else max(",;|\t", key=outside_quotes.count)
    return _DIALECT.format(delimiter=quoted_text(delimiter))


def _first_line(path: Path) -> str:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        try:
            return file.readline(1 << 20).decode("utf-8-sig", errors="replace")
        except (OSError, EOFError):  # no gzip file; the engine will say so
            return ""


def unreadable(path: Path, error: duckdb.Error) -> Invalid | Unavailable:
    """Return what to raise for a file that the engine cannot read, with the line where it can be known."""
    told = str(error)
    if isinstance(error, duckdb.OutOfMemoryException):
        return Unavailable(
            f"The memory allowed is too little for `{path.name}`: {told.strip().splitlines()[0]}",
            where=str(path),
            next_step="allow more with the setting `memory` (MAINSPRING_MEMORY=4GB), or make room on the disk",
        )
    if isinstance(error, duckdb.IOException) and _NO_ROOM.search(told):
        return Unavailable(
            f"What is made of `{path.name}` cannot be written: {told.strip().splitlines()[0][:_LONGEST_QUOTE]}",
            where=str(path),
            next_step="make room on the disk, or name a place on another one",
        )
    if "sniffing" in told:  # says only that no types were found; read as text, the file shows where it breaks
        first = _first_line(path).replace("\r", " ")  # in the middle of a line it is an error of the reader's own
        names = next(csv.reader([first], delimiter="\t" if _ending(path) == ".tsv" else ","), ["column"])
        columns = ", ".join(f"{quoted_text(f'{number} {name}')}: 'VARCHAR'" for number, name in enumerate(names))
        scan = f"read_csv({_one_file(path)}, {_dialect(path)}, auto_detect=false, columns={{{columns}}})"
        with connect() as connection:
            try:
                connection.execute(f"SELECT count(COLUMNS(*)) FROM {scan}").fetchall()
            except duckdb.Error as again:
                told = str(again)
    told = told.partition("\nLINE 1:")[0]  # the query is ours, and none of the reader's business
    told = told.replace('Try increasing "maximum_object_size".', "")
    lines = [line.strip()[:_LONGEST_QUOTE] for line in told.strip().splitlines() if line.strip()][:3]
    what = f"`{path.name}` cannot be read: {'; '.join(lines)}"
    next_step = "mend the line named and try again"
    if "maximum_object_size" in told or "Maximum line size" in told:
        next_step = "a line of separated values may be 2 MB long, a JSON record 16 MB: split or shorten it"
    return Invalid(what, where=str(path), next_step=next_step)


def without_value(error: duckdb.Error) -> str:
    """Return what the engine says of a value, without the value, which may be personal: the kind of fault and where."""
    told = str(error).partition("\nLINE 1:")[0].strip()
    column = re.search(r" when casting from source column (\S+)\Z", told)
    return f"{told.partition(':')[0]}{f' in column {column[1]}' if column else ''} (the value is not repeated)"


def unreadable_unseen(path: Path, error: duckdb.Error) -> Invalid | Unavailable:
    """Return the same where a person's data may stand in the line, which the engine repeats: the place, and no more."""
    if isinstance(error, duckdb.OutOfMemoryException):
        return unreadable(path, error)
    line = re.search(r"\bLine: (\d+)", str(error))
    return Invalid(
        f"`{path.name}` cannot be read; what stands there is not repeated, for it may be personal",
        where=f"{path}, line {line[1]}" if line else str(path),
        next_step="mend the file",
    )


def quoted_files(paths: Iterable[Path]) -> str:
    """Return the DuckDB table function that reads Parquet files as one table, their columns matched by name."""
    listed = ", ".join(_one_file(path) for path in paths)
    return f"read_parquet([{listed}], union_by_name=true, hive_partitioning=false)"


#: What the columns of our convention are called in SQL, by the kind of their arrays.
_SQL_TYPES = {"O": "VARCHAR", "f": "DOUBLE", "i": "BIGINT", "M": "TIMESTAMP"}


def typed_sql(columns: Columns) -> str:
    """Return what to select of `columns`, each in its type: one that is all missing would have none in a file."""
    return ", ".join(
        f"CAST({quoted_name(name)} AS {_SQL_TYPES[array.dtype.kind]}) AS {quoted_name(name)}"
        for name, array in columns.items()
    )


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
    with connect() as connection:
        try:
            columns = fetch_columns(connection, f"SELECT * FROM {source}")
        except duckdb.Error as error:
            raise unreadable(path, error) from error
    if _ending(path) in (".csv", ".tsv"):
        columns = {name: _truth(array) for name, array in columns.items()}
    if n_rows(columns) == 0:
        raise Invalid(f"`{path.name}` holds no rows", where=str(path), next_step="give a file with at least one row")
    return columns


def _truth(array: NDArray[Any]) -> NDArray[Any]:
    """Read a text column of true and false, in any case, as the truth values they are; leave any other alone."""
    if array.dtype != object:
        return array
    words = {value: None if value is None else value.lower() for value in set(array.tolist())}
    if not set(words.values()) & {"true", "false"} or not set(words.values()) <= set(_TRUTH):
        return array
    return np.array([_TRUTH[words[value]] for value in array], dtype=np.float64)


def fetch_columns(connection: "duckdb.DuckDBPyConnection", query: str, parameters: Iterable[object] = ()) -> Columns:
    """Run `query` and return its result in this project's column convention."""
    bound = list(parameters)
    described = connection.execute(f"DESCRIBE {query}", bound).fetchall()
    shown = ", ".join(f"{cast_sql(name, kind)[0]} AS {quoted_name(name)}" for name, kind, *_ in described)
    arrays = connection.execute(f"SELECT {shown} FROM ({query})", bound).fetchnumpy()
    return {name: _settle(arrays[name]) for name, *_ in described}


#: The beginnings of DuckDB's names for types that become numbers; what is neither these nor moments becomes text.
_NUMERIC = ("BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER",
            "UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL", "BIGNUM")  # fmt: skip


def cast_sql(name: str, kind: str) -> tuple[str, str]:
    """Return the SQL that gives a column of the engine's type `kind` in this project's convention, and what it is then.

    It is a `number` (a double, NaN made missing), a `timestamp` or a `string`.
    """
    quoted = quoted_name(name)
    if kind.endswith("]") or not kind.startswith(("TIMESTAMP", "DATE", *_NUMERIC)):
        return (quoted if kind == "VARCHAR" else f"CAST({quoted} AS VARCHAR)"), "string"
    if kind.startswith("TIMESTAMP WITH"):
        return f"timezone('UTC', {quoted})", "timestamp"
    if kind.startswith(("TIMESTAMP", "DATE")):
        return f"CAST({quoted} AS TIMESTAMP)", "timestamp"
    number = f"CAST({quoted} AS DOUBLE)"
    whole = f"CASE WHEN isnan({number}) THEN NULL ELSE {number} END" if kind in ("FLOAT", "DOUBLE") else number
    return whole, "number"


def exact_sql(name: str, kind: str) -> tuple[str, str, str]:
    """Return what `cast_sql` does, but numbers that a double rounds as they are; and the engine's type it is then."""
    value, what = cast_sql(name, kind)
    if what == "number" and (kind in WHOLE or can_round(kind)):
        return quoted_name(name), what, kind
    return value, what, {"number": "DOUBLE", "timestamp": "TIMESTAMP", "string": "VARCHAR"}[what]


def _settle(array: Any) -> NDArray[Any]:  # NumPy array or masked array, as DuckDB hands it out
    if array.dtype.kind == "f":
        return np.asarray(np.ma.filled(array.astype(np.float64), np.nan))
    if array.dtype.kind == "M":
        return np.asarray(np.ma.filled(array.astype("datetime64[us]"), np.datetime64("NaT", "us")))
    plain = np.asarray(np.ma.getdata(array), dtype=object)
    missing = np.ma.getmaskarray(array)
    if missing.any():
        plain = plain.copy()
        plain[missing] = None
    return plain


def columns_of(table: object) -> Columns:
    """Turn a pandas or polars frame, an Arrow table or a mapping of arrays into columns.

    Whole numbers beyond 2**53 lose their last digits, as in any float64; keep long ids as text.

    Raises:
        Invalid: the value is no table, two columns have one name, or columns differ in length.
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
    columns: Columns = {}
    for name, values in items:
        if str(name) in columns:
            raise Invalid(f"Two columns are named `{name}`", where=f"columns.{name}", next_step="rename one of them")
        columns[str(name)] = _column(str(name), values)
    lengths = {len(array) for array in columns.values()}
    if len(lengths) > 1:
        raise Invalid(f"The columns differ in length: {sorted(lengths)}", next_step="give columns of equal length")
    return columns


def _column(name: str, values: Any) -> NDArray[Any]:  # a Series or sequence of any library
    if isinstance(values, np.ma.MaskedArray):
        array = np.array(np.ma.getdata(values), dtype=object)
        array[np.ma.getmaskarray(values)] = None
    elif hasattr(values, "to_numpy"):
        if getattr(getattr(values, "dtype", None), "tz", None) is not None:  # pandas: zoned moments become UTC
            values = values.dt.tz_convert("UTC").dt.tz_localize(None)
        if hasattr(values, "isna") and str(getattr(values, "dtype", "")) in (
            "str",
            "string",
        ):  # pandas' own text needs no look at it
            return np.asarray(values.to_numpy(dtype=object, na_value=None))
        array = np.asarray(values.to_numpy())
    else:
        array = _array(values)
    if array.ndim != 1:
        raise Invalid(
            f"The column `{name}` is no list of values but of shape {array.shape}",
            where=f"columns.{name}",
            next_step="give each column a name of its own and one value a row",
        )
    if array.dtype.kind in "iufb":
        return np.asarray(array, dtype=np.float64)
    if array.dtype.kind == "M":
        return np.asarray(array, dtype="datetime64[us]")
    return _of_objects(array.astype(object))


def _array(values: Any) -> NDArray[Any]:  # any sequence
    try:
        return np.asarray(values)
    except ValueError:  # lists of different lengths; they become text
        array = np.empty(len(values), dtype=object)
        array[:] = values
        return array


def _of_objects(values: NDArray[Any]) -> NDArray[Any]:
    """Give Python values the type they share: numbers, moments, or else text."""
    missing = np.fromiter((_is_missing(value) for value in values), dtype=bool, count=len(values))
    present = values[~missing]
    if present.size and all(isinstance(value, int | float | Decimal | np.number | np.bool_) for value in present):
        numbers = np.full(len(values), np.nan)
        numbers[~missing] = present.astype(np.float64)
        return numbers
    if present.size and all(isinstance(value, date) for value in present):
        moments = np.full(len(values), np.datetime64("NaT", "us"), dtype="datetime64[us]")
        moments[~missing] = [np.datetime64(_in_utc(value), "us") for value in present]
        return moments
    texts = np.empty(len(values), dtype=object)
    texts[:] = [None if gone else str(value) for value, gone in zip(values, missing, strict=True)]
    return texts


def _is_missing(value: Any) -> bool:  # any Python value
    if isinstance(value, str):
        return False
    if value is None or type(value).__name__ in ("NAType", "NaTType"):  # pandas' own, which cannot be compared
        return True
    try:
        return bool(value != value)
    except ValueError:  # an array in a cell
        return False


def _in_utc(value: date) -> date:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    return value


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
    """Return the type a column has by its values: whole numbers count as integers, a column of gaps as numbers."""
    if array.dtype.kind == "M":
        return "timestamp"
    if array.dtype == object:
        return "string"
    present = array[~np.isnan(array)]
    return "integer" if present.size and bool(np.all(present == np.floor(present))) else "number"
