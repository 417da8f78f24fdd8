"""Logins by OpenID Connect: who an issuer says somebody is, read from a token that it signed.

Source: OpenID Connect Core 1.0, section 3.1.3.7 (what must be verified), and Discovery 1.0, section 4 (where the keys
are). Only signatures with keys that the issuer publishes are taken; the algorithm is chosen from a list, not by the
token.
"""

import json
import threading
import urllib.request
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from mainspring.errors import Invalid, MissingExtra, Unavailable

__all__ = ["Issuer"]

_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_KEYS_LAST = timedelta(hours=1)
#: A token signed by a key that is not known makes the keys be fetched again, but not more often than this.
_FETCH_EVERY = timedelta(seconds=30)
_TIMEOUT_SECONDS = 5
_MOST_BYTES = 1_000_000


class Issuer:
    """An issuer of logins: its `url`, the `audience` that its tokens for us name, and where they name people and roles.

    `roles_claim` holds a list of role names (or one); a path such as ``realm_access.roles`` reaches into objects.

    Raises:
        Invalid: the address is not https, which only an issuer on this machine may be.
        MissingExtra: joserfc is not installed.
    """

    def __init__(
        self, url: str, *, audience: str, name_claim: str = "preferred_username", roles_claim: str = "roles"
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise Invalid(f"The issuer `{url}` is not https", where="MAINSPRING_OIDC_ISSUER", next_step="use https://")
        if not audience:
            raise Invalid(
                "An issuer needs an audience", where="MAINSPRING_OIDC_AUDIENCE", next_step="set its client id"
            )
        try:
            import joserfc  # noqa: F401  # the extra sso
        except ImportError as error:
            raise MissingExtra.of("sso", "joserfc", "Login by OpenID Connect") from error
        self.url = url.rstrip("/")
        self._audience = audience
        self._name_claim = name_claim
        self._roles_claim = roles_claim
        self._lock = threading.Lock()
        self._keys: Any = None  # joserfc's KeySet
        self._fetched_at: datetime | None = None

    def verify(self, text: str, now: datetime) -> tuple[str, tuple[str, ...]] | None:
        """Return the name and the roles that a token tells; None when it is not the issuer's, not for us, or ended.

        Raises:
            Unavailable: the issuer's keys cannot be had.
        """
        from joserfc import jwt
        from joserfc.errors import JoseError

        claims: dict[str, Any] | None = None
        for attempt in range(2):
            try:
                claims = jwt.decode(text, self._known_keys(now, again=attempt == 1), algorithms=_ALGORITHMS).claims
                break
            except (JoseError, ValueError):
                if attempt or not self._may_fetch(now):
                    return None
        assert claims is not None
        registry = jwt.JWTClaimsRegistry(
            now=int(now.timestamp()),
            leeway=30,
            iss={"essential": True, "values": [self.url, f"{self.url}/"]},
            aud={"essential": True, "value": self._audience},
            exp={"essential": True},
            sub={"essential": True},
        )
        try:
            registry.validate(claims)
        except JoseError:
            return None
        name = claims.get(self._name_claim) or claims["sub"]
        return (str(name), self._roles(claims)) if isinstance(name, str) else None

    def _roles(self, claims: dict[str, Any]) -> tuple[str, ...]:
        value: Any = claims
        for part in self._roles_claim.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, str):
            return (value,)
        return tuple(each for each in value if isinstance(each, str)) if isinstance(value, Sequence) else ()

    def _may_fetch(self, now: datetime) -> bool:
        return self._fetched_at is None or now - self._fetched_at >= _FETCH_EVERY

    def _known_keys(self, now: datetime, *, again: bool) -> Any:
        from joserfc.jwk import KeySet

        with self._lock:
            stale = self._fetched_at is None or now - self._fetched_at > _KEYS_LAST
            if stale or (again and self._may_fetch(now)):
                found = _fetch(f"{self.url}/.well-known/openid-configuration")
                keys = _fetch(str(found.get("jwks_uri", "")))
                # a symmetric key in a public document would let everybody sign
                kept = [each for each in keys.get("keys", []) if isinstance(each, dict) and each.get("kty") != "oct"]
                try:
                    self._keys = KeySet.import_key_set({"keys": kept})
                except (ValueError, KeyError) as error:
                    raise Unavailable("The issuer's keys cannot be read", where=self.url) from error
                self._fetched_at = now
            return self._keys


def _fetch(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise Unavailable(f"The issuer names `{url}`, which is not https", next_step="mend its configuration")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310  # the scheme was looked at
            document = json.loads(answer.read(_MOST_BYTES))
    except (OSError, ValueError) as error:
        raise Unavailable(
            f"The issuer of logins does not answer: {error}", where=url, next_step="check MAINSPRING_OIDC_ISSUER"
        ) from error
    if not isinstance(document, dict):
        raise Unavailable("The issuer of logins answers no JSON object", where=url)
    return document
