"""The audit log over HTTP, and its proof; and who was told what."""

import msgspec

from mainspring.errors import Invalid
from mainspring.notify.deliveries import list_deliveries
from mainspring.notify.webhooks import create_webhook, find_webhook, list_webhooks, parse_threshold
from mainspring.server.call import Call, Route
from mainspring.server.mlflow.webhooks import allow_private
from mainspring.store.events import events, verify_chain

__all__ = ["ROUTES"]

_MOST = 10_000


class _Page(msgspec.Struct):
    subject: str | None = None
    verb: str | None = None
    after: int = 0
    limit: int = 1000


class _Noted(msgspec.Struct):
    number: int | None = None
    hash: str = ""


class _Webhook(msgspec.Struct):
    name: str
    url: str
    events: list[str]
    description: str = ""
    secret: str = ""
    threshold: str = ""
    experiment: str = ""


async def entries(call: Call) -> object:
    """Return entries behind a number, oldest first."""
    given = await call.read(_Page)
    if not 1 <= given.limit <= _MOST:
        raise Invalid(f"limit is {given.limit}", where="limit", next_step=f"give 1 to {_MOST}")
    return await call.ask(
        lambda: {
            "entries": events(call.store, subject=given.subject, verb=given.verb, after=given.after, limit=given.limit)
        }
    )


async def verify(call: Call) -> object:
    """Recompute the chain."""
    given = await call.read(_Noted)
    noted = None if given.number is None else (given.number, given.hash)

    def answer() -> object:
        count = verify_chain(call.store, noted=noted)
        last = events(call.store, after=count - 1, limit=1)
        return {"verified": True, "entries": count, "last_hash": last[0].hash if last else ""}

    return await call.ask(answer)


async def webhooks(call: Call) -> object:
    """Return all webhooks, with ours among their events; addresses with secrets in them are not shown."""
    found = await call.ask(list_webhooks, call.store)
    return {"webhooks": [{**msgspec.to_builtins(each), "url": each.shown_url} for each in found]}


async def add_webhook(call: Call) -> object:
    """Make a webhook that is told any of the news."""
    given = await call.read(_Webhook)
    threshold = parse_threshold(given.threshold, given.experiment) if given.threshold else None
    made = await call.ask(
        lambda: create_webhook(
            call.store,
            given.name,
            given.url,
            given.events,
            description=given.description,
            secret=given.secret,
            threshold=threshold,
            allow_private=allow_private(),
            actor=call.actor,
            at=call.now,
        )
    )
    return {**msgspec.to_builtins(made), "url": made.shown_url}


async def deliveries(call: Call) -> object:
    """Return what was, or is to be, told to a webhook."""

    def answer() -> object:
        found = find_webhook(call.store, call.names["webhook_id"])
        return {"deliveries": list_deliveries(call.store, found.webhook_id)}

    return await call.ask(answer)


_AT = "/api/mainspring/v1"
ROUTES = (
    Route("GET", f"{_AT}/audit", entries, "audit.read"),
    Route("GET", f"{_AT}/audit/verify", verify, "audit.read"),
    Route("GET", f"{_AT}/webhooks", webhooks, "webhooks.read"),
    Route("POST", f"{_AT}/webhooks", add_webhook, "webhooks.write"),
    Route("GET", f"{_AT}/webhooks/{{webhook_id}}/deliveries", deliveries, "webhooks.read"),
)
