"""Mail through a real SMTP server on loopback: protected, logged in, grouped, and never with a secret in a log."""

import datetime as dt
import ipaddress
import json
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from tests.notify.conftest import NOW

from mainspring.domain.moments import SimulatedClock
from mainspring.errors import Invalid
from mainspring.monitor.incidents import move_incident, open_incident
from mainspring.notify.courier import Courier
from mainspring.notify.deliveries import list_deliveries
from mainspring.notify.mail import mailbox_of, message_of
from mainspring.notify.webhooks import Webhook, WebhookChange, create_webhook, update_webhook
from mainspring.store.protocol import Store

pytest.importorskip("aiosmtpd", reason="pip install aiosmtpd")
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

# of the test's own server, which is to ask for passwords without protection
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
PASSWORD = "correct horse"
WORDS: Any = {"version": 3, "severity": "page", "text": "see", "diagnosis": {}, "evidence": {}}


@pytest.fixture
def store_address(tmp_path: Path) -> str:
    """One backend is enough here: what differs between them is tried with the other forms."""
    return f"sqlite:///{tmp_path / 'store.sqlite'}"


class MailServer:
    """A server that keeps what it takes. `takes` says for whom."""

    def __init__(self, tls: ssl.SSLContext | None, *, at_once: bool = False, login: bool = True) -> None:
        self.mails: list[Message] = []
        self.taken_for: list[list[str]] = []
        self.logins = 0
        self.refused: set[str] = set()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._controller = Controller(
            self,
            hostname="127.0.0.1",
            port=self.port,
            authenticator=self._log_in if login else None,
            auth_required=login,
            auth_require_tls=tls is not None and not at_once,
            **({"ssl_context": tls} if at_once else {"tls_context": tls, "require_starttls": tls is not None}),
        )
        self._controller.start()

    def _log_in(self, server: Any, session: Any, envelope: Any, mechanism: str, given: LoginPassword) -> AuthResult:
        self.logins += 1
        return AuthResult(success=(given.login, given.password) == (b"bot", PASSWORD.encode()), handled=False)

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address in self.refused:
            return "550 nobody here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append(message_from_bytes(envelope.content))
        self.taken_for.append(envelope.rcpt_tos)
        return "250 taken"

    def stop(self) -> None:
        if self._controller.server is not None:
            self._controller.stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of its own authority for 127.0.0.1, with its key."""
    pytest.importorskip("cryptography", reason="comes with mainspring[sso]")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


Serve = Callable[..., MailServer]


@pytest.fixture
def serve(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Start servers whose certificate is trusted, unless the test says otherwise."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    started: list[MailServer] = []

    def start(*, protected: bool = True, **choices: bool) -> MailServer:
        tls = None
        if protected:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificate)
        started.append(MailServer(tls, **choices))
        return started[-1]

    yield start
    for each in started:
        each.stop()


def hook(
    store: Store, server: MailServer, *, scheme: str = "smtp", user: str = "bot@", to: str = "ops@x.org"
) -> Webhook:
    url = f"{scheme}://{user}127.0.0.1:{server.port}/?from=bot@x.org&to={to}"
    events = ["incident.opened", "incident.resolved"]
    return create_webhook(store, "mail", url, events, secret=PASSWORD, allow_private=True, actor="ada", at=NOW)


def incident(store: Store, rule: str, title: str) -> Any:
    return open_incident(store, model="late", rule=rule, title=title, at=NOW, **WORDS)


def tell(courier: Courier, clock: SimulatedClock, seconds: float = 31) -> int:
    courier.gather()
    clock.advance_to(clock.now() + dt.timedelta(seconds=seconds))
    return courier.deliver_due()


def test_incidents_that_open_together_are_one_protected_message(
    store: Store, courier: Courier, clock: SimulatedClock, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = serve()
    webhook = hook(store, server, to="ops@x.org,boss@x.org")
    made = incident(store, "quality", "late/3 is worse\nBcc: evil@x.org")
    courier.gather()
    assert courier.deliver_due() == 0, "it waits for more"
    clock.advance_to(NOW + dt.timedelta(seconds=29))
    incident(store, "latency", "late/3 is slow — très")
    assert tell(courier, clock, 1) == 2
    (mail,) = server.mails
    assert server.taken_for == [["ops@x.org", "boss@x.org"]]
    assert server.logins == 1
    subject = " ".join(mail["Subject"].split())
    assert subject.startswith("2 x incident opened; Incident opened (page): late/3 is worse Bcc:")
    assert mail["Bcc"] is None
    text = mail.get_payload(decode=True).decode()
    assert "late/3 is worse" in text
    assert "late/3 is slow — très" in text
    assert [each.status for each in list_deliveries(store, webhook.webhook_id)] == ["delivered"] * 2
    move_incident(store, made, "resolved", text="mended", at=NOW)
    assert tell(courier, clock) == 1
    answer = server.mails[1]
    assert set(answer["References"].split()) < set(mail["References"].split()), "a reply in the same thread"
    assert PASSWORD not in caplog.text
    assert webhook.shown_url == webhook.url
    assert PASSWORD not in json.dumps([str(each) for each in list_deliveries(store, webhook.webhook_id)])


def test_tls_from_the_first_byte(store: Store, courier: Courier, clock: SimulatedClock, serve: Serve) -> None:
    server = serve(at_once=True)
    hook(store, server, scheme="smtps")
    incident(store, "quality", "t")
    assert tell(courier, clock) == 1
    assert len(server.mails) == 1


def test_no_password_leaves_without_tls_or_for_a_certificate_that_is_not_trusted(
    store: Store, courier: Courier, clock: SimulatedClock, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, stranger = serve(protected=False), serve()
    first, second = hook(store, plain), hook(store, stranger)
    monkeypatch.delenv("SSL_CERT_FILE")
    incident(store, "quality", "t")
    tell(courier, clock)
    said = [list_deliveries(store, each.webhook_id)[0] for each in (first, second)]
    assert [each.status for each in said] == ["pending", "pending"]
    assert "offers no STARTTLS" in said[0].error
    assert "certificate verify failed" in said[1].error.lower()
    assert plain.logins + stranger.logins == 0


def test_a_relay_without_login_may_go_without_tls_where_private_addresses_are_allowed(
    store: Store, courier: Courier, clock: SimulatedClock, serve: Serve
) -> None:
    server = serve(protected=False, login=False)
    hook(store, server, user="")
    incident(store, "quality", "t")
    tell(courier, clock)
    assert len(server.mails) == 1


def test_a_wrong_password_and_a_refused_recipient_are_told_without_the_secret(
    store: Store, courier: Courier, clock: SimulatedClock, serve: Serve
) -> None:
    server = serve()
    webhook = hook(store, server, to="gone@x.org,ops@x.org")
    update_webhook(store, webhook.webhook_id, WebhookChange(secret="wrong"), allow_private=True, actor="ada", at=NOW)
    incident(store, "quality", "t")
    tell(courier, clock)
    (delivery,) = list_deliveries(store, webhook.webhook_id)
    assert (delivery.status, delivery.error) == ("pending", "The mail server refused the login of `bot` (535)")
    update_webhook(store, webhook.webhook_id, WebhookChange(secret=PASSWORD), allow_private=True, actor="ada", at=NOW)
    server.refused = {"gone@x.org", "ops@x.org"}
    tell(courier, clock)
    assert "takes nothing for gone@x.org, ops@x.org" in list_deliveries(store, webhook.webhook_id)[0].error
    server.refused = {"gone@x.org"}
    tell(courier, clock)
    assert list_deliveries(store, webhook.webhook_id)[0].status == "delivered"
    assert server.taken_for == [["ops@x.org"]]
    server.stop()
    incident(store, "latency", "t")
    tell(courier, clock)
    assert "cannot be reached" in list_deliveries(store, webhook.webhook_id)[0].error


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("smtp://bot:secret@mail.example.org/?from=a@x.org&to=b@x.org", "no password in it"),
        ("smtp://mail.example.org/?from=a@x.org", "names a server and recipients"),
        ("smtp://mail.example.org/?to=b@x.org", "no address of a person"),
        ("smtp://mail.example.org/?from=a@x.org&to=b%0d%0aBcc:c@x.org", "no address of a person"),
        ("smtp://127.0.0.1/?from=a@x.org&to=b@x.org", "not a public address"),
        ("smtp://mail.example.org:x/?from=a@x.org&to=b@x.org", "Invalid mail address"),
    ],
)
def test_an_address_that_does_not_fit_is_refused(store: Store, url: str, said: str) -> None:
    with pytest.raises(Invalid, match=said) as refused:
        create_webhook(store, "mail", url, ["incident.opened"], actor="ada", at=NOW)
    assert "secret@" not in str(refused.value)


def test_news_of_other_things_are_readable_too() -> None:
    box = mailbox_of("smtps://mail.example.org/?from=a@x.org&to=b@x.org", allow_private=True)
    assert (box.port, box.is_tls, box.user) == (465, True, "")
    document = {"entity": "schedule", "action": "failed", "data": {"subject": "nightly", "error": "gone"}}
    message = message_of(box, [document], "id")
    assert message["Subject"] == "schedule failed: nightly"
    assert "error: gone" in message.get_content()
