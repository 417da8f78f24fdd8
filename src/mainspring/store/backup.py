"""A copy of a database that is in use, and a look at whether one is whole.

On SQLite both work on the file beside its writers and hold none of them up. A Postgres database is backed up by its
own tools, which know more than we do; of one only the audit chain is proven here.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from mainspring.domain.ids import new_id
from mainspring.errors import Conflict, Corrupt, Invalid, Unavailable
from mainspring.store.events import verify_chain
from mainspring.store.protocol import Store
from mainspring.store.sqlite import SqliteStore

__all__ = ["back_up", "check", "is_copied_here"]


def back_up(store: Store, target: Path) -> int:
    """Write the facts of `store` as they are at one instant into the new file `target`; return its size in bytes.

    The file is a whole store: name it in MAINSPRING_STORE, or move it to where the old one was. It appears when it is
    complete and on the disk, and never over another file.

    Raises:
        Invalid: the store is not on SQLite.
        Conflict: `target` exists.
        Unavailable: it cannot be written.
        Corrupt: the store is damaged; nothing is left at `target`.
    """
    if not isinstance(store, SqliteStore):
        raise Invalid("Only a store on SQLite is copied by Mainspring", next_step="use pg_dump for one on Postgres")
    draft = target.with_name(f".{target.name}.{new_id()}")
    try:
        with contextlib.closing(sqlite3.connect(draft)) as copy, _opened(store.path) as original:
            original.backup(copy)  # one step: a snapshot, for which nobody waits
            copy.execute("PRAGMA journal_mode=DELETE")
            _prove(copy, store.path)
        with draft.open("rb") as stream:
            os.fsync(stream.fileno())
        os.link(draft, target)  # not a rename, which would replace
        return target.stat().st_size
    except FileExistsError as error:
        raise Conflict(f"`{target}` exists already", next_step="name a new file") from error
    except (OSError, sqlite3.OperationalError) as error:
        raise Unavailable(f"The copy cannot be written: {error}", where=str(target)) from error
    finally:
        draft.unlink(missing_ok=True)


def is_copied_here(store: Store) -> bool:
    """Whether `back_up` can copy this store."""
    return isinstance(store, SqliteStore)


def check(store: Store) -> int:
    """Prove that the database is whole and return how many entries its audit chain has.

    Raises:
        Corrupt: a page, an index, a reference between tables or the chain is broken.
    """
    if isinstance(store, SqliteStore):
        with _opened(store.path) as connection:
            _prove(connection, store.path)
    return verify_chain(store)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
        connection.execute("PRAGMA query_only=ON")
        yield connection


def _prove(connection: sqlite3.Connection, path: Path) -> None:
    try:
        (said,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        astray = connection.execute("PRAGMA foreign_key_check").fetchone()
    except sqlite3.DatabaseError as error:
        said, astray = str(error), None
    if said == "ok" and astray is None:
        return
    raise Corrupt(
        f"The metadata database is damaged: {said if astray is None else f'`{astray[0]}` refers to what is not there'}",
        where=str(path),
        next_step="restore the file from a backup (mainspring store backup makes one)",
    )
