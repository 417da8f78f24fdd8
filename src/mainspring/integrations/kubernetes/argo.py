"""A pipeline as one Argo Workflow: a DAG whose tasks start when those they need have ended.

Source: Argo Workflows 3, `io.argoproj.workflow.v1alpha1.Workflow`.
"""

from typing import Any

from mainspring.errors import Invalid
from mainspring.integrations.kubernetes.pods import container, volumes
from mainspring.pipeline.export import Outline, Placement

__all__ = ["workflow"]

_ENTRY = "pipeline"
_KEPT_SECONDS = 24 * 3600


def workflow(outline: Outline, placement: Placement) -> list[dict[str, Any]]:
    """Return the workflow, as the only document.

    Raises:
        Invalid: a parameter holds ``{{``, which Argo would replace.
    """
    for word in outline.commands[-1].words:
        if "{{" in word:
            raise Invalid(
                f"Argo would replace what stands in double braces in `{word}`",
                next_step="give that value another way, or export with --to k8s",
            )
    templates: list[dict[str, Any]] = [
        {
            "name": command.name,
            "container": container(command, placement),
            # A step has had its own tries; what is tried again is a pod that was lost.
            "retryStrategy": {"limit": 3, "retryPolicy": "OnError"},
        }
        for command in outline.commands
    ]
    tasks = [
        {
            "name": command.name,
            "template": command.name,
            **({"dependencies": [*command.after]} if command.after else {}),
        }
        for command in outline.commands
    ]
    return [
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            "metadata": {
                "generateName": f"{outline.name}-",
                "labels": {"app.kubernetes.io/name": outline.name, "app.kubernetes.io/managed-by": "mainspring"},
            },
            "spec": {
                "entrypoint": _ENTRY,
                "ttlStrategy": {"secondsAfterCompletion": _KEPT_SECONDS},
                "templates": [{"name": _ENTRY, "dag": {"tasks": tasks}}, *templates],
                **volumes(placement),
            },
        }
    ]
