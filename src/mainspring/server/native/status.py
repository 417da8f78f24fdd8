"""How every model stands, as JSON and as a page."""

from http import HTTPStatus

from mainspring.access.roles import Resource
from mainspring.errors import NotFound
from mainspring.loop.status import Status, status_of
from mainspring.registry.models import find_model
from mainspring.server.call import Call, Reply, Route
from mainspring.ui.status import status_page

__all__ = ["ROUTES"]


async def status(call: Call) -> object:
    """Return how the models stand that the caller may read."""
    return await call.ask(_status, call)


async def page(call: Call) -> object:
    """Show the same."""
    return Reply(status_page(await call.ask(_status, call)), content_type="text/html; charset=utf-8")


async def front(call: Call) -> object:
    """Lead who only knows the address of the server to the page."""
    return Reply(status=HTTPStatus.SEE_OTHER, content_type="text/plain", headers=(("location", "status"),))


def _status(call: Call) -> Status:
    return status_of(
        call.workspace, may_read=lambda name: call.may("read", Resource("models", name, _tags(call, name)))
    )


def _tags(call: Call, name: str) -> dict[str, str]:
    try:
        return dict(find_model(call.store, name).tags)
    except NotFound:  # an alert of another program may name what is no model of ours
        return {}


ROUTES = (
    Route("GET", "/api/mainspring/v1/status", status, "incidents.read"),
    Route("GET", "/", front, "incidents.read"),
    Route("GET", "/status", page, "incidents.read"),
)
