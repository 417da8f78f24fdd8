"""Tables of SQLite, Postgres, and MySQL or MariaDB as sources: read only, in one snapshot, streamed.

The table stands behind a `#`, with its schema or database before it where that is needed: ``#shop.orders``. Names are
looked up before they are asked for, so that nothing of an address is ever read as SQL.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mainspring.data.sources.protocol import RowSource, Wanted
from mainspring.data.table import quoted_name
from mainspring.errors import Invalid, MissingExtra, NotFound, Unavailable, nearest

__all__ = ["mysql", "postgres", "sqlite"]

_FETCH_ROWS = 10_000
_CONNECT_SECONDS = 15
_Rows = Iterator[Mapping[str, object]]
#: Types whose order may not be that of their bytes, by which the last value of a cursor is told.
_TEXTS_OF_POSTGRES = ("text", "character varying", "character", "USER-DEFINED")
_TEXTS_OF_MYSQL = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set")


def sqlite(address: str, wanted: Wanted) -> RowSource:
    """Return the source ``sqlite:FILE#TABLE``; times stay the text they are."""
    path, _, table = address.partition(":")[2].partition("#")
    if not path or not table:
        raise Invalid(f"`{address}` is not a source", where="SOURCE", next_step="write it as sqlite:shop.db#orders")
    file, cursor = Path(path), wanted.cursor
    if not file.is_file():
        raise NotFound(f"There is no file `{file.name}`", where=path, next_step="check the path")

    def fetch(after: object | None) -> _Rows:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            try:
                tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master")]
                if table not in tables:
                    raise NotFound(f"There is no table `{table}`", where=path, next_step=nearest(table, tables))
                asked = connection.execute(f"PRAGMA table_xinfo({quoted_name(table)})")
                columns = [row[1] for row in asked if row[6] in (0, 2, 3)]  # the last two are generated
                if isinstance(after, Decimal):
                    after = int(after) if after == int(after) else float(after)
                in_order = f"{quoted_name(cursor)} COLLATE BINARY"
                query, parameters = _query(quoted_name(table), columns, cursor, after, "?", path, in_order)
                for row in connection.execute(query, parameters or ()):
                    yield dict(zip(columns, row, strict=True))
            except sqlite3.DatabaseError as error:
                said = f"`{file.name}` cannot be read: {error}"
                raise Invalid(said, where=path, next_step="give a SQLite database") from error

    return RowSource(address, fetch)


def postgres(address: str, wanted: Wanted) -> RowSource:
    """Return the source ``postgresql://user@host/database#schema.table``; a password may stand in PGPASSWORD."""
    try:
        import psycopg  # extra: postgres
    except ImportError as error:
        raise MissingExtra.of("postgres", "psycopg", "Pulling from Postgres") from error
    url, told, (schema, table), password = _address(address, "")

    def fetch(after: object | None) -> _Rows:
        try:
            with psycopg.connect(url, connect_timeout=_CONNECT_SECONDS, autocommit=True) as connection:
                connection.execute("SET TIME ZONE 'UTC'")  # in which moments are kept, and the cursor is asked for
                connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                asked = "SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns"
                rows = connection.execute(f"{asked} ORDER BY ordinal_position").fetchall()
                own = schema or connection.execute("SELECT current_schema()").fetchall()[0][0]
                columns = _columns(rows, own, table, told)
                named = f"{quoted_name(own)}.{quoted_name(table)}"
                in_order = quoted_name(wanted.cursor)
                if columns.get(wanted.cursor, "") in _TEXTS_OF_POSTGRES:
                    in_order = f'CAST({in_order} AS text) COLLATE "C"'
                query, parameters = _query(named, list(columns), wanted.cursor, after, "%s", told, in_order)
                with connection.cursor(name="mainspring") as cursor:
                    cursor.itersize = _FETCH_ROWS
                    # Any: psycopg types a query as a text that was written in the code
                    for row in cursor.execute(_any(query), parameters):
                        yield dict(zip(columns, row, strict=True))
        except psycopg.Error as error:
            raise _outage(error, told, password) from error

    return RowSource(told, fetch)


