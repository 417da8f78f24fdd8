"""`mainspring why`: everything behind one prediction."""

from collections.abc import Mapping
from typing import Any

import click

from mainspring.cli.output import json_option, print_fields, print_json, when
from mainspring.govern.why import Explanation, explain
from mainspring.tracking.runs import Run
from mainspring.workspace import Workspace

__all__ = ["why_command"]


@click.command("why")
@click.argument("prediction_id", required=False)
@json_option
def why_command(prediction_id: str | None, as_json: bool) -> None:
    """Explain one prediction: request, transforms, model version, run, commit, data version and approver.

    The id is in every answer of the prediction server and in its log; without one, the newest prediction is explained.

    \b
    Example:
      mainspring why 019a4f0c7d2e7a31b0c5d1e2f3a4b5c6
    """
    with Workspace() as workspace:
        workspace.seal()
        prediction_id = prediction_id or workspace.log.newest()
        found = explain(workspace.store, workspace.log, prediction_id)
    if as_json:
        print_json(found)
        return
    print_fields(_fields(found))


def _fields(found: Explanation) -> dict[str, object]:
    score = found.score if isinstance(found.score, list) else f"{found.score:.6g}"
    threshold = "" if found.threshold is None else f" (yes from {found.threshold:.4g})"
    run = found.run
    return {
        "prediction": found.prediction_id,
        "asked": f"{when(found.at)}" + (f", request {found.request_id}" if found.request_id else ""),
        "answered": f"{score}{threshold}, by the {found.route}",
        "turned out": "not known yet" if found.label is None else f"{found.label} (told {when(found.labelled_at)})",
        "request": found.request,
        **({"looked up": {name: _lookup(each) for name, each in found.lookups.items()}} if found.lookups else {}),
        "transforms": {str(number): text for number, text in enumerate(found.transforms, 1)},
        "model version": f"{found.model_version}, {found.chosen}, bundle {found.bundle[:16]}",
        "run": "not from a run"
        if run is None
        else {
            "id": run.run_id,
            "started": when(run.started_at),
            **{f"{key} =": text for key, text in run.parameters.items()},
        },
        "commit": found.commit or "not known: the code was in no git repository, or not committed",
        "data version": found.data or "not known: no file was handed to the run",
        "made by": found.author,
        "gates": {gate.gate: f"{'passed' if gate.passed else 'FAILED'}: {gate.reason}" for gate in found.gates},
        "approver": {each.approver: f"as {each.role}, {when(each.at)} {each.comment}" for each in found.approvals}
        or "nobody was asked: the gates decided",
    }


def _lookup(told: Mapping[str, Any]) -> str:
    keys = ", ".join(f"{name} = {value}" for name, value in told["keys"].items())
    return f"version {told['version'][:12]} of the view, by {keys or 'keys not kept'}, as known {when(told['until'])}"


def _run_fields(run: Run) -> dict[str, str]:
    head = {"id": run.run_id, "started": when(run.started_at)}
    return head | {f"{key} =": text for key, text in run.parameters.items()}
