"""A prediction server as a child process: started, found, stopped, and never left behind.

The child ends when its standard input closes, and the kernel closes that when this process ends, even by a kill -9.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import msgspec

from mainspring.errors import Unavailable, outcome_of

__all__ = ["ReadyFile", "ServerProcess", "end_with_parent", "write_ready"]

_POLL_SECONDS = 0.01
_PARENT_POLL_SECONDS = 0.5
_STOP_SECONDS = 30.0
_TAIL_BYTES = 4000


class ReadyFile(msgspec.Struct, frozen=True):
    """What a server writes when it answers: where it is to be found."""

    pid: int
    port: int
    url: str


def write_ready(path: Path, url: str) -> None:
    """Tell in one piece that the server of this process answers at `url`."""
    building = path.with_name(f".{path.name}.{os.getpid()}")
    building.write_bytes(msgspec.json.encode(ReadyFile(os.getpid(), urlsplit(url).port or 0, url)))
    building.replace(path)


def end_with_parent(end: Callable[[], object], grace_seconds: float) -> None:
    """Call `end` when standard input closes, which the kernel does when the parent dies in any way.

    A sibling may have inherited the other end and keep it open, so the parent's id is watched too.
    """
    parent = os.getppid()
    gone = threading.Event()

    def read_to_end() -> None:
        with contextlib.suppress(OSError):  # closed from the start: nobody holds the other end
            while os.read(0, 4096):
                pass
        gone.set()

    def watch() -> None:
        while not gone.wait(_PARENT_POLL_SECONDS) and os.getppid() == parent:
            pass
        end()
        # This thread dies with the process. Where the process hangs, nobody is left who could end it.
        time.sleep(grace_seconds)
        os._exit(outcome_of(Unavailable("")).exit_code)

    for target in (read_to_end, watch):
        threading.Thread(target=target, daemon=True).start()


class ServerProcess:
    """A running prediction server. Use `start`, or the class as a context manager around what it returns."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path, url: str, scratch: Path, held: int) -> None:
        self.url = url
        self.log = log
        self._process = process
        self._scratch = scratch
        self._held = held

    @classmethod
    def start(
        cls,
        endpoints: Path | None,
        journals: Path,
        *,
        port: int = 0,
        bundles: Sequence[Path] = (),
        options: Sequence[str] = (),
        clock: Path | None = None,
        timeout_seconds: float = 60.0,
    ) -> Self:
        """Start a server on a folder of route files, or on bundles, and wait until it answers.

        It goes by the moment in the file `clock`, where one is given, and not by the machine's.

        Raises:
            Unavailable: it died, or did not answer in time; the message holds the end of what it wrote.
        """
        # here, for the server itself imports this module and is to know of no artifacts
        from mainspring.artifacts.scratch import make_scratch

        made = make_scratch((Path(tempfile.gettempdir()),))
        if made is None:
            raise Unavailable(
                f"No folder can be made in {tempfile.gettempdir()}", next_step="free some space, or set TMPDIR"
            )
        scratch, held = made
        ready, log = scratch / "ready.json", scratch / "server.log"
        command = [sys.executable, "-m", "mainspring.serve", *map(str, bundles)]
        command += ["--journals", str(journals), "--port", str(port), "--ready-file", str(ready), "--exit-with-parent"]
        command += ["--endpoints", str(endpoints)] if endpoints is not None else []
        environment = os.environ if clock is None else {**os.environ, "MAINSPRING_CLOCK": str(clock)}
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [*command, *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=environment,
            )
        server = cls(process, log, "", scratch, held)
        deadline = time.monotonic() + timeout_seconds
        try:
            while not ready.exists():
                if process.poll() is not None:
                    raise Unavailable(f"The prediction server ended with code {process.returncode}:\n{server.tail()}")
                if time.monotonic() > deadline:
                    raise Unavailable(f"The prediction server was not ready in time:\n{server.tail()}")
                time.sleep(_POLL_SECONDS)
            server.url = msgspec.json.decode(ready.read_bytes(), type=ReadyFile).url
        except BaseException:
            server.kill()
            raise
        return server

    @property
    def pid(self) -> int:
        """The id of the server's process."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def tail(self) -> str:
        """Return the end of what the server wrote to its log."""
        return self.log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace") if self.log.exists() else ""

    def stop(self) -> None:
        """Let the server answer what is under way and end; a server that does not is killed."""
        if self.is_alive:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._clean_up()

    def kill(self) -> None:
        """End the server at once, as a crash would."""
        self._process.kill()
        self._clean_up()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _clean_up(self) -> None:
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        shutil.rmtree(self._scratch, ignore_errors=True)
        if self._held >= 0:
            os.close(self._held)
            self._held = -1
