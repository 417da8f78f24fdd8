"""One delivery on its way: signed, sent once, with a bound on time and on what is read back.

The headers and the signature are those of MLflow's webhooks (Standard Webhooks: the signature covers the delivery's id,
the time and the body), so a receiver that was written for MLflow verifies ours.
Source: mlflow/webhooks/delivery.py of MLflow 3.17; https://www.standardwebhooks.com.
"""

import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import socket
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from mainspring.errors import Invalid, MainspringError, MissingExtra
from mainspring.notify.addresses import Target, check_host, connect, target_of
from mainspring.notify.forms import APPRISE, MAIL, formed, in_words, split_form
from mainspring.notify.mail import mailbox_of, message_of, send_mail

__all__ = ["Sent", "send", "send_together", "signature_of"]

_TIMEOUT_SECONDS = 10.0
_MOST_READ = 2_000
#: What a mail server says when it has taken a message.
_TAKEN = 250


class Sent(NamedTuple):
    """What came of a try: the status that was answered (None when nothing was), the answer's beginning, an error."""

    status: int | None
    body: str
    error: str


def signature_of(secret: str, delivery_id: str, timestamp: str, payload: str) -> str:
    """Return the signature that the header carries.

    >>> signature_of("s", "id", "0", "{}")
    'v1,jk+KzhSPTzAzRVwd2lKoA4Bi4oxPYlTvRcHfgrIz3yY='
    """
    signed = hmac.digest(secret.encode(), f"{delivery_id}.{timestamp}.{payload}".encode(), hashlib.sha256)
    return f"v1,{base64.b64encode(signed).decode()}"


def send_together(url: str, payloads: Sequence[str], *, delivery_id: str, secret: str, allow_private: bool) -> Sent:
    """Send news as one mail; nothing raises, what went wrong is told."""
    try:
        box = mailbox_of(url, allow_private=allow_private)
        message = message_of(box, [json.loads(each) for each in payloads], delivery_id)
        not_taken = send_mail(box, message, password=secret, allow_private=allow_private)
        return Sent(_TAKEN, not_taken, "")
    except MainspringError as error:
        return Sent(None, "", error.what)
    except (OSError, ValueError) as error:
        return Sent(None, "", f"{type(error).__name__}: {error}")


def send(url: str, payload: str, *, delivery_id: str, secret: str, allow_private: bool) -> Sent:
    """Send a payload once; nothing raises, what went wrong is told."""
    try:
        form, address = split_form(url)
        if form in MAIL:
            return send_together(url, [payload], delivery_id=delivery_id, secret=secret, allow_private=allow_private)
        if form == APPRISE:
            return _notify(address, payload, allow_private)
        address, payload = formed(form, address, payload)
        # the machine's time, also where a past is lived again: receivers refuse what is old
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "X-MLflow-Delivery-Id": delivery_id,
            "X-MLflow-Timestamp": timestamp,
        }
        if secret:
            headers["X-MLflow-Signature"] = signature_of(secret, delivery_id, timestamp, payload)
        return _post(target_of(address, allow_private=allow_private), payload.encode(), headers, allow_private)
    except MainspringError as error:
        return Sent(None, "", error.what)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Sent(None, "", f"{type(error).__name__}: {error}")


def _post(target: Target, body: bytes, headers: dict[str, str], allow_private: bool) -> Sent:
    plug = connect(target, allow_private=allow_private, timeout_seconds=_TIMEOUT_SECONDS)
    # each wait is bounded by the socket's timeout, and all of them together by this: a peer that drips ends here
    end = threading.Timer(2 * _TIMEOUT_SECONDS, _shut, (plug,))
    end.daemon = True
    connection = http.client.HTTPConnection(target.host, target.port)
    connection.sock = plug
    try:
        end.start()
        connection.request("POST", target.path, body, {"Host": target.authority, "Connection": "close", **headers})
        response = connection.getresponse()
        return Sent(response.status, response.read(_MOST_READ).decode("utf-8", "replace"), "")
    finally:
        end.cancel()
        connection.close()


def _shut(plug: socket.socket) -> None:
    with contextlib.suppress(OSError):
        plug.shutdown(socket.SHUT_RDWR)


def _notify(url: str, payload: str, allow_private: bool) -> Sent:
    check_host(url, allow_private=allow_private)
    try:
        import apprise  # the extra notify
    except ImportError as error:
        raise MissingExtra.of("notify", "apprise", "A notification") from error
    sender = apprise.Apprise()
    if not sender.add(url):
        raise Invalid("apprise knows no such address", where="url")
    done = sender.notify(title="Mainspring", body=in_words(json.loads(payload)))
    return Sent(200 if done else None, "", "" if done else "apprise could not send it")
