"""A pipeline as plain `batch/v1` Jobs, which need no operator: all are applied at once, and each waits for its inputs.

A Job whose step failed ends at once, since the step has had its own tries; a pod that was lost, or whose store could
not be reached, is tried again. Source: Kubernetes 1.31 API, `Job.spec.podFailurePolicy`.
"""

from typing import Any

from mainspring.integrations.kubernetes.pods import container, volumes
from mainspring.pipeline.export import Outline, Placement

__all__ = ["jobs"]

_KEPT_SECONDS = 24 * 3600
# What `mainspring run` exits with when the work said no, or its words were wrong.
_FINAL_EXITS = [1, 2]


def jobs(outline: Outline, placement: Placement) -> list[dict[str, Any]]:
    """Return one Job for each command."""
    shared = {"app.kubernetes.io/name": outline.name, "app.kubernetes.io/managed-by": "mainspring"}
    documents = []
    for command in outline.commands:
        labels = {**shared, "mainspring/export": outline.tag, "mainspring/step": command.name}
        pod = {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "containers": [{"name": "step", **container(command, placement)}],
            **volumes(placement),
        }
        documents.append(
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": {"name": f"{outline.name}-{outline.tag}-{command.name}", "labels": labels},
                "spec": {
                    "backoffLimit": 3,
                    "ttlSecondsAfterFinished": _KEPT_SECONDS,
                    "podFailurePolicy": {
                        "rules": [
                            {
                                "action": "FailJob",
                                "onExitCodes": {"containerName": "step", "operator": "In", "values": _FINAL_EXITS},
                            }
                        ]
                    },
                    "template": {"metadata": {"labels": dict(labels)}, "spec": pod},
                },
            }
        )
    return documents
