"""Were requests refused because the disk was full? By what the prediction servers told when it was not any more."""

from datetime import UTC, datetime

from mainspring.domain.policy import Monitor
from mainspring.domain.version import ModelVersion
from mainspring.monitor.finding import Finding
from mainspring.monitor.quality import block_now
from mainspring.predictions.gaps import gaps
from mainspring.store.protocol import Store

__all__ = ["lost_requests"]


def lost_requests(store: Store, version: ModelVersion, rule: Monitor, *, now: datetime) -> Finding | None:
    """Return a finding when requests of the block under way, or of the one before, could not be written down."""
    since = block_now(now, rule.every).astype(datetime).replace(tzinfo=UTC) - rule.every
    found = gaps(store, version.model, since=since, until=now)
    if not found:
        return None
    requests, rows = sum(each.requests for each in found), sum(each.rows for each in found)
    first, last = min(each.first_at for each in found), max(each.last_at for each in found)
    text = f"{requests:,} requests with {rows:,} rows from {first} to {last} got no answer: {found[-1].reason}"
    return Finding(
        f"Requests to {version.model} were refused",
        text,
        "infrastructure",
        text,
        "make space for the prediction log; an answer that cannot be written down is not given. The server goes on by"
        " itself, and those who asked may ask again",
        severity="page",
        evidence={"requests": requests, "rows": rows, "from": first, "until": last},
    )
