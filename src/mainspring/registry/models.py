"""Registered models: a name, what people say of it, who answers for it. Owner of the tables `models` and `model_tags`.

A model comes into being with its first version, or by itself. Its name is what other rooms know it by, so renaming and
deleting come through `deploy.promotion`.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from mainspring.domain.moments import to_iso
from mainspring.domain.version import RegisteredModel, check_model_name
from mainspring.errors import Conflict, NotFound, nearest
from mainspring.registry.aliases import Ask, aliases_of, write_move
from mainspring.store.events import Event
from mainspring.store.protocol import Row, Store, Transaction

__all__ = [
    "ModelChange",
    "create_model",
    "delete_model",
    "ensure_model",
    "find_model",
    "is_held",
    "known_model",
    "list_models",
    "models_where",
    "rename_model",
    "set_model_tag",
    "touch_model",
    "unset_model_tag",
    "update_model",
]

MODEL_COLUMNS = "name, description, owner, created_at, created_by, updated_at"
#: Every table of this room that names a model in its column `model`.
_TABLES = (
    "model_tags",
    "model_versions",
    "version_tags",
    "version_comments",
    "gate_results",
    "approvals",
    "alias_rules",
    "alias_moves",
)


class ModelChange(NamedTuple):
    """What to change of a model; None leaves it as it is."""

    description: str | None = None
    owner: str | None = None


def create_model(
    store: Store,
    name: str,
    *,
    description: str = "",
    owner: str = "",
    tags: Mapping[str, str] | None = None,
    actor: str,
    at: datetime,
) -> RegisteredModel:
    """Register a model that has no version yet.

    Raises:
        Invalid: the name cannot be one.
        Conflict: there is such a model.
    """
    check_model_name(name)

    def write(transaction: Transaction) -> None:
        if not ensure_model(transaction, name, actor=actor, at=to_iso(at), description=description, owner=owner):
            raise Conflict(f"There is a model `{name}` already", next_step="register a version of it")
        rows = [(name, key, value) for key, value in (tags or {}).items()]
        transaction.execute_many("INSERT INTO model_tags (model, key, value) VALUES (?, ?, ?)", rows)

    details = {"owner": owner or actor, "tags": sorted(tags or {})}
    store.change(Event("model.created", f"models/{name}", details, actor), write)
    return find_model(store, name)


def ensure_model(
    transaction: Transaction, name: str, *, actor: str, at: str, description: str = "", owner: str = ""
) -> bool:
    """Make the model inside a larger change if there is none; say whether it was made."""
    made = transaction.execute(
        "INSERT INTO models (name, description, owner, last_version, created_at, created_by, updated_at)"
        " VALUES (?, ?, ?, 0, ?, ?, ?) ON CONFLICT (name) DO NOTHING RETURNING name",
        (name, description, owner or actor, at, actor, at),
    )
    return bool(made)


def find_model(store: Store, name: str) -> RegisteredModel:
    """Return a model with its tags and aliases.

    Raises:
        NotFound: there is none of that name; the message names the nearest.
    """
    found = models_where(store, "WHERE name = ?", (name,))
    if not found:
        known = [row[0] for row in store.read("SELECT name FROM models ORDER BY name")]
        raise NotFound(f"There is no model `{name}`", next_step=nearest(name, known))
    return found[0]


def list_models(store: Store) -> list[RegisteredModel]:
    """Return all models by name."""
    return models_where(store, "ORDER BY name", ())


def models_where(store: Store, clause: str, bound: Sequence[str | int | float]) -> list[RegisteredModel]:
    """Return the models that a clause of SQL selects, in its order."""
    rows = store.read(f"SELECT {MODEL_COLUMNS} FROM models {clause}", bound)
    return [_from_row(store, row) for row in rows]


def _from_row(store: Store, row: Row) -> RegisteredModel:
    name, description, owner, created_at, created_by, updated_at = row
    tags: dict[str, str] = dict(store.read("SELECT key, value FROM model_tags WHERE model = ? ORDER BY key", (name,)))
    aliases = aliases_of(store.read, name)
    return RegisteredModel(name, description, owner, created_at, created_by, updated_at, tags, aliases)


def update_model(store: Store, name: str, change: ModelChange, *, actor: str, at: datetime) -> RegisteredModel:
    """Change what is said of a model."""
    given = {key: value for key, value in change._asdict().items() if value is not None}

    def write(transaction: Transaction) -> None:
        known_model(transaction.execute, name)
        for column, value in given.items():
            transaction.execute(f"UPDATE models SET {column} = ? WHERE name = ?", (value, name))
        touch_model(transaction, name, to_iso(at))

    details = {"changed": sorted(given)} | ({"owner": change.owner} if change.owner is not None else {})
    store.change(Event("model.updated", f"models/{name}", details, actor), write)
    return find_model(store, name)


def rename_model(
    store: Store,
    name: str,
    new_name: str,
    *,
    along: Callable[[Transaction], None] | None = None,
    actor: str,
    at: datetime,
) -> RegisteredModel:
    """Give a model another name, with its versions, aliases and their history.

    `along` renames it in the tables of other rooms, inside the change; `deploy.promotion` knows them.

    Raises:
        Conflict: there is a model of the new name.
    """
    check_model_name(new_name)

    def write(transaction: Transaction) -> None:
        known_model(transaction.execute, name)
        if new_name != name and transaction.execute("SELECT 1 FROM models WHERE name = ?", (new_name,)):
            raise Conflict(f"There is a model `{new_name}` already", next_step="choose another name")
        moment = to_iso(at)
        transaction.execute("UPDATE models SET name = ?, updated_at = ? WHERE name = ?", (new_name, moment, name))
        for table in _TABLES:
            transaction.execute(f"UPDATE {table} SET model = ? WHERE model = ?", (new_name, name))
        transaction.execute("UPDATE model_versions SET updated_at = ? WHERE model = ?", (moment, new_name))
        if along is not None:
            along(transaction)

    store.change(Event("model.renamed", f"models/{name}", {"to": new_name}, actor), write)
    return find_model(store, new_name)


def delete_model(
    store: Store, name: str, *, along: Callable[[Transaction], None] | None = None, actor: str, at: datetime
) -> int:
    """Delete a model with all its versions, comments and evidence; return how many versions that were.

    `along` writes to the tables of other rooms, inside the change. Where its aliases pointed, and when, stays in their
    history. The bytes go with the next collection of garbage.

    Raises:
        Conflict: a version of it is in service, or a protected alias points at one.
    """

    def write(transaction: Transaction) -> int:
        known_model(transaction.execute, name)
        aliases = aliases_of(transaction.execute, name)
        held = [alias for alias in aliases if is_held(transaction.execute, name, alias)]
        if held:
            raise Conflict(
                f"`{name}` is in use: {', '.join(held)} points at a version of it",
                next_step=f"take the alias away first: mainspring alias remove {name} {held[0]} --reason WHY",
            )
        for alias in aliases:
            write_move(transaction, name, alias, None, at=to_iso(at), actor=actor, reason="the model was deleted")
        count: int = transaction.execute("SELECT count(*) FROM model_versions WHERE model = ?", (name,))[0][0]
        for table in _TABLES:
            if table != "alias_moves":
                transaction.execute(f"DELETE FROM {table} WHERE model = ?", (name,))
        transaction.execute("DELETE FROM models WHERE name = ?", (name,))
        if along is not None:
            along(transaction)
        return count

    return store.change(lambda count: Event("model.deleted", f"models/{name}", {"versions": count}, actor), write)


def is_held(ask: Ask, model: str, alias: str) -> bool:
    """Whether what an alias points at may not be deleted: a rule protects the alias, or the version can be serving.

    Only a version whose files are here can serve.
    """
    if ask("SELECT 1 FROM alias_rules WHERE model IN (?, '*') AND alias = ? LIMIT 1", (model, alias)):
        return True
    number = aliases_of(ask, model).get(alias)
    served = "SELECT 1 FROM model_versions WHERE model = ? AND version = ? AND bundle IS NOT NULL"
    return alias in ("champion", "challenger") and bool(ask(served, (model, number)))


def set_model_tag(store: Store, name: str, key: str, value: str, *, actor: str) -> None:
    """Put a tag on a model, in the place of an earlier one of that key."""

    def write(transaction: Transaction) -> None:
        known_model(transaction.execute, name)
        transaction.execute(
            "INSERT INTO model_tags (model, key, value) VALUES (?, ?, ?)"
            " ON CONFLICT (model, key) DO UPDATE SET value = excluded.value",
            (name, key, value),
        )

    store.change(Event("model.tagged", f"models/{name}", {"key": key}, actor), write)


def unset_model_tag(store: Store, name: str, key: str, *, actor: str) -> None:
    """Take a tag off a model; one that is not there is no error."""

    def write(transaction: Transaction) -> bool:
        known_model(transaction.execute, name)
        sql = "DELETE FROM model_tags WHERE model = ? AND key = ? RETURNING key"
        return bool(transaction.execute(sql, (name, key)))

    event = Event("model.untagged", f"models/{name}", {"key": key}, actor)
    store.change(lambda gone: event if gone else None, write)


def known_model(ask: Ask, name: str) -> None:
    """Make sure inside a change that there is such a model.

    Raises:
        NotFound: there is none.
    """
    if not ask("SELECT 1 FROM models WHERE name = ?", (name,)):
        raise NotFound(f"There is no model `{name}`", next_step="list them: mainspring models")


def touch_model(transaction: Transaction, name: str, at: str) -> None:
    """Note that a model has changed."""
    transaction.execute("UPDATE models SET updated_at = ? WHERE name = ?", (at, name))
