"""One query of a person's own over a SQLite file: it reads the tables it may, for a while, and does nothing else.

The file is opened anew and read-only. SQLite asks an authorizer about every table and function while it prepares the
statement, stops it when its time is over, and bounds every text it may make.
Source: https://sqlite.org/c3ref/set_authorizer.html, https://sqlite.org/security.html
"""

import contextlib
import sqlite3
import time
from collections.abc import Collection
from pathlib import Path
from urllib.parse import quote

from mainspring.errors import Invalid, Unavailable
from mainspring.store.protocol import Examined

__all__ = ["examine_file", "wrapped"]

_STEPS_BETWEEN_LOOKS = 10_000
_MOST_BYTES = 4 << 20
_MOST_SQL = 100_000
#: Names of tables that SQLite makes up itself: its schema, pages and pragmas.
_OF_SQLITE = ("sqlite_", "pragma_", "dbstat")
_FORBIDDEN_FUNCTIONS = frozenset({"load_extension", "fts3_tokenizer", "sqlite_compileoption_get", "writefile"})


def wrapped(sql: str) -> str:
    """Return a query in one that bounds its rows, which also lets nothing but one query pass.

    Raises:
        Invalid: it is too long.
    """
    if len(sql) > _MOST_SQL:
        raise Invalid(f"The query has more than {_MOST_SQL} characters", where="sql", next_step="ask for less")
    return f"SELECT * FROM (\n{sql.strip().rstrip(';')}\n) AS asked LIMIT ?"


def examine_file(path: Path, sql: str, tables: Collection[str], *, seconds: float, limit: int) -> Examined:
    """Run a query on the file `path`.

    Raises:
        Invalid: SQLite cannot read it, or it asks for what it may not.
        Unavailable: it took too long, or the file cannot be opened.
    """
    question = wrapped(sql)
    refused: list[str] = []
    forbidden: set[str] = set()

    def authorize(action: int, one: str | None, two: str | None, *_: str | None) -> int:
        if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE):
            return sqlite3.SQLITE_OK
        # what is neither a table nor SQLite's own is a part of the query, such as what stands behind WITH
        name = (one or "").lower()
        if action == sqlite3.SQLITE_READ and name not in forbidden and not name.startswith(_OF_SQLITE):
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION and (two or "").lower() not in _FORBIDDEN_FUNCTIONS:
            return sqlite3.SQLITE_OK
        refused.append(one or two or "that")
        return sqlite3.SQLITE_DENY

    until = time.monotonic() + seconds
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode=ro", uri=True, timeout=seconds, isolation_level=None
        )
    except sqlite3.Error as error:
        raise Unavailable(f"The metadata database cannot be read: {error}", where=str(path)) from error
    with contextlib.closing(connection):
        connection.execute("PRAGMA query_only=ON")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_BYTES)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        known = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')").fetchall()
        forbidden.update({name.lower() for (name,) in known} - {each.lower() for each in tables})
        connection.set_authorizer(authorize)
        connection.set_progress_handler(lambda: time.monotonic() > until, _STEPS_BETWEEN_LOOKS)
        try:
            cursor = connection.execute(question, (limit + 1,))
            columns = tuple(each[0] for each in cursor.description)
            rows = cursor.fetchall()
        except sqlite3.Error as error:
            if time.monotonic() > until:
                raise Unavailable(
                    f"The query was stopped after {seconds:g} seconds", where="sql", next_step="ask for less"
                ) from error
            if refused:
                raise Invalid(
                    f"The query asks for `{refused[0]}`",
                    where="sql",
                    next_step=f"it may read {', '.join(sorted(tables))}",
                ) from error
            raise Invalid(f"The query cannot be run: {error}", where="sql") from error
    return Examined(columns, rows[:limit], complete=len(rows) <= limit)
