"""Where deliveries may go: never, unless it was allowed, to this machine or a private network.

The address is looked at when a webhook is made, and again when it is connected to: what was resolved is what is
connected to, so a name that changes its mind in between reaches nothing.
"""

import ipaddress
import socket
import ssl
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from mainspring.errors import Invalid, Unavailable

__all__ = ["Target", "check_host", "connect", "target_of"]

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Target(NamedTuple):
    """A place on the web: the parts of an address that a request needs."""

    is_secure: bool
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """What stands in the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_secure else 80) else f"{host}:{self.port}"


def target_of(url: str, *, allow_private: bool) -> Target:
    """Return what an address names.

    Raises:
        Invalid: it is not https, names nothing, carries a password, or (unless allowed) a private address stands in it.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise Invalid(f"Invalid webhook URL {url[:200]!r}: {error!r}", where="url") from error
    schemes = ("https", "http") if allow_private else ("https",)
    if parts.scheme not in schemes:
        raise Invalid(
            f"Invalid webhook URL scheme: {parts.scheme!r}. Allowed schemes are: {', '.join(schemes)}.", where="url"
        )
    if not host:
        raise Invalid(f"Webhook URL must include a hostname: {url[:200]!r}", where="url")
    if parts.username is not None or parts.password is not None or not url.isprintable() or " " in url:
        raise Invalid("A webhook URL has no user, password or space in it", where="url", next_step="use its secret")
    literal = _literal(host)
    if literal is not None and not allow_private and not _is_public(literal):
        raise Invalid(f"The webhook URL names {host}, which is not a public address", where="url")
    secure = parts.scheme == "https"
    return Target(secure, host, port or (443 if secure else 80), _path(parts))


def _path(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def connect(target: Target, *, allow_private: bool, timeout_seconds: float) -> socket.socket:
    """Return a socket that is connected to a target, encrypted where it is secure.

    Raises:
        Unavailable: nothing is there, or it is nothing public.
    """
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unavailable(f"`{target.host}` is not known: {error}") from error
    addresses = [entry[4][0] for entry in found]
    for address in addresses:
        if not allow_private and not _is_public(ipaddress.ip_address(str(address).partition("%")[0])):
            raise Unavailable(f"`{target.host}` is {address}, which is not a public address")
    try:
        plain = socket.create_connection((str(addresses[0]), target.port), timeout=timeout_seconds)
        if not target.is_secure:
            return plain
        try:
            return ssl.create_default_context().wrap_socket(plain, server_hostname=target.host)
        except BaseException:
            plain.close()
            raise
    except OSError as error:  # ssl's errors are of this kind too
        raise Unavailable(f"`{target.authority}` cannot be reached: {error}") from error


def check_host(url: str, *, allow_private: bool) -> None:
    """Refuse a notification whose address names a private host; what is no host of the web names none.

    Raises:
        Invalid: it names a private host.
    """
    try:
        host = urlsplit(url).hostname or ""
    except ValueError as error:
        raise Invalid(f"The address is none: {error}", where="url") from error
    if allow_private or not host:
        return
    literal = _literal(host)
    found = [] if literal is not None or "." not in host else _resolved(host)
    if any(not _is_public(each) for each in ([literal] if literal is not None else found)):
        raise Invalid(f"The notification goes to {host}, which is not a public address", where="url")


def _resolved(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # part of a token, as in slack://a/b: not for us to say
        return []
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a host is in itself, also in the odd forms that resolvers take: ``127.1``, ``0x7f.1``."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeError):
        pass
    return ipaddress.IPv4Address("127.0.0.1") if host.rstrip(".").lower().endswith("localhost") else None


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            address = inner
    return address.is_global and not address.is_multicast
