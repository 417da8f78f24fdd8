"""The registry: models and their versions, with the gates they passed, who approved them, and where aliases point.

Nouns: `RegisteredModel`, `ModelVersion`, gate, approval, alias (champion, challenger), alias rule, comment. Start
reading in `versions.py`; a candidate enters through `submit.py`, and `control.py` says what may serve.
"""

from mainspring.domain.version import (
    AliasMove,
    AliasRule,
    ApprovalGiven,
    Comment,
    GateResult,
    ModelVersion,
    RegisteredModel,
)
from mainspring.registry.aliases import alias_history, set_alias, version_at
from mainspring.registry.approvals import approve, list_approvals
from mainspring.registry.versions import find_version, list_versions, register_version

__all__ = [
    "AliasMove",
    "AliasRule",
    "ApprovalGiven",
    "Comment",
    "GateResult",
    "ModelVersion",
    "RegisteredModel",
    "alias_history",
    "approve",
    "find_version",
    "list_approvals",
    "list_versions",
    "register_version",
    "set_alias",
    "version_at",
]
