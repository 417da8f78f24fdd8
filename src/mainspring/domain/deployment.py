"""Deployments: a version on its way to all of the traffic, or off it again."""

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Deployment", "DeploymentStatus"]

#: canary: takes a share of the traffic; live: takes all that no canary takes; shadow: computes a share once more,
#: unseen; superseded: was live, another is now; rolled_back: was taken off for doing harm; ended: was a shadow.
DeploymentStatus = Literal["canary", "live", "shadow", "superseded", "rolled_back", "ended"]


@dataclass(frozen=True, slots=True)
class Deployment:
    """One version's time in production. `weight` is its share of traffic in percent, `stage` the index of its share.

    `state` is what the canary's test remembers, so that a restarted loop goes on counting where it stopped.
    """

    deployment_id: str
    model: str
    version: int
    status: DeploymentStatus
    stage: int
    weight: float
    started_at: str
    stage_at: str
    ended_at: str | None
    reason: str
    state: dict[str, object] = field(default_factory=dict)
