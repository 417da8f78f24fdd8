"""What is sent back to a client, whichever way it came in."""

from collections.abc import Callable
from typing import NamedTuple

__all__ = ["JSON", "Reply", "Tell"]

JSON = b"application/json"


class Reply(NamedTuple):
    """One answer, or one refusal."""

    body: bytes
    status: int = 200
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


#: Sends the reply to the client, which may have gone.
Tell = Callable[[Reply], None]
