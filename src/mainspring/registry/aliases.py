"""Aliases (champion, challenger, ...) and every move they ever made. Owner of the table `alias_moves`.

An alias is its last move, so "which version was champion on 3 May" is the same look-up with another moment. Who may
move one is asked in `control.py`; a move of champion is also a deployment and goes through `deploy`.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeAlias

from mainspring.domain.moments import to_iso
from mainspring.domain.version import AliasMove, check_alias
from mainspring.errors import NotFound
from mainspring.store.events import Event
from mainspring.store.protocol import Row, Store, Transaction, Value

__all__ = [
    "Ask",
    "alias_before",
    "alias_history",
    "alias_now",
    "aliases_of",
    "current_aliases",
    "set_alias",
    "version_at",
    "write_move",
]

#: How rows are asked for: `Store.read` outside a change, `Transaction.execute` inside one.
Ask: TypeAlias = Callable[[str, Sequence[Value]], list[Row]]
_MOVES = "SELECT model, alias, version, at, actor, reason FROM alias_moves WHERE model = ?"


def set_alias(
    store: Store,
    model: str,
    alias: str,
    version: int | None,
    *,
    at: datetime,
    reason: str,
    actor: str = "",
    guard: Callable[[Transaction], None] | None = None,
) -> None:
    """Point `alias` at `version`, or take it away with None; the move and its reason are kept for ever.

    An alias that is there already does not move. `guard` may refuse by raising, inside the change.

    Raises:
        Invalid: the alias is no name.
        NotFound: the model has no such version.
    """
    if version is not None:
        check_alias(alias)
    moment = to_iso(at)

    def write(transaction: Transaction) -> tuple[bool, int | None]:
        known = transaction.execute("SELECT 1 FROM model_versions WHERE model = ? AND version = ?", (model, version))
        if version is not None and not known:
            raise NotFound(f"The model `{model}` has no version {version}", next_step="list them: mainspring models")
        before = alias_now(transaction, model, alias)
        if before != version:
            if guard is not None:
                guard(transaction)
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


def aliases_of(ask: Ask, model: str) -> dict[str, int]:
    """Return where each alias of `model` points, by name, inside a change or outside."""
    rows = ask(
        "SELECT moves.alias, moves.version FROM alias_moves AS moves JOIN"
        " (SELECT max(number) AS number FROM alias_moves WHERE model = ? GROUP BY alias) AS last"
        " ON moves.number = last.number WHERE moves.version IS NOT NULL ORDER BY moves.alias",
        (model,),
    )
    return dict(rows)


def current_aliases(store: Store, model: str) -> dict[str, int]:
    """Return where each alias of `model` points now."""
    return aliases_of(store.read, model)


def version_at(store: Store, model: str, alias: str, moment: datetime) -> int | None:
    """Return the version that `alias` pointed at when the clock said `moment`; None if it pointed nowhere."""
    rows = store.read(
        "SELECT version FROM alias_moves WHERE model = ? AND alias = ? AND at <= ? ORDER BY number DESC LIMIT 1",
        (model, alias, to_iso(moment)),
    )
    return rows[0][0] if rows else None


def alias_before(store: Store, model: str, alias: str) -> int | None:
    """Return where an alias pointed before its last move; None for nowhere.

    Raises:
        NotFound: it has never moved.
    """
    sql = "SELECT version FROM alias_moves WHERE model = ? AND alias = ? ORDER BY number DESC LIMIT 2"
    rows = store.read(sql, (model, alias))
    if not rows:
        raise NotFound(f"`{model}` has never had an alias `{alias}`", next_step=f"mainspring models history {model}")
    return rows[1][0] if len(rows) == 2 else None


def alias_history(store: Store, model: str, alias: str | None = None) -> list[AliasMove]:
    """Return every move of every alias of `model`, or of one, oldest first."""
    clause, bound = ("", ()) if alias is None else (" AND alias = ?", (alias,))
    return [AliasMove(*row) for row in store.read(f"{_MOVES}{clause} ORDER BY number", (model, *bound))]
