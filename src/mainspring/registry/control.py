"""Who may move an alias to a version, and what the version must show for it. Owner of the table `alias_rules`.

A model's loop makes the rule of its champion: passed gates, and the approvals it asks for. People add rules of their
own. Every way to move an alias (a command, the native API, an MLflow client, its older stages) asks `objections`
inside the change that moves it; only an override with a reason goes past them, and says so in the audit log.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from mainspring.domain.moments import to_iso
from mainspring.domain.policy import Approval
from mainspring.domain.version import AliasRule, ModelVersion, check_alias
from mainspring.errors import Denied, GateFailed, Invalid
from mainspring.registry.aliases import Ask
from mainspring.registry.approvals import approvals_of, missing_approvals
from mainspring.registry.evidence import results_of
from mainspring.store.events import Event
from mainspring.store.protocol import Store, Transaction

__all__ = [
    "Mover",
    "alias_rules",
    "ask_rules",
    "keep_loop_rule",
    "objections",
    "protect_alias",
    "refuse",
    "unprotect_alias",
]

_COLUMNS = "model, alias, origin, roles, gates, approver_role, approvals"


@dataclass(frozen=True, slots=True)
class Mover:
    """Who moves: a name, and the roles held. The loop itself has `roles` None: it follows its own definition."""

    name: str
    roles: Collection[str] | None = ()


def protect_alias(
    store: Store,
    model: str,
    alias: str,
    *,
    roles: Sequence[str] = (),
    gates: bool = False,
    approval: Approval | None = None,
    actor: str,
    at: datetime,
) -> AliasRule:
    """Say what the move of an alias asks for, in the place of what people said before; `model` may be ``*`` for all.

    Raises:
        Invalid: the rule would ask for nothing.
    """
    check_alias(alias)
    rule = AliasRule(model, alias, "person", tuple(sorted(set(roles))), gates, approval or Approval())
    if not (rule.roles or rule.gates or rule.approval.role):
        raise Invalid("The rule asks for nothing", next_step="name a role, gates, or approvals")
    asked = _asked(rule.approval)
    details = {"alias": alias, "roles": rule.roles, "gates": gates, "approval": asked, "origin": "person"}
    event = Event("alias.protected", f"models/{model}", details, actor)
    store.change(event, lambda transaction: _keep(transaction, rule, to_iso(at)))
    return rule


def keep_loop_rule(store: Store, model: str, approval: Approval, *, actor: str, at: datetime) -> None:
    """Keep that the champion of a loop's model needs its gates and the approvals that the loop asks for."""
    rule = AliasRule(model, "champion", "loop", (), True, approval)

    def write(transaction: Transaction) -> bool:
        if rule in alias_rules(transaction.execute, model, "champion"):
            return False
        _keep(transaction, rule, to_iso(at))
        return True

    details = {"alias": "champion", "roles": (), "gates": True, "approval": _asked(approval), "origin": "loop"}
    event = Event("alias.protected", f"models/{model}", details, actor)
    store.change(lambda made: event if made else None, write)


def _keep(transaction: Transaction, rule: AliasRule, at: str) -> None:
    asked = rule.approval
    transaction.execute(
        f"INSERT INTO alias_rules ({_COLUMNS}, made_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (model, alias, origin) DO UPDATE SET roles = excluded.roles, gates = excluded.gates,"
        " approver_role = excluded.approver_role, approvals = excluded.approvals, made_at = excluded.made_at",
        (rule.model, rule.alias, rule.origin, json.dumps(rule.roles), int(rule.gates), asked.role, asked.count, at),
    )


def unprotect_alias(store: Store, model: str, alias: str, *, actor: str) -> bool:
    """Take away what people asked of an alias's moves and say whether they did; what the model's loop asks stays."""

    def write(transaction: Transaction) -> bool:
        sql = "DELETE FROM alias_rules WHERE model = ? AND alias = ? AND origin = 'person' RETURNING alias"
        return bool(transaction.execute(sql, (model, alias)))

    event = Event("alias.unprotected", f"models/{model}", {"alias": alias}, actor)
    return store.change(lambda gone: event if gone else None, write)


def alias_rules(ask: Ask, model: str | None = None, alias: str | None = None) -> list[AliasRule]:
    """Return the rules of a model, or of all; those that hold for every model are among them."""
    clauses, bound = [], []
    if model is not None:
        clauses.append("model IN (?, '*')")
        bound.append(model)
    if alias is not None:
        clauses.append("alias = ?")
        bound.append(alias)
    where = f"WHERE {' AND '.join(clauses)}" if clauses else ""
    rows = ask(f"SELECT {_COLUMNS} FROM alias_rules {where} ORDER BY model, alias, origin", bound)
    return [
        AliasRule(name, of, origin, tuple(json.loads(roles)), bool(gates), Approval(role, count))
        for name, of, origin, roles, gates, role, count in rows
    ]


def objections(ask: Ask, model: str, alias: str, version: ModelVersion | None, mover: Mover) -> list[str]:
    """Say in words what stands against moving `alias` to `version` (None: taking it away); empty when nothing does.

    The first is about who moves, where that is one; the rest about what the version has not shown.
    """
    rules = alias_rules(ask, model, alias)
    found = []
    if mover.roles is not None:
        for rule in rules:
            if rule.roles and not set(rule.roles) & set(mover.roles):
                found.append(f"only {' or '.join(rule.roles)} may move {alias}, and `{mover.name}` is none")
    if version is None:
        return found
    if any(rule.gates for rule in rules):
        failed = [each for each in results_of(ask, version) if not each.passed]
        found += [f"{each.gate}: {each.reason}" for each in failed]
        status = ask(
            "SELECT status FROM model_versions WHERE model = ? AND version = ?", (version.model, version.version)
        )
        if not failed and status and status[0][0] != "ready":
            said = {"registered": "its gates were never asked", "candidate": "its gates have not answered yet"}
            found.append(said.get(status[0][0], f"its status is {status[0][0]}"))
    given = approvals_of(ask, version)
    for asked in dict.fromkeys(rule.approval for rule in rules):
        if missing := missing_approvals(asked, given):
            found.append(f"it waits for the approval of {missing} {asked.role}")
    return found


def ask_rules(
    ask: Ask, model: str, alias: str, version: ModelVersion | None, mover: Mover, *, override: bool = False
) -> None:
    """Raise what `objections` finds; `override` leaves only who may move the alias at all.

    Raises:
        Denied: it is not for this mover to move the alias.
        GateFailed: a gate or an approval is missing.
    """
    found = objections(ask, model, alias, version, mover)
    if override:
        found = [each for each in found if each.startswith("only ")]
    if not found:
        return
    what = f"{model}@{alias}" if version is None else f"{version.reference} as {alias}"
    if found[0].startswith("only "):
        raise Denied(f"`{mover.name}` may not move {what}: {'; '.join(found)}", next_step="ask somebody who may")
    raise GateFailed(
        f"{what.split(' as ')[0]} may not serve as {alias}: {'; '.join(found)}",
        next_step=f"mainspring approve {version.reference if version else what}, or override with a reason",
    )


def refuse(store: Store, model: str, alias: str, version: int | None, error: Denied | GateFailed, mover: Mover) -> None:
    """Leave in the audit log that a move was refused, and why."""
    subject = f"models/{model}" + ("" if version is None else f"/{version}")
    details = {"alias": alias, "to": version, "reason": error.what, "code": error.code}
    store.change(Event("alias.refused", subject, details, mover.name), lambda _: None)


def _asked(approval: Approval) -> dict[str, object] | None:
    return None if approval.role is None else {"role": approval.role, "count": approval.count}
