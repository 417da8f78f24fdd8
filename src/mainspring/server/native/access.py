"""Users, tokens and roles over HTTP; for who may write them, which of the built-in roles is the admin."""

from datetime import timedelta
from typing import Any

import msgspec

from mainspring.access.roles import list_roles, remove_role, roles_of_document, set_role
from mainspring.access.tokens import create_token, list_tokens, revoke_token
from mainspring.access.users import create_user, find_user, list_users, set_password, set_roles, switch_user
from mainspring.domain.moments import parse_duration
from mainspring.server.call import Call, Route

__all__ = ["ROUTES"]


class _User(msgspec.Struct):
    name: str
    roles: list[str]
    password: str | None = None
    is_sso: bool = False


class _Change(msgspec.Struct):
    roles: list[str] | None = None
    password: str | None = None
    is_active: bool | None = None


class _Token(msgspec.Struct):
    owner: str
    name: str = ""
    scope: list[str] = []
    lasts: str = ""


class _Roles(msgspec.Struct):
    # as people write them in a file; `roles_of_document` reads it and names what does not fit
    roles: dict[str, Any]


async def users(call: Call) -> object:
    """Return all users."""
    return await call.ask(lambda: {"users": list_users(call.store)})


async def add_user(call: Call) -> object:
    """Make a user."""
    given = await call.read(_User)
    return await call.ask(
        lambda: create_user(
            call.store,
            given.name,
            roles=given.roles,
            password=given.password,
            is_sso=given.is_sso,
            actor=call.actor,
            at=call.now,
        )
    )


async def change_user(call: Call) -> object:
    """Change a user's roles or password, or switch the user off or on."""
    given = await call.read(_Change)

    def answer() -> object:
        name = call.names["name"]
        find_user(call.store, name)
        if given.roles is not None:
            set_roles(call.store, name, given.roles, actor=call.actor)
        if given.password is not None:
            set_password(call.store, name, given.password, actor=call.actor)
        if given.is_active is not None:
            switch_user(call.store, name, is_active=given.is_active, actor=call.actor)
        return find_user(call.store, name)

    return await call.ask(answer)


async def tokens(call: Call) -> object:
    """Return all tokens, without their secrets."""
    return await call.ask(lambda: {"tokens": list_tokens(call.store)})


async def add_token(call: Call) -> object:
    """Make a token; the answer is the only place where it is shown."""
    given = await call.read(_Token)
    lasts: timedelta | None = parse_duration(given.lasts) if given.lasts else None

    def answer() -> object:
        token, text = create_token(
            call.store, given.owner, name=given.name, scope=given.scope, lasts=lasts, actor=call.actor, at=call.now
        )
        return {"token": text, "token_id": token.token_id, "expires_at": token.expires_at}

    return await call.ask(answer)


async def end_token(call: Call) -> object:
    """End a token."""
    return await call.ask(lambda: revoke_token(call.store, call.names["token_id"], actor=call.actor, at=call.now))


async def roles(call: Call) -> object:
    """Return all roles with what they allow."""
    return await call.ask(lambda: {"roles": list_roles(call.store)})


async def keep_roles(call: Call) -> object:
    """Keep roles that people wrote."""
    given = await call.read(_Roles)
    wanted = roles_of_document(given.roles)

    def answer() -> object:
        for role in wanted:
            set_role(call.store, role, actor=call.actor, at=call.now)
        return {"roles": wanted}

    return await call.ask(answer)


async def forget_role(call: Call) -> object:
    """Forget a role that people wrote."""

    def answer() -> object:
        remove_role(call.store, call.names["name"], actor=call.actor)
        return {}

    return await call.ask(answer)


_AT = "/api/mainspring/v1"
ROUTES = (
    Route("GET", f"{_AT}/users", users, "users.read"),
    Route("POST", f"{_AT}/users", add_user, "users.write"),
    Route("PATCH", f"{_AT}/users/{{name}}", change_user, "users.write"),
    Route("GET", f"{_AT}/tokens", tokens, "tokens.read"),
    Route("POST", f"{_AT}/tokens", add_token, "tokens.write"),
    Route("DELETE", f"{_AT}/tokens/{{token_id}}", end_token, "tokens.delete"),
    Route("GET", f"{_AT}/roles", roles, "roles.read"),
    Route("PUT", f"{_AT}/roles", keep_roles, "roles.write"),
    Route("DELETE", f"{_AT}/roles/{{name}}", forget_role, "roles.delete"),
)
