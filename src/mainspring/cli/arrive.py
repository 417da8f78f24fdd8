"""`mainspring import`: runs from MLflow, W&B and TensorBoard."""

from collections.abc import Iterator
from pathlib import Path

import click

from mainspring.errors import Invalid, MainspringError
from mainspring.tracking.arrivals.arrival import Arrival, keep_arrival
from mainspring.workspace import Workspace

__all__ = ["import_command"]


@click.group("import")
def import_command() -> None:
    """Bring runs from another tracker, with their parameters, tags, whole histories and files.

    Each run is kept once: an import that was cut off goes on where it stopped, and a second one brings what is new.
    """


@import_command.command("mlflow")
@click.argument("source", metavar="URI|DB")
@click.option(
    "--artifacts",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="With a database: the folder that its server keeps mlflow-artifacts:/ in.",
)
def mlflow_command(source: str, artifacts: Path | None) -> int:
    """Import the runs of a server (http://...) or of its SQLite database (a file, or sqlite:///...).

    \b
    Example:
      mainspring import mlflow http://localhost:5000
      mainspring import mlflow mlflow.db --artifacts mlartifacts
    """
    if source.startswith(("http://", "https://")):
        from mainspring.tracking.arrivals.mlflow_server import arrivals_from_server

        return _keep(arrivals_from_server(source), source)
    from mainspring.tracking.arrivals.mlflow_file import arrivals_in_database

    if "://" in source and not source.startswith("sqlite:///"):
        raise Invalid(
            f"`{source.partition('://')[0]}` cannot be read directly",
            next_step="start its mlflow server and name that: mainspring import mlflow http://HOST:PORT",
        )
    path = Path(source.removeprefix("sqlite:///"))
    return _keep(arrivals_in_database(path, artifacts), f"mlflow {path.name}")


@import_command.command("wandb")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
def wandb_command(folder: Path) -> int:
    """Import runs that W&B wrote offline: FOLDER is `wandb`, or one run in it."""
    from mainspring.tracking.arrivals.wandb import arrivals_in_wandb

    return _keep(arrivals_in_wandb(folder), f"wandb {folder.name}")


@import_command.command("tensorboard")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--experiment", default="tensorboard", show_default=True, help="Where the runs go.")
def tensorboard_command(folder: Path, experiment: str) -> int:
    """Import the scalars of TensorBoard's event files: each folder with such files is a run."""
    from mainspring.tracking.arrivals.tensorboard import arrivals_in_events

    return _keep(arrivals_in_events(folder, experiment), f"tensorboard {folder.name}")


def _keep(arrivals: Iterator[Arrival], origin: str) -> int:
    """Keep runs one by one; what one of them is refused for stops none of the others."""
    kept = known = refused = 0
    with Workspace() as workspace:
        for run in arrivals:
            try:
                if keep_arrival(workspace.store, workspace.artifacts, run, origin=origin):
                    kept += 1
                else:
                    known += 1
            except MainspringError as error:
                refused += 1
                click.echo(f"{run.run_id} {run.name}: {error}", err=True)
    click.echo(f"{kept} runs imported, {known} known already" + (f", {refused} refused" if refused else ""))
    return 1 if refused else 0
