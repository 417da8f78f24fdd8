"""Pipelines as manifests for Kubernetes: plain Jobs, or one Argo Workflow.

Nouns: job and workflow, as Kubernetes and Argo mean them; both are made of an `Outline` and a `Placement`
(`pipeline.export`). Start in `pods.py`, the container they share, then `jobs.py`.
"""

from mainspring.integrations.kubernetes.argo import workflow
from mainspring.integrations.kubernetes.jobs import jobs

__all__ = ["jobs", "workflow"]
