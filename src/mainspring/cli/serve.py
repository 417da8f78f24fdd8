"""`mainspring serve`: answer predictions over HTTP until told to stop."""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from mainspring.domain.version import parse_model
from mainspring.errors import Invalid, NotFound
from mainspring.features.online import newest_state
from mainspring.registry.versions import find_champion, find_version
from mainspring.serve.routes import Route, RouteTable, write_routes
from mainspring.workspace import Workspace

__all__ = ["serve_command", "view_option", "view_options"]

view_option = click.option(
    "--view",
    "views",
    multiple=True,
    metavar="NAME[/VERSION]",
    help="Look features that a request leaves out up in this view; may be repeated.",
)


@click.command("serve")
@click.argument("models", nargs=-1, required=True)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen at; beyond this machine only with --keys."
)
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--grpc-port", type=click.IntRange(1, 65535), help="Answer over gRPC too, at this port.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes on the one port.")
@click.option("--worker-memory", type=click.IntRange(1), help="MiB of memory at which a worker is replaced.")
@click.option(
    "--models-memory",
    type=click.IntRange(1),
    help="MiB for models: they are loaded at their first request, and the longest unasked makes way.",
)
@click.option("--longest-wait", type=click.FloatRange(0), help="Seconds in the queue that are refused; 5 by default.")
@click.option(
    "--recheck",
    type=click.IntRange(0),
    help="One in so many answers of a faster form is scored again by the original; 1000 by default, 0 for none.",
)
@click.option("--answer-unlogged", is_flag=True, help="Answer even when the journal cannot be written, and count it.")
@click.option(
    "--log-share",
    type=click.FloatRange(0, 1),
    help="Share of the requests that the prediction log takes; 1 by default.",
)
@click.option("--redact", multiple=True, metavar="COLUMN", help="A column that the log does not take; may be repeated.")
@view_option
@click.option(
    "--row-rules",
    type=click.Choice(["obey", "flag", "off"]),
    help="Rows that break the model's schema: as its rules say (the default), answered and flagged, or not looked at.",
)
@click.option("--keys", type=click.Path(path_type=Path), help="File of API keys, made by `mainspring key`.")
@click.option("--access-log", type=click.Path(path_type=Path), help="File for one JSON line a prediction request.")
@click.option("--traces", metavar="URL", help="OpenTelemetry collector (OTLP over HTTP) to send spans of requests to.")
@click.option(
    "--trace-share", type=click.FloatRange(0, 1), help="Share of the requests that are traced; 0.01 by default."
)
@click.option("--tls-certificate", type=click.Path(path_type=Path), help="Certificate chain in PEM, for HTTPS.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its private key in PEM.")
@click.option("--ready-file", type=click.Path(path_type=Path), help="Written with pid, port and url when it answers.")
def serve_command(
    models: tuple[str, ...],
    host: str,
    port: int,
    grpc_port: int | None,
    workers: int,
    worker_memory: int | None,
    models_memory: int | None,
    longest_wait: float | None,
    recheck: int | None,
    answer_unlogged: bool,
    log_share: float | None,
    redact: tuple[str, ...],
    views: tuple[str, ...],
    row_rules: str | None,
    keys: Path | None,
    access_log: Path | None,
    traces: str | None,
    trace_share: float | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
    ready_file: Path | None,
) -> int:
    """Answer predictions for MODELS: name (follows promotions and canaries), name@alias, name/3, or a bundle's folder.

    \b
    Example:
      mainspring serve late-flights
      curl -s localhost:8000/v2/models/late-flights
    """
    command = [sys.executable, "-m", "mainspring.serve", "--host", host, "--port", str(port), "--workers", str(workers)]
    command += ["--worker-memory", str(worker_memory)] if worker_memory else []
    command += ["--grpc-port", str(grpc_port)] if grpc_port else []
    command += ["--traces", traces] if traces else []
    command += ["--trace-share", str(trace_share)] if trace_share is not None else []
    command += ["--models-memory", str(models_memory)] if models_memory else []
    command += ["--longest-wait", str(longest_wait)] if longest_wait is not None else []
    command += ["--recheck", str(recheck)] if recheck is not None else []
    command += ["--answer-unlogged"] if answer_unlogged else []
    command += ["--log-share", str(log_share)] if log_share is not None else []
    command += ["--row-rules", row_rules] if row_rules else []
    command += [word for column in redact for word in ("--redact", column)]
    files = {"keys": keys, "access-log": access_log, "tls-certificate": tls_certificate, "tls-key": tls_key}
    for option, path in files.items():
        command += [f"--{option}", str(path)] if path else []
    with Workspace() as workspace, tempfile.TemporaryDirectory(prefix="mainspring-endpoints-") as scratch:
        endpoints, bundles = Path(scratch), []
        for model in models:
            if (Path(model) / "bundle.json").is_file():
                bundles.append(model)
            else:
                _offer(workspace, model, endpoints)
        # what a bundle outside the registry answers is of no version that the log could know
        journals = workspace.journals / "unregistered" if len(bundles) == len(models) else workspace.journals
        command += ["--journals", str(journals)]
        command += view_options(workspace, views)
        command += ["--endpoints", str(endpoints)] if len(bundles) < len(models) else []
        command += ["--ready-file", str(ready_file)] if ready_file else []
        return _run([*command, *bundles])


def view_options(workspace: Workspace, views: Sequence[str]) -> list[str]:
    """Return the options by which a prediction server looks features up in `views`, each at the version it has now."""
    found = [newest_state(workspace.online.states(), each) for each in views]
    return [word for each in found for word in ("--view", f"{each.view.name}/{each.version}")]


def _offer(workspace: Workspace, model: str, endpoints: Path) -> None:
    """Put the route file of a model into `endpoints`: a link to the one that promotions rewrite, or a fixed one."""
    name, number, alias = parse_model(model)
    path = endpoints / f"{name}.json"
    if path.exists():
        raise Invalid(f"`{name}` is named twice", next_step="serve two versions of one model by two servers")
    if number is None and alias is None:
        if find_champion(workspace.store, name) is None:
            find_version(workspace.store, name)  # an unknown name is told with the nearest ones
            raise NotFound(f"`{name}` has no champion yet", next_step=f"mainspring promote {name}/VERSION")
        workspace.served_bundle(find_version(workspace.store, f"{name}@champion"))
        workspace.publish(name)
        path.symlink_to(workspace.endpoints / f"{name}.json")
        return
    version = find_version(workspace.store, model)
    folder = str(workspace.served_bundle(version))
    write_routes(path, RouteTable(name, 1, (Route(version.version, folder, "champion", 100.0),)))


def _run(command: list[str]) -> int:
    """Run the server as a process of its own, which imports nothing that this command has imported."""
    process = subprocess.Popen(command)

    def pass_on(number: int, frame: object) -> None:
        process.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    return process.wait()
