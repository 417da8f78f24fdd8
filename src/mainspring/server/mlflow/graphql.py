"""GraphQL as MLflow's pages ask it: each root field is a REST route, asked with the same words and cut to fit.

It owns no logic: who may ask what, the limits and the answers are those of the routes. Introspection is not offered.
Source: mlflow/server/handlers.py, `_graphql`, MLflow 3.17. `graphql_words.py` reads a request, `graphql_types.py` knows
the fields.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec

from mainspring.errors import Invalid, MainspringError
from mainspring.server.admission import admit
from mainspring.server.call import Call, Message, Reply, Route
from mainspring.server.mlflow.graphql_types import EMPTY, ROOTS, TYPES
from mainspring.server.mlflow.graphql_words import Field, read_operation

__all__ = ["PAGE_ROUTES"]

#: Echo what is sent, so that a client can see whether the endpoint is there.
_ECHOES = {"test": ("query", "Test"), "testMutation": ("mutation", "TestMutation")}
_KINDS = {"query": "Query", "mutation": "Mutation"}


class _Asked(msgspec.Struct):
    query: str
    variables: dict[str, Any] = {}
    operationName: str = ""  # noqa: N815  # the protocol's word


async def graphql(call: Call) -> object:
    """Answer one operation; what is wrong with it is told among its errors."""
    given = await call.read(_Asked)
    try:
        operation = read_operation(given.query, given.variables, given.operationName or None)
        asked = [
            (each, _check_root(operation.kind, each)) for each in _merged(_KINDS[operation.kind], operation.fields)
        ]
    except Invalid as error:
        return {"data": None, "errors": [error.what]}
    data: dict[str, object] = {}
    errors: list[str] = []
    for field, kind in asked:
        try:
            data[field.shown] = await _root(call, operation.kind, field, kind)
        except MainspringError as error:
            data[field.shown] = None
            errors.append(error.what)
    return {"data": data, "errors": errors or None}


def _check_root(operation: str, field: Field) -> str:
    """Return the type of a root field, after looking through all that is selected below it."""
    if field.name == "__typename":
        return "String"
    if field.name in _ECHOES and _ECHOES[field.name][0] == operation:
        kind = _ECHOES[field.name][1]
    elif field.name in ROOTS and operation in ROOTS[field.name].kinds:
        root = ROOTS[field.name]
        given = field.arguments.get("input", {})
        if not isinstance(given, dict):
            raise _refused(f"The input of '{field.name}' is an object.")
        unknown = given.keys() - {*root.given}
        if unknown:
            raise _refused(f"Field '{min(unknown)}' is not defined by type '{root.type.replace('Response', 'Input')}'.")
        kind = root.type
    else:
        raise _refused(f"Cannot query field '{field.name}' on type '{_KINDS[operation]}'.")
    _check(kind, field)
    return kind


def _check(kind: str, field: Field) -> None:
    known = TYPES.get(kind.strip("[]"))
    if known is None:
        if field.fields:
            raise _refused(f"Field '{field.name}' must not have a selection since type '{kind}' has no subfields.")
        return
    if not field.fields:
        hint = f"Did you mean '{field.name} {{ ... }}'?"
        raise _refused(f"Field '{field.name}' of type '{kind}' must have a selection of subfields. {hint}")
    for each in _merged(kind.strip("[]"), field.fields):
        if each.name != "__typename":
            if each.name not in known:
                raise _refused(f"Cannot query field '{each.name}' on type '{kind.strip('[]')}'.")
            _check(known[each.name], each)


def _merged(kind: str, fields: Iterable[Field]) -> list[Field]:
    """Return fields with those of one name in the answer made one.

    Raises:
        Invalid: a fragment is for another type, or two that are not the same would have one name.
    """
    found: dict[str, Field] = {}
    for each in fields:
        if each.on and each.on != kind:
            raise _refused(f"A fragment on type '{each.on}' cannot be spread on type '{kind}'.")
        before = found.get(each.shown)
        if before is None:
            found[each.shown] = each
        elif (before.name, before.arguments) != (each.name, each.arguments):
            raise _refused(f"Fields '{each.shown}' conflict. Use different aliases on the fields.")
        else:
            found[each.shown] = before._replace(fields=(*before.fields, *each.fields))
    return list(found.values())


async def _root(call: Call, operation: str, field: Field, kind: str) -> object:
    if field.name == "__typename":
        return _KINDS[operation]
    if field.name in _ECHOES:
        return await _told(call, kind, {"output": field.arguments.get("inputString")}, field)
    words = {_wire_name(name): value for name, value in field.arguments.get("input", {}).items()}
    return await _told(call, kind, await _ask(call, ROOTS[field.name].route, words), field)


async def _ask(call: Call, route: Route, words: dict[str, Any]) -> dict[str, Any]:
    """Return what a REST route answers to the same caller."""
    body = msgspec.json.encode(words)

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    asked = replace(
        call,
        method="POST",
        query_string=b"",
        headers={**call.headers, b"content-type": b"application/json"},
        receive=receive,
        names={},
    )
    asked.who = await admit(asked, route)
    answer = await route.answer(asked)
    encoded = answer.body if isinstance(answer, Reply) else msgspec.json.encode(answer)
    found: dict[str, Any] = msgspec.json.decode(encoded)  # type: ignore[arg-type]  # these routes stream nothing
    return found


async def _told(call: Call, kind: str, value: Any, field: Field) -> Any:
    """Return a value of the wire as its type travels in GraphQL, with the fields that were asked for."""
    if kind.startswith("["):
        return [await _told(call, kind[1:-1], each, field) for each in value or ()]
    if kind == "Long":
        return str(value or 0)
    if kind == "Float":
        return None if isinstance(value, str) else float(value or 0)  # NaN, which travels as text
    if kind in EMPTY:
        return EMPTY[kind] if value is None else value
    if kind == "ApiError":
        return None
    return {
        each.shown: kind
        if each.name == "__typename"
        else await _told(call, TYPES[kind][each.name], await _member(call, kind, value or {}, each), each)
        for each in _merged(kind, field.fields)
    }


async def _member(call: Call, kind: str, value: dict[str, Any], field: Field) -> Any:
    """Return what an object has under a field's name; a run leads to its experiment and its models' versions."""
    if kind == "MlflowRunExtension" and field.name == "experiment":
        found = await _ask(call, ROOTS["mlflowGetExperiment"].route, {"experiment_id": value["info"]["experiment_id"]})
        return found["experiment"]
    if kind == "MlflowRunExtension" and field.name == "modelVersions":
        words = {"filter": f"run_id='{value['info']['run_id']}'"}
        return (await _ask(call, ROOTS["mlflowSearchModelVersions"].route, words)).get("model_versions")
    return value.get(_wire_name(field.name))


def _wire_name(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def _refused(what: str) -> Invalid:
    return Invalid(what, where="query")


#: At the root, as MLflow serves it. What it leads to says itself what the caller must be allowed.
PAGE_ROUTES = (Route("POST", "/graphql", graphql, "runs.read"), Route("GET", "/graphql", graphql, "runs.read"))
