"""From a request's header to an actor, and from an actor to yes or no.

Basic (name and password, or a name and one of its tokens), Bearer (a token, or what the configured issuer signed).
Comparisons take constant time; a name that fails too often from one address has to wait, and so does an address that
tries too many names. Failures and denials are in the audit chain; what was typed is not.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from mainspring.access.passwords import is_password
from mainspring.access.roles import Resource, decide, find_grants
from mainspring.access.tokens import parse_scope, user_of
from mainspring.access.users import password_of, roles_held
from mainspring.domain.moments import Clock, SystemClock
from mainspring.errors import Denied, Throttled, Unauthenticated
from mainspring.store.events import Event
from mainspring.store.protocol import Store

if TYPE_CHECKING:
    from mainspring.access.oidc import Issuer

__all__ = ["Actor", "Login"]

#: Failures of one name from one address, and of one address with whatever names, before it has to wait.
_FREE, _FREE_ADDRESS = 5, 50
_LONGEST_WAIT = timedelta(minutes=5)
_MOST_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Actor:
    """Who a request comes from. `roles` None: the workspace's own user, on loopback without a login, who may all."""

    name: str
    roles: tuple[str, ...] | None
    scope: tuple[str, ...] = ()


class Login:
    """Lets requests in, and decides what they may.

    `is_required` False takes a request without a header for the workspace's own user, named `owner`; a header that is
    there is looked at all the same. `issuer` adds logins by OpenID Connect.
    """

    def __init__(
        self,
        store: Store,
        *,
        owner: str,
        is_required: bool,
        issuer: "Issuer | None" = None,
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._owner = owner
        self.is_required = is_required
        self._issuer = issuer
        self._clock = clock or SystemClock()
        self._key = secrets.token_bytes(32)
        # what has been verified lately -> the kept password it was verified against; one that changes ends it
        self._verified: OrderedDict[bytes, str] = OrderedDict()
        self._failures: OrderedDict[tuple[str, str], tuple[int, datetime]] = OrderedDict()

    def who(self, header: str | None, address: str) -> Actor:
        """Return who a request comes from, by its Authorization header and the address of its other end.

        Raises:
            Unauthenticated: nobody is known by that header.
            Throttled: too many failures; wait.
        """
        if not header:
            if self.is_required:
                raise Unauthenticated(
                    "You are not authenticated", next_step="set MLFLOW_TRACKING_TOKEN, or a user name and password"
                )
            return Actor(self._owner, None)
        kind, _, value = header.partition(" ")
        if kind.lower() == "bearer":
            return self._by_bearer(value.strip(), address)
        name, password = _basic(value) if kind.lower() == "basic" else ("", "")
        return self._by_password(name, password, address)

    def authorise(self, actor: Actor, verb: str, resource: Resource) -> None:
        """Make sure that an actor may do this.

        Raises:
            Denied: no role of the actor allows it, or the token's scope does not; it is in the audit chain.
        """
        if self.may(actor, verb, resource):
            return
        details = {"verb": verb, "resource": str(resource), "roles": actor.roles, "scope": actor.scope}
        self._store.change(Event("access.denied", str(resource), details, actor.name), lambda _: None)
        raise Denied(f"`{actor.name}` may not {verb} {resource}", next_step="ask an admin for a role that allows it")

    def authorise_some(self, actor: Actor, verb: str, kind: str) -> None:
        """Make sure that an actor may do this to anything of a kind at all; of the thing itself it is asked later.

        Raises:
            Denied: there is nothing of the kind that the actor may do this to.
        """
        if actor.roles is None:
            return
        in_scope = not actor.scope or any(grant.may_fit(verb, kind) for grant in parse_scope(actor.scope))
        if not in_scope or not any(grant.may_fit(verb, kind) for grant in find_grants(self._store, actor.roles)):
            self.authorise(actor, verb, Resource(kind))  # says no, and writes it down

    def may(self, actor: Actor, verb: str, resource: Resource) -> bool:
        """Whether an actor may do this; asks without a trace."""
        if actor.roles is None:
            return True
        if actor.scope and not decide(parse_scope(actor.scope), verb, resource):
            return False
        return decide(find_grants(self._store, actor.roles), verb, resource)

    def _by_bearer(self, text: str, address: str) -> Actor:
        found = user_of(self._store, text, self._clock.now())
        if found is not None:
            return Actor(found[0], roles_held(self._store, found[0]), found[1])
        if self._issuer is not None and text.count(".") == 2:
            told = self._issuer.verify(text, self._clock.now())
            if told is not None:
                name, roles = told
                return Actor(name, tuple(sorted({*roles, *self._local_roles(name)})))
        # a token cannot be guessed, so only those that fail have to wait: a stale one stops nobody behind its address
        self._wait("", address)
        raise self._failed("", address, "token")

    def _local_roles(self, name: str) -> tuple[str, ...]:
        # only of a user who was said to be the issuer's: else whoever chose a name there would get its roles here
        rows = self._store.read("SELECT 1 FROM users WHERE name = ? AND is_sso = 1", (name,))
        return roles_held(self._store, name) if rows else ()

    def _by_password(self, name: str, password: str, address: str) -> Actor:
        found = user_of(self._store, password, self._clock.now())
        if found is not None and found[0] == name:
            return Actor(name, roles_held(self._store, name), found[1])
        kept = password_of(self._store, name)
        # a password is typed once and sent with every request: what scrypt said of it is remembered, keyed by a secret
        key = hmac.digest(self._key, f"{name}\0{password}".encode(), hashlib.sha256)
        if not kept or self._verified.get(key) != kept:
            self._wait(name, address)
            if not is_password(password, kept):
                raise self._failed(name if kept else "", address, "password")
            self._verified[key] = kept
            _trim(self._verified)
        self._failures.pop((name, address), None)
        return Actor(name, roles_held(self._store, name))

    def _wait(self, name: str, address: str) -> None:
        now = self._clock.now()
        for key, free in (((name, address), _FREE), (("*", address), _FREE_ADDRESS)):
            count, last = self._failures.get(key, (0, now))
            if count < free:
                continue
            wait = min(timedelta(seconds=2.0 ** min(count - free, 20)), _LONGEST_WAIT)
            if now < last + wait:
                raise Throttled(
                    f"Too many failed logins; wait {wait.total_seconds():.0f} seconds", next_step="check the password"
                )

    def _failed(self, name: str, address: str, how: str) -> Unauthenticated:
        now = self._clock.now()
        for key in ((name, address), ("*", address)):
            count, last = self._failures.pop(key, (0, now))
            self._failures[key] = (1 if now - last > 2 * _LONGEST_WAIT else count + 1, now)
        _trim(self._failures)
        # a name that nobody has may be a password in the wrong field: it is not written down
        event = Event("access.login_failed", f"users/{name or '?'}", {"how": how, "address": address}, name or "?")
        self._store.change(event, lambda _: None)
        return Unauthenticated(f"No user is known by that {how}", next_step="check name and password, or the token")


def _basic(value: str) -> tuple[str, str]:
    try:
        name, _, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return name, password


def _trim(kept: "OrderedDict[bytes, str] | OrderedDict[tuple[str, str], tuple[int, datetime]]") -> None:
    while len(kept) > _MOST_KEPT:
        kept.popitem(last=False)
