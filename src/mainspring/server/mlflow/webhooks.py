"""Webhooks on MLflow's wire. Source: webhooks.proto and mlflow/server/handlers.py, MLflow 3.17.

Only MLflow's own events travel here: its clients know no others. Webhooks that ask for more are kept by the native API.
"""

import asyncio
import base64
import json

import msgspec

from mainspring.config import value_of
from mainspring.domain.moments import from_iso, to_milliseconds
from mainspring.errors import Invalid
from mainspring.notify.courier import try_webhook
from mainspring.notify.news import MLFLOW_NEWS, check_news, example_of
from mainspring.notify.webhooks import (
    Webhook,
    WebhookChange,
    create_webhook,
    delete_webhook,
    find_webhook,
    list_webhooks,
    update_webhook,
)
from mainspring.server.call import Call, Route

__all__ = ["ROUTES", "allow_private"]

_MOST, _PAGE = 1000, 100


class _Event(msgspec.Struct):
    entity: str
    action: str

    @property
    def name(self) -> str:
        """The event as it is called here."""
        return check_news(f"{self.entity}.{self.action}".lower())


class _Create(msgspec.Struct):
    name: str
    url: str
    events: list[_Event]
    description: str = ""
    secret: str = ""
    status: str = "ACTIVE"


class _Update(msgspec.Struct):
    name: str | None = None
    description: str | None = None
    url: str | None = None
    events: list[_Event] = []
    secret: str | None = None
    status: str | None = None


class _Page(msgspec.Struct):
    max_results: int = 0
    page_token: str = ""


class _Test(msgspec.Struct):
    event: _Event | None = None


def allow_private() -> bool:
    """Whether webhooks may reach private addresses."""
    return value_of("webhooks_private") == "on"


def webhook_on_wire(webhook: Webhook) -> dict[str, object]:
    """Return a webhook as MLflow's clients read it; its secret never travels."""
    events = [each.partition(".") for each in webhook.events if each in MLFLOW_NEWS]
    shown: dict[str, object] = {
        "webhook_id": webhook.webhook_id,
        "name": webhook.name,
        "url": webhook.shown_url,
        "events": [{"entity": entity.upper(), "action": action.upper()} for entity, _, action in events],
        "status": webhook.status,
        "creation_timestamp": to_milliseconds(from_iso(webhook.created_at)),
        "last_updated_timestamp": to_milliseconds(from_iso(webhook.updated_at)),
    }
    return {**shown, "description": webhook.description} if webhook.description else shown


async def create(call: Call) -> object:
    """Make a webhook."""
    given = await call.read(_Create)
    webhook = await call.ask(
        lambda: create_webhook(
            call.store,
            given.name,
            given.url,
            [each.name for each in given.events],
            description=given.description,
            secret=given.secret,
            status=given.status,
            allow_private=allow_private(),
            actor=call.actor,
            at=call.now,
        )
    )
    return {"webhook": webhook_on_wire(webhook)}


async def list_(call: Call) -> object:
    """Return a page of webhooks, newest first."""
    given = await call.read(_Page)
    most = given.max_results or _PAGE
    if not 1 <= most <= _MOST:
        raise Invalid("max_results must be between 1 and 1000.", where="max_results")
    offset = _offset(given.page_token)
    found = await call.ask(lambda: list_webhooks(call.store, limit=most + 1, offset=offset))
    page = [webhook_on_wire(each) for each in found[:most] if {*each.events} & {*MLFLOW_NEWS}]
    if len(found) <= most:
        return {"webhooks": page}
    token = base64.b64encode(json.dumps({"offset": offset + most}).encode()).decode()
    return {"webhooks": page, "next_page_token": token}


def _offset(token: str) -> int:
    if not token:
        return 0
    try:
        offset = json.loads(base64.b64decode(token, validate=True))["offset"]
        if isinstance(offset, int) and 0 < offset < 1 << 62:
            return offset
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise Invalid("Invalid page token, could not base64-decode", where="page_token")


async def get(call: Call) -> object:
    """Return a webhook."""
    return {"webhook": webhook_on_wire(await call.ask(find_webhook, call.store, call.names["webhook_id"]))}


async def update(call: Call) -> object:
    """Change a webhook."""
    given = await call.read(_Update)
    change = WebhookChange(
        name=given.name or None,
        url=given.url or None,
        events=[each.name for each in given.events] or None,
        description=given.description,
        secret=given.secret,
        status=given.status,
    )
    identifier = call.names["webhook_id"]
    webhook = await call.ask(
        lambda: update_webhook(
            call.store, identifier, change, allow_private=allow_private(), actor=call.actor, at=call.now
        )
    )
    return {"webhook": webhook_on_wire(webhook)}


async def delete(call: Call) -> object:
    """Delete a webhook."""
    await call.ask(lambda: delete_webhook(call.store, call.names["webhook_id"], actor=call.actor))
    return {}


async def test(call: Call) -> object:
    """Send an example to a webhook and tell what it answered."""
    given = await call.read(_Test)
    webhook = await call.ask(find_webhook, call.store, call.names["webhook_id"])
    name = webhook.events[0] if given.event is None else given.event.name
    # not on a reader: a receiver that does not answer would keep everybody's questions waiting
    sent = await asyncio.to_thread(
        try_webhook,
        call.store,
        webhook,
        name,
        example_of(name),
        clock=call.workspace.clock,
        allow_private=allow_private(),
    )
    result: dict[str, object] = {"success": sent.status is not None and sent.status < 400}
    if sent.status is None:
        return {"result": {**result, "error_message": f"Failed to test webhook: {sent.error}"}}
    return {"result": {**result, "response_status": sent.status, "response_body": sent.body}}


ROUTES = (
    Route("POST", "webhooks", create, "webhooks.write"),
    Route("GET", "webhooks", list_, "webhooks.read"),
    Route("GET", "webhooks/{webhook_id}", get, "webhooks.read"),
    Route("PATCH", "webhooks/{webhook_id}", update, "webhooks.write"),
    Route("DELETE", "webhooks/{webhook_id}", delete, "webhooks.delete"),
    Route("POST", "webhooks/{webhook_id}/test", test, "webhooks.write"),
)
