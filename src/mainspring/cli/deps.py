"""`mainspring deps`: try newer libraries on a model, in an environment of their own."""

from dataclasses import asdict

import click

from mainspring.cli.output import json_option, print_json, print_table
from mainspring.govern.updating import Answers, Update, update_dependencies
from mainspring.registry.versions import find_version
from mainspring.workspace import Workspace

__all__ = ["deps_command"]


@click.group("deps")
def deps_command() -> None:
    """Try newer libraries on a model before they are installed.

    \b
    Example:
      mainspring deps update late-flights scikit-learn
    """


@deps_command.command("update")
@click.argument("model")
@click.argument("distributions", metavar="DISTRIBUTION...", nargs=-1, required=True)
@click.option("--test", default="", metavar="COMMAND", help="Run this in the new environment, in the present folder.")
@click.option("--rows", default=10_000, show_default=True, type=click.IntRange(1), help="Newest requests to replay.")
@click.option(
    "--tolerance",
    default=0.02,
    show_default=True,
    type=click.FloatRange(0),
    help="How far a metric of the model trained anew may be off, as a share.",
)
@json_option
def update_command(
    model: str, distributions: tuple[str, ...], test: str, rows: int, tolerance: float, as_json: bool
) -> int:
    """Say whether newer distributions are harmless to a model; nothing is installed where you work.

    The environment of the run that made MODEL is built apart, and the distributions in it are upgraded: NAME is the
    newest version, NAME==1.2 that one. Then the tests run, logged requests are asked again of the bundle that serves,
    and the model is trained anew on the same data and asked too. Exit code 1 when something speaks against it.

    \b
    Example:
      mainspring deps update late-flights scikit-learn numpy --test "python -m pytest -q"
      mainspring deps update late-flights@champion scikit-learn==1.8.0 --json
    """

    def say(text: str) -> None:
        click.echo(f"  {text}", err=True)

    with Workspace() as workspace:
        version = find_version(workspace.store, model)
        workspace.seal()
        found = update_dependencies(
            workspace.store,
            workspace.artifacts,
            version,
            distributions,
            bundle=workspace.served_bundle(version),
            signature=workspace.signature_of(version.model, version.version),
            logged=workspace.log.recent(version.model, until=workspace.clock.now(), most=rows),
            test=test,
            tolerance=tolerance,
            say=say,
        )
    if as_json:
        print_json({**asdict(found), "objections": found.objections})
    else:
        _print(found)
    return 1 if found.objections else 0


def _print(found: Update) -> None:
    if not found.changed:
        click.echo("Nothing changed: these versions are the ones that the model was made with.")
    else:
        print_table(["distribution", "then", "now"], [[name, *pair] for name, pair in found.changed.items()])
    if found.tests is not None:
        click.echo(f"Tests {'passed' if found.tests.passed else 'failed'}: {found.tests.said.rpartition(chr(10))[2]}")
    for each in found.answers:
        click.echo(_told(each))
    if not found.answers:
        click.echo("No requests are logged yet, so none were asked again.")
    trained = found.trained
    click.echo(f"Trained anew: {trained.same} of {trained.steps} steps came out the same; level {trained.level}.")
    moved = [[name, then, now] for name, (then, now) in trained.figures.items() if then != now]
    if moved:
        print_table(["figure", "then", "now"], moved)
    for remark in trained.remarks:
        click.echo(f"Remark: {remark}.")
    if found.objections:
        for objection in found.objections:
            click.echo(f"Against it: {objection}.")
    else:
        click.echo(f"Nothing speaks against it for {found.model_version}.")


def _told(answers: Answers) -> str:
    asked = f"{answers.rows:,} logged requests, {answers.what}"
    if answers.refused:
        return f"{asked}: no answers to compare: {answers.refused}"
    if not answers.largest_difference:
        said = "the same scores, bit for bit"
    else:
        said = f"scores differ by {answers.largest_difference:.3g} at most"
    if answers.disagreement:
        said += f", {answers.disagreement:.2%} get another class"
    if answers.comparison is not None:
        said += f"; {answers.comparison}"
    if answers.cost is not None:
        said += f"; a row takes {answers.cost:.2f} of the CPU it took"
    return f"{asked}: {said}"
