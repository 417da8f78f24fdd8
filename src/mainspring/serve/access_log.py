"""The access log: one JSON line for each prediction request, collected and written once in a while.

Off by default, as the prediction log holds more; it is for those who watch the web and not the model. It holds no
values.
"""

import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec

__all__ = ["AccessLine", "AccessLog"]

_MOST_LINES = 1000


class AccessLine(msgspec.Struct, frozen=True, gc=False):
    """What the log says about a request."""

    at: str
    model: str
    version: str
    status: int
    rows: int
    ms: float
    consumer: str
    trace_id: str


class AccessLog:
    """Appends to `path`. Several workers may write one file: each write is whole lines in one piece."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._lines: list[AccessLine] = []
        self._encoder = msgspec.json.Encoder()

    def note(self, model: str, version: str, status: int, rows: int, seconds: float, consumer: str, trace: str) -> None:
        """Write a line, soon."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._lines.append(AccessLine(now, model, version, status, rows, round(1000 * seconds, 3), consumer, trace))
        if len(self._lines) >= _MOST_LINES:
            self.flush()

    def flush(self) -> None:
        """Hand the lines to the operating system."""
        if self._lines:
            lines, self._lines = self._lines, []
            os.write(self._descriptor, self._encoder.encode_lines(lines))

    def close(self) -> None:
        """Write what is left."""
        self.flush()
        os.close(self._descriptor)
