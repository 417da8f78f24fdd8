"""The metadata store on Postgres, for many servers on one database.

Each process has one writing connection with a thread, which groups what queues up into one transaction, as on SQLite;
the writers of all processes take turns (see `_dialect.TAKE_TURNS`), so a room's write never races another and the
audit chain has no forks. Queries run beside them on a pool of reading connections.

A server that restarts or is away is met with `Unavailable` for what was under way, and with new connections after
that. A write is acknowledged when Postgres says that the commit is on its disk.
"""

import contextlib
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from mainspring.domain.moments import Clock, SystemClock
from mainspring.errors import Invalid, MainspringError, MissingExtra, Unavailable
from mainspring.store._dialect import adapt, to_postgres
from mainspring.store._examining import wrapped
from mainspring.store._group_writer import GroupWriter, Job, Nothing
from mainspring.store.migrations import MIGRATIONS, migrate
from mainspring.store.protocol import EventOf, Examined, Row, Transaction, Value

if TYPE_CHECKING:
    from concurrent.futures import Future

    import psycopg

__all__ = ["PostgresStore"]

T = TypeVar("T")
#: Connections that read at once, and so queries; more threads than this wait for each other.
_READERS = 8
_CONNECT_SECONDS = 10
#: A writer waits so long for its turn; another that stands still in the middle of a transaction loses it before that.
_SETTINGS = {"lock_timeout": "45s", "idle_in_transaction_session_timeout": "30s"}
#: SQLSTATE classes that say the server is in trouble, and not the statement: connection, resources, operator, system.
_OUTAGES = ("08", "53", "57", "58", "55P03", "25P03")


class _PostgresTransaction:
    """A transaction on the writer's connection."""

    def __init__(self, connection: "psycopg.Connection[Row]") -> None:
        self._cursor = connection.cursor()

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        self._cursor.execute(to_postgres(sql), parameters or None)
        return self._cursor.fetchall() if self._cursor.description else []

    def execute_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        self._cursor.executemany(to_postgres(sql), rows)


