"""The one place that asks `access`: who sent this request, and may they?

Each route says what it needs as ``kind.verb``. Models are told apart by name, tags and alias, which only the route has
read: there the route itself asks again, of the model, by `Call.allow`.
"""

from urllib.parse import urlsplit

from mainspring.access.login import Actor, Login
from mainspring.access.roles import Resource
from mainspring.errors import Denied
from mainspring.server.call import Call, Route

__all__ = ["admit", "check_browser"]

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


async def admit(call: Call, route: Route) -> Actor:
    """Return who sent a request, if they may ask for the route at all.

    Raises:
        Unauthenticated, Throttled: nobody is known by what was sent, or has to wait.
        Denied: no role allows it; a page of another site sent it.
    """
    header = call.headers.get(b"authorization", b"").decode("latin-1")
    check_browser(call.headers, needs_loopback=not call.login.is_required)
    if not route.needs:
        return Actor("", ())  # whether the server is well may be asked by a load balancer, which has no user
    if not header and not call.login.is_required:
        return call.login.who(None, call.address)  # no question to the database: the loop may do it
    return await call.ask(_admit, call.login, header, call.address, route.needs)


def _admit(login: Login, header: str, address: str, needs: str) -> Actor:
    actor = login.who(header, address)
    kind, _, verb = needs.partition(".")
    if kind == "models":
        login.authorise_some(actor, verb, kind)
    else:
        login.authorise(actor, verb, Resource(kind))
    return actor


def check_browser(headers: dict[bytes, bytes], *, needs_loopback: bool) -> None:
    """Refuse what a page of another site makes a browser send.

    A page can send requests anywhere, and by a name that it lets point at 127.0.0.1 it could read the answers of a
    server that asks for no login. Programs send no Origin.

    Raises:
        Denied: the Origin is another site, or the Host is no name of this machine.
    """
    host = headers.get(b"host", b"").decode("latin-1")
    origin = headers.get(b"origin", b"").decode("latin-1")
    if needs_loopback and host and _name_of(f"//{host}") not in _LOOPBACK:
        raise Denied(f"The request is for the host `{host[:100]}`", next_step="ask by 127.0.0.1, or ask for logins")
    if origin and origin != "null" and urlsplit(origin).netloc == host:
        return
    if origin:
        raise Denied(f"A page of `{origin[:100]}` may not ask this server", next_step="open the server's own pages")


def _name_of(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
