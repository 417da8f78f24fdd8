"""One in so many live answers is scored again by the original, in a process of its own and with the lowest priority.

A faster form was certified on rows that somebody thought of; live rows are the ones that count. The server hands one
answer at a time to the process and never waits for it: while it works, no other is handed over. So the answers cost
nothing, and the libraries of the original are loaded somewhere else. What it finds is counted in the metrics.
"""

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from mainspring.bundle.certificate import compare
from mainspring.bundle.format import digest_of
from mainspring.bundle.predictor import Predictor, form_of, load_original
from mainspring.errors import Corrupt, MainspringError
from mainspring.serve.metrics import ServerMetrics

if TYPE_CHECKING:
    from mainspring.serve.scoring import ScoredBlock

__all__ = ["Recheck", "main"]

_log = logging.getLogger(__name__)
#: No more often than this, however fast requests come.
_LEAST_SECONDS = 0.1
#: A process that died is started again so long after.
_AGAIN_SECONDS = 60.0
_MOST_ROWS = 16
#: What a pipe takes at once; a larger answer is left alone.
_MOST_BYTES = 60_000
_LENGTH_BYTES = 4
_MOST_LOADED = 4
_END_SECONDS = 5.0


class _Given(msgspec.Struct, frozen=True):
    """An answer, and the bundle whose original is to give it too."""

    model: str
    version: int
    bundle: str
    digest: str
    columns: dict[str, list[Any]]  # Any: a number, a text or None
    scores: list[Any]  # Any: a number a row, or one for each class


class _Found(msgspec.Struct, frozen=True):
    """What came of it; `error` says why nothing did."""

    model: str
    version: int
    rows: int = 0
    flips: int = 0
    difference: float = 0.0
    error: str = ""


class Recheck:
    """The server's side. Its methods belong to the event loop."""

    def __init__(self, every: int, metrics: ServerMetrics) -> None:
        """`every` is the number of requests of which one is scored again."""
        self._every = self._left = every
        self._metrics = metrics
        self._process: subprocess.Popen[bytes] | None = None
        self._is_busy = False
        self._not_before = 0.0
        self._read = b""
        self._told: set[tuple[str, int]] = set()

    def see(self, scored: "ScoredBlock") -> None:
        """Look at requests that were answered together."""
        self._left -= len(scored.asks)
        if self._left > 0 or self._is_busy or time.monotonic() < self._not_before:
            return
        first = scored.asks[0]
        if form_of(first.loaded.predictor) == "original":
            return
        rows = min(first.n_rows, _MOST_ROWS)
        given = _Given(
            first.received.model,
            first.route.version,
            first.route.bundle,
            first.loaded.digest,
            {name: values[:rows].tolist() for name, values in scored.block.columns.items()},
            scored.scores[:rows].tolist(),
        )
        self._left = self._every
        self._hand_over(msgspec.msgpack.encode(given))

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None or process.stdin is None or process.stdout is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed
            asyncio.get_running_loop().remove_reader(process.stdout.fileno())
        process.stdin.close()
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def _hand_over(self, message: bytes) -> None:
        now = time.monotonic()
        self._not_before = now + _LEAST_SECONDS
        if len(message) > _MOST_BYTES:
            return
        try:
            if self._process is None:
                self._start()
            assert self._process is not None
            assert self._process.stdin is not None
            self._is_busy = True
            # the pipe is empty, since the answer to what was in it has come; so this neither waits nor writes a part
            self._process.stdin.write(len(message).to_bytes(_LENGTH_BYTES) + message)
        except OSError as error:
            self._lost(str(error))

    def _start(self) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "mainspring.serve.recheck"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        asyncio.get_running_loop().add_reader(process.stdout.fileno(), self._answered)
        self._process, self._read = process, b""

    def _answered(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            part = os.read(self._process.stdout.fileno(), _MOST_BYTES)
        except BlockingIOError:
            return
        if not part:
            self._lost("it ended")
            return
        self._read += part
        line, is_whole, rest = self._read.partition(b"\n")
        if not is_whole:
            return
        self._read, self._is_busy = rest, False
        self._count(msgspec.json.decode(line, type=_Found))

    def _count(self, found: _Found) -> None:
        labels = found.model, str(found.version)
        if found.error:
            self._metrics.count("recheck_failures_total", *labels)
            if (found.model, found.version) not in self._told:
                self._told.add((found.model, found.version))
                _log.warning("answers of %s/%d cannot be scored again: %s", found.model, found.version, found.error)
            return
        self._metrics.count("recheck_rows_total", *labels, by=found.rows)
        self._metrics.count("recheck_flips_total", *labels, by=found.flips)
        self._metrics.observe("recheck_difference", [found.difference], *labels)
        if found.flips:
            _log.error("%s/%d answers another class than its original does", found.model, found.version)

    def _lost(self, why: str) -> None:
        _log.warning("the process that scores answers again is gone: %s", why)
        self._is_busy = False
        self._not_before = time.monotonic() + _AGAIN_SECONDS
        self.close()


def main() -> int:
    """Be the process: answers in on standard input, what was found out on standard output."""
    os.nice(19)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with the server, whose input closes
    loaded: dict[str, Predictor] = {}
    incoming, outgoing = sys.stdin.buffer, sys.stdout.buffer
    while head := incoming.read(_LENGTH_BYTES):
        given = msgspec.msgpack.decode(incoming.read(int.from_bytes(head)), type=_Given)
        outgoing.write(msgspec.json.encode(_found(given, loaded)) + b"\n")
        outgoing.flush()
    return 0


def _found(given: _Given, loaded: dict[str, Predictor]) -> _Found:
    try:
        original = loaded.get(given.digest)
        if original is None:
            original = _load(Path(given.bundle), given.digest)
            while len(loaded) >= _MOST_LOADED:
                del loaded[next(iter(loaded))]
            loaded[given.digest] = original
        columns = {
            each.name: np.array(given.columns[each.name], dtype=object if each.type == "string" else np.float64)
            for each in original.signature.columns
        }
        threshold = original.manifest.threshold
        scores = np.array(given.scores, dtype=np.float64)
        flips, difference = compare(original.predict(columns), scores, 0.5 if threshold is None else threshold)
        return _Found(given.model, given.version, len(scores), flips, difference)
    except Exception as error:
        # The original runs foreign code, which may fail in any way; the reason is what there is to tell.
        what = error.what if isinstance(error, MainspringError) else f"{type(error).__name__}: {error}"
        return _Found(given.model, given.version, error=what)


def _load(bundle: Path, digest: str) -> Predictor:
    if digest_of(bundle) != digest:
        raise Corrupt("The bundle is another one by now", where=str(bundle))
    return load_original(bundle)


if __name__ == "__main__":
    sys.exit(main())
