"""`mainspring server`: the control server, which MLflow's clients and our own talk to."""

import os
import signal

import click

from mainspring.config import value_of
from mainspring.serve.process import end_with_parent
from mainspring.server.main import run_server
from mainspring.workspace import Workspace

__all__ = ["server_command"]

_GRACE_SECONDS = 30


@click.command("server")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=5000, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--login/--no-login", default=None, help="Ask everybody for a login; needed to listen beyond loopback.")
@click.option(
    "--default-artifact-root",
    default="",
    metavar="ADDRESS",
    help="Where new experiments keep their files, if not in this server: s3://..., file:///..., a folder.",
)
@click.option("--scheduler/--no-scheduler", default=True, show_default=True, help="Run the schedules that are due.")
@click.option("--exit-with-parent", is_flag=True, hidden=True, help="End when standard input closes.")
def server_command(
    host: str, port: int, login: bool | None, default_artifact_root: str, scheduler: bool, exit_with_parent: bool
) -> None:
    """Serve tracking and registry over HTTP, on MLflow's REST paths and the native API, until Ctrl-C.

    It tells webhooks their news and runs the schedules of the store; of many servers on one store, each tick is run by
    one.

    \b
    Example:
      mainspring server --port 5000
      MLFLOW_TRACKING_URI=http://127.0.0.1:5000 python train.py
      mainspring server --host 0.0.0.0 --login
      mainspring server --default-artifact-root s3://bucket/runs
    """
    if exit_with_parent:
        end_with_parent(lambda: os.kill(os.getpid(), signal.SIGTERM), _GRACE_SECONDS)
    with Workspace() as workspace:
        run_server(
            workspace,
            host=host,
            port=port,
            ready=lambda url: click.echo(f"Control server at {url}. Ctrl-C ends it."),
            needs_login=login if login is not None else value_of("login") == "on",
            artifact_root=default_artifact_root,
            runs_schedules=scheduler,
        )
