"""A load on a prediction server: the same request again and again over keep-alive connections, and how long each took.

The loop is closed: a client asks again when it has its answer. So requests a second are what the server can do for that
many clients, and the times are those of a client that waits; what an open stream of arrivals would see at the same rate
is no better. The requests are bytes made beforehand, because an HTTP library would be most of what is measured.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil

from mainspring.errors import Unavailable

__all__ = ["Load", "measure"]

_PATIENCE_SECONDS = 30.0
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Load:
    """What a server did for `clients` clients, each asking for `rows` rows at a time.

    Times are in milliseconds, from the first byte sent to the last byte got; `memory_mib` is the server's memory (RSS,
    all its processes) at the end. `failed` counts answers whose status is not 200, and connections that broke.
    """

    clients: int
    rows: int
    seconds: float
    requests: int
    failed: int
    per_second: float
    p50_ms: float
    p99_ms: float
    most_ms: float
    memory_mib: float


def measure(url: str, path: str, body: bytes, *, rows: int, clients: int, seconds: float, pid: int) -> Load:
    """Load the server at `url` for `seconds` and return what it did; `pid` is the server's process.

    Raises:
        Unavailable: nothing listens there, or no request was answered.
    """
    address = urlsplit(url)
    head = f"POST {path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    began = time.perf_counter()
    told = asyncio.run(_drive(address.hostname or "127.0.0.1", address.port or 80, request, clients, seconds))
    took = time.perf_counter() - began
    times = sorted(one for client in told for one in client.times)
    failed = sum(client.failed for client in told)
    if not times:
        raise Unavailable(
            f"None of {failed} requests was answered", where=url, next_step="try one by hand; the server's log says why"
        )
    return Load(
        clients, rows, took, len(times), failed, len(times) / took, 1000 * _at(times, 0.5), 1000 * _at(times, 0.99),
        1000 * times[-1], _memory(pid),
    )  # fmt: skip


class _Client(asyncio.Protocol):
    """One connection: asks until the time is over."""

    def __init__(self, request: bytes, until: float) -> None:
        self.times: list[float] = []
        self.failed = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._until = until
        self._held = b""
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._held += data
        end = self._held.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._held[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].partition(b"\r\n")[0]) if at >= 0 else 0
        if len(self._held) < end + 4 + length:
            return
        if head[9:12] == b"200":
            self.times.append(time.perf_counter() - self._sent)
        else:
            self.failed += 1
        self._held = b""
        if time.perf_counter() < self._until:
            self._ask()
        else:
            self._sent = 0.0
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.failed += bool(self._sent)  # in the middle of a request
        if not self.done.done():
            self.done.set_result(None)

    def _ask(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)


async def _drive(host: str, port: int, request: bytes, clients: int, seconds: float) -> list[_Client]:
    loop = asyncio.get_running_loop()
    until = time.perf_counter() + seconds
    told = []
    try:
        for _ in range(clients):
            told.append((await loop.create_connection(lambda: _Client(request, until), host, port))[1])
    except OSError as error:
        raise Unavailable(f"No connection: {error}", where=f"{host}:{port}") from error
    ended = asyncio.gather(*(each.done for each in told))
    try:
        await asyncio.wait_for(ended, seconds + _PATIENCE_SECONDS)
    except TimeoutError:
        for each in told:
            each._transport.abort()
    return told


def _at(times: Sequence[float], share: float) -> float:
    """Return the smallest time that `share` of all times do not exceed (nearest rank)."""
    return times[max(0, math.ceil(share * len(times)) - 1)]


def _memory(pid: int) -> float:
    total = 0
    try:
        server = psutil.Process(pid)
        for each in (server, *server.children(recursive=True)):
            total += each.memory_info().rss
    except psutil.Error:  # one of them ended meanwhile
        pass
    return total / _MIB
