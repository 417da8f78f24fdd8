"""`mainspring up`: keep a loop running on this machine: prediction server, control server and scheduler in one go."""

import contextlib
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import click

from mainspring.cli.loading import loop_in
from mainspring.cli.progress import StepPrinter
from mainspring.cli.serve import view_option, view_options
from mainspring.config import value_of
from mainspring.domain.moments import parse_duration
from mainspring.errors import MainspringError, Unavailable
from mainspring.loop.definition import Loop
from mainspring.pipeline.scheduler import Scheduler, holder_name
from mainspring.pipeline.schedules import Schedule, keep_looking, split_target
from mainspring.pipeline.ticks import Lost, Tick, run_due
from mainspring.registry.versions import find_champion
from mainspring.serve.process import ServerProcess
from mainspring.workspace import Workspace

__all__ = ["up_command"]

_CONTROL_PORT = 5000
_STOP_SECONDS = 30


@click.command("up")
@click.argument("file", default="loop.py")
@click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Of the prediction server."
)
@click.option(
    "--control-port", type=click.IntRange(0, 65535), help="Of the control server [default: 5000, else a free one]."
)
@click.option("--every", default="1m", show_default=True, help="How often the loop looks at production.")
@view_option
@click.option("--looks", default=0, type=click.IntRange(0), help="Stop after so many looks (0: never).")
def up_command(file: str, port: int, control_port: int | None, every: str, views: tuple[str, ...], looks: int) -> None:
    """Serve the champion of FILE's loop and let the loop act: watch, open incidents, retrain, canary, roll back.

    Trains first when no version serves yet. All schedules of the store run beside it, and a control server tells news
    to webhooks. Stop with Ctrl-C; started again it goes on where it stopped, and catches up.

    \b
    Example:
      mainspring up loop.py --port 8000
    """
    loop = loop_in(file)
    parse_duration(every)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with Workspace() as workspace:
        workspace.progress = StepPrinter()
        _put_live(loop, workspace)
        workspace.endpoints.mkdir(parents=True, exist_ok=True)
        for error in workspace.republish():
            click.echo(f"Warning: {error}", err=True)
        workspace.journals.mkdir(parents=True, exist_ok=True)
        options = view_options(workspace, views)
        with (
            _Processes(workspace, port, control_port, options) as processes,
            _scheduled(loop, workspace, file, every) as look,
        ):
            click.echo(f"Control server at {processes.control.url}")
            click.echo(
                f"Serving {loop.name} at {processes.server.url}; looking at production every {every}. Ctrl-C stops."
            )
            count = 0
            while not stop.is_set():
                processes.mend()
                count += look()
                if looks and count >= looks:
                    break
                stop.wait(min(0.5, parse_duration(every).total_seconds()))
    click.echo("Stopped.")


def _put_live(loop: Loop, workspace: Workspace) -> None:
    """See to it that a version serves, if gates and approvals let one."""
    if find_champion(workspace.store, loop.name) is None:
        click.echo(f"No version of {loop.name} serves yet; training one.")
        done = loop.run(workspace)
        click.echo(f"{done.version.reference}: {done.version.status}")
    if find_champion(workspace.store, loop.name) is None:
        loop.start_waiting(workspace)
    if find_champion(workspace.store, loop.name) is None:
        click.echo("It waits for its gates or approvals: see mainspring models. Approve it while this runs.")


@contextlib.contextmanager
def _scheduled(loop: Loop, workspace: Workspace, file: str, every: str) -> Iterator["_Looker"]:
    """Keep the loop's looks as a schedule, and run all others beside it; yields what looks when a look is due."""
    path, within = split_target(file)
    target = f"{path.resolve()}:{within}" if within else str(path.resolve())
    mine = keep_looking(workspace.store, f"look-{loop.name}", every, target, now=workspace.clock.now()).name
    others = Scheduler(
        workspace.store,
        workspace.clock,
        workspace.home,
        lease=parse_duration(value_of("lease")),
        only=lambda schedule: schedule.name != mine,
    )
    others.start()
    try:
        yield _Looker(loop, workspace, mine)
    finally:
        others.stop()


class _Looker:
    """Looks when a look is due. It does so itself, in this process and its main thread: the loop is loaded already,
    and a process of its own would import its libraries anew every minute."""

    def __init__(self, loop: Loop, workspace: Workspace, schedule: str) -> None:
        self._loop = loop
        self._workspace = workspace
        self._schedule = schedule

    def __call__(self) -> int:
        """Return how many looks were taken: none when it is too early, or when another process is at it."""
        try:
            ended = run_due(
                self._workspace.store,
                self._workspace.clock,
                self._look,
                holder=holder_name(),
                lease=parse_duration(value_of("lease")),
                most=1,
                only=lambda schedule: schedule.name == self._schedule,
            )
        except MainspringError as error:  # a database that is busy or away must not end the service
            _say(str(error), err=True)
            return 0
        return len(ended)

    def _look(self, schedule: Schedule, tick: Tick, lost: Lost) -> str:
        try:
            for action in self._loop.tick(self._workspace):
                _say(f"{action.policy}: {action.text}")
        except MainspringError as error:  # a busy lock, a full disk: the tick is failed, and the next one tries again
            _say(str(error), err=True)
            raise
        return ""


def _say(text: str, *, err: bool = False) -> None:
    click.echo(f"{datetime.now(UTC):%H:%M:%S}  {text}", err=err)


class _Processes:
    """The prediction server and the control server, started again when one dies."""

    def __init__(self, workspace: Workspace, port: int, control_port: int | None, options: list[str]) -> None:
        self._workspace = workspace
        self._options = options
        self.server = self._start(port)
        try:
            self.control = _control(control_port)
        except BaseException:
            self.server.stop()
            raise

    def mend(self) -> None:
        """Start what has died again, where it was; what cannot start ends the command with its reason."""
        if not self.server.is_alive:
            click.echo("The prediction server died; starting another.", err=True)
            port = urlsplit(self.server.url).port or 0
            self.server.stop()
            self.server = self._start(port)
        if not self.control.is_alive:
            click.echo("The control server died; starting another.", err=True)
            self.control = _Control(urlsplit(self.control.url).port or 0)

    def _start(self, port: int) -> ServerProcess:
        return ServerProcess.start(
            self._workspace.endpoints, self._workspace.journals, port=port, options=self._options
        )

    def __enter__(self) -> "_Processes":
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()
        self.control.stop()


class _Control:
    """A control server as a child, which ends with its parent. It leaves the schedules to its parent."""

    def __init__(self, port: int) -> None:
        words = ["server", "--port", str(port), "--no-scheduler", "--exit-with-parent"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mainspring", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        if "http://" not in said:
            self.stop()
            raise Unavailable("The control server did not start; its reason stands above", where=f"port {port}")
        self.url = said.split()[3].rstrip(".")

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """Let it answer what is under way and end."""
        self._process.terminate()
        try:
            self._process.communicate(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


def _control(port: int | None) -> _Control:
    """Start a control server at `port`; without one at the usual port, and at any where that is taken."""
    if port is not None:
        return _Control(port)
    with socket.socket() as probe:
        is_taken = probe.connect_ex(("127.0.0.1", _CONTROL_PORT)) == 0
    with contextlib.suppress(Unavailable):  # another took it meanwhile
        return _Control(0 if is_taken else _CONTROL_PORT)
    return _Control(0)
