"""The scheduler: runs what comes due in one store, each tick in a process of its own.

A control server has one, and so has `mainspring up`; the leases of `ticks` make of many schedulers one. The scheduler
holds a tick's lease while a child process (`mainspring schedule run NAME`) does the work, so user code never runs in a
server, and a child whose parent dies in any way ends too: whoever takes the tick over is alone at it.
"""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from mainspring.artifacts.scratch import scratch_folder
from mainspring.domain.moments import Clock
from mainspring.errors import MainspringError
from mainspring.pipeline.schedules import Schedule, keep_house
from mainspring.pipeline.ticks import LEASE, Interrupted, Lost, Tick, run_due
from mainspring.store.protocol import Store

__all__ = ["Answer", "Scheduler", "holder_name"]

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.1
_GRACE_SECONDS = 20
#: Ticks of different schedules that are run at once: a training of hours holds up no look at production.
_HANDS = 2


def holder_name() -> str:
    """Return how a scheduler of this process signs the ticks it holds."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Answer:
    """The file in which a child says what a tick came to: the run's id, or what went wrong."""

    @staticmethod
    def write(path: Path, run_id: str, error: str = "") -> None:
        """Say it in one piece."""
        building = path.with_suffix(".part")
        building.write_text(json.dumps({"run_id": run_id, "error": error}))
        building.replace(path)

    @staticmethod
    def read(path: Path, code: int) -> str:
        """Return the run's id.

        Raises:
            MainspringError: the child said what went wrong, or nothing at all before it ended with `code`.
        """
        if not path.exists():
            raise MainspringError(f"The process of the tick ended with code {code} before it was done")
        said = json.loads(path.read_text())
        if said["error"]:
            raise MainspringError(said["error"])
        return str(said["run_id"])


class Scheduler:
    """Runs what comes due in one store on threads that wait for children, until `stop`.

    `home` is the workspace the children work in; `only` leaves schedules to others.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        home: Path,
        *,
        lease: timedelta = LEASE,
        only: Callable[[Schedule], bool] = lambda schedule: True,
    ) -> None:
        self._store = store
        self._clock = clock
        self._home = home
        self._lease = lease
        self._only = only
        self._stop = threading.Event()
        # What this process is at. After a sleep of the machine its own leases have run out; they will be renewed, and
        # until then the other hand must not begin the same again.
        self._at_work: set[str] = set()
        self._threads: list[threading.Thread] = []

    def start(self, every_seconds: float = 1.0) -> None:
        """Look for what is due every so many seconds; the store's housekeeping is added if it never was."""
        keep_house(self._store, self._clock.now())
        for hand in range(_HANDS):
            thread = threading.Thread(
                target=self._forever, args=(every_seconds,), name=f"scheduler-{hand}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End; the ticks that are under way are given back, and run again when another scheduler looks."""
        self._stop.set()
        for each in self._threads:
            each.join()

    def _forever(self, every_seconds: float) -> None:
        while not self._stop.wait(every_seconds):
            try:
                run_due(
                    self._store,
                    self._clock,
                    self._run,
                    holder=holder_name(),
                    lease=self._lease,
                    only=self._wants,
                )
            except MainspringError as error:  # a database that is busy or away: the next look tries again
                _log.warning("schedules wait: %s", error.what)
            except Exception:
                # The edge of a thread: one fault must not end all schedules of the server.
                _log.exception("the scheduler stumbled")

    def _wants(self, schedule: Schedule) -> bool:
        return schedule.is_here and schedule.name not in self._at_work and self._only(schedule)

    def _run(self, schedule: Schedule, tick: Tick, lost: Lost) -> str:
        self._at_work.add(schedule.name)
        try:
            return self._run_apart(schedule, lost)
        finally:
            self._at_work.discard(schedule.name)

    def _run_apart(self, schedule: Schedule, lost: Lost) -> str:
        """Run what a schedule names in a process of its own, and wait for it."""
        with scratch_folder() as scratch:
            answer = scratch / "answer.json"
            process = subprocess.Popen(
                [sys.executable, "-m", "mainspring", "schedule", "run", schedule.name, "--answer", str(answer)],
                stdin=subprocess.PIPE,  # closed by the kernel when this process dies, which ends the child
                stdout=sys.stderr,
                env={**os.environ, "MAINSPRING_HOME": str(self._home)},
            )
            try:
                while process.poll() is None and not self._stop.is_set() and not lost.is_set():
                    lost.wait(_POLL_SECONDS)
            finally:
                _end(process)
            if self._stop.is_set() and not answer.exists():
                raise Interrupted
            return Answer.read(answer, process.returncode)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Let a child that is still at work end its run in order; one that does not is killed."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdin is not None:
        process.stdin.close()
