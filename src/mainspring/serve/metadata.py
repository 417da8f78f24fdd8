"""What the server says about itself and its models: Open Inference metadata, our extras, and gauges for the metrics.

Everything here is read off the endpoints when asked; nothing is kept.
"""

from collections.abc import Iterator, Mapping

from mainspring.bundle.predictor import form_of
from mainspring.domain.signature import Column
from mainspring.errors import NotFound
from mainspring.serve.decode import DATATYPES
from mainspring.serve.endpoint import Active, Endpoint, Endpoints, LoadedVersion
from mainspring.serve.metrics import Gauge
from mainspring.serve.numbers import Series

__all__ = ["gauges", "index", "model_metadata", "server_metadata", "told_from_zero"]

_EXTENSIONS = ["binary_tensor_data"]
_SEVERITIES = ("stop", "quarantine", "warn")


def server_metadata(version: str) -> dict[str, object]:
    """Return ``GET /v2``."""
    return {"name": "mainspring", "version": version, "extensions": _EXTENSIONS}


def index(endpoints: Endpoints, paths: list[str]) -> dict[str, object]:
    """Return ``GET /``: the models, and every path with what it takes."""
    return {"name": "mainspring", "models": [endpoint.model for endpoint in endpoints.all()], "paths": paths}


def model_metadata(
    endpoint: Endpoint, version: str | None, rechecked: Mapping[str, float] | None = None
) -> dict[str, object]:
    """Return ``GET /v2/models/{model}``: the columns by Open Inference, and under ``serving`` what we add.

    `rechecked` counts the answers that were scored again by the original.

    Raises:
        NotFound: that version is not loaded.
        Unavailable: no version is.
    """
    serving = _serving(endpoint) | {"recheck": dict(rechecked or {})}
    if endpoint.active is None:
        # Told even so: the reason why nothing answers is the first thing its reader wants to know.
        return {"name": endpoint.model, "versions": [], "platform": "", "inputs": [], "outputs": [], "serving": serving}
    active = endpoint.active
    wanted = active.table.champion.version if version is None else _known(active, version)
    manifest = active.loaded[wanted].predictor.manifest
    signature = manifest.signature
    width = [-1, len(signature.classes)] if signature.task == "multiclass" else [-1]
    outputs: list[dict[str, object]] = [{"name": "score", "datatype": "FP64", "shape": width}]
    if signature.task != "regression":
        outputs.append({"name": "label", "datatype": "BYTES", "shape": [-1]})
    return {
        "name": endpoint.model,
        "versions": [str(each) for each in sorted(active.loaded)],
        "platform": f"mainspring_{manifest.flavor}",
        "inputs": [_input(column) for column in signature.columns],
        "outputs": outputs,
        "task": signature.task,
        "classes": list(signature.classes),
        "threshold": manifest.threshold,
        "target": signature.target,
        "example": signature.example,
        "serving": serving,
    }


def gauges(endpoints: Endpoints) -> Mapping[str, Gauge]:
    """Return the gauges of ``/metrics``."""
    active = [endpoint.active for endpoint in endpoints.all() if endpoint.active]
    infos = [
        ((each.table.model, str(route.version), route.role, each.loaded[route.version].digest), 1.0)
        for each in active
        for route in each.table.routes
    ]
    weights = [
        ((each.table.model, str(route.version), route.role), _share(each, route.version))
        for each in active
        for route in each.table.routes
    ]
    revisions = [((each.table.model,), float(each.table.revision)) for each in active]
    ready = [((endpoint.model,), float(endpoint.active is not None)) for endpoint in endpoints.all()]
    failing = [((endpoint.model,), float(endpoint.last_error is not None)) for endpoint in endpoints.all()]
    return {
        "model_info": (("model", "version", "route", "bundle"), "The versions that answer.", infos),
        "model_route_percent": (("model", "version", "route"), "Share of the traffic.", weights),
        "model_route_revision": (("model",), "The route table that is followed.", revisions),
        "model_ready": (("model",), "1 when a version answers.", ready),
        "model_reload_failing": (("model",), "1 when the latest route change could not be followed.", failing),
    }


def told_from_zero(endpoints: Endpoints) -> Iterator[Series]:
    """Yield the counters that the shipped alert rules ask, of every model here and of the versions that answer.

    A rate is of two values, so of a counter that is born with its first event that event is never seen, and one that is
    not there is not 0. Source: Prometheus, Best practices, Instrumentation, "Avoid missing metrics".
    """
    for endpoint in endpoints.all():
        yield "prediction_log_dropped_total", endpoint.model
        if (active := endpoint.active) is None:
            continue
        for route in active.table.routes:
            labels = endpoint.model, str(route.version)
            yield "model_requests_total", *labels, route.role, "200"
            yield "model_rows_total", *labels, route.role
            yield "recheck_flips_total", *labels
            if (row_rules := active.loaded[route.version].row_rules) is not None:
                yield "model_rows_refused_total", endpoint.model
                for rule in row_rules.file.rules:
                    yield "model_rule_breaks_total", endpoint.model, rule.name, rule.severity


def _serving(endpoint: Endpoint) -> dict[str, object]:
    active, error = endpoint.active, endpoint.last_error
    return {
        "ready": active is not None,
        "revision": active.table.revision if active else None,
        "routes": [
            {
                "version": route.version,
                "role": route.role,
                "percent": _share(active, route.version),
                "bundle": active.loaded[route.version].digest,
                "form": form_of(active.loaded[route.version].predictor),
                "row_rules": _row_rules(active.loaded[route.version]),
            }
            for route in active.table.routes
        ]
        if active
        else [],
        "standby": sorted(endpoint.standby),
        "last_error": {"code": error.code, "what": error.what, "where": error.where, "next": error.next_step}
        if error
        else None,
    }


def _row_rules(loaded: LoadedVersion) -> dict[str, object] | None:
    """Return the names of the rules that guard a version by what they do, and why others of its schema do not."""
    if loaded.row_rules is None:
        return None
    file = loaded.row_rules.file
    named = {severity: [rule.name for rule in file.rules if rule.severity == severity] for severity in _SEVERITIES}
    return {**{severity: names for severity, names in named.items() if names}, "left_out": file.left_out}


def _share(active: Active, version: int) -> float:
    """Return the share in percent that a version really gets: the champion answers what canaries leave."""
    routes = {route.version: route for route in active.table.routes}
    if routes[version].role != "champion":
        return routes[version].weight
    return 100.0 - sum(route.weight for route in routes.values() if route.role == "canary")


def _known(active: Active, version: str) -> int:
    for each in active.loaded:
        if str(each) == version:
            return each
    raise NotFound(
        f"Version {version} of `{active.table.model}` is not loaded here",
        where=f"models/{active.table.model}/versions/{version}",
        next_step=f"loaded: {', '.join(map(str, sorted(active.loaded)))}",
    )


def _input(column: Column) -> dict[str, object]:
    described: dict[str, object] = {
        "name": column.name,
        "datatype": DATATYPES[column.type][0],
        "shape": [-1],
        "type": column.type,
        "nullable": column.nullable,
    }
    if column.low is not None or column.high is not None:
        described["range"] = [column.low, column.high]
    if column.categories is not None:
        described["categories"] = list(column.categories)
    return described
