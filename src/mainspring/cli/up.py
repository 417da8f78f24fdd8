"""`mainspring up`: keep a loop running on this machine: its prediction server and its scheduler in one go."""

import signal
import threading
import time
from datetime import UTC, datetime
from urllib.parse import urlsplit

import click

from mainspring.cli.loading import loop_in
from mainspring.cli.progress import StepPrinter
from mainspring.domain.moments import parse_duration
from mainspring.errors import MainspringError
from mainspring.loop.definition import Loop
from mainspring.registry.versions import find_champion
from mainspring.serve.process import ServerProcess
from mainspring.workspace import Workspace

__all__ = ["up_command"]


@click.command("up")
@click.argument("file", default="loop.py")
@click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Of the prediction server."
)
@click.option("--every", default="1m", show_default=True, help="How often the loop looks at production.")
@click.option("--looks", default=0, type=click.IntRange(0), help="Stop after so many looks (0: never).")
def up_command(file: str, port: int, every: str, looks: int) -> None:
    """Serve the champion of FILE's loop and let the loop act: watch, open incidents, retrain, canary, roll back.

    Trains first when no version serves yet. Stop with Ctrl-C; started again it goes on where it stopped.

    \b
    Example:
      mainspring up loop.py --port 8000
    """
    loop = loop_in(file)
    pause = parse_duration(every).total_seconds()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with Workspace() as workspace:
        workspace.progress = StepPrinter()
        if find_champion(workspace.store, loop.name) is None:
            click.echo(f"No version of {loop.name} serves yet; training one.")
            done = loop.run(workspace)
            click.echo(f"{done.version.reference}: {done.version.status}")
        if find_champion(workspace.store, loop.name) is None:
            loop.start_waiting(workspace)
        if find_champion(workspace.store, loop.name) is None:
            click.echo("It waits for its gates or approvals: see mainspring models. Approve it while this runs.")
        workspace.endpoints.mkdir(parents=True, exist_ok=True)
        workspace.journals.mkdir(parents=True, exist_ok=True)
        server = ServerProcess.start(workspace.endpoints, workspace.journals, port=port)
        click.echo(f"Serving {loop.name} at {server.url}; looking at production every {every}. Ctrl-C stops.")
        try:
            count = 0
            while not stop.is_set():
                if not server.is_alive:
                    click.echo("The prediction server died; starting another.", err=True)
                    server = _restarted(server, workspace)
                _look(loop, workspace)
                count += 1
                if looks and count >= looks:
                    break
                _wait(stop, pause, server)
        finally:
            server.stop()
    click.echo("Stopped.")


def _restarted(server: ServerProcess, workspace: Workspace) -> ServerProcess:
    """Start a server where the dead one was; one that cannot start ends the command with its reason."""
    port = urlsplit(server.url).port or 0
    server.stop()
    return ServerProcess.start(workspace.endpoints, workspace.journals, port=port)


def _wait(stop: threading.Event, pause: float, server: ServerProcess) -> None:
    """Wait for the next look, or until it is time to stop or the server has died."""
    until = time.monotonic() + pause
    while server.is_alive and (left := until - time.monotonic()) > 0:
        if stop.wait(min(left, 0.5)):
            return


def _look(loop: Loop, workspace: Workspace) -> None:
    now = datetime.now(UTC).strftime("%H:%M:%S")
    try:
        for action in loop.tick(workspace):
            click.echo(f"{now}  {action.policy}: {action.text}")
    except MainspringError as error:
        # one look that fails (a busy lock, a full disk) must not end the service; the next one tries again
        click.echo(f"{now}  {error}", err=True)
