"""The online store in a Redis: one hash for each version of a view, so that a read is one command and sees one moment.

A large change is put together beside the hash and takes its place by RENAME; a small one is one MULTI. So a reader sees
all of it or nothing, and what a killed writer leaves beside goes by itself after a day. How long an acknowledged write
lives is what the server's own persistence promises.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import msgspec
import redis

from mainspring.domain.ids import new_id
from mainspring.errors import Conflict, Invalid, Unavailable
from mainspring.features.online import STATE, OnlineState, state_of
from mainspring.features.packed import HEADER, encode_header

__all__ = ["RedisOnlineStore"]

_PREFIX = "mainspring:features:"
_BUILDING = ":building:"
#: So many rows go in one MULTI.
_FEW = 5_000
_DAY_SECONDS = 86_400
_SIGNS = "write it as redis://user:password@host:6379/0; in a password @ as %40, / as %2F, # as %23, [ as %5B"
_READ_SECONDS, _WRITE_SECONDS = 1.0, 60.0


class RedisOnlineStore:
    """The views under ``mainspring:features:`` of one database of a Redis."""

    is_remote = True

    def __init__(self, address: str) -> None:
        """Open ``redis://[user:password@]host:port/database``, or ``rediss://`` with TLS.

        Raises:
            Invalid: the address is none; it is not repeated, for it may hold a password.
        """
        try:
            parts = urlsplit(address)
            if "@" in parts.netloc.rpartition("@")[0] + parts.path + parts.query + parts.fragment:
                raise ValueError
            self._reading = redis.Redis.from_url(
                address, socket_timeout=_READ_SECONDS, socket_connect_timeout=_READ_SECONDS
            )
            self._writing = redis.Redis.from_url(address, socket_timeout=_WRITE_SECONDS)
        except ValueError:
            raise Invalid("The address cannot be taken apart", where="MAINSPRING_FEATURES", next_step=_SIGNS) from None
        self._where = parts.hostname or "redis"

    def states(self) -> list[OnlineState]:
        """See `OnlineStore.states`."""
        with self._reached():
            keys = sorted(self._reading.scan_iter(match=f"{_PREFIX}*", count=1000))
            packed = [self._reading.hget(key, STATE) for key in keys if _BUILDING.encode() not in key]
        return [state for each in packed if (state := state_of(each)) is not None]

    def state(self, name: str, version: str) -> OnlineState | None:
        """See `OnlineStore.state`."""
        with self._reached():
            return state_of(self._reading.hget(_key(name, version), STATE))

    def keys(self, name: str, version: str) -> Iterator[bytes]:
        """See `OnlineStore.keys`."""
        with self._reached():
            yield from (
                key
                for key, _ in self._reading.hscan_iter(_key(name, version), count=_FEW)
                if key not in (HEADER, STATE)
            )

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
        key = _key(state.definition["name"], state.version)
        with self._reached(), self._writing.pipeline() as change:
            change.watch(key)
            if state_of(change.hget(key, STATE)) != after:
                raise self._conflict(state)
            rest = iter(rows)
            few = list(islice(rest, _FEW + 1))
            beside = None if len(few) <= _FEW and not replace else f"{key}{_BUILDING}{new_id()}"
            try:
                if beside is None:
                    held = change.hmget(key, [each for each, _ in few]) if few else []
                    lost = change.hmget(key, gone) if gone else []
                    grown = held.count(None) - len(lost) + lost.count(None)
                    state = _counted(state, (0 if after is None else after.entities) + grown)
                    change.multi()
                    change.hset(key, mapping={**dict(few), **_about(state)})
                    if gone:
                        change.hdel(key, *gone)
                else:
                    state = self._build(beside, None if replace else key, few, rest, state, gone)
                    change.multi()
                    change.persist(beside)
                    change.rename(beside, key)
                change.execute()
            except redis.WatchError:
                raise self._conflict(state) from None
            finally:
                if beside is not None:
                    self._writing.delete(beside)
            if gone:  # what killed writers left half made
                for each in self._writing.scan_iter(match=f"{key}{_BUILDING}*", count=1000):
                    self._writing.hdel(each, *gone)
        return state

    def get(self, name: str, version: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """See `OnlineStore.get`."""
        with self._reached():
            found: list[bytes | None] = self._reading.hmget(_key(name, version), [HEADER, *keys])
        return found

    def close(self) -> None:
        """See `OnlineStore.close`."""
        self._reading.close()
        self._writing.close()

    def _build(
        self,
        beside: str,
        key: str | None,
        few: list[tuple[bytes, bytes]],
        rest: Iterator[tuple[bytes, bytes]],
        state: OnlineState,
        gone: Sequence[bytes],
    ) -> OnlineState:
        client = self._writing
        if key is not None:
            client.copy(key, beside)
        client.hset(beside, mapping={**dict(few), HEADER: b"", STATE: b""})
        client.expire(beside, _DAY_SECONDS)
        while some := dict(islice(rest, _FEW)):
            client.hset(beside, mapping=some)
        if gone:
            client.hdel(beside, *gone)
        state = _counted(state, int(client.hlen(beside)) - 2)
        client.hset(beside, mapping=_about(state))
        return state

    def _conflict(self, state: OnlineState) -> Conflict:
        return Conflict(
            f"Somebody else has just written the view `{state.definition['name']}`",
            where=self._where,
            next_step="run it again; it goes on from there",
        )

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as error:
            raise Unavailable(
                f"The online features cannot be used: {error}", where=self._where, next_step="check that Redis answers"
            ) from error


def _key(name: str, version: str) -> str:
    return f"{_PREFIX}{name}:{version}"


def _counted(state: OnlineState, entities: int) -> OnlineState:
    return msgspec.structs.replace(state, entities=entities)


def _about(state: OnlineState) -> dict[Any, Any]:  # what the client takes
    return {HEADER: encode_header(state.header), STATE: msgspec.json.encode(state)}
