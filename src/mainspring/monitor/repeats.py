"""Do requests come more than once? A client or a proxy that tries again makes a load that nobody asked for.

The log counts a request that came again once (`predictions.log.once`), so nothing that is measured changes.
"""

from datetime import UTC, datetime

from mainspring.domain.policy import Monitor
from mainspring.domain.version import ModelVersion
from mainspring.monitor.finding import Finding
from mainspring.monitor.quality import block_now
from mainspring.predictions.log import PredictionLog

__all__ = ["repeated_requests"]

#: A share of the rows that some lost answers do not explain.
_MOST = 0.05


def repeated_requests(log: PredictionLog, version: ModelVersion, rule: Monitor, *, now: datetime) -> Finding | None:
    """Return a finding when more than a twentieth of the last block's rows came again under their request's id."""
    until = block_now(now, rule.every).astype(datetime).replace(tzinfo=UTC)
    rows, again = log.repeats(version.model, since=until - rule.every, until=until)
    if again <= _MOST * rows:
        return None
    text = f"{again:,} of the {rows:,} rows of the last block came more than once, by the ids of their requests"
    return Finding(
        f"Requests to {version.model} come more than once",
        text,
        "infrastructure",
        f"{text}: a client or a proxy sends them again",
        "look at its timeout and its retries; each request is counted once, so no figure of the model is touched",
        evidence={"rows": rows, "again": again},
    )
