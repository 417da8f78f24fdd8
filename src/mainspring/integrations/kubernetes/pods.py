"""The container of one command: what Jobs and Argo templates have in common."""

from typing import Any

from mainspring.pipeline.export import Command, Placement

__all__ = ["VOLUME_MOUNT", "container", "volumes"]

VOLUME_MOUNT = "/mainspring"
_VOLUME = "workspace"


def container(command: Command, placement: Placement) -> dict[str, Any]:
    """Return the container of a command, without privileges."""
    environment = dict(placement.environment)
    if placement.claim:
        environment.setdefault("MAINSPRING_HOME", VOLUME_MOUNT)
    made: dict[str, Any] = {
        "image": placement.image,
        # Kubernetes replaces $(NAME); a doubled $ is how it is told not to.
        "command": [word.replace("$(", "$$(") for word in command.words],
        "workingDir": placement.folder,
        "env": [{"name": name, "value": value.replace("$(", "$$(")} for name, value in sorted(environment.items())],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if placement.secret:
        made["envFrom"] = [{"secretRef": {"name": placement.secret}}]
    if command.memory_bytes is not None:
        # A request and no limit: the step's own limit counts what it adds to its process, and says so when it ends it.
        made["resources"] = {"requests": {"memory": str(command.memory_bytes)}}
    if placement.claim:
        made["volumeMounts"] = [{"name": _VOLUME, "mountPath": VOLUME_MOUNT}]
    return made


def volumes(placement: Placement) -> dict[str, Any]:
    """Return the part of a pod or workflow that names the volume; empty where none is shared."""
    if not placement.claim:
        return {}
    return {"volumes": [{"name": _VOLUME, "persistentVolumeClaim": {"claimName": placement.claim}}]}
