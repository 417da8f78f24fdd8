"""The registry: model versions with their evidence, the gates they passed, who approved them, and where aliases point.

Nouns: `ModelVersion`, gate, approval, alias (champion, challenger), promotion. Start reading in `versions.py`; a
candidate enters through `submit.py` and reaches production through `promote.py`.
"""

from mainspring.domain.version import AliasMove, ApprovalGiven, GateResult, ModelVersion
from mainspring.registry.aliases import alias_history, set_alias, version_at
from mainspring.registry.approvals import approve, list_approvals
from mainspring.registry.versions import find_version, list_versions, register_version

__all__ = [
    "AliasMove",
    "ApprovalGiven",
    "GateResult",
    "ModelVersion",
    "alias_history",
    "approve",
    "find_version",
    "list_approvals",
    "list_versions",
    "register_version",
    "set_alias",
    "version_at",
]
