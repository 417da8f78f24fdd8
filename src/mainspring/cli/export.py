"""`mainspring export`: a pipeline as manifests that another scheduler runs."""

from pathlib import Path
from typing import Any

import click
import yaml

from mainspring.cli.loading import target_in
from mainspring.domain.moments import to_iso
from mainspring.errors import Invalid
from mainspring.loop.definition import Loop
from mainspring.pipeline.export import Placement, exporter_named, outline
from mainspring.pipeline.parameters import parse_parameters
from mainspring.pipeline.schedules import split_target
from mainspring.workspace import Workspace

__all__ = ["export_command"]


@click.command("export")
@click.argument("target", metavar="FILE[:NAME]")
@click.option("--to", "form", default="k8s", show_default=True, metavar="k8s|argo", help="As what.")
@click.option("--image", required=True, help="The image that holds the project and its environment.")
@click.option("--folder", default="/app", show_default=True, help="Where the project lies in the image.")
@click.option("--claim", default="", metavar="NAME", help="A PersistentVolumeClaim for the workspace.")
@click.option("--secret", default="", metavar="NAME", help="A Secret whose keys become environment variables.")
@click.option("--env", "pairs", multiple=True, metavar="NAME=VALUE", help="An environment variable.")
@click.option("-p", "--parameter", "given", multiple=True, metavar="NAME=VALUE", help="A parameter of the pipeline.")
def export_command(
    target: str,
    form: str,
    image: str,
    folder: str,
    claim: str,
    secret: str,
    pairs: tuple[str, ...],
    given: tuple[str, ...],
) -> int:
    """Print the manifests that run a pipeline step by step on a cluster.

    Each step is a Job (or a task of an Argo Workflow) that runs `mainspring run FILE --step NUMBER` in the image;
    a last one makes the run itself of what the others kept, and takes a loop's candidate through its gates.
    All of them need the same store and artifacts.

    \b
    Example:
      mainspring export loop.py --image registry.example/flights:3 --claim mainspring | kubectl apply -f -
      mainspring export train.py:train --to argo --image flights:3 --secret mainspring -p c=0.5 | kubectl create -f -
    """
    environment = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise Invalid(f"`{pair}` is not NAME=VALUE", where="--env")
        environment[name] = value
    placement = Placement(image, folder, claim, secret, environment)
    write = exporter_named(form)
    found = target_in(target)
    arguments: dict[str, Any]  # each has the type its annotation names
    if isinstance(found, Loop):
        with Workspace() as workspace:
            arguments = found.arguments(workspace, parse_parameters(found.pipeline, given, partial=True))
        pipeline = found.pipeline
        # The moment is part of a step's key, so all of them are told the same one.
        if "until" in arguments and not any(each.startswith("until=") for each in given):
            given = (*given, f"until={to_iso(arguments['until'])}")
    else:
        arguments, pipeline = parse_parameters(found, given), found
    documents = write(outline(pipeline, _in_project(target), arguments, given), placement)
    click.echo(yaml.safe_dump_all(documents, sort_keys=False, width=120), nl=False)
    return 0


def _in_project(target: str) -> str:
    """Return the target with its file relative to this folder, which is the one that the image holds."""
    file, name = split_target(target)
    try:
        relative = file.resolve().relative_to(Path.cwd().resolve()).as_posix()
    except ValueError as error:
        raise Invalid(
            f"`{file}` is not in this folder, so it is not in the image's",
            next_step="run the command in the folder of the project",
        ) from error
    return f"{relative}:{name}" if name else relative
