"""A bucket of somebody's cloud, or of one's own server: whole objects under keys, by `obstore`, with our errors.

An address is ``s3://bucket/prefix``, ``gs://bucket/prefix`` or ``az://container/prefix``. Keys and endpoints come from
where the provider's own tools take them: ``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, an instance's role,
``GOOGLE_APPLICATION_CREDENTIALS``, ``AZURE_STORAGE_ACCOUNT_KEY``. They are never part of an address. Plain HTTP is
spoken with a server on the loopback address; elsewhere only where ``AWS_ALLOW_HTTP=true`` asks for it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple
from urllib.parse import urlsplit

from mainspring.artifacts.streams import stream_of
from mainspring.domain.ids import new_id
from mainspring.errors import Invalid, MissingExtra, NotFound, Unavailable

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore

__all__ = ["SCHEMES", "Bucket", "Found"]

SCHEMES = ("s3", "gs", "az")
_PIECE_BYTES = 16 << 20
_READ_BYTES = 1 << 20
_LIST_LENGTH = 1000
_RETRIES = 8
_RETRY_SECONDS = 10
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Found(NamedTuple):
    """What a bucket knows of an object; `at` is by the bucket's clock, often in whole seconds."""

    size_bytes: int
    at: datetime
    etag: str = ""


class Bucket:
    """The objects below an address. Opened at the first request; every method may raise `Unavailable`."""

    def __init__(self, address: str) -> None:
        """Take the address.

        Raises:
            Invalid: it is no address of a bucket, or holds a password.
        """
        parts = urlsplit(address)
        if parts.scheme not in SCHEMES or not parts.hostname or parts.username or parts.query:
            raise Invalid(
                f"Mainspring cannot use the artifact store `{parts.scheme}://{parts.hostname or ''}`",
                where="MAINSPRING_ARTIFACTS",
                next_step="name a folder, or s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX, with its"
                " keys in the environment",
            )
        self.address = address.rstrip("/")

    def put(self, key: str, content: bytes | Path) -> None:
        """Put an object, whole or not at all; a large file goes in pieces, several at once."""
        import obstore

        with self._outages():
            obstore.put(self._store, key, content, chunk_size=_PIECE_BYTES)

    def find(self, key: str) -> Found | None:
        """Return what is known of an object, None when there is none."""
        import obstore

        try:
            with self._outages(key):
                head = obstore.head(self._store, key)
        except NotFound:
            return None
        return Found(head["size"], head["last_modified"], head.get("e_tag") or "")

    def read(self, key: str) -> Iterator[bytes]:
        """Yield an object piece by piece.

        Raises:
            NotFound: there is none.
        """
        import obstore

        with self._outages(key):
            for piece in obstore.get(self._store, key).stream(min_chunk_size=_READ_BYTES):
                yield bytes(piece)

    def open(self, key: str) -> BinaryIO:
        """Open an object for reading from its beginning to where the reader likes to stop; it is not sought in.

        Raises:
            NotFound: there is none.
        """
        pieces = self.read(key)
        return stream_of(pieces, next(pieces, b""))

    def copy(self, key: str, target: str) -> None:
        """Copy an object within the bucket.

        Raises:
            NotFound: there is none.
        """
        import obstore

        with self._outages(key):
            obstore.copy(self._store, key, target)

    def delete(self, *keys: str) -> None:
        """Delete objects; those that are not there are deleted already."""
        import obstore

        with suppress(NotFound), self._outages(keys[0]):
            obstore.delete(self._store, list(keys))

    def keys(self, shelf: str) -> Iterator[str]:
        """Yield the keys below ``shelf/``."""
        import obstore

        with self._outages():
            for some in obstore.list(self._store, prefix=shelf, chunk_size=_LIST_LENGTH):
                for each in some:
                    yield each["path"]

    def folders(self, shelf: str) -> list[str]:
        """Return the names of what lies one step below ``shelf/`` and has more below it."""
        import obstore

        with self._outages():
            found = obstore.list_with_delimiter(self._store, prefix=f"{shelf}/")
            return [each.rstrip("/").rpartition("/")[2] for each in found["common_prefixes"]]

    def probe(self) -> float:
        """Try what we need of a bucket and return how many seconds its clock is from ours, give or take one.

        Raises:
            Unavailable: the keys do not allow it, or what was put is not what is read, listed and gone afterwards.
        """
        key, found = f"probe/{new_id()}", None
        for content in (b"first", b"second, over the first"):
            self.put(key, content)
            found = self.find(key)
            seen = b"".join(self.read(key))
            if seen != content or found is None or found.size_bytes != len(content) or key not in self.keys("probe"):
                raise Unavailable(
                    "The bucket does not show at once what was put into it",
                    where=self.address,
                    next_step="use a bucket that does; a cache or a mirror in front of one is not enough",
                )
        self.copy(key, f"{key}-copy")
        self.delete(key, f"{key}-copy")
        if self.find(key) is not None:
            raise Unavailable("The bucket does not delete", where=self.address, next_step="see the rights of the keys")
        assert found is not None
        return abs((datetime.now(UTC) - found.at).total_seconds())

    @cached_property
    def _store(self) -> "ObjectStore":
        try:
            from obstore.exceptions import BaseError
            from obstore.store import from_url
        except ImportError as error:
            raise MissingExtra.of("s3", "obstore", f"Artifacts at {self.address}") from error
        options: ClientConfig = {"timeout": "5 minutes", "connect_timeout": "10 seconds"}
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
        if urlsplit(endpoint).hostname in _LOOPBACK:
            options["allow_http"] = True
        wait = timedelta(seconds=_RETRY_SECONDS)
        try:
            return from_url(
                self.address,
                client_options=options,
                retry_config={"max_retries": _RETRIES, "retry_timeout": wait},
            )
        except (BaseError, ValueError) as error:
            raise Invalid(
                f"The bucket cannot be opened: {_first_line(error)}",
                where=self.address,
                next_step="set what the provider's own tools need: region, account, endpoint, keys",
            ) from error

    @contextmanager
    def _outages(self, key: str = "") -> Iterator[None]:
        """Tell the library's errors in ours; what is not found is `NotFound` where a `key` was looked for."""
        from obstore import exceptions

        try:
            yield
        except (FileNotFoundError, exceptions.NotFoundError) as error:
            if key:
                raise NotFound(f"There is no `{key}` in the bucket", where=self.address) from error
            raise self._outage("There is no such bucket", error) from error
        except (PermissionError, exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            raise self._outage("The bucket refuses us", error) from error
        except (OSError, exceptions.BaseError) as error:
            raise self._outage("The bucket does not answer", error) from error

    def _outage(self, what: str, error: Exception) -> Unavailable:
        return Unavailable(
            f"{what}: {_first_line(error)}",
            where=self.address,
            next_step="check its name, the endpoint, the network, and that the keys may list, read, write and delete;"
            " then run the same command again",
        )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
