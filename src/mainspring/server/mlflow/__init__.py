"""MLflow's classic REST surface: pure translation between its wire and the rooms below. It owns no table and no rule.

Nouns: `Route` (of one endpoint), table (the routes of one group of endpoints, one file each). Start reading in
`runs.py`; `errors.py` says how errors travel. Paths are served below ``/api/2.0`` for clients and once more below
``/ajax-api/2.0``, as MLflow does.
Source: mlflow/protos/service.proto and mlflow/server/handlers.py, MLflow 3.17.
"""

from mainspring.server.call import Route
from mainspring.server.mlflow import experiments, runs, service, webhooks

__all__ = ["MLFLOW_ROUTES"]

_TABLES = (experiments.ROUTES, runs.ROUTES, webhooks.ROUTES)

MLFLOW_ROUTES: tuple[Route, ...] = (
    *service.ROUTES,
    *(
        route._replace(path=f"/{root}/2.0/mlflow/{route.path}")
        for table in _TABLES
        for route in table
        for root in ("api", "ajax-api")
    ),
)
