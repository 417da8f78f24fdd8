"""Tables of very many columns, put where a few columns can be read without the others, and asked of a few at a time.

The engine plans a query in more than linear time in what it asks, and each scan of a text file reads all of its
columns; so ten thousand columns asked at once, or scanned where they lie, take minutes.
"""

from pathlib import Path
from typing import NamedTuple

import duckdb

from mainspring.data.parts import copied
from mainspring.data.table import quoted_files
from mainspring.data.watching import Tell, untold, watched
from mainspring.domain.ids import new_id

__all__ = ["Narrowed", "narrowed"]

#: So many columns are asked at once where they lie: scanning again would cost more than planning.
_WIDE = 64
#: A smaller file is held by the engine, where a scan of few columns costs next to nothing, and fewer are asked at once.
_SMALL_BYTES = 64 << 20
_AT_ONCE = 16


class Narrowed(NamedTuple):
    """What to select from, and how many columns to ask of at once."""

    scan: str
    at_once: int


def narrowed(
    connection: duckdb.DuckDBPyConnection, path: Path, scan: str, columns: int, scratch: Path, tell: Tell = untold
) -> Narrowed:
    """Return how to read so many `columns`, which `scan` reads of the file `path`; `scratch` is for a large one.

    Raises:
        Invalid: the file cannot be read.
    """
    if columns <= _WIDE:
        return Narrowed(scan, _WIDE)
    if path.stat().st_size < _SMALL_BYTES:
        with watched(connection, f"putting {path.name} into columns", tell):
            held = f"wide_{new_id()}"
            connection.execute(f"CREATE TEMP TABLE {held} AS SELECT * FROM {scan}").fetchall()
        return Narrowed(held, _AT_ONCE)
    if path.suffix != ".parquet":
        scan = quoted_files([copied(connection, scan, scratch / f"{new_id()}.parquet", path, tell)])
    return Narrowed(scan, _WIDE)
