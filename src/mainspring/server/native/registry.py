"""The registry beyond MLflow's words: evidence, approvals, comments, aliases with history, as-of, undo and override."""

from datetime import datetime

import msgspec

from mainspring.access.roles import Resource
from mainspring.access.users import check_holds
from mainspring.deploy.promotion import erase_model, erase_version, move_alias, undo_move
from mainspring.domain.moments import end_of, to_iso
from mainspring.domain.policy import Approval, by
from mainspring.domain.version import ModelVersion, RegisteredModel
from mainspring.errors import Denied
from mainspring.registry.aliases import alias_history, version_at
from mainspring.registry.approvals import approve, list_approvals
from mainspring.registry.comments import comment_on, list_comments
from mainspring.registry.control import alias_rules, protect_alias, unprotect_alias
from mainspring.registry.evidence import gate_results
from mainspring.registry.models import ModelChange, find_model, update_model
from mainspring.registry.versions import find_version
from mainspring.server.call import Call, Route

__all__ = ["ROUTES"]


class _Asked(msgspec.Struct):
    alias: str = ""
    as_of: str = ""


class _Move(msgspec.Struct):
    version: int | None = None
    reason: str = "by hand"
    override: bool = False


class _Undo(msgspec.Struct):
    reason: str = "undone by hand"


class _Rule(msgspec.Struct):
    roles: list[str] = []
    gates: bool = False
    approver_role: str = ""
    approvals: int = 1


class _Approve(msgspec.Struct):
    role: str = "reviewer"
    comment: str = ""
    approver: str = ""


class _Comment(msgspec.Struct):
    text: str


class _Change(msgspec.Struct):
    description: str | None = None
    owner: str | None = None


def _model(call: Call, verb: str, alias: str = "") -> RegisteredModel:
    model = find_model(call.store, call.names["name"])
    call.allow(verb, Resource("models", model.name, model.tags, alias))
    return model


def _version(call: Call, verb: str, alias: str = "", number: str = "") -> ModelVersion:
    name = call.names["name"]
    version = find_version(call.store, f"{name}/{number or call.names['version']}")
    tags = {**find_model(call.store, name).tags, **version.tags}
    call.allow(verb, Resource("models", name, tags, alias))
    return version


async def show(call: Call) -> object:
    """Return a version with its evidence, gates, approvals and comments."""

    def answer() -> object:
        version, store = _version(call, "read"), call.store
        return {
            "version": version,
            "gates": gate_results(store, version),
            "approvals": list_approvals(store, version),
            "comments": list_comments(store, version),
        }

    return await call.ask(answer)


async def history(call: Call) -> object:
    """Return the moves of a model's aliases, or where they pointed at a moment."""
    given = await call.read(_Asked)

    def answer() -> object:
        model = _model(call, "read").name
        moves = alias_history(call.store, model, given.alias or None)
        if not given.as_of:
            return {"model": model, "moves": moves}
        moment: datetime = end_of(given.as_of)
        pointed = {name: version_at(call.store, model, name, moment) for name in {each.alias for each in moves}}
        aliases = {name: number for name, number in sorted(pointed.items()) if number is not None}
        return {"model": model, "as_of": to_iso(moment), "aliases": aliases}

    return await call.ask(answer)


async def move(call: Call) -> object:
    """Point an alias at a version, or take it away; past its rules only with the verb `override` and a reason."""
    given = await call.read(_Move)

    def answer() -> object:
        name, alias = call.names["name"], call.names["alias"]
        version = None if given.version is None else _version(call, "move", alias, str(given.version))
        model = _model(call, "move", alias)
        if given.override:
            call.allow("override", Resource("models", name, model.tags, alias))
        move_alias(
            call.store,
            name,
            alias,
            version,
            mover=call.mover,
            reason=given.reason,
            override=given.override,
            at=call.now,
        )
        if alias == "champion" and version is not None and version.is_made_here:
            call.workspace.publish(name)
        return {"aliases": find_model(call.store, name).aliases}

    return await call.ask(answer)


