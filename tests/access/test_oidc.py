"""Logins by OpenID Connect, with a real issuer on loopback that signs with real keys."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mainspring.access.login import Actor, Login
from mainspring.access.oidc import Issuer
from mainspring.access.users import create_user
from mainspring.errors import Invalid, Unauthenticated, Unavailable

jwt = pytest.importorskip("joserfc.jwt", reason="pip install 'mainspring[sso]'")
jwk = pytest.importorskip("joserfc.jwk")

NOW = datetime(2026, 5, 1, tzinfo=UTC)


class LocalIssuer:
    """Serves discovery and keys over HTTP, and signs what it is told to."""

    def __init__(self) -> None:
        self.keys = [jwk.ECKey.generate_key("P-256", {"kid": "one", "use": "sig", "alg": "ES256"})]
        self.asked: list[str] = []
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                documents = {
                    "/.well-known/openid-configuration": {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"},
                    "/keys": {"keys": [key.as_dict(private=False) for key in issuer.keys]},
                }
                body = json.dumps(documents[self.path]).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def token(self, key: object = None, *, header: dict[str, str] | None = None, **claims: object) -> str:
        said = {
            "iss": self.url,
            "aud": "mainspring",
            "sub": "42",
            "exp": int((NOW + timedelta(hours=1)).timestamp()),
            "preferred_username": "grace",
            "roles": ["reviewer"],
            **claims,
        }
        kept = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(header or {"alg": "ES256", "kid": "one"}, kept, key or self.keys[0])

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def issuer() -> Iterator[LocalIssuer]:
    made = LocalIssuer()
    yield made
    made.close()


@pytest.fixture
def login(store, clock, issuer: LocalIssuer) -> Login:
    known = Issuer(issuer.url, audience="mainspring")
    return Login(store, owner="me", is_required=True, issuer=known, clock=clock)


def test_who_the_issuer_names_is_let_in_with_the_roles_it_tells(login: Login, issuer: LocalIssuer) -> None:
    for _ in range(3):
        assert login.who(f"Bearer {issuer.token()}", "::1") == Actor("grace", ("reviewer",))
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]  # kept, not asked for at each request
    assert login.who(f"Bearer {issuer.token(aud=['x', 'mainspring'], roles='viewer')}", "::1").roles == ("viewer",)
    assert login.who(f"Bearer {issuer.token(preferred_username=None, roles=None)}", "::1") == Actor("42", ())


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "http://elsewhere"},
        {"aud": "other"},
        {"aud": None},
        {"exp": int((NOW - timedelta(minutes=1)).timestamp())},
        {"exp": None},
        {"nbf": int((NOW + timedelta(minutes=5)).timestamp())},
        {"sub": None},
    ],
    ids=str,
)
def test_a_token_for_others_ended_or_without_what_it_must_say_is_refused(login: Login, issuer, claims) -> None:
    with pytest.raises(Unauthenticated):
        login.who(f"Bearer {issuer.token(**claims)}", "::1")


def test_a_token_that_another_key_signed_or_nobody_is_refused(login: Login, issuer: LocalIssuer) -> None:
    stranger = jwk.ECKey.generate_key("P-256", {"kid": "one"})
    secret = jwk.OctKey.generate_key(256, {"kid": "one"})
    forged = [
        issuer.token(stranger),
        issuer.token(secret, header={"alg": "HS256", "kid": "one"}),
        issuer.token()[:-4] + "AAAA",
        "eyJhbGciOiJub25lIn0." + issuer.token().split(".")[1] + ".",
    ]
    for text in forged:
        with pytest.raises(Unauthenticated):
            login.who(f"Bearer {text}", "::1")


def test_a_new_key_of_the_issuer_is_fetched_but_not_at_every_strangers_wish(login: Login, issuer, clock) -> None:
    assert login.who(f"Bearer {issuer.token()}", "::1").name == "grace"
    issuer.keys.insert(0, jwk.RSAKey.generate_key(2048, {"kid": "two", "use": "sig"}))
    signed = issuer.token(header={"alg": "RS256", "kid": "two"})
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            login.who(f"Bearer {signed}", "::1")
    assert len(issuer.asked) == 2
    clock.advance_to(NOW + timedelta(minutes=1))
    assert login.who(f"Bearer {signed}", "::1").name == "grace"
    assert len(issuer.asked) == 4


def test_a_name_at_the_issuer_gets_the_roles_kept_here_only_when_that_was_said(login: Login, issuer, store) -> None:
    assert login.who(f"Bearer {issuer.token(preferred_username='ada')}", "::1") == Actor("ada", ("reviewer",))
    create_user(store, "grace", roles=["operator"], is_sso=True, actor="root", at=NOW)
    assert login.who(f"Bearer {issuer.token()}", "::1") == Actor("grace", ("operator", "reviewer"))


def test_roles_may_lie_deeper(issuer: LocalIssuer) -> None:
    known = Issuer(issuer.url, audience="mainspring", roles_claim="realm.roles", name_claim="email")
    text = issuer.token(email="g@x.org", realm={"roles": ["a", 1, "b"]})
    assert known.verify(text, NOW) == ("g@x.org", ("a", "b"))
    assert known.verify(issuer.token(email="g@x.org", realm="no"), NOW) == ("g@x.org", ())


def test_an_issuer_that_is_not_there_or_not_safe_is_told(store, clock, issuer: LocalIssuer) -> None:
    text = issuer.token()
    issuer.close()
    login = Login(store, owner="me", is_required=True, issuer=Issuer(issuer.url, audience="mainspring"), clock=clock)
    with pytest.raises(Unavailable, match="does not answer"):
        login.who(f"Bearer {text}", "::1")
    for url in ("http://issuer.example", "ftp://x", "nonsense"):
        with pytest.raises(Invalid, match="not https"):
            Issuer(url, audience="mainspring")
    with pytest.raises(Invalid, match="needs an audience"):
        Issuer(issuer.url, audience="")
