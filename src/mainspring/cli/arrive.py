"""`mainspring import`: runs from MLflow, W&B and TensorBoard."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import click

from mainspring.domain.version import STAGES
from mainspring.errors import Conflict, Invalid, MainspringError
from mainspring.registry.aliases import current_aliases, set_alias
from mainspring.registry.models import create_model
from mainspring.registry.versions import create_version, list_versions, set_stage
from mainspring.tracking.arrivals.arrival import (
    Arrival,
    ArrivingExperiment,
    ArrivingModel,
    ArrivingRegistered,
    keep_arrival,
    keep_experiment,
    keep_model,
    source_here,
)
from mainspring.workspace import Workspace

__all__ = ["import_command"]


@click.group("import")
def import_command() -> None:
    """Bring runs from another tracker, with their parameters, tags, whole histories and files.

    Each run is kept once: an import that was cut off goes on where it stopped, and a second one brings what is new.

    \b
    Example:
      mainspring import mlflow http://127.0.0.1:5000
      mainspring import wandb wandb/
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
        from mainspring.tracking.arrivals import mlflow_server as far

        found = _keep(far.arrivals_from_server(source), source)
        _keep_experiments(far.experiments_on_server(source))
        return found or _keep_models(far.models_from_server(source), far.registered_on_server(source), source)
    from mainspring.tracking.arrivals import mlflow_file as near

    if "://" in source and not source.startswith("sqlite:///"):
        raise Invalid(
            f"`{source.partition('://')[0]}` cannot be read directly",
            next_step="start its mlflow server and name that: mainspring import mlflow http://HOST:PORT",
        )
    path = Path(source.removeprefix("sqlite:///"))
    origin = f"mlflow {path.name}"
    refused = _keep(near.arrivals_in_database(path, artifacts), origin)
    _keep_experiments(near.experiments_in_database(path))
    return refused or _keep_models(near.models_in_database(path, artifacts), near.registered_in_database(path), origin)


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


def _keep_experiments(experiments: Iterator[ArrivingExperiment]) -> None:
    with Workspace() as workspace:
        for each in experiments:
            keep_experiment(workspace.store, each)


def _keep_models(models: Iterator[ArrivingModel], registered: Iterator[ArrivingRegistered], origin: str) -> int:
    """Keep logged models with their files, then registered ones; versions that are here already stay as they are."""
    logged = versions = 0
    with Workspace() as workspace:
        store, now = workspace.store, workspace.clock.now()
        for each in models:
            logged += keep_model(store, workspace.artifacts, each)
        for model in registered:
            with contextlib.suppress(Conflict):  # it is here from an import before
                create_model(
                    store, model.name, description=model.description, tags=model.tags, actor=workspace.actor, at=now
                )
            known = {each.version for each in list_versions(store, model.name)}
            for version in model.versions:
                if version.number in known:
                    continue
                made = create_version(
                    store,
                    model.name,
                    source=source_here(store, version),
                    run_id=version.run_id or None,
                    description=version.description,
                    tags=version.tags,
                    author=workspace.actor,
                    at=now,
                    number=version.number,
                )
                if version.stage in STAGES and version.stage != "None":
                    set_stage(store, made, version.stage, actor=workspace.actor, at=now)
                versions += 1
            here = current_aliases(store, model.name)
            for alias, number in model.aliases.items():
                if alias not in here:  # one that was moved here since stays where it is
                    reason = f"imported from {origin}"
                    set_alias(store, model.name, alias, number, at=now, reason=reason, actor=workspace.actor)
    click.echo(f"{logged} logged models and {versions} model versions imported")
    return 0


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
