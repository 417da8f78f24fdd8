"""Deployment: which version answers which share of the traffic, and every change of that.

Nouns: `Deployment` (one version's time in production), canary, route table (what the prediction server follows).
Start reading in `rollout.py`.
"""

from mainspring.deploy.rollout import (
    active_canary,
    advance,
    list_deployments,
    publish_routes,
    put_live,
    roll_back,
    roll_back_champion,
    start_canary,
)
from mainspring.domain.deployment import Deployment

__all__ = [
    "Deployment",
    "active_canary",
    "advance",
    "list_deployments",
    "publish_routes",
    "put_live",
    "roll_back",
    "roll_back_champion",
    "start_canary",
]
