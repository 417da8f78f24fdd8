"""`mainspring up` as people run it, by a clock that stands in a file: waited for, killed, started again."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

from mainspring.domain.moments import WrittenClock
from mainspring.pipeline.schedules import list_schedules
from mainspring.pipeline.ticks import list_standings
from mainspring.workspace import Workspace

__all__ = ["Up"]

#: A line of the command that tells what a look did: the time, the policy and the deed.
_ACTION = re.compile(r"\d\d:\d\d:\d\d  [^:]+: (?P<did>.*)")
_WAIT_SECONDS = 900
_POLL_SECONDS = 0.02
#: Of the machine's time: what it was at when it was killed comes free so soon.
_LEASE = "5s"


class Up:
    """The command in the folder `home`, looking at production once a day of the clock. Use as a context manager."""

    def __init__(self, home: Path, workspace: Workspace, clock: WrittenClock) -> None:
        self._home, self._workspace, self._clock = home, workspace, clock
        self._lines: list[str] = []
        self.start()

    def start(self) -> None:
        """Start it and wait until it serves; it says at which `url`."""
        words = [sys.executable, "-u", "-m", "mainspring", "up", "loop.py", "--port", "0", "--every", "1d"]
        self._process = subprocess.Popen(
            words,
            cwd=self._home,
            env={**os.environ, "MAINSPRING_CLOCK": str(self._clock.path), "MAINSPRING_LEASE": _LEASE},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("Serving"):
                self.url = line.split(" at ")[1].split(";")[0]
                break
        else:
            raise SystemExit("mainspring up did not come up")
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def server(self) -> int:
        """The id of the prediction server's process."""
        children = psutil.Process(self._process.pid).children(recursive=True)
        return next(each.pid for each in children if "mainspring.serve" in each.cmdline())

    def is_settled(self) -> bool:
        """Whether all that has come due by the clock is done."""
        now = self._clock.now()
        if any(each.next_at <= now for each in list_schedules(self._workspace.store)):
            return False
        waiting = self._workspace.store.read("SELECT 1 FROM schedule_ticks WHERE status IN ('due', 'claimed') LIMIT 1")
        return not waiting

    def settle(self) -> None:
        """Wait until it is."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while not self.is_settled():
            if self._process.poll() is not None:
                raise SystemExit(f"mainspring up ended with code {self._process.returncode}")
            if time.monotonic() > deadline:
                raise SystemExit(f"a tick takes too long: {list_standings(self._workspace.store)}")
            time.sleep(_POLL_SECONDS)

    def said(self) -> list[str]:
        """Return what its looks did since it was last asked."""
        said, self._lines = self._lines, []
        return [found["did"] for line in said if (found := _ACTION.match(line))]

    def kill(self) -> None:
        """Kill it with SIGKILL, as the kernel does when memory runs out, and wait until its children are gone too."""
        children = psutil.Process(self._process.pid).children(recursive=True)
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        if psutil.wait_procs(children, timeout=60)[1]:
            raise AssertionError("a process outlives the command that was killed")

    def _read(self) -> None:
        with suppress(ValueError):  # closed at the end
            assert self._process.stdout is not None
            for line in self._process.stdout:
                self._lines.append(line.rstrip("\n"))

    def __enter__(self) -> "Up":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