class PostgresStore:
    """A `Store` in the database that `address` names (``postgresql://user@host:port/database``, or any libpq form).

    Tables lie in the first schema of the connection's search path and are brought up to date when the store opens.
    `actor` is who acts when an event names nobody; `clock` dates the events.

    Raises:
        MissingExtra: psycopg is not installed.
        Invalid: the address cannot be read.
        Unavailable: the server is not there, or refuses.
        Conflict: the tables were made by a newer Mainspring.
    """

    def __init__(self, address: str, *, actor: str = "", clock: Clock | None = None) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise MissingExtra.of("postgres", "psycopg", "A metadata database on Postgres") from error
        self._psycopg = psycopg
        self._address = address
        #: Where the database is, without what the address keeps secret.
        self.place = _place(address)
        self._idle: list[psycopg.Connection[Row]] = []
        self._turn = threading.BoundedSemaphore(_READERS)
        self._writer = self._connect()
        try:
            migrate(_PostgresTransaction(self._writer), MIGRATIONS, finish=_count_on)
        except psycopg.Error as error:
            self._writer.close()
            raise self._told(error) from error
        except BaseException:
            self._writer.close()
            raise
        self._group = GroupWriter(self._commit, actor=actor, clock=clock or SystemClock())

    def read(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Return the rows of a query, on a connection of the pool."""
        return self._look(lambda connection: connection.execute(to_postgres(sql), parameters or None).fetchall())

    def snapshot(self, look: Callable[[Transaction], T]) -> T:
        """Return what `look` finds in the facts of one instant."""

        def together(connection: "psycopg.Connection[Row]") -> T:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            try:
                return look(_PostgresTransaction(connection))
            finally:
                if not connection.closed:
                    connection.execute("ROLLBACK")

        return self._look(together)

    def examine(
        self, sql: str, tables: Collection[str], *, seconds: float, limit: int, by_stranger: bool = False
    ) -> Examined:
        """Run a query that a person wrote, in a transaction that cannot write; it may read every table."""
        if by_stranger:
            raise Unavailable(
                "Postgres keeps no query to some tables, so this server takes none",
                where="sql",
                next_step="ask on the machine that holds MAINSPRING_STORE: mainspring sql",
            )
        question = to_postgres(wrapped(sql))

        def ask(connection: "psycopg.Connection[Row]") -> Examined:
            connection.execute("BEGIN READ ONLY")
            try:
                connection.execute(f"SET LOCAL statement_timeout = {max(1, int(seconds * 1000))}")
                cursor = connection.execute(question, (limit + 1,), prepare=False)
                rows = cursor.fetchall()
                return Examined(tuple(each.name for each in cursor.description or ()), rows[:limit], len(rows) <= limit)
            except self._psycopg.errors.QueryCanceled as error:
                raise Unavailable(f"The query was stopped after {seconds:g} seconds", where="sql") from error
            except (self._psycopg.ProgrammingError, self._psycopg.DataError, self._psycopg.NotSupportedError) as error:
                raise Invalid(f"The query cannot be run: {error}", where="sql") from error
            except self._psycopg.errors.ReadOnlySqlTransaction as error:
                raise Invalid("The query would write", where="sql", next_step="only read") from error
            finally:
                if not connection.closed:
                    connection.execute("ROLLBACK")

        return self._look(ask)

    def _look(self, use: "Callable[[psycopg.Connection[Row]], T]") -> T:
        with self._turn:
            while True:
                self._group.check_open()
                idled = bool(self._idle)
                connection = self._idle.pop() if idled else self._connect(read_only=True)
                try:
                    return use(connection)
                except self._psycopg.Error as error:
                    # one that died while it idled says nothing about the server, and a query may be asked again
                    if not (connection.closed and idled):
                        raise self._meant(error) from error
                finally:
                    if not connection.closed:
                        self._idle.append(connection)

    def record(self, write: Callable[[Transaction], T]) -> T:
        """Run `write` in the writer's next transaction and return its result once it is committed."""
        return self._group.run(write)

    def change(self, event: EventOf[T], write: Callable[[Transaction], T]) -> T:
        """Run `write` and seal `event` onto the audit chain, in one transaction."""
        return self._group.run(write, event)

    def submit(self, write: Callable[[Transaction], T], event: EventOf[T] | None = None) -> "Future[T]":
        """Queue `write` and return at once; the future is answered by the writer's thread."""
        return self._group.submit(write, event)

    def close(self) -> None:
        """Finish the queued writes and close every connection; a query that runs is waited for."""
        if not self._group.close():
            return
        with contextlib.ExitStack() as queries:
            for _ in range(_READERS):
                queries.enter_context(self._turn)
            for connection in (self._writer, *self._idle):
                connection.close()

    def _connect(self, *, read_only: bool = False) -> "psycopg.Connection[Row]":
        settings = {**_SETTINGS, "default_transaction_read_only": "on" if read_only else "off"}
        try:
            connection = self._psycopg.connect(
                self._address,
                autocommit=True,
                cursor_factory=self._psycopg.RawCursor,
                connect_timeout=_CONNECT_SECONDS,
                prepare_threshold=2,
            )
        except self._psycopg.Error as error:
            raise self._told(error) from error
        adapt(connection)
        connection.prepared_max = 256
        # not by the address's `options`, which may hold the user's own
        connection.execute("".join(f"SET {name} = '{value}';" for name, value in settings.items()))
        return connection

    def _begin(self) -> None:
        """Begin the writer's next transaction and wait for its turn; a connection that died is replaced."""
        begin = to_postgres("BEGIN IMMEDIATE")
        try:
            self._writer.execute(begin)
        except self._psycopg.Error:
            if not self._writer.closed:
                raise
            self._writer = self._connect()  # nothing of this transaction has happened yet
            self._writer.execute(begin)

    def _commit(self, jobs: list[Job]) -> None:
        """Run a group of writes in one transaction; results are handed out only after the commit."""
        done: list[tuple[Future[Any], Any]] = []
        try:
            self._begin()
            if len(jobs) == 1:
                self._writer.execute("COMMIT" if self._attempt(jobs[0], done) else "ROLLBACK")
            else:
                self._writer.execute("SAVEPOINT one_write")
                for job in jobs:
                    kept = self._attempt(job, done)
                    # both leave a savepoint for the next, in one round trip
                    self._writer.execute(f"{'RELEASE' if kept else 'ROLLBACK TO'} one_write; SAVEPOINT one_write")
                self._writer.execute("COMMIT")
        except (self._psycopg.Error, Unavailable) as error:
            told = error if isinstance(error, Unavailable) else self._told(error)
            with contextlib.suppress(self._psycopg.Error):
                self._writer.execute("ROLLBACK")
            for _, future in jobs:
                if not future.done():
                    future.set_exception(told)
            return
        for future, result in done:
            future.set_result(result)

    def _attempt(self, job: Job, done: list[tuple["Future[Any]", Any]]) -> bool:
        """Run one write and return whether what it wrote is to be kept."""
        try:
            result = job.write(_PostgresTransaction(self._writer))
            if self._writer.info.transaction_status == self._psycopg.pq.TransactionStatus.INERROR:
                raise AssertionError("a write went on behind a statement that had failed; nothing of it can be kept")
        except Nothing as nothing:
            done.append((job.future, nothing.result))
            return False
        except BaseException as error:  # handed to the caller, who waits for it on another thread
            if self._writer.closed:
                raise self._told(error) from error
            job.future.set_exception(self._meant(error))
            return False
        done.append((job.future, result))
        return True

    def _meant(self, error: BaseException) -> BaseException:
        """Return what an error of a statement means to who asked: trouble, a value that nobody can keep, or a fault."""
        if _is_trouble(error):
            return self._told(error)
        if isinstance(error, self._psycopg.DataError):
            what = f"The metadata database has no room for a value: {str(error).strip().splitlines()[0]}"
            return Invalid(what, next_step="leave out NUL characters, and keep numbers within 64 bits")
        return error

    def _told(self, error: BaseException) -> MainspringError:
        return Unavailable(
            f"The metadata database cannot be used: {str(error).strip()}",
            where=self.place,
            next_step="check that the server runs and lets this user in; a write that was under way when it went away"
            " may have been kept, so look before you repeat it",
        )


def _count_on(transaction: Transaction) -> None:
    """Let every column that numbers its rows go on behind the numbers that a migration copied into it."""
    for table, column in transaction.execute(
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = current_schema() AND is_identity = 'YES'"
    ):
        transaction.execute(
            f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'),"
            f" (SELECT coalesce(max({column}), 0) + 1 FROM {table}), false)"
        )


def _place(address: str) -> str:
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        parts = conninfo_to_dict(address)
    except ProgrammingError as error:
        raise Invalid(
            "The address of the metadata database cannot be read",  # and is not shown: it may hold a password
            where="MAINSPRING_STORE",
            next_step="write postgresql://USER@HOST:PORT/DATABASE",
        ) from error
    host, port, database = (parts.get(part) or "" for part in ("host", "port", "dbname"))
    return f"postgresql://{host}{':' if port else ''}{port}/{database}"


def _is_trouble(error: BaseException) -> bool:
    """Whether the server itself is in trouble (away, full, shutting down), rather than the statement being wrong."""
    state = getattr(error, "sqlstate", None)
    return isinstance(state, str) and state.startswith(_OUTAGES)