async def undo(call: Call) -> object:
    """Move an alias back to where it was before its last move."""
    given = await call.read(_Undo)

    def answer() -> object:
        name, alias = call.names["name"], call.names["alias"]
        _model(call, "move", alias)
        number = undo_move(call.store, name, alias, mover=call.mover, reason=given.reason, at=call.now)
        if alias == "champion" and number is not None and find_version(call.store, f"{name}/{number}").is_made_here:
            call.workspace.publish(name)
        return {"aliases": find_model(call.store, name).aliases}

    return await call.ask(answer)


async def rules(call: Call) -> object:
    """Return what the moves of a model's aliases ask for."""
    return await call.ask(lambda: {"rules": alias_rules(call.store.read, _model(call, "read").name)})


async def protect(call: Call) -> object:
    """Say what the moves of an alias ask for."""
    given = await call.read(_Rule)
    approval = by(given.approver_role, count=given.approvals) if given.approver_role else Approval()

    def answer() -> object:
        model, alias = _model(call, "override", call.names["alias"]).name, call.names["alias"]
        return protect_alias(
            call.store,
            model,
            alias,
            roles=given.roles,
            gates=given.gates,
            approval=approval,
            actor=call.actor,
            at=call.now,
        )

    return await call.ask(answer)


async def unprotect(call: Call) -> object:
    """Take away what people asked of an alias's moves."""

    def answer() -> object:
        model, alias = _model(call, "override", call.names["alias"]).name, call.names["alias"]
        return {"removed": unprotect_alias(call.store, model, alias, actor=call.actor)}

    return await call.ask(answer)


async def agree(call: Call) -> object:
    """Agree that a version may serve. Where people log in, in their own name and in a role that they hold."""
    given = await call.read(_Approve)

    def answer() -> object:
        version = _version(call, "approve")
        approver = given.approver or call.actor
        if call.who.roles is None:
            check_holds(call.store, approver, given.role)  # no login: people are taken at their word
        elif approver != call.actor or given.role not in call.who.roles:
            raise Denied(f"`{call.actor}` cannot approve as `{approver}` in the role {given.role}")
        return approve(call.store, version, approver=approver, role=given.role, comment=given.comment, at=call.now)

    return await call.ask(answer)


async def comment(call: Call) -> object:
    """Say something of a version."""
    given = await call.read(_Comment)
    return await call.ask(
        lambda: comment_on(call.store, _version(call, "comment"), given.text, author=call.actor, at=call.now)
    )


async def change(call: Call) -> object:
    """Change what is said of a model."""
    given = await call.read(_Change)

    def answer() -> object:
        name = _model(call, "write").name
        said = ModelChange(given.description, given.owner)
        return update_model(call.store, name, said, actor=call.actor, at=call.now)

    return await call.ask(answer)


async def delete_one(call: Call) -> object:
    """Delete a version; refused while an alias points at it."""

    def answer() -> object:
        erase_version(call.store, _version(call, "delete"), actor=call.actor, at=call.now)
        return {}

    return await call.ask(answer)


async def delete_all(call: Call) -> object:
    """Delete a model with its versions; refused while one is in use."""
    return await call.ask(
        lambda: {"versions": erase_model(call.store, _model(call, "delete").name, actor=call.actor, at=call.now)}
    )


_MODEL = "/api/mainspring/v1/models/{name}"
_ONE = f"{_MODEL}/versions/{{version}}"
_ALIAS = f"{_MODEL}/aliases/{{alias}}"
ROUTES = (
    Route("GET", f"{_MODEL}/history", history, "models.read"),
    Route("GET", f"{_MODEL}/rules", rules, "models.read"),
    Route("PATCH", _MODEL, change, "models.write"),
    Route("DELETE", _MODEL, delete_all, "models.delete"),
    Route("GET", _ONE, show, "models.read"),
    Route("DELETE", _ONE, delete_one, "models.delete"),
    Route("POST", f"{_ONE}/approvals", agree, "models.approve"),
    Route("POST", f"{_ONE}/comments", comment, "models.comment"),
    Route("POST", _ALIAS, move, "models.move"),
    Route("POST", f"{_ALIAS}/undo", undo, "models.move"),
    Route("PUT", f"{_ALIAS}/rule", protect, "models.override"),
    Route("DELETE", f"{_ALIAS}/rule", unprotect, "models.override"),
)
