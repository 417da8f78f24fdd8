"""Approvals: a person of the asked role, who is not the author, agrees that a version may serve.

Owner of the table `approvals`.
"""

from datetime import datetime

from mainspring.domain.moments import to_iso
from mainspring.domain.policy import Approval
from mainspring.domain.version import ApprovalGiven, ModelVersion
from mainspring.errors import Denied, Invalid
from mainspring.registry.aliases import Ask
from mainspring.store.events import Event
from mainspring.store.protocol import Store, Transaction

__all__ = ["approvals_of", "approve", "list_approvals", "missing_approvals"]


def approve(
    store: Store, version: ModelVersion, *, approver: str, role: str, comment: str = "", at: datetime
) -> ApprovalGiven:
    """Record that `approver`, acting as `role`, agrees; agreeing twice changes nothing.

    Raises:
        Invalid: nobody is named.
        Denied: the approver made the version (four eyes see more than two).
    """
    if not approver.strip():
        raise Invalid("An approval needs a name", next_step="say who: mainspring approve MODEL/VERSION --as NAME")
    if approver == version.created_by:
        raise Denied(
            f"`{approver}` made {version.reference} and cannot approve it",
            next_step="ask somebody else: mainspring approve MODEL/VERSION --as NAME",
        )

    def write(transaction: Transaction) -> tuple[ApprovalGiven, bool]:
        # asked inside the transaction: a button pressed twice is one approval
        given = transaction.execute(
            "SELECT approver, role, comment, at FROM approvals WHERE model = ? AND version = ? AND approver = ?",
            (version.model, version.version, approver),
        )
        if given:
            return ApprovalGiven(*given[0]), False
        entry = ApprovalGiven(approver, role, comment, to_iso(at))
        transaction.execute(
            "INSERT INTO approvals (model, version, approver, role, comment, at) VALUES (?, ?, ?, ?, ?, ?)",
            (version.model, version.version, approver, role, comment, entry.at),
        )
        return entry, True

    event = Event("model.approved", f"models/{version.reference}", {"role": role, "comment": comment}, actor=approver)
    return store.change(lambda done: event if done[1] else None, write)[0]


def list_approvals(store: Store, version: ModelVersion) -> list[ApprovalGiven]:
    """Return the approvals of a version, oldest first."""
    return approvals_of(store.read, version)


def approvals_of(ask: Ask, version: ModelVersion) -> list[ApprovalGiven]:
    """Return the same, inside a change or outside."""
    rows = ask(
        "SELECT approver, role, comment, at FROM approvals WHERE model = ? AND version = ? ORDER BY at, approver",
        (version.model, version.version),
    )
    return [ApprovalGiven(*row) for row in rows]


def missing_approvals(wanted: Approval, given: list[ApprovalGiven]) -> int:
    """Return how many approvals of the wanted role are still missing; 0 when nobody needs to be asked."""
    if wanted.role is None:
        return 0
    return max(0, wanted.count - sum(each.role == wanted.role for each in given))
