"""What a client asks of the server itself: is it well, which version, which features."""

from importlib import metadata

from mainspring.server.call import Call, Reply, Route

__all__ = ["ROUTES"]


async def health(call: Call) -> Reply:
    """Say that the server answers."""
    return Reply(b"OK", content_type="text/plain; charset=utf-8")


async def version(call: Call) -> Reply:
    """Say the server's version."""
    return Reply(metadata.version("mainspring").encode(), content_type="text/plain; charset=utf-8")


ROUTES = (
    Route("GET", "/health", health, ""),
    Route("GET", "/version", version, ""),
)
