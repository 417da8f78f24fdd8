"""Several workers on one port, and somebody who watches them: a worker that dies, hangs or eats memory is replaced.

Workers share nothing: each has its own socket of the port (the kernel spreads connections over them), its own models
and its own journal. The sockets belong to the supervisor, so that the connections which wait at a dead worker's socket
are answered by its successor. The supervisor itself imports no model and no HTTP; it ends its workers when it ends, and
they end by themselves when it is killed.
"""

import logging
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from mainspring.serve.listening import listening_sockets, url_of
from mainspring.serve.metrics import ServerMetrics
from mainspring.serve.numbers import Numbers, fold, last_beat
from mainspring.serve.options import Options
from mainspring.serve.process import end_with_parent, write_ready

__all__ = ["supervise"]

_log = logging.getLogger(__name__)
_LOOK_SECONDS = 0.05
#: How often memory and signs of life are looked at.
_CHECK_SECONDS = 0.5
_END_SECONDS = 25.0
_FIRST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS = 0.1, 10.0
#: A worker that has lived so long was well started; its successor is started at once.
_WELL_SECONDS = 10.0


class _Worker:
    """One place among the workers: its socket, and the process that fills it now."""

    def __init__(
        self, place: int, count: int, listener: socket.socket, arguments: Sequence[str], scratch: Path
    ) -> None:
        self.listener = listener
        self._ready = scratch / f"ready-{place}.json"
        self._command = [sys.executable, "-m", "mainspring.serve", *arguments, "--workers", "1", "--exit-with-parent"]
        self._command += ["--listen-fd", str(listener.fileno()), "--numbers", str(scratch / "numbers")]
        self._command += ["--ready-file", str(self._ready), "--share", str(count)]
        if place:  # one worker's answers are as good as all workers', and the original is loaded once
            self._command += ["--recheck", "0"]
        self._pause = _FIRST_PAUSE_SECONDS
        self.start_at = 0.0
        self.reason = "died"
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.doomed_at: float | None = None

    @property
    def is_ready(self) -> bool:
        """Whether the process that fills the place has said that it answers."""
        return self._ready.exists()

    def start(self) -> None:
        """Fill the place."""
        self._ready.unlink(missing_ok=True)
        self.started, self.doomed_at, self.reason = time.monotonic(), None, "died"
        self.process = subprocess.Popen(self._command, stdin=subprocess.PIPE, pass_fds=[self.listener.fileno()])

    def lost(self) -> None:
        """Let the place be empty until `start_at`, longer each time its workers do not live."""
        now = time.monotonic()
        well = now - self.started > _WELL_SECONDS
        self._pause = _FIRST_PAUSE_SECONDS if well else min(2 * self._pause, _LAST_PAUSE_SECONDS)
        self.start_at = now if well else now + self._pause
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
        self.process = None

    def end(self, reason: str, *, at_once: bool) -> None:
        """Ask the process to end, or end it."""
        if self.process is None:
            return
        self.reason = reason
        self.doomed_at = self.doomed_at or time.monotonic()
        if at_once:
            self.process.kill()
        else:
            self.process.terminate()


def supervise(options: Options, arguments: Sequence[str]) -> int:
    """Run the workers until told to end; return the exit code.

    Raises:
        MainspringError: the port cannot be taken.
    """
    scratch = Path(tempfile.mkdtemp(prefix="mainspring-workers-"))
    listeners = listening_sockets(options.host, options.port, options.workers, is_guarded=options.keys is not None)
    numbers = Numbers(scratch / "numbers")
    workers = [
        _Worker(place, options.workers, listener, arguments, scratch) for place, listener in enumerate(listeners)
    ]
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if options.exit_with_parent:
        end_with_parent(stop.set, 2 * _END_SECONDS)
    try:
        for worker in workers:
            worker.start()
        code = _until_ready(workers, stop)
        if code is None:
            if options.ready_file is not None:
                write_ready(options.ready_file, url_of(listeners[0], is_secure=options.tls_certificate is not None))
            _watch(options, workers, stop, scratch / "numbers", numbers)
            code = 0
        return code
    finally:
        _end(workers)
        for listener in listeners:
            listener.close()
        shutil.rmtree(scratch, ignore_errors=True)


def _until_ready(workers: list[_Worker], stop: threading.Event) -> int | None:
    """Wait until every worker answers; return an exit code when that will not come to pass."""
    while not all(worker.is_ready for worker in workers):
        for worker in workers:
            code = worker.process.poll() if worker.process else None
            if code is not None:  # it has said why
                return code if code > 0 else 1
        if stop.wait(_LOOK_SECONDS):
            return 0
    return None


def _watch(options: Options, workers: list[_Worker], stop: threading.Event, folder: Path, numbers: Numbers) -> None:
    metrics = ServerMetrics(numbers)
    check_at = 0.0
    while not stop.wait(_LOOK_SECONDS):
        now = time.monotonic()
        numbers.beat()
        for worker in workers:
            if worker.process is None:
                if now >= worker.start_at:
                    worker.start()
            elif worker.process.poll() is not None:
                pid, code = worker.process.pid, worker.process.returncode
                _log.error("worker %d ended with code %d (%s); another takes its place", pid, code, worker.reason)
                metrics.count("server_worker_restarts_total", worker.reason)
                fold(folder, pid, numbers)
                worker.lost()
            elif now >= check_at:
                _check(options, worker, folder, now)
        if now >= check_at:
            check_at = now + _CHECK_SECONDS


def _check(options: Options, worker: _Worker, folder: Path, now: float) -> None:
    """End a worker that hangs at once, and one that is too large when it has answered what it took on."""
    assert worker.process is not None
    pid = worker.process.pid
    beat = last_beat(folder, pid)
    if worker.is_ready and beat is not None and now - beat > options.stuck_seconds:
        _log.error("worker %d has shown no sign of life for %.0f seconds", pid, now - beat)
        worker.end("hangs", at_once=True)
    elif worker.doomed_at is not None and now - worker.doomed_at > _END_SECONDS:
        worker.end(worker.reason, at_once=True)
    elif options.worker_memory_bytes is not None and worker.doomed_at is None:
        try:
            used = psutil.Process(pid).memory_info().rss
        except psutil.NoSuchProcess:
            return
        if used > options.worker_memory_bytes:
            _log.error("worker %d uses %d MiB", pid, used >> 20)
            worker.end("memory", at_once=False)


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.end("stopped", at_once=False)
    deadline = time.monotonic() + _END_SECONDS
    for worker in workers:
        if worker.process is None:
            continue
        try:
            worker.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()
        worker.lost()
