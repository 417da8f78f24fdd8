"""MLflow's classic REST surface: pure translation between its wire and the rooms below. It owns no table and no rule.

Nouns: `Route` (of one endpoint), table (the routes of one group of endpoints, one file each). Start reading in
`runs.py`; `errors.py` says how errors travel. Paths are served below ``/api/2.0`` for clients and once more below
``/ajax-api/2.0``, as MLflow does.
Source: mlflow/protos/service.proto and mlflow/server/handlers.py, MLflow 3.17.
"""

from mainspring.server.call import Route
from mainspring.server.mlflow import (
    artifacts,
    experiments,
    graphql,
    logged_models,
    logging,
    metrics,
    model_versions,
    registered_models,
    runs,
    service,
    webhooks,
)

__all__ = ["MLFLOW_ROUTES"]

_TABLES = (
    experiments.ROUTES,
    runs.ROUTES,
    logging.ROUTES,
    metrics.ROUTES,
    logged_models.ROUTES,
    artifacts.ROUTES,
    registered_models.ROUTES,
    model_versions.ROUTES,
    webhooks.ROUTES,
)


def _below(prefix: str, *tables: tuple[Route, ...]) -> list[Route]:
    return [
        route._replace(path=f"/{root}/{prefix}/{route.path}")
        for table in tables
        for route in table
        for root in ("api", "ajax-api")
    ]


MLFLOW_ROUTES: tuple[Route, ...] = (
    *service.ROUTES,
    *artifacts.PAGE_ROUTES,
    *model_versions.PAGE_ROUTES,
    *graphql.PAGE_ROUTES,
    *logged_models.MISSPELT_ROUTES,
    *_below("2.0/mlflow", *_TABLES),
    *_below("2.0/mlflow-artifacts", artifacts.TREE_ROUTES),
    *_below("3.0/mlflow", service.INFO_ROUTES),
)