def mysql(address: str, wanted: Wanted) -> RowSource:
    """Return the source ``mysql://user@host/database#table``; a password may stand in MYSQL_PWD."""
    try:
        import pymysql  # extra: mysql
        from pymysql.cursors import SSCursor
    except ImportError as error:
        raise MissingExtra.of("mysql", "pymysql", "Pulling from MySQL") from error
    import os

    parts = urlsplit(address.partition("#")[0])
    database = unquote(parts.path.strip("/"))
    _, told, (schema, table), password = _address(address, database)
    socket = dict(each.partition("=")[::2] for each in parts.query.split("&")).get("unix_socket")
    login: dict[str, Any] = {
        "host": parts.hostname or "127.0.0.1", "port": parts.port or 3306, "user": unquote(parts.username or ""),
        "password": password or os.environ.get("MYSQL_PWD", ""), "database": database, "charset": "utf8mb4",
        "unix_socket": None if socket is None else unquote(socket), "local_infile": False,
    }  # fmt: skip

    def fetch(after: object | None) -> _Rows:
        try:
            with (
                closing(pymysql.connect(connect_timeout=_CONNECT_SECONDS, **login)) as connection,
                connection.cursor(SSCursor) as cursor,
            ):
                cursor.execute("SET time_zone = '+00:00'")
                cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
                cursor.execute(
                    "SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns"
                    " WHERE table_schema = %s ORDER BY ordinal_position", (schema,),
                )  # fmt: skip
                columns = _columns(cursor.fetchall(), schema, table, told)
                named = f"{_backticked(schema)}.{_backticked(table)}"
                in_order = _backticked(wanted.cursor)
                if columns.get(wanted.cursor, "") in _TEXTS_OF_MYSQL:
                    in_order = f"CAST(CONVERT({in_order} USING utf8mb4) AS BINARY)"
                query, parameters = _query(
                    named, list(columns), wanted.cursor, after, "%s", told, in_order, _backticked
                )
                cursor.execute(query, parameters)
                while rows := cursor.fetchmany(_FETCH_ROWS):
                    for row in rows:
                        yield dict(zip(columns, row, strict=True))
        except (pymysql.MySQLError, OSError, RuntimeError) as error:  # the last for a login that needs another package
            raise _outage(error, told, password) from error

    return RowSource(told, fetch)


def _address(address: str, schema: str) -> tuple[str, str, tuple[str, str], str]:
    """Return the address without its table, how it is told, schema and table, and the password, if any."""
    url, _, table = address.partition("#")
    try:
        parts = urlsplit(url)
        place = f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"
    except ValueError as error:
        raise Invalid("The address is none", where="SOURCE", next_step=f"write it as {_EXAMPLE}") from error
    if not table or not parts.path.strip("/"):
        raise Invalid("The address names no database, or no table", where="SOURCE", next_step=f"write it as {_EXAMPLE}")
    user = f"{parts.username}@" if parts.username else ""
    first, dot, second = unquote(table).partition(".")
    named = (first, second) if dot else (schema, first)
    password = unquote(parts.password or "")
    return (
        url,
        f"{parts.scheme}://{user}{place}{parts.path}#{'.'.join(each for each in named if each)}",
        named,
        password,
    )


_EXAMPLE = "postgresql://user@host/database#orders"


def _columns(rows: Sequence[Sequence[Any]], schema: str, table: str, told: str) -> dict[str, str]:
    """Return the columns of a table in their order, and their types."""
    found = {row[2]: row[3] for row in rows if (row[0], row[1]) == (schema, table)}
    if not found:
        known = sorted({row[1] for row in rows if row[0] == schema})
        raise NotFound(f"There is no table `{schema}.{table}`", where=told, next_step=nearest(table, known))
    return found


def _query(
    table: str,
    columns: list[str],
    cursor: str,
    after: object | None,
    mark: str,
    where: str,
    in_order: str,
    named: Callable[[str], str] = quoted_name,
) -> tuple[str, tuple[object, ...] | None]:
    """Return what to ask, and the values in it; `in_order` is the cursor as SQL whose order is that of bytes."""
    if cursor and cursor not in columns:
        raise Invalid(f"No column `{cursor}`", where=where, next_step=nearest(cursor, columns))
    listed = ", ".join(map(named, columns))
    if not cursor:
        return f"SELECT {listed} FROM {table}", None
    if after is None:
        return f"SELECT {listed} FROM {table} ORDER BY {in_order}", None
    # rows without a cursor come too, so that they are refused and not forgotten; where values are put in, a per cent
    # sign in a name would be read as the mark of one
    beyond = f"SELECT {listed} FROM {table} WHERE {in_order} > \0 OR {named(cursor)} IS NULL ORDER BY {in_order}"
    return (beyond.replace("%", "%%") if mark == "%s" else beyond).replace("\0", mark), (after,)


def _backticked(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _any(value: Any) -> Any:
    return value


def _outage(error: Exception, told: str, password: str) -> Unavailable:
    said = " ".join(str(error).split())
    if password:
        said = said.replace(password, "...")
    return Unavailable(
        f"The database cannot be read: {said}", where=told, next_step="check host, user, password and rights"
    )
