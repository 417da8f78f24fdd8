"""Ids: UUIDv7 as 32 hexadecimal digits. They sort by time of birth and are valid MLflow run ids.

Source: RFC 9562, section 5.7 (48 bits of Unix milliseconds, then random bits).
"""

import os
import threading
import time
from typing import NewType

__all__ = [
    "Digest",
    "IncidentId",
    "PredictionId",
    "RunId",
    "born_at_ms",
    "id_floor",
    "new_id",
]

RunId = NewType("RunId", str)
PredictionId = NewType("PredictionId", str)
IncidentId = NewType("IncidentId", str)
#: BLAKE3 of some bytes, 64 hexadecimal digits.
Digest = NewType("Digest", str)

_lock = threading.Lock()
_last = 0


def new_id() -> str:
    """Return a new UUIDv7 in hex, greater than every id this process made before it.

    Within one millisecond the 12 bits `rand_a` count up (RFC 9562, section 6.2, method 1), so ids stay sorted.
    """
    global _last
    now = time.time_ns() // 1_000_000
    with _lock:
        stamp = max(now << 12, _last + 1)
        _last = stamp
    milliseconds, counter = stamp >> 12, stamp & 0xFFF
    tail = int.from_bytes(os.urandom(8), "big") & ((1 << 62) - 1)
    return f"{(milliseconds << 80) | (0x7 << 76) | (counter << 64) | (0b10 << 62) | tail:032x}"


def born_at_ms(identifier: str) -> int:
    """Return the Unix milliseconds at which a UUIDv7 in hex was made.

    >>> born_at_ms("0190163d8694739b91f1b0ee84e4d1a5")
    1718360049300
    """
    return int(identifier[:12], 16)


def id_floor(milliseconds: int) -> str:
    """Return the smallest id that could have been born at `milliseconds`; ids compare as text."""
    return f"{milliseconds:012x}" + "0" * 20
