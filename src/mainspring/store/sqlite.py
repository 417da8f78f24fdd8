"""The metadata store on one SQLite file in WAL mode: one writer thread per process, readers on their own connections.

Writes queue up for the writer thread, which runs everything it finds in one transaction (group commit) with a
savepoint per write, so one that fails takes none of its neighbours with it. Several processes may share the file:
``BEGIN IMMEDIATE`` and a busy timeout make them take turns.

``synchronous=NORMAL``: an acknowledged write survives the death of the process at any instant (the write-ahead log is
in the system's hands); a power cut may cost the last moments, never the integrity.
"""

import contextlib
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from mainspring.domain.moments import Clock, SystemClock
from mainspring.errors import MainspringError, Unavailable
from mainspring.store.events import Event, append
from mainspring.store.migrations import MIGRATIONS, migrate
from mainspring.store.protocol import Row, Transaction, Value

__all__ = ["SqliteStore"]

T = TypeVar("T")
_BUSY_SECONDS = 30.0
#: How many queued writes share one commit at most; bounds the time a reader-side checkpoint has to wait.
_GROUP = 512


class _SqliteTransaction:
    """A transaction on the writer's connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        return self._connection.execute(sql, parameters).fetchall()

    def execute_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        self._connection.executemany(sql, rows)


#: One queued write: what to run, and where its result goes. `Any` because each write has its own result type.
_Job = tuple[Callable[[Transaction], Any], "Future[Any]"]


class SqliteStore:
    """A `Store` in the file `path`; tables are brought up to date when it opens.

    `actor` is who acts when an event names nobody; `clock` dates the events (the machine's time is kept beside it).

    Raises:
        Unavailable: the file cannot be opened or written.
    """

    def __init__(self, path: Path, *, actor: str = "", clock: Clock | None = None) -> None:
        self.path = path
        self.actor = actor
        self.clock: Clock = clock or SystemClock()
        self._readers = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._opened_lock = threading.Lock()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._gate = threading.Lock()  # no write may queue up behind the one that says stop
        self._pid = os.getpid()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._writer = self._connect()
            migrate(_SqliteTransaction(self._writer), MIGRATIONS)
        except sqlite3.Error as error:
            raise _unavailable(path, error) from error
        self._thread = threading.Thread(target=self._write_forever, name="store-writer", daemon=True)
        self._thread.start()

    def read(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        """Return the rows of a query on this thread's own connection."""
        connection: sqlite3.Connection | None = getattr(self._readers, "connection", None)
        if connection is None:
            connection = self._connect()
            connection.execute("PRAGMA query_only=ON")
            self._readers.connection = connection
        return connection.execute(sql, parameters).fetchall()

    def record(self, write: Callable[[Transaction], T]) -> T:
        """Run `write` in the writer's next transaction and return its result once it is committed."""
        if os.getpid() != self._pid:
            raise Unavailable("The store was opened before this process forked", next_step="open it in the child")
        future: Future[T] = Future()
        with self._gate:
            if self._closed:
                raise Unavailable("The store is closed", next_step="open the workspace again")
            self._jobs.put((write, future))
        return future.result()

    def change(self, event: Event, write: Callable[[Transaction], T]) -> T:
        """Run `write` and seal `event` onto the audit chain, in one transaction."""

        def with_event(transaction: Transaction) -> T:
            result = write(transaction)
            now = datetime.now(UTC)
            append(transaction, event, actor=self.actor, at=self.clock.now(), recorded_at=now)
            return result

        return self.record(with_event)

    def close(self) -> None:
        """Finish the queued writes and close every connection."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
            self._jobs.put(None)
        self._thread.join()
        with self._opened_lock:
            for connection in self._opened:
                # another thread's reader may be in the middle of a query; it is closed with its thread then
                with contextlib.suppress(sqlite3.ProgrammingError):
                    connection.close()
            self._opened.clear()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        with self._opened_lock:
            self._opened.append(connection)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")
        return connection

    def _write_forever(self) -> None:
        while (first := self._jobs.get()) is not None:
            jobs = [first]
            stop = False
            while len(jobs) < _GROUP and not self._jobs.empty():
                following = self._jobs.get()
                if following is None:
                    stop = True
                    break
                jobs.append(following)
            self._commit(jobs)
            if stop:
                return

    def _commit(self, jobs: list[_Job]) -> None:
        """Run a group of writes in one transaction; results are handed out only after the commit."""
        transaction = _SqliteTransaction(self._writer)
        done: list[tuple[Future[Any], Any]] = []
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for write, future in jobs:
                self._writer.execute("SAVEPOINT one_write")
                try:
                    result = write(transaction)
                except BaseException as error:  # handed to the caller, who waits for it on another thread
                    self._writer.execute("ROLLBACK TO one_write")
                    future.set_exception(_unavailable(self.path, error) if _is_outage(error) else error)
                else:
                    done.append((future, result))
                self._writer.execute("RELEASE one_write")
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")
            for _, future in jobs:
                if not future.done():
                    future.set_exception(_unavailable(self.path, error))
            return
        for future, result in done:
            future.set_result(result)


def _is_outage(error: BaseException) -> bool:
    """Whether the database itself is in trouble (full, locked, damaged), rather than the write being wrong."""
    return isinstance(error, sqlite3.OperationalError) and "syntax" not in str(error)


def _unavailable(path: Path, error: BaseException) -> MainspringError:
    return Unavailable(
        f"The metadata database cannot be used: {error}",
        where=str(path),
        next_step="check that the disk has space, the file is writable and no other program holds it locked",
    )
