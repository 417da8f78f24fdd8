"""Incidents over HTTP, and the door for Alertmanager: what it sends to a webhook receiver becomes incidents.

Source: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config, payload version 4.
"""

from typing import Literal

import msgspec

from mainspring.errors import Invalid
from mainspring.monitor.alerts import take_alert
from mainspring.monitor.incidents import find_incident, list_incidents
from mainspring.server.call import Call, Route

__all__ = ["ROUTES"]


class _Listing(msgspec.Struct):
    model: str | None = None
    only_open: bool = False


class _Alert(msgspec.Struct, rename="camel"):
    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    fingerprint: str
    annotations: dict[str, str] = {}
    starts_at: str = ""
    ends_at: str = ""
    generator_url: str = msgspec.field(default="", name="generatorURL")


class _Notification(msgspec.Struct, rename="camel"):
    version: str
    alerts: list[_Alert]
    group_key: str = ""
    receiver: str = ""
    truncated_alerts: int = 0


async def listing(call: Call) -> object:
    """Return incidents without their timelines, newest first."""
    given = await call.read(_Listing)
    return {
        "incidents": await call.ask(lambda: list_incidents(call.store, model=given.model, only_open=given.only_open))
    }


async def one(call: Call) -> object:
    """Return an incident with its timeline."""
    return await call.ask(find_incident, call.store, call.names["incident_id"])


async def alertmanager(call: Call) -> object:
    """Take the alerts of one notification; one that comes twice adds to its incident."""
    given = await call.read(_Notification)
    if given.version != "4":
        raise Invalid(
            f"The payload's version is {given.version!r}", where="version", next_step="version 4 is understood"
        )

    def take() -> object:
        taken = [
            take_alert(
                call.store,
                fingerprint=alert.fingerprint,
                is_firing=alert.status == "firing",
                labels=alert.labels,
                annotations=alert.annotations,
                evidence={
                    "starts_at": alert.starts_at,
                    "source": alert.generator_url,
                    "group": given.group_key,
                    "receiver": given.receiver,
                },
                at=call.now,
                actor=call.actor or "alertmanager",
            )
            for alert in given.alerts
        ]
        return {
            "incidents": [
                {"incident_id": each.incident_id, "status": each.status} for each in taken if each is not None
            ],
            "truncated_alerts": given.truncated_alerts,
        }

    return await call.ask(take)


_AT = "/api/mainspring/v1"
ROUTES = (
    Route("GET", f"{_AT}/incidents", listing, "incidents.read"),
    Route("GET", f"{_AT}/incidents/{{incident_id}}", one, "incidents.read"),
    Route("POST", f"{_AT}/alertmanager", alertmanager, "incidents.write"),
)
