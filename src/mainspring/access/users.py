"""Users: a name, the roles held, and perhaps a password. Owner of the table `users`."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mainspring.access.passwords import hash_password
from mainspring.access.roles import check_roles
from mainspring.domain.moments import to_iso
from mainspring.errors import Conflict, Denied, Invalid, NotFound, nearest
from mainspring.store.events import Event
from mainspring.store.protocol import Store, Transaction

__all__ = [
    "User",
    "check_holds",
    "create_user",
    "find_user",
    "list_users",
    "password_of",
    "roles_held",
    "set_password",
    "set_roles",
    "switch_user",
]

_COLUMNS = "name, roles, is_sso, is_active, created_at, created_by"


@dataclass(frozen=True, slots=True)
class User:
    """Somebody, or a program. `is_sso`: known by the configured issuer, without a password here."""

    name: str
    roles: tuple[str, ...]
    is_sso: bool
    is_active: bool
    created_at: str
    created_by: str


def create_user(
    store: Store,
    name: str,
    *,
    roles: Sequence[str],
    password: str | None = None,
    is_sso: bool = False,
    actor: str,
    at: datetime,
) -> User:
    """Make a user. Without a password it can come in by tokens, or by the issuer when `is_sso`.

    Raises:
        Invalid: the name could not stand in a header, a role is not known, the password is too short.
        Conflict: there is such a user.
    """
    if not re.fullmatch(r"[^\s:/]{1,100}", name) or not name.isprintable():
        raise Invalid(f"`{name[:80]}` is not a user name", next_step="use up to 100 characters without space, : and /")
    held = check_roles(store, roles)
    kept = "" if password is None else hash_password(password)

    def write(transaction: Transaction) -> None:
        made = transaction.execute(
            f"INSERT INTO users ({_COLUMNS}, password) VALUES (?, ?, ?, 1, ?, ?, ?)"
            " ON CONFLICT (name) DO NOTHING RETURNING name",
            (name, json.dumps(held), int(is_sso), to_iso(at), actor, kept),
        )
        if not made:
            raise Conflict(f"There is a user `{name}` already", next_step="mainspring users list")

    store.change(Event("user.created", f"users/{name}", {"roles": held, "is_sso": is_sso}, actor), write)
    return find_user(store, name)


def find_user(store: Store, name: str) -> User:
    """Return a user.

    Raises:
        NotFound: there is none of that name.
    """
    rows = store.read(f"SELECT {_COLUMNS} FROM users WHERE name = ?", (name,))
    if not rows:
        known = [row[0] for row in store.read("SELECT name FROM users")]
        raise NotFound(f"There is no user `{name}`", next_step=nearest(name, known))
    return _from_row(*rows[0])


def list_users(store: Store) -> list[User]:
    """Return all users by name."""
    return [_from_row(*row) for row in store.read(f"SELECT {_COLUMNS} FROM users ORDER BY name")]


def _from_row(name: str, roles: str, is_sso: int, is_active: int, created_at: str, created_by: str) -> User:
    return User(name, tuple(json.loads(roles)), bool(is_sso), bool(is_active), created_at, created_by)


def password_of(store: Store, name: str) -> str:
    """Return what is kept of the password of a user who may come in by it; empty where there is none."""
    rows = store.read("SELECT password FROM users WHERE name = ? AND is_active = 1", (name,))
    return rows[0][0] if rows else ""


def roles_held(store: Store, name: str) -> tuple[str, ...]:
    """Return the roles of an active user; none for who is not known."""
    rows = store.read("SELECT roles FROM users WHERE name = ? AND is_active = 1", (name,))
    return tuple(json.loads(rows[0][0])) if rows else ()


def check_holds(store: Store, name: str, role: str) -> None:
    """Make sure that somebody who acts as a role holds it; where no users are kept, people are taken at their word.

    Raises:
        Denied: the role is not held.
    """
    if store.read("SELECT 1 FROM users LIMIT 1") and role not in roles_held(store, name):
        raise Denied(f"`{name}` does not hold the role {role}", next_step="ask an admin: mainspring users set --role")


def set_roles(store: Store, name: str, roles: Sequence[str], *, actor: str) -> User:
    """Give a user other roles; they hold from the next request on."""
    held = check_roles(store, roles)
    before = find_user(store, name).roles
    event = Event("user.changed", f"users/{name}", {"roles": held, "before": before}, actor)
    _update(store, event, "roles = ?", json.dumps(held), name)
    return find_user(store, name)


def set_password(store: Store, name: str, password: str, *, actor: str) -> None:
    """Give a user another password; the old one ends with the next request."""
    find_user(store, name)
    event = Event("user.changed", f"users/{name}", {"changed": "password"}, actor)
    _update(store, event, "password = ?", hash_password(password), name)


def switch_user(store: Store, name: str, *, is_active: bool, actor: str) -> User:
    """Switch a user off, with all tokens, or on again. Users are not deleted: the audit log speaks of them."""
    find_user(store, name)
    event = Event("user.changed", f"users/{name}", {"is_active": is_active}, actor)
    _update(store, event, "is_active = ?", int(is_active), name)
    return find_user(store, name)


def _update(store: Store, event: Event, assignment: str, value: str | int, name: str) -> None:
    def write(transaction: Transaction) -> None:
        transaction.execute(f"UPDATE users SET {assignment} WHERE name = ?", (value, name))

    store.change(event, write)
