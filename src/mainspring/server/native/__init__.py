"""The native API below ``/api/mainspring/v1``: what MLflow's wire has no words for.

Nouns: `Route` (of one endpoint), table (the routes of one group of endpoints, one file each). Start reading here.
"""

from mainspring.server.call import Route
from mainspring.server.native import access, audit, incidents, registry, review, runs, search, status

__all__ = ["NATIVE_ROUTES"]

NATIVE_ROUTES: tuple[Route, ...] = (
    *runs.ROUTES,
    *registry.ROUTES,
    *access.ROUTES,
    *audit.ROUTES,
    *search.ROUTES,
    *incidents.ROUTES,
    *review.ROUTES,
    *status.ROUTES,
)
