"""Rows to a file: Parquet, CSV or JSON, by the file's ending. DuckDB writes them; nothing else need be installed."""

import json
import math
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mainspring.errors import Invalid

__all__ = ["save_pages", "save_rows", "saving_option_help"]

saving_option_help = "Write all of it to a file instead: .parquet, .csv or .json."
_FORMATS = {
    ".parquet": "(FORMAT parquet, COMPRESSION zstd)",
    ".csv": "(FORMAT csv, HEADER)",
    ".json": "(FORMAT json, ARRAY true)",
}


def save_rows(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows as the new file `path`; a row that lacks a column has nothing there.

    Raises:
        Invalid: the file's ending says no format.
    """
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    save_pages(path, columns, [[[row.get(name) for name in columns] for row in rows]])


def save_pages(path: Path, columns: Sequence[str], pages: Iterable[Iterable[Sequence[object]]]) -> int:
    """Write rows that come in pages as the new file `path`, and return how many they were; one page is in memory.

    Raises:
        Invalid: the file's ending says no format.
    """
    ending = path.suffix.lower()
    if ending not in _FORMATS:
        raise Invalid(f"`{path.name}` says no format", where="--to", next_step="end it with .parquet, .csv or .json")
    import duckdb  # takes a tenth of a second, which only those pay who save

    kinds: list[set[type]] = [set() for _ in columns]
    count = 0
    with tempfile.TemporaryDirectory(dir=path.absolute().parent) as folder:
        source, target = Path(folder) / "rows.json", Path(folder) / f"rows{ending}"
        with source.open("w", encoding="utf-8") as stream:
            for page in pages:
                for row in page:
                    count += 1
                    for kind, value in zip(kinds, row, strict=True):
                        kind.add(type(value))
                    stream.write(json.dumps(dict(zip(columns, map(_plain, row), strict=True))) + "\n")
        typed = ", ".join(f"{_quoted(name)}: '{_type_of(kind)}'" for name, kind in zip(columns, kinds, strict=True))
        wanted = ", ".join(f'"{name.replace(chr(34), chr(34) * 2)}"' for name in columns)
        with duckdb.connect() as connection:
            reading = f"read_json({_quoted(str(source))}, format='newline_delimited', columns={{{typed}}})"
            query = f"SELECT {wanted} FROM {reading}" if columns else "SELECT 1 AS nothing WHERE false"
            connection.execute(f"COPY ({query}) TO {_quoted(str(target))} {_FORMATS[ending]}").fetchall()
        os.replace(target, path)
    return count


def _type_of(seen: set[type]) -> str:
    kinds = seen - {type(None)}
    if kinds and kinds <= {bool}:
        return "BOOLEAN"
    if kinds and kinds <= {int}:
        return "BIGINT"
    return "DOUBLE" if kinds and kinds <= {int, float} else "VARCHAR"


def _plain(value: object) -> object:
    """Return a value as JSON holds it: NaN and the infinities as text, which becomes a number again."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, bytes):
        return value.hex()
    return value


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
