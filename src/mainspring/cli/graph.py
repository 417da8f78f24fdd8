"""`mainspring graph`: the graph of a run, or of a pipeline without running it."""

from typing import Any

import click

from mainspring.cli.loading import target_in
from mainspring.cli.output import print_json
from mainspring.loop.definition import Loop
from mainspring.pipeline.drawing import Drawing, as_mermaid, as_text, drawing_of_pipeline, drawing_of_run
from mainspring.pipeline.ledger import steps_of
from mainspring.pipeline.parameters import parse_parameters
from mainspring.tracking.runs import find_run
from mainspring.workspace import Workspace

__all__ = ["graph_command"]


@click.command("graph")
@click.argument("what", metavar="RUN|FILE[:NAME]")
@click.option(
    "--format",
    "form",
    default="text",
    show_default=True,
    type=click.Choice(["text", "mermaid", "json"]),
    help="As what.",
)
@click.option("-p", "--parameter", "given", multiple=True, metavar="NAME=VALUE", help="A parameter of the pipeline.")
def graph_command(what: str, form: str, given: tuple[str, ...]) -> None:
    """Show which steps take their arguments from which.

    Of a run, with what became of each step; of a pipeline, as far as its body tells without running a step.

    \b
    Example:
      mainspring graph loop.py --format mermaid
      mainspring graph 3f2a91bc
    """
    drawing = _of_file(what, given) if ".py" in what else _of_run(what)
    if form == "json":
        print_json(drawing)
    else:
        click.echo(as_mermaid(drawing) if form == "mermaid" else as_text(drawing))


def _of_file(target: str, given: tuple[str, ...]) -> Drawing:
    found = target_in(target)
    pipeline = found.pipeline if isinstance(found, Loop) else found
    # Any: each parameter has the type its annotation names
    arguments: dict[str, Any] = parse_parameters(pipeline, given, partial=True)
    if isinstance(found, Loop):
        arguments = {**found.defaults(), **arguments}
    return drawing_of_pipeline(pipeline, arguments)


def _of_run(run_id: str) -> Drawing:
    with Workspace() as workspace:
        run = find_run(workspace.store, run_id)
        return drawing_of_run(run.name, steps_of(workspace.store, run.run_id))
