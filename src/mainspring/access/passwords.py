"""Passwords, kept as scrypt hashes.

Source: RFC 7914; cost 2^14, block size 8, as its section 2 proposes for interactive logins: about 50 ms and 16 MB.
"""

import base64
import hashlib
import hmac
import secrets

from mainspring.errors import Invalid

__all__ = ["LEAST_LENGTH", "hash_password", "is_password"]

LEAST_LENGTH = 8
_COST, _BLOCK = 2**14, 8


def hash_password(password: str) -> str:
    """Return the text to keep for a password: parameters, salt and hash.

    Raises:
        Invalid: it is too short to be one, or too long to be hashed at every login.
    """
    if not LEAST_LENGTH <= len(password) <= 1024:
        raise Invalid(f"A password has at least {LEAST_LENGTH} characters", where="password", next_step="take a phrase")
    salt = secrets.token_bytes(16)
    return f"scrypt${_COST}${_BLOCK}${_text(salt)}${_text(_digest(password, salt, _COST, _BLOCK))}"


def is_password(password: str, kept: str) -> bool:
    """Whether `password` is the one that `kept` was made of; takes as long for a wrong one, and for no user."""
    _, cost, block, salt, digest = (kept or _NOBODY).split("$")
    found = _digest(password[:1024], base64.b64decode(salt), int(cost), int(block))
    return hmac.compare_digest(found, base64.b64decode(digest)) and bool(kept)


def _digest(password: str, salt: bytes, cost: int, block: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=cost, r=block, p=1, maxmem=64 * 2**20)


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


#: What is compared with when there is no such user, so that the answer takes as long.
_NOBODY = f"scrypt${_COST}${_BLOCK}${_text(b'nobody')}${_text(bytes(64))}"
