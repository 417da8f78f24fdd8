"""Aliases (champion, challenger, ...) and every move they ever made. Owner of the table `alias_moves`.

An alias is its last move, so "which version was champion on 3 May" is the same look-up with another moment.
"""

import re
from datetime import datetime

from mainspring.domain.moments import to_iso
from mainspring.domain.version import AliasMove
from mainspring.errors import Invalid, NotFound
from mainspring.store.events import Event
from mainspring.store.protocol import Store, Transaction

__all__ = ["alias_history", "alias_now", "current_aliases", "set_alias", "version_at", "write_move"]


def set_alias(
    store: Store, model: str, alias: str, version: int | None, *, at: datetime, reason: str, actor: str = ""
) -> None:
    """Point `alias` at `version`, or take it away with None; the move and its reason are kept for ever.

    An alias that is there already does not move.

    Raises:
        Invalid: the alias is no name.
        NotFound: the model has no such version.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,99}", alias):
        raise Invalid(f"`{alias}` is not an alias", next_step="use lower-case letters, digits and dashes")
    moment = to_iso(at)

    def write(transaction: Transaction) -> tuple[bool, int | None]:
        known = transaction.execute("SELECT 1 FROM model_versions WHERE model = ? AND version = ?", (model, version))
        if version is not None and not known:
            raise NotFound(f"The model `{model}` has no version {version}", next_step="list them: mainspring models")
        before = alias_now(transaction, model, alias)
        if before != version:
            write_move(transaction, model, alias, version, at=moment, actor=actor, reason=reason)
        return before != version, before

    def event(done: tuple[bool, int | None]) -> Event | None:
        subject = f"models/{model}" + ("" if version is None else f"/{version}")
        details = {"alias": alias, "from": done[1], "to": version, "reason": reason}
        return Event("alias.moved", subject, details, actor) if done[0] else None

    store.change(event, write)


def alias_now(transaction: Transaction, model: str, alias: str) -> int | None:
    """Return where an alias points, as a change that depends on it has to ask: inside its transaction."""
    sql = "SELECT version FROM alias_moves WHERE model = ? AND alias = ? ORDER BY number DESC LIMIT 1"
    rows = transaction.execute(sql, (model, alias))
    return rows[0][0] if rows else None


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
