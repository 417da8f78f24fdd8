"""Tokens: what a program comes in with. Only a hash is kept, so a token is shown once. Owner of the table `tokens`."""

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mainspring.access.roles import VERBS, Grant, check_pattern
from mainspring.access.users import find_user
from mainspring.domain.moments import to_iso
from mainspring.errors import Invalid, NotFound, nearest
from mainspring.store.events import Event
from mainspring.store.protocol import Store, Transaction

__all__ = ["Token", "create_token", "list_tokens", "parse_scope", "revoke_token", "user_of"]

_COLUMNS = "token_id, owner, name, scope, created_at, created_by, expires_at, revoked_at"
_LONGEST = timedelta(days=3660)


@dataclass(frozen=True, slots=True)
class Token:
    """A token, without its secret. An empty `scope` allows what its owner may."""

    token_id: str
    owner: str
    name: str
    scope: tuple[str, ...]
    created_at: str
    created_by: str
    expires_at: str | None
    revoked_at: str | None


def create_token(
    store: Store,
    owner: str,
    *,
    name: str = "",
    scope: Sequence[str] = (),
    lasts: timedelta | None = None,
    actor: str,
    at: datetime,
) -> tuple[Token, str]:
    """Make a token for a user; return it with the text to come in with, which is nowhere kept.

    `scope` narrows what it is good for, as `parse_scope` reads it; `lasts` ends it.

    Raises:
        NotFound: there is no such user.
        Invalid: the scope names no verb or kind, or the time is not above zero.
    """
    find_user(store, owner)
    parse_scope(scope)
    if lasts is not None and not timedelta(0) < lasts <= _LONGEST:
        raise Invalid("A token lasts for up to ten years", where="expires", next_step="give 30d, 12h, ...")
    identifier, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    until = None if lasts is None else to_iso(at + lasts)

    def write(transaction: Transaction) -> None:
        transaction.execute(
            f"INSERT INTO tokens ({_COLUMNS}, digest) VALUES (?, ?, ?, ?, ?, ?, ?, NULL, ?)",
            (identifier, owner, name, json.dumps(list(scope)), to_iso(at), actor, until, _digest(secret)),
        )

    details = {"owner": owner, "name": name, "scope": list(scope), "expires_at": until}
    store.change(Event("token.created", f"tokens/{identifier}", details, actor), write)
    return _find(store, identifier), f"ms_{identifier}_{secret}"


def parse_scope(scope: Sequence[str]) -> list[Grant]:
    """Read a scope: verbs joined by ``+``, and after a colon what they are good for.

    >>> parse_scope(["read", "write+delete:runs"])[1]
    Grant(allow=('write', 'delete'), resources=('runs/*',), tags={}, aliases=())

    Raises:
        Invalid: a verb or a kind is not known.
    """
    grants = []
    for each in scope:
        verbs, _, pattern = each.partition(":")
        for verb in verbs.split("+"):
            if verb not in (*VERBS, "*"):
                raise Invalid(f"`{verb}` is no verb", where="scope", next_step=nearest(verb, VERBS))
        grants.append(Grant(tuple(verbs.split("+")), (check_pattern(pattern or "*", "scope"),)))
    return grants


def list_tokens(store: Store, owner: str | None = None) -> list[Token]:
    """Return the tokens of a user, or of all, oldest first."""
    clause, bound = ("", ()) if owner is None else ("WHERE owner = ?", (owner,))
    rows = store.read(f"SELECT {_COLUMNS} FROM tokens {clause} ORDER BY created_at, token_id", bound)
    return [Token(row[0], row[1], row[2], tuple(json.loads(row[3])), *row[4:]) for row in rows]


def _find(store: Store, identifier: str) -> Token:
    for token in list_tokens(store):
        if token.token_id == identifier:
            return token
    raise NotFound(f"There is no token `{identifier}`", next_step="list them: mainspring tokens list")


def revoke_token(store: Store, identifier: str, *, actor: str, at: datetime) -> Token:
    """End a token; one that is ended already stays so.

    Raises:
        NotFound: there is no such token.
    """
    _find(store, identifier)

    def write(transaction: Transaction) -> bool:
        sql = "UPDATE tokens SET revoked_at = ? WHERE token_id = ? AND revoked_at IS NULL RETURNING token_id"
        return bool(transaction.execute(sql, (to_iso(at), identifier)))

    event = Event("token.revoked", f"tokens/{identifier}", {}, actor)
    store.change(lambda ended: event if ended else None, write)
    return _find(store, identifier)


def user_of(store: Store, text: str, now: datetime) -> tuple[str, tuple[str, ...]] | None:
    """Return whose token a text is, and its scope; None when it is no token, ended, or its owner is switched off."""
    parts = re.fullmatch(r"ms_([0-9a-f]{12})_([\w-]{43})", text)
    if parts is None:
        return None
    rows = store.read(
        "SELECT tokens.owner, tokens.digest, tokens.scope, tokens.expires_at FROM tokens"
        " JOIN users ON users.name = tokens.owner AND users.is_active = 1"
        " WHERE tokens.token_id = ? AND tokens.revoked_at IS NULL",
        (parts[1],),
    )
    if not rows or not hmac.compare_digest(rows[0][1], _digest(parts[2])):
        return None
    owner, _, scope, until = rows[0]
    return None if until is not None and until <= to_iso(now) else (owner, tuple(json.loads(scope)))


def _digest(secret: str) -> str:
    # a secret of 256 random bits needs no slow hash: there is no list of likely ones to try
    return hashlib.sha256(secret.encode()).hexdigest()
