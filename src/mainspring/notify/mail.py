"""News as e-mail: ``smtp://USER@HOST:PORT/?from=...&to=...``, and ``smtps:`` where TLS begins with the first byte.

The password is the webhook's secret and stands in no address. It leaves this machine only through TLS whose certificate
holds; without a login, and where private addresses are allowed, a relay of the same network may go without.
Source: RFC 5321 (SMTP), RFC 3207 (STARTTLS), RFC 5322 (message ids and threads).
"""

import contextlib
import hashlib
import smtplib
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from mainspring.errors import Invalid, Unavailable
from mainspring.notify.addresses import Target, check_host, connect

__all__ = ["Mailbox", "mailbox_of", "message_of", "send_mail"]

_TIMEOUT_SECONDS = 10.0
_PORT, _TLS_PORT = 587, 465
_LONGEST_SUBJECT = 150


class Mailbox(NamedTuple):
    """Where mail goes: the server that takes it, who logs in there (empty: nobody), from whom and to whom."""

    host: str
    port: int
    is_tls: bool
    user: str
    sender: str
    recipients: tuple[str, ...]


def mailbox_of(url: str, *, allow_private: bool) -> Mailbox:
    """Return what an address names.

    Raises:
        Invalid: it has a password in it, names no recipient or no sender, or (unless allowed) a private host.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Invalid(f"Invalid mail address: {error}", where="url") from error
    words = parse_qs(parts.query)
    if parts.password is not None:
        raise Invalid(
            "A mail address has no password in it", where="url", next_step="give it as the secret: --secret-stdin"
        )
    user = unquote(parts.username or "")
    recipients = tuple(each.strip() for text in words.get("to", []) for each in text.split(",") if each.strip())
    sender = words.get("from", [user])[-1]
    if not parts.hostname or not recipients:
        raise Invalid(
            "A mail address names a server and recipients",
            where="url",
            next_step="write smtp://USER@HOST:587/?from=mainspring@example.org&to=ops@example.org",
        )
    for each in (sender, *recipients):
        if not each.isprintable() or "@" not in parseaddr(each)[1]:
            raise Invalid(f"`{each[:100]}` is no address of a person", where="url", next_step="name@example.org")
    check_host(url, allow_private=allow_private)
    is_tls = parts.scheme == "smtps"
    return Mailbox(parts.hostname, port or (_TLS_PORT if is_tls else _PORT), is_tls, user, sender, recipients)


def send_mail(box: Mailbox, message: EmailMessage, *, password: str, allow_private: bool) -> str:
    """Hand a message to the server, and return what it could not deliver; empty when it took all of it.

    Raises:
        Unavailable: the server cannot be reached, does not protect the connection, or takes nothing.
    """
    plug = connect(
        Target(box.is_tls, box.host, box.port, ""), allow_private=allow_private, timeout_seconds=_TIMEOUT_SECONDS
    )
    # each wait is bounded by the socket's timeout, and all of them together by this: a server that drips ends here
    end = threading.Timer(3 * _TIMEOUT_SECONDS, _shut, (plug,))
    end.daemon = True
    end.start()
    try:
        with contextlib.closing(_Session(plug, box.host, box.port)) as session:
            _protect(session, box, allow_private=allow_private)
            if box.user:
                _log_in(session, box.user, password)
            refused = session.send_message(message, box.sender, list(box.recipients))
            with contextlib.suppress(smtplib.SMTPException):  # it has the message; how it parts is its own affair
                session.quit()
    except smtplib.SMTPRecipientsRefused as error:
        raise Unavailable(f"The mail server takes nothing for {', '.join(sorted(error.recipients))}") from error
    except smtplib.SMTPException as error:
        raise Unavailable(f"The mail server refused: {_said(error)}") from error
    finally:
        end.cancel()
        plug.close()
    return f"not taken for {', '.join(sorted(refused))}" if refused else ""


class _Session(smtplib.SMTP):
    """An SMTP session over a socket that is connected already, to an address that was looked at."""

    def __init__(self, plug: socket.socket, host: str, port: int) -> None:
        self._plug = plug
        super().__init__(host, port, local_hostname="mainspring.invalid", timeout=_TIMEOUT_SECONDS)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return self._plug


def _protect(session: _Session, box: Mailbox, *, allow_private: bool) -> None:
    if box.is_tls:
        return
    session.ehlo()
    if session.has_extn("starttls"):
        session.starttls(context=ssl.create_default_context())
        session.ehlo()
    elif box.user or not allow_private:
        raise Unavailable(f"`{box.host}` offers no STARTTLS, and mail does not go out unprotected")


def _log_in(session: _Session, user: str, password: str) -> None:
    try:
        session.login(user, password)
    except smtplib.SMTPAuthenticationError as error:
        # what the server said may repeat what it was sent
        raise Unavailable(f"The mail server refused the login of `{user}` ({error.smtp_code})") from None


def message_of(box: Mailbox, documents: Sequence[dict[str, Any]], delivery_id: str) -> EmailMessage:
    """Return news as one message. What becomes of an incident is a reply in the thread that its opening began."""
    message = EmailMessage()
    message["From"] = box.sender
    message["To"] = ", ".join(box.recipients)
    message["Subject"] = _subject(documents)
    message["Date"] = formatdate(usegmt=True)
    message["Message-ID"] = f"<{delivery_id}@mainspring.invalid>"
    subjects = sorted({str(each.get("data", {}).get("subject", "")) for each in documents})
    threads = [hashlib.sha256(each.encode()).hexdigest()[:32] for each in subjects if each.startswith("incidents/")]
    if threads:
        message["References"] = " ".join(f"<{each}@mainspring.invalid>" for each in threads)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content("\n\n".join(_paragraph(each) for each in documents) + "\n")
    return message


def _subject(documents: Sequence[dict[str, Any]]) -> str:
    first = _headline(documents[0])
    if len(documents) > 1:
        counts = Counter(f"{each.get('entity')} {each.get('action')}" for each in documents)
        first = f"{', '.join(f'{count} x {name}' for name, count in counts.items())}; {first}"
    line = " ".join(first.split())
    return line if len(line) <= _LONGEST_SUBJECT else f"{line[:_LONGEST_SUBJECT]}..."


def _headline(document: dict[str, Any]) -> str:
    data = document.get("data", {})
    if document.get("entity") == "incident" and data.get("title"):
        return f"Incident {document.get('action')} ({data.get('severity')}): {data['title']}"
    return f"{document.get('entity')} {document.get('action')}: {data.get('subject') or data.get('name') or ''}"


def _paragraph(document: dict[str, Any]) -> str:
    data = {key: value for key, value in document.get("data", {}).items() if value not in (None, "", [], {})}
    lines = [_headline(document), *(f"  {key}: {value}" for key, value in data.items() if key != "evidence_sha256")]
    return "\n".join(lines)


def _said(error: smtplib.SMTPException) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error.decode("utf-8", "replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
        return f"{error.smtp_code} {text[:200]}"
    return str(error)[:200]


def _shut(plug: socket.socket) -> None:
    with contextlib.suppress(OSError):
        plug.shutdown(socket.SHUT_RDWR)
