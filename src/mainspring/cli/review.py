"""`mainspring review`: predictions that wait for somebody who knows what came true."""

import click

from mainspring.cli.output import json_option, print_json, print_table, when
from mainspring.loop.review import answer_question, list_reviews, questions
from mainspring.workspace import Workspace

__all__ = ["review_command"]

_FEATURES_SHOWN = 4


@click.group("review")
def review_command() -> None:
    """Answer what came true of predictions: a sample, and those that the model was most in doubt about.

    `mainspring server` has the same queue as a page, at /review. Answers are labels, kept with who gave them.

    \b
    Example:
      mainspring review list late-flights
      mainspring review answer late-flights 01a21ae6c40c70008fad4d0608776fd9 1 --comment "diverted"
    """


@review_command.command("list")
@click.argument("model")
@click.option("--most", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many are asked.")
@click.option("--answered", is_flag=True, help="List what was answered instead.")
@json_option
def _list(model: str, most: int, answered: bool, as_json: bool) -> None:
    """List what waits for a person; everybody sees the same, until it is answered.

    \b
    Example:
      mainspring review list late-flights --json
    """
    with Workspace() as workspace:
        workspace.seal()
        if answered:
            done = list_reviews(workspace, model)
            if as_json:
                print_json(done)
                return
            rows = [
                [each.prediction_id, each.label, each.kind, each.reviewer, when(each.answered_at), each.comment]
                for each in done
            ]
            print_table(["prediction", "label", "why", "by", "at", "comment"], rows, empty="Nothing was answered.")
            return
        asked = questions(workspace, model, most=most)
    if as_json:
        print_json(asked)
        return
    table = []
    for each in asked:
        score = each.score if isinstance(each.score, list) else [each.score]
        facts = ", ".join(f"{name}={value}" for name, value in list(each.features.items())[:_FEATURES_SHOWN])
        table.append([each.prediction_id, each.kind, when(each.at), " ".join(f"{one:.3f}" for one in score), facts])
    print_table(["prediction", "why", "asked", "score", "of"], table, empty="Nothing waits.")


@review_command.command("answer")
@click.argument("model")
@click.argument("prediction_id", metavar="PREDICTION")
@click.argument("label")
@click.option("--comment", default="", help="What else you know.")
@json_option
def _answer(model: str, prediction_id: str, label: str, comment: str, as_json: bool) -> None:
    """Say that LABEL came true of PREDICTION, in the name of the one who acts (MAINSPRING_ACTOR).

    \b
    Example:
      mainspring review answer late-flights 01a21ae6c40c70008fad4d0608776fd9 1
    """
    with Workspace() as workspace:
        workspace.seal()
        review = answer_question(workspace, model, prediction_id, label, reviewer=workspace.actor, comment=comment)
    if as_json:
        print_json(review)
    else:
        click.echo(f"{review.prediction_id}: {review.label}, says {review.reviewer}.")
