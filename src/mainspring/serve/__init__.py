"""The prediction server: a lean process of its own that answers for models, and writes down what it answered.

Nouns: *route table* (which versions of a model answer, and for what share), *endpoint* (a model's versions, loaded),
*journal* (what was answered), *problem* (an error as the wire carries it). The process knows no registry: it follows a
folder of route files. Start reading at `routes`, then `endpoint` (hot swap), `service` (one request) and `app` (HTTP).
"""

from importlib import import_module

__all__ = [
    "PredictionClient",
    "Route",
    "RouteTable",
    "ServerProcess",
    "read_routes",
    "write_routes",
]

# Lazy: whoever writes a route file needs neither the server nor its client.
_HOMES = {
    "PredictionClient": "client",
    "Route": "routes",
    "RouteTable": "routes",
    "ServerProcess": "process",
    "read_routes": "routes",
    "write_routes": "routes",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
