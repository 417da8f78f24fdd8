"""The OpenAPI document of a server, made of its models' signatures: types, what training saw, an example.

What training saw (ranges, categories) is told and not demanded, because other values are answered too, with a warning.
"""

from typing import Any

import msgspec

from mainspring.domain.signature import Column, Signature
from mainspring.serve.endpoint import Endpoint, Endpoints
from mainspring.serve.explaining import MOST_MS, USUAL_MS
from mainspring.serve.problems import Problem
from mainspring.serve.wire import Answer, ExplainedAnswer, Feedback, FeedbackAnswer

__all__ = ["openapi_document"]

_Schema = dict[str, Any]  # Any: JSON Schema
_REF = "#/components/schemas/{name}"
_EXACT = 2**53 - 1


def openapi_document(endpoints: Endpoints, version: str) -> _Schema:
    """Return the document (OpenAPI 3.1) for the models that answer now."""
    (answer, explained, feedback, accepted, problem), schemas = msgspec.json.schema_components(
        [Answer, ExplainedAnswer, Feedback, FeedbackAnswer, Problem], ref_template=_REF
    )
    problems = {"default": _content("What is wrong, where, and what to do", problem, "application/problem+json")}
    health = {"get": {"summary": "Whether the process answers", "responses": {"200": {"description": "It does"}}}}
    told = {"summary": "Tell what came true", "requestBody": _body(feedback), "tags": ["labels"]}
    paths: dict[str, Any] = {
        "/v2/health/live": health,
        "/feedback": {"post": told | {"responses": {"202": _content("Labels taken", accepted)} | problems}},
    }
    for endpoint in endpoints.all():
        if endpoint.active is None:
            continue
        signature = endpoint.active.loaded[endpoint.active.table.champion.version].predictor.signature
        schemas[f"{endpoint.model}.row"] = row_schema(signature)
        paths[f"/models/{endpoint.model}/predict"] = {
            "post": {
                "operationId": f"predict_{endpoint.model}",
                "summary": f"Predict `{signature.target}` with {_described(endpoint)}",
                "tags": [endpoint.model],
                "parameters": [*_headers(), *_queries()],
                "requestBody": _body(_question(endpoint.model, signature)),
                "responses": {"200": _answered(answer, explained)} | problems,
            }
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Mainspring prediction server", "version": version},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def row_schema(signature: Signature) -> _Schema:
    """Return the JSON Schema of one row."""
    schema: _Schema = {
        "type": "object",
        "required": list(signature.names),
        "additionalProperties": False,
        "properties": {column.name: _column_schema(column) for column in signature.columns},
    }
    if signature.example:
        schema["examples"] = [signature.example]
    return schema


def _column_schema(column: Column) -> _Schema:
    kind = "string" if column.type == "timestamp" else column.type
    schema: _Schema = {"type": [kind, "null"] if column.nullable else kind}
    if column.type == "integer":
        schema |= {"minimum": -_EXACT, "maximum": _EXACT}
    if column.type == "timestamp":
        schema |= {"format": "date-time"}
    seen = []
    if column.low is not None and column.high is not None:
        schema["x-training-range"] = [column.low, column.high]
        seen.append(f"{column.low:g} to {column.high:g}")
    if column.categories is not None:
        schema["x-training-categories"] = list(column.categories)
        seen.append(", ".join(column.categories[:20]) + (" ..." if len(column.categories) > 20 else ""))
    if column.nullable and not column.missing_seen:
        seen.append("no missing value")
    if seen:
        schema["description"] = f"Training saw: {'; '.join(seen)}."
    return schema


def _question(model: str, signature: Signature) -> _Schema:
    rows = {"type": "array", "minItems": 1, "maxItems": 10_000, "items": {"$ref": _REF.format(name=f"{model}.row")}}
    schema: _Schema = {
        "type": "object",
        "required": ["rows"],
        "properties": {"rows": rows, "id": {"type": ["string", "null"], "description": "Your own id, for the log."}},
    }
    if signature.example:
        schema["examples"] = [{"rows": [signature.example]}]
    return schema


def _described(endpoint: Endpoint) -> str:
    assert endpoint.active is not None
    return f"version {endpoint.active.table.champion.version} of `{endpoint.model}`"


def _headers() -> list[_Schema]:
    told = {
        "x-route-key": ("Requests with one key get one version while a canary widens.", {"type": "string"}),
        "x-timeout-ms": ("How long the client waits.", {"type": "integer", "minimum": 1, "maximum": 999_999_999}),
    }
    return [
        {"name": name, "in": "header", "required": False, "description": what, "schema": schema}
        for name, (what, schema) in told.items()
    ]


def _queries() -> list[_Schema]:
    told = {
        "explain": ("Whether to say what each column added to the scores.", {"type": "boolean", "default": False}),
        "explain_ms": (
            "How long an explanation may take.",
            {"type": "integer", "minimum": 1, "maximum": MOST_MS, "default": USUAL_MS},
        ),
    }
    return [
        {"name": name, "in": "query", "required": False, "description": what, "schema": schema}
        for name, (what, schema) in told.items()
    ]


def _answered(answer: _Schema, explained: _Schema) -> _Schema:
    either: _Schema = {"anyOf": [answer, explained]}
    return _content("One prediction for each row, in order; with contributions where they were asked for", either)


def _body(schema: _Schema) -> _Schema:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _content(description: str, schema: _Schema, kind: str = "application/json") -> _Schema:
    return {"description": description, "content": {kind: {"schema": schema}}}
