"""Tables of SQLite, Postgres, and MySQL or MariaDB as sources: read only, in one snapshot, streamed.

The table stands behind a `#`, with its schema or database before it where that is needed: ``#shop.orders``. Names are
looked up before they are asked for, so that nothing of an address is ever read as SQL.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from mainspring.data.sources.protocol import LOGIN_SIGNS, RowSource, Wanted
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
                said = str(error).partition(" with text ")[0]  # then comes the value
                said = f"`{file.name}` cannot be read: {said}"
                raise Invalid(said, where=path, next_step="give a SQLite database") from None

    return RowSource(address, fetch)


def postgres(address: str, wanted: Wanted) -> RowSource:
    """Return the source ``postgresql://user@host/database#schema.table``; a password may stand in PGPASSWORD."""
    try:
        import psycopg  # extra: postgres
        from psycopg.conninfo import make_conninfo
    except ImportError as error:
        raise MissingExtra.of("postgres", "psycopg", "Pulling from Postgres") from error
    place = _place(address)
    told, (schema, table) = place.told, place.named
    if not place.options.keys() <= {each.keyword.decode() for each in psycopg.pq.Conninfo.get_defaults()}:
        raise Invalid("The address has an option that libpq does not know", where=told, next_step="leave it out")
    given = {"host": place.host, "port": place.port, "user": place.user, "password": place.password}
    login: dict[str, Any] = {key: value for key, value in given.items() if value} | {"dbname": place.database}
    login = {"connect_timeout": _CONNECT_SECONDS, **login, **place.options}

    def fetch(after: object | None) -> _Rows:
        try:
            # not by the address itself, which libpq repeats in part where it cannot read it
            with psycopg.connect(make_conninfo(**login), autocommit=True) as connection:
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
            raise _outage(error, place) from None

    return RowSource(told, fetch)


def mysql(address: str, wanted: Wanted) -> RowSource:
    """Return the source ``mysql://user@host/database#table``; a password may stand in MYSQL_PWD."""
    try:
        import pymysql  # extra: mysql
        from pymysql.cursors import SSCursor
    except ImportError as error:
        raise MissingExtra.of("mysql", "pymysql", "Pulling from MySQL") from error
    import os

    place = _place(address, is_schema=True)
    told, (schema, table) = place.told, place.named
    login: dict[str, Any] = {
        "host": place.host or "127.0.0.1", "port": place.port or 3306, "user": place.user,
        "password": place.password or os.environ.get("MYSQL_PWD", ""), "database": place.database,
        "charset": "utf8mb4", "unix_socket": place.options.get("unix_socket"), "local_infile": False,
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
            raise _outage(error, place) from None

    return RowSource(told, fetch)


class _Place(NamedTuple):
    """What an address of a database says, decoded; `told` is how it may be told. The table is `named` with a schema."""

    told: str
    host: str
    port: int | None
    user: str
    password: str
    database: str
    named: tuple[str, str]
    options: dict[str, str]


def _place(address: str, *, is_schema: bool = False) -> _Place:
    """Take an address apart; where the database `is_schema`, a table without a schema is in that of its name.

    Raises:
        Invalid: it is incomplete, or a sign in it may belong to a password that is not written out.
    """
    url, _, table = address.partition("#")
    parts = urlsplit(url)
    try:
        place, odd = f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}", "%00" in address
    except ValueError:
        place, odd = "", True
    login = parts.netloc.rpartition("@")[0]
    if odd or "@" in f"{login}{parts.path}{parts.query}{table}":
        raise Invalid("The address cannot be taken apart", where="SOURCE", next_step=LOGIN_SIGNS)
    if not table or not parts.path.strip("/"):
        raise Invalid("The address names no database, or no table", where="SOURCE", next_step=f"write it as {_EXAMPLE}")
    user = f"{parts.username}@" if parts.username else ""
    first, dot, second = unquote(table).partition(".")
    database = unquote(parts.path.strip("/"))
    named = (first, second) if dot else (database if is_schema else "", first)
    return _Place(
        told=f"{parts.scheme}://{user}{place}{parts.path}#{'.'.join(each for each in named if each)}",
        host=unquote(parts.hostname or ""),
        port=parts.port,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=database,
        named=named,
        options={
            unquote(key): unquote(value)
            for key, _, value in (each.partition("=") for each in parts.query.split("&") if each)
        },
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


def _outage(error: Exception, place: _Place) -> Unavailable:
    said = " ".join(str(error).split())
    for secret in sorted({place.password, *place.options.values()} - {""}, key=len, reverse=True):
        said = said.replace(secret, "...")
    return Unavailable(
        f"The database cannot be read: {said}", where=place.told, next_step="check host, user, password and rights"
    )
