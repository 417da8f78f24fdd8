"""What a file that becomes a dataset version is as a table: its rows and column types, as DuckDB reads them.

A module of its own because DuckDB is not free to import: versions of folders and of other bytes need none of it.
"""

from pathlib import Path

import duckdb

from mainspring.data.table import connect, scan_sql, unreadable
from mainspring.errors import Invalid

__all__ = ["describe"]


def describe(path: Path) -> tuple[int | None, dict[str, str] | None]:
    """Return the number of rows and the type of each column; None and None for bytes that are no table.

    Raises:
        Invalid: the file is empty or cannot be read as the table its ending promises.
    """
    try:
        source = scan_sql(path)
    except Invalid:
        if path.stat().st_size == 0:
            raise
        return None, None  # bytes that are no table are versioned all the same
    with connect() as connection:
        try:
            described = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
            counted = connection.execute(f"SELECT count(*) FROM {source}").fetchone()
        except duckdb.Error as error:
            raise unreadable(path, error) from error
    return (counted[0] if counted else 0), {name: kind for name, kind, *_ in described}
