"""The sockets that a server listens at."""

import ipaddress
import socket

from mainspring.errors import Invalid, Unavailable

__all__ = ["listening_sockets", "url_of"]

_BACKLOG = 2048


def listening_sockets(host: str, port: int, count: int = 1, *, is_guarded: bool = False) -> list[socket.socket]:
    """Return `count` sockets that listen on this machine alone, or anywhere when callers must say who they are.

    Port 0 takes a free one. Of several sockets, each gets its share of the connections from the kernel (SO_REUSEPORT).

    Raises:
        Invalid: the host is reachable from outside, and nobody would ask who asks.
        Unavailable: the port is taken.
    """
    address = _address(host)
    if not address.is_loopback and not is_guarded:
        raise Invalid(
            f"The server would listen on {host}, where anybody could ask it",
            where="--host",
            next_step="use 127.0.0.1, or let it ask who asks: --keys FILE",
        )
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            sockets.append(_listening(address, port, shared=count > 1))
            port = sockets[0].getsockname()[1]
    except OSError as error:
        for each in sockets:
            each.close()
        raise Unavailable(
            f"Port {port} cannot be taken: {error.strerror}", where=host, next_step="use another --port, or 0"
        ) from error
    return sockets


def url_of(listener: socket.socket, *, is_secure: bool = False) -> str:
    """Return the address of a listening socket as a URL."""
    host, port = listener.getsockname()[:2]
    scheme = "https" if is_secure else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if host == "localhost":
        host = "127.0.0.1"
    try:
        return ipaddress.ip_address(host)
    except ValueError as error:
        raise Invalid(f"`{host}` is not an address", where="--host", next_step="use 127.0.0.1 or ::1") from error


def _listening(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # Accepted connections inherit it. Without, a small answer can wait 40 ms for the client's acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((str(address), port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
