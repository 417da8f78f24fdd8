"""Aliases (champion, challenger, ...) and every move they ever made. Owner of the table `alias_moves`.

An alias is its last move, so "which version was champion on 3 May" is the same look-up with another moment.
"""

from datetime import datetime

from mainspring.domain.moments import to_iso
from mainspring.domain.version import AliasMove
from mainspring.store.events import Event
from mainspring.store.protocol import Store, Transaction

__all__ = ["alias_history", "current_aliases", "set_alias", "version_at", "write_move"]


def set_alias(
    store: Store, model: str, alias: str, version: int | None, *, at: datetime, reason: str, actor: str = ""
) -> None:
    """Point `alias` at `version`, or take it away with None; the move and its reason are kept for ever."""
    before = current_aliases(store, model).get(alias)
    subject = f"models/{model}" + ("" if version is None else f"/{version}")
    event = Event("alias.moved", subject, {"alias": alias, "from": before, "to": version, "reason": reason}, actor)
    moment = to_iso(at)
    store.change(
        event,
        lambda transaction: write_move(transaction, model, alias, version, at=moment, actor=actor, reason=reason),
    )


def write_move(
    transaction: Transaction, model: str, alias: str, version: int | None, *, at: str, actor: str, reason: str
) -> None:
    """Write a move inside a larger change, such as a promotion that also ends a canary."""
    transaction.execute(
        "INSERT INTO alias_moves (model, alias, version, at, actor, reason) VALUES (?, ?, ?, ?, ?, ?)",
        (model, alias, version, at, actor, reason),
    )


def current_aliases(store: Store, model: str) -> dict[str, int]:
    """Return where each alias of `model` points now."""
    rows = store.read("SELECT alias, version FROM alias_moves WHERE model = ? ORDER BY number", (model,))
    last: dict[str, int | None] = dict(rows)
    return {alias: version for alias, version in last.items() if version is not None}


def version_at(store: Store, model: str, alias: str, moment: datetime) -> int | None:
    """Return the version that `alias` pointed at when the clock said `moment`; None if it pointed nowhere."""
    rows = store.read(
        "SELECT version FROM alias_moves WHERE model = ? AND alias = ? AND at <= ? ORDER BY number DESC LIMIT 1",
        (model, alias, to_iso(moment)),
    )
    return rows[0][0] if rows else None


def alias_history(store: Store, model: str) -> list[AliasMove]:
    """Return every move of every alias of `model`, oldest first."""
    rows = store.read(
        "SELECT model, alias, version, at, actor, reason FROM alias_moves WHERE model = ? ORDER BY number", (model,)
    )
    return [AliasMove(*row) for row in rows]
