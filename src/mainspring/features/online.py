"""The online store: what is known of each entity now, one packed row each, to be read in microseconds.

A lean module: the prediction server reads features through it and needs no engine for that. Rows of a view lie under
its name and version, so a new definition is filled beside the old one, which is served until nobody asks for it.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from mainspring.errors import Conflict, Corrupt, Invalid, NotFound, Unavailable, nearest
from mainspring.features.packed import HEADER, Header, decode_header, decode_row, encode_header, encode_key
from mainspring.features.view import FeatureView

__all__ = [
    "STATE",
    "FeatureReader",
    "OnlineState",
    "OnlineStore",
    "SqliteOnlineStore",
    "Values",
    "newest_state",
    "state_of",
]

#: The key of the state. This byte begins nothing in MessagePack.
STATE = b"\xc1"
#: SQLite takes this many parameters in every build.
_MOST_KEYS = 900
#: So many keys are listed at once.
_PAGE = 10_000


class OnlineState(msgspec.Struct, frozen=True, kw_only=True):
    """What is in the store of one view: its definition, until when it is complete, and by what that is told.

    `rows` and `digest` stand for the source rows that were known by `until`: when they are others at the next time,
    the past was changed. `entities` counts the rows here, and `forgotten` has the marks of keys that must not be here.
    """

    definition: dict[str, Any]  # Any: the view as JSON
    version: str
    until: str
    written_at: str
    key_kinds: list[Any]
    kinds: list[Any]
    rows: int
    digest: str
    entities: int
    forgotten: list[str] = []

    @property
    def view(self) -> FeatureView:
        """The view that was materialized."""
        return FeatureView.from_json(self.definition)

    @property
    def header(self) -> Header:
        """What readers get with every answer."""
        return Header(self.until, tuple(self.kinds))


class OnlineStore(Protocol):
    """Keeps packed rows by key. What `write` returned is durable; a reader sees all of it or nothing.

    One that `is_remote` waits for a network, and may be read in many threads at once.
    """

    is_remote: bool

    def states(self) -> list[OnlineState]:
        """Return what is there, by name and version."""

    def state(self, name: str, version: str) -> OnlineState | None:
        """Return what is there of one view; None when it was never written."""

    def keys(self, name: str, version: str) -> Iterator[bytes]:
        """Yield the key of each row of a view.

        Raises:
            Unavailable: the store cannot be read.
        """

    def write(
        self,
        state: OnlineState,
        rows: Iterable[tuple[bytes, bytes]],
        *,
        after: OnlineState | None,
        replace: bool,
        gone: Sequence[bytes] = (),
    ) -> OnlineState:
        """Put rows, and the state with the `entities` counted; with `replace` other rows are gone.

        Nothing is left of the rows with the keys `gone`, not even in what was freed or half written.

        Raises:
            Conflict: the state there is not `after` any more: somebody else was writing too.
            Unavailable: it cannot be written.
        """

    def get(self, name: str, version: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the header and then the row of each key, all of one moment; a header of None means there is no view.

        Raises:
            Unavailable: the store cannot be read.
        """

    def close(self) -> None:
        """Let go of it."""


class Values(NamedTuple):
    """What was read: until when it is complete, and for each entity its features, or None where nothing is known."""

    until: str
    rows: list[list[object] | None]


class FeatureReader:
    """Reads one version of one view."""

    def __init__(self, online: OnlineStore, name: str, version: str) -> None:
        """Open a view.

        Raises:
            NotFound: it was never materialized here.
        """
        state = online.state(name, version)
        if state is None:
            raise NotFound(
                f"The view `{name}/{version[:12]}` is not in the online store",
                next_step="mainspring features materialize FILE",
            )
        self.view = state.view
        self.version = version
        self.key_kinds = tuple(state.key_kinds)
        self.is_remote = online.is_remote
        self._online = online

    def read(self, keys: Sequence[Sequence[object]], *, at: datetime, where: Sequence[str] = ()) -> Values:
        """Return the features of entities as they are believed at `at`; a key in `keys` has a value for each column.

        `where` says where each key comes from, for errors.

        Raises:
            Invalid: a key is not of its kind.
            NotFound: the view is gone.
            Unavailable: the store cannot be read.
        """
        kinds = self.key_kinds
        packed = [
            encode_key(each, kinds, where=where[number] if where else f"keys[{number}]")
            for number, each in enumerate(keys)
        ]
        head, *rows = self._online.get(self.view.name, self.version, packed)
        if head is None:
            raise NotFound(f"The view `{self.view.reference}` is gone", next_step="materialize it anew")
        header, ttl = decode_header(head), self.view.ttl
        return Values(header.until, [decode_row(row, header, at=at, ttl=ttl) for row in rows])


def newest_state(states: Sequence[OnlineState], words: str) -> OnlineState:
    """Return the state that ``NAME`` or ``NAME/VERSION`` means; of a name, the version that was written last.

    Raises:
        NotFound: there is none.
        Invalid: the start of a version fits more than one.
    """
    name, _, version = words.partition("/")
    found = [each for each in states if each.definition["name"] == name and each.version.startswith(version)]
    if not found:
        known = sorted({each.definition["name"] for each in states})
        raise NotFound(f"The online store has no view `{words}`", next_step=nearest(name, known))
    if version and len(found) > 1:
        raise Invalid(f"`{words}` is more than one version", next_step="write more of it")
    return max(found, key=lambda each: each.written_at)


