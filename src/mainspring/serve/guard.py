"""Who may ask: API keys with scopes and rates, from a file that may change while the server runs.

The file is JSON and holds only SHA-256 hashes of the keys, which are random and long; `mainspring key` writes it. A key
comes as ``authorization: Bearer KEY`` or ``x-api-key: KEY``. Scopes are ``predict:MODEL`` (or ``predict:*``),
``feedback`` and ``read`` (metadata, metrics, pages). Health is for everybody.
"""

import hashlib
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import msgspec

from mainspring.errors import Conflict, Denied, Invalid, NotFound
from mainspring.serve.problems import HttpRefusal, Overloaded

__all__ = ["Consumer", "Guard", "KeyRecord", "add_key", "read_keys"]

_log = logging.getLogger(__name__)
_MOST_KNOWN = 1024


class KeyRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One key as the file keeps it. `per_second` is its rate; None is no limit."""

    name: str
    sha256: str
    scopes: list[str]
    per_second: float | None = None


class _KeyFile(msgspec.Struct, frozen=True):
    keys: list[KeyRecord] = []


@dataclass(slots=True)
class Consumer:
    """A key, and how much of its rate is left (a token bucket of one second's worth, at least one request)."""

    record: KeyRecord
    rate: float | None
    left: float = field(default=0.0)
    at: float = field(default=0.0)

    def take(self) -> None:
        if self.rate is None:
            return
        now, most = time.monotonic(), max(1.0, self.rate)
        self.left = min(most, self.left + (now - self.at) * self.rate) if self.at else most
        self.at = now
        if self.left < 1:
            raise Overloaded((1 - self.left) / self.rate, f"`{self.record.name}` asks faster than it may")
        self.left -= 1


class Guard:
    """Admits requests by the keys of a file. With several workers each grants its share of a rate."""

    def __init__(self, path: Path, workers: int = 1) -> None:
        """Read the keys.

        Raises:
            NotFound: there is no such file.
            Invalid: it is no file of keys.
        """
        self._path = path
        self._workers = workers
        self._seen: tuple[int, int] = (0, 0)
        self._consumers: dict[str, Consumer] = {}
        self._known: dict[bytes, Consumer] = {}
        self._load(read_keys(path))

    def admit(self, headers: Mapping[bytes, bytes], scope: str, model: str = "") -> str:
        """Return the name of the key that comes with a request.

        Raises:
            HttpRefusal: there is no key, or none that is known (401).
            Denied: the key is not good for this.
            Overloaded: it asks faster than it may.
        """
        consumer = self.identify(headers)
        wanted = f"{scope}:{model}" if model else scope
        scopes = consumer.record.scopes
        if wanted not in scopes and f"{scope}:*" not in scopes:
            raise Denied(
                f"The key `{consumer.record.name}` is not good for `{wanted}`",
                where="header authorization",
                next_step=f"it is good for: {', '.join(scopes) or 'nothing'}",
            )
        consumer.take()
        return consumer.record.name

    def identify(self, headers: Mapping[bytes, bytes]) -> "Consumer":
        """Return whose key comes with a request; raises HttpRefusal as `admit` does."""
        given = headers.get(b"authorization") or headers.get(b"x-api-key")
        if given is None:
            raise _unknown("The request brings no key")
        return self._known.get(given) or self._find(given)

    def look(self) -> None:
        """Read the file again if it has changed; a file that cannot be read leaves the keys as they are."""
        try:
            state = self._path.stat()
            if (state.st_mtime_ns, state.st_ino) != self._seen:
                self._load(read_keys(self._path))
        except (OSError, NotFound, Invalid) as error:
            _log.error("the keys stay as they are: %s", error)

    def _load(self, records: list[KeyRecord]) -> None:
        state = self._path.stat()
        self._seen = state.st_mtime_ns, state.st_ino
        self._consumers = {
            each.sha256: Consumer(each, None if each.per_second is None else each.per_second / self._workers)
            for each in records
        }
        self._known = {}

    def _find(self, given: bytes) -> Consumer:
        word, _, rest = given.partition(b" ")
        key = rest.strip() if word.lower() == b"bearer" else given
        consumer = self._consumers.get(hashlib.sha256(key).hexdigest())
        if consumer is None:
            raise _unknown("The key is not known here")
        if len(self._known) < _MOST_KNOWN:
            self._known[given] = consumer
        return consumer


def read_keys(path: Path) -> list[KeyRecord]:
    """Read a file of keys.

    Raises:
        NotFound: there is no such file.
        Invalid: it is none, or names one key twice.
    """
    try:
        records = msgspec.json.decode(path.read_bytes(), type=_KeyFile).keys
    except FileNotFoundError as error:
        raise NotFound(f"There is no file of keys `{path}`", next_step="mainspring key NAME --file PATH") from error
    except msgspec.MsgspecError as error:
        raise Invalid(f"This is no file of keys: {error}", where=str(path)) from error
    if len({each.name for each in records}) != len(records):
        raise Invalid("Two keys have one name", where=str(path))
    return records


def add_key(path: Path, name: str, scopes: list[str], per_second: float | None) -> str:
    """Put a new key into a file, which is made if need be; return the key, which is kept nowhere.

    Raises:
        Conflict: there is a key of that name.
        Invalid: a scope is none.
    """
    for scope in scopes:
        kind, _, model = scope.partition(":")
        if scope not in ("feedback", "read") and not (kind == "predict" and model):
            raise Invalid(
                f"`{scope}` is no scope", where="--scope", next_step="predict:MODEL, predict:*, feedback, read"
            )
    records = read_keys(path) if path.exists() else []
    if any(each.name == name for each in records):
        raise Conflict(f"There is a key `{name}` already", where=str(path), next_step="take another name")
    key = f"msk_{secrets.token_urlsafe(32)}"
    records.append(KeyRecord(name, hashlib.sha256(key.encode()).hexdigest(), scopes, per_second))
    building = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    building.touch(0o600)
    building.write_bytes(msgspec.json.format(msgspec.json.encode(_KeyFile(records)), indent=2) + b"\n")
    building.replace(path)
    return key


def _unknown(what: str) -> HttpRefusal:
    return HttpRefusal(
        HTTPStatus.UNAUTHORIZED,
        what,
        where="header authorization",
        next_step="send `authorization: Bearer KEY`; `mainspring key` makes one",
    )
