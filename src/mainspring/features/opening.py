"""Which online store an address means."""

from pathlib import Path

from mainspring.errors import MissingExtra
from mainspring.features.online import OnlineStore, SqliteOnlineStore

__all__ = ["open_online"]


def open_online(address: str) -> OnlineStore:
    """Return the online store at ``redis://host:port/0``, or in a folder.

    Raises:
        Invalid: the address cannot be read.
        MissingExtra: it is a Redis, and the client is not installed.
    """
    if "://" not in address:
        return SqliteOnlineStore(Path(address).expanduser())
    try:
        from mainspring.features.redis_online import RedisOnlineStore  # extra: redis
    except ImportError as error:
        raise MissingExtra.of("redis", "redis", "Keeping features in Redis") from error
    return RedisOnlineStore(address)
