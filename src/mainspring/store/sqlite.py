"""The metadata store on one SQLite file in WAL mode: one writer thread per process, readers on their own connections.

Writes queue up for the writer thread, which runs everything it finds in one transaction (group commit) with a
savepoint per write, so one that fails takes none of its neighbours with it. Several processes may share the file:
``BEGIN IMMEDIATE`` and a busy timeout make them take turns.

``synchronous=NORMAL``: an acknowledged write survives the death of the process at any instant (the write-ahead log is
in the system's hands); a power cut may cost the last moments, never the integrity.
"""

import contextlib
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mainspring.domain.moments import Clock, SystemClock
from mainspring.errors import Corrupt, MainspringError, Unavailable
from mainspring.store._examining import examine_file
from mainspring.store._group_writer import GroupWriter, Job, Nothing
from mainspring.store.migrations import MIGRATIONS, migrate
from mainspring.store.protocol import EventOf, Examined, Row, Transaction, Value

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["SqliteStore"]

T = TypeVar("T")
_BUSY_SECONDS = 30.0
#: What SQLite says when the file or the disk is in trouble, and not the statement.
_OUTAGES = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)
_DAMAGES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class _SqliteTransaction:
    """A transaction on the writer's connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        return self._connection.execute(sql, parameters).fetchall()

    def execute_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        self._connection.executemany(sql, rows)


class _Reader:
    """One thread's connection for reading; the lock keeps `close` from pulling it away under a query."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.lock = threading.Lock()
        # a thread that ends lets go of its reader, and with it of the connection
        weakref.finalize(self, connection.close).atexit = False


class SqliteStore:
    """A `Store` in the file `path`; tables are brought up to date when it opens.

    `actor` is who acts when an event names nobody; `clock` dates the events (the machine's time is kept beside it).

    Raises:
        Unavailable: the file cannot be opened or written.
        Corrupt: the file is no database, or a damaged one.
        Conflict: it was made by a newer Mainspring.
    """

    def __init__(self, path: Path, *, actor: str = "", clock: Clock | None = None) -> None:
        self.path = path
        self._local = threading.local()
        self._readers: weakref.WeakSet[_Reader] = weakref.WeakSet()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = _connect(path)
        except (OSError, sqlite3.Error) as error:
            raise _told(path, error) from error
        try:
            migrate(_SqliteTransaction(self._writer), MIGRATIONS)
        except sqlite3.Error as error:
            self._writer.close()
            raise _told(path, error) from error
        except BaseException:
            self._writer.close()
            raise
        self._group = GroupWriter(self._commit, actor=actor, clock=clock or SystemClock())

    def read(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Return the rows of a query on this thread's own connection."""
        return self._look(lambda connection: connection.execute(sql, parameters).fetchall())

    def snapshot(self, look: Callable[[Transaction], T]) -> T:
        """Return what `look` finds in the facts of one instant."""

        def together(connection: sqlite3.Connection) -> T:
            connection.execute("BEGIN")
            try:
                return look(_SqliteTransaction(connection))
            finally:
                connection.execute("ROLLBACK")

        return self._look(together)

    def examine(
        self, sql: str, tables: Collection[str], *, seconds: float, limit: int, by_stranger: bool = False
    ) -> Examined:
        """Run a query that a person wrote; it is kept to `tables` whoever asks."""
        return examine_file(self.path, sql, tables, seconds=seconds, limit=limit)

    def _look(self, use: Callable[[sqlite3.Connection], T]) -> T:
        try:
            reader = self._reader()
            with reader.lock:
                self._group.check_open()
                return use(reader.connection)
        except sqlite3.Error as error:
            if _is_trouble(error):
                raise _told(self.path, error) from error
            raise

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
        for reader in list(self._readers):
            with reader.lock:
                reader.connection.close()
        self._writer.close()

    def _reader(self) -> _Reader:
        self._group.check_open()
        reader: _Reader | None = getattr(self._local, "reader", None)
        if reader is None:
            reader = _Reader(_connect(self.path))
            reader.connection.execute("PRAGMA query_only=ON")
            self._readers.add(reader)  # `close` that was faster leaves it open until this thread ends, and unused
            self._local.reader = reader
        return reader

    def _commit(self, jobs: list[Job]) -> None:
        """Run a group of writes in one transaction; results are handed out only after the commit.

        A write that fails is undone to its own savepoint; one that is alone is its transaction, and needs none (on a
        file in WAL mode that is a sixth of the cost of a small write).
        """
        done: list[tuple[Future[Any], Any]] = []
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            if len(jobs) == 1:
                if self._attempt(jobs[0], done):
                    self._writer.execute("COMMIT")
                else:
                    self._writer.execute("ROLLBACK")
            else:
                for job in jobs:
                    self._writer.execute("SAVEPOINT one_write")
                    if not self._attempt(job, done):
                        self._writer.execute("ROLLBACK TO one_write")
                    self._writer.execute("RELEASE one_write")
                self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")
            for _, future in jobs:
                if not future.done():
                    future.set_exception(_told(self.path, error))
            return
        for future, result in done:
            future.set_result(result)

    def _attempt(self, job: Job, done: list[tuple["Future[Any]", Any]]) -> bool:
        """Run one write and return whether what it wrote is to be kept."""
        try:
            result = job.write(_SqliteTransaction(self._writer))
        except Nothing as nothing:
            done.append((job.future, nothing.result))
            return False
        except BaseException as error:  # handed to the caller, who waits for it on another thread
            job.future.set_exception(_told(self.path, error) if _is_trouble(error) else error)
            if not self._writer.in_transaction:
                raise sqlite3.OperationalError(str(error)) from error  # a full disk undoes the whole group
            return False
        done.append((job.future, result))
        return True


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        _use_write_ahead_log(connection)
        connection.execute("PRAGMA synchronous=NORMAL")
        # 16 MB of pages at most for each connection: with SQLite's 2, a search over 100,000 runs reads them all thrice
        connection.execute("PRAGMA cache_size=-16000")
        # 16 MB of log before it is worked into the file, which waits for the disk: a third of the cost of large writes
        connection.execute("PRAGMA wal_autocheckpoint=4000")
        connection.execute("PRAGMA foreign_keys=ON")
        # as on every other database: LIKE heeds case, and who wants otherwise compares in small letters
        connection.execute("PRAGMA case_sensitive_like=ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch a new file to the write-ahead log; where the file is so already this does nothing.

    Of two connections that switch at once one can be told that the file is locked without any waiting, whatever its
    busy timeout says: SQLite gives up at once where waiting could be for ever
    (https://sqlite.org/c3ref/busy_handler.html). So the waiting is done here.
    """
    patience = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > patience:
                raise
            time.sleep(0.002)


def _code(error: BaseException) -> int:
    """Return the primary SQLite code of an error; 0 where it has none."""
    code = getattr(error, "sqlite_errorcode", None)
    return 0 if code is None else int(code) & 0xFF


def _is_trouble(error: BaseException) -> bool:
    """Whether the database itself is in trouble (full, locked, damaged), rather than the statement being wrong."""
    return _code(error) in _OUTAGES | _DAMAGES


def _told(path: Path, error: BaseException) -> MainspringError:
    if _code(error) in _DAMAGES:
        return Corrupt(
            f"The metadata database is damaged: {error}",
            where=str(path),
            next_step="restore the file from a backup; if it is no database at all, name another",
        )
    return Unavailable(
        f"The metadata database cannot be used: {error}",
        where=str(path),
        next_step="check that the disk has space, the file is writable and no other program holds it locked",
    )
