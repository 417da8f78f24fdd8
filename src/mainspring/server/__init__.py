"""The control server: MLflow's REST paths and the native API over the rooms below. It decodes, asks one room, encodes.

Nouns: `Call` (one request with what it may ask), `Route` (a method and a path with the function that answers). Start
reading in `app.py`; `mlflow/` has one file for each group of MLflow's endpoints, `native/` our own.
"""

from mainspring.server.call import Call, Reply, Route

__all__ = ["Call", "Reply", "Route"]
