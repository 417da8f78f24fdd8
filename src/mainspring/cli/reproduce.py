"""`mainspring reproduce`: make a run or a model version again from what was kept, and say how far it is the same."""

from pathlib import Path

import click

from mainspring.cli.output import json_option, print_json, print_table, short
from mainspring.govern.reproduce import Reproduction, reproduce
from mainspring.workspace import Workspace

__all__ = ["reproduce_command"]

_LEVELS = {
    "bytes": "the same to the byte",
    "predictions": "the same predictions, bit for bit, from other bytes",
    "metrics": "other predictions, metrics within the tolerance",
    "none": "not reproduced",
}


@click.command("reproduce")
@click.argument("what", metavar="RUN|MODEL_VERSION")
@click.option("--here", is_flag=True, help="In the present environment, instead of one built from the kept list.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Lay everything out here and leave it; a file that is there already is used as it is.",
)
@click.option(
    "--tolerance", default=1e-3, show_default=True, type=click.FloatRange(0), help="How far a metric may be off."
)
@json_option
def reproduce_command(what: str, here: bool, folder: Path | None, tolerance: float, as_json: bool) -> int:
    """Make a run again from its kept code, data and environment, and compare.

    Three levels: bytes (every step's output and the model file), else predictions (on the stored test rows), else
    metrics within the tolerance. The first step that came out otherwise is named. Exit code 0 for bytes and
    predictions, 1 otherwise.

    \b
    Example:
      mainspring reproduce late-flights@champion
      mainspring reproduce 3f2a91bc --here --folder again
    """

    def say(text: str) -> None:
        click.echo(f"  {text}", err=True)

    with Workspace() as workspace:
        found = reproduce(
            workspace.store, workspace.artifacts, what, here=here, folder=folder, tolerance=tolerance, say=say
        )
    if as_json:
        print_json({**_fields(found), "holds": found.holds})
    else:
        _print(found)
    return 0 if found.holds else 1


def _fields(found: Reproduction) -> dict[str, object]:
    return {name: getattr(found, name) for name in Reproduction.__dataclass_fields__}


def _print(found: Reproduction) -> None:
    subject = f"{found.model_version} (run {short(found.run_id)})" if found.model_version else short(found.run_id)
    where = "in the present environment" if found.environment == "present" else "in an environment built for it"
    click.echo(f"{subject}: {found.level}: {_LEVELS[found.level]}")
    click.echo(f"{found.same} of {found.steps} steps came out the same, {where}, in {found.seconds:.0f} s.")
    if found.error:
        click.echo(f"The run failed: {found.error}")
    if found.diverged is not None:
        because = f": {found.diverged.because}" if found.diverged.because else ""
        click.echo(
            f"First other step: `{found.diverged.name}` (number {found.diverged.number}) {found.diverged.what}{because}"
        )
    if found.diverged is not None and not found.diverged.because and found.level != "bytes":
        click.echo(
            "  Its code, packages and inputs are the same: it does not repeat (entropy, the clock, the order of a set),"
            " or its threads or machine were others: see the remarks."
        )
    if found.largest_difference:
        click.echo(f"{found.predictions} predictions, the largest difference {found.largest_difference:.3g}.")
    if found.model_files and not all(found.model_files.values()):
        others = ", ".join(name for name, same in found.model_files.items() if not same)
        click.echo(f"Other files in the bundle: {others}.")
    moved = [[name, then, now] for name, (then, now) in found.figures.items() if then != now]
    if moved:
        print_table(["figure", "then", "now"], moved)
    for each in found.remarks:
        click.echo(f"Remark: {each}.")