class SqliteOnlineStore:
    """A folder with one SQLite file for each version of a view; readers go on while one process writes."""

    is_remote = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._readers: dict[tuple[str, str], sqlite3.Connection] = {}

    def states(self) -> list[OnlineState]:
        """See `OnlineStore.states`."""
        names = (path.stem.rpartition("-") for path in sorted(self._folder.glob("*-*.sqlite")))
        found = [self.state(name, version) for name, _, version in names]
        return [each for each in found if each is not None]

    def state(self, name: str, version: str) -> OnlineState | None:
        """See `OnlineStore.state`."""
        return state_of(self._look(name, version, [STATE]).get(STATE))

    def keys(self, name: str, version: str) -> Iterator[bytes]:
        """See `OnlineStore.keys`."""
        query = f"SELECT key FROM rows WHERE key > ? ORDER BY key LIMIT {_PAGE}"
        some = [(HEADER,)]  # the first of all, and no key of a row
        while some:
            try:
                connection = self._reader(name, version)
                some = [] if connection is None else connection.execute(query, some[-1]).fetchall()
            except sqlite3.Error as error:
                raise _unavailable(self._path(name, version), error) from error
            yield from (key for (key,) in some if key != STATE)

    def write(
        self,
        state: OnlineState,
        rows: Iterable[tuple[bytes, bytes]],
        *,
        after: OnlineState | None,
        replace: bool,
        gone: Sequence[bytes] = (),
    ) -> OnlineState:
        """See `OnlineStore.write`."""
        path = self._path(state.definition["name"], state.version)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _writing(path, erases=bool(gone)) as connection:
                held = connection.execute("SELECT row FROM rows WHERE key = ?", (STATE,)).fetchone()
                if state_of(None if held is None else held[0]) != after:
                    raise Conflict(
                        f"Somebody else has just written the view `{state.definition['name']}`",
                        where=str(path),
                        next_step="run it again; it goes on from there",
                    )
                if replace:
                    connection.execute("DELETE FROM rows")
                connection.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?)", rows)
                connection.executemany("DELETE FROM rows WHERE key = ?", ((key,) for key in gone))
                counted = connection.execute("SELECT count(*) FROM rows WHERE key NOT IN (?, ?)", (HEADER, STATE))
                state = msgspec.structs.replace(state, entities=counted.fetchone()[0])
                beside = [(HEADER, encode_header(state.header)), (STATE, msgspec.json.encode(state))]
                connection.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?)", beside)
        except sqlite3.Error as error:
            raise _unavailable(path, error) from error
        return state

    def get(self, name: str, version: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """See `OnlineStore.get`."""
        found = self._look(name, version, [HEADER, *keys])
        return [found.get(HEADER), *map(found.get, keys)]

    def close(self) -> None:
        """See `OnlineStore.close`."""
        for connection in self._readers.values():
            connection.close()
        self._readers.clear()

    def _path(self, name: str, version: str) -> Path:
        if not (name.isidentifier() and version.isalnum()):  # it may come from outside, and becomes a file's name
            raise NotFound(f"There is no view `{name}/{version}`")
        return self._folder / f"{name}-{version}.sqlite"

    def _look(self, name: str, version: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        try:
            connection = self._reader(name, version)
            if connection is None:
                return {}
            if len(keys) <= _MOST_KEYS:
                return dict(connection.execute(_select(len(keys)), keys).fetchall())
            found: dict[bytes, bytes] = {}
            connection.execute("BEGIN")  # or the parts of the answer could be of two moments
            for start in range(0, len(keys), _MOST_KEYS):
                some = keys[start : start + _MOST_KEYS]
                found.update(connection.execute(_select(len(some)), some).fetchall())
            connection.execute("COMMIT")
            return found
        except sqlite3.Error as error:
            raise _unavailable(self._path(name, version), error) from error

    def _reader(self, name: str, version: str) -> sqlite3.Connection | None:
        """Return the connection to a view's file; None where there is nothing yet."""
        connection = self._readers.get((name, version))
        if connection is not None:
            return connection
        path = self._path(name, version)
        if not path.is_file():
            return None
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
        )
        if connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None:
            connection.close()  # a writer has made the file and was killed before its first commit
            return None
        self._readers[name, version] = connection
        return connection


def _select(count: int) -> str:
    return f"SELECT key, row FROM rows WHERE key IN ({','.join('?' * count)})"


@contextlib.contextmanager
def _writing(path: Path, *, erases: bool) -> Iterator[sqlite3.Connection]:
    """Open a file for one transaction; one that `erases` leaves nothing of what it deletes in the file or its log."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=60)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute("CREATE TABLE IF NOT EXISTS rows (key BLOB PRIMARY KEY, row BLOB) WITHOUT ROWID")
            yield connection
            connection.execute("COMMIT")
            if erases:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    finally:
        connection.close()


def state_of(packed: bytes | None) -> OnlineState | None:
    """Read a state as it is kept; None for None.

    Raises:
        Corrupt: the bytes are none.
    """
    if packed is None:
        return None
    try:
        return msgspec.json.decode(packed, type=OnlineState)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"The state of a view in the online store cannot be read: {error}") from error


def _unavailable(path: Path, error: sqlite3.Error) -> Unavailable:
    return Unavailable(
        f"The online features cannot be used: {error}", where=str(path), next_step="check the disk and the file"
    )
