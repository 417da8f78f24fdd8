"""Model versions: numbered, never changed in what they are, each tied to a bundle or a source, a run and the evidence.

Owner of the tables `model_versions` and `version_tags`. What the gates said of a version is in `evidence.py`, how it
is found by a filter in `search.py`.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

from mainspring.domain.ids import Digest
from mainspring.domain.moments import to_iso
from mainspring.domain.version import (
    STAGES,
    ModelVersion,
    Stage,
    VersionStatus,
    check_model_name,
    check_served_name,
    parse_model,
)
from mainspring.errors import Conflict, Invalid, NotFound, nearest
from mainspring.registry.aliases import Ask, aliases_of, current_aliases, write_move
from mainspring.registry.models import ensure_model, is_held, known_model, touch_model
from mainspring.store.events import Event
from mainspring.store.protocol import Row, Store, Transaction

__all__ = [
    "artifact_roots",
    "create_version",
    "delete_version",
    "describe_version",
    "find_champion",
    "find_version",
    "latest_versions",
    "list_versions",
    "register_version",
    "set_stage",
    "set_status",
    "set_version_tag",
    "unset_version_tag",
    "versions_where",
]

VERSION_COLUMNS = (
    "model, version, bundle, run_id, status, evidence, created_at, created_by,"
    " source, location, run_link, logged_model, description, stage, updated_at"
)
_INSERT = f"INSERT INTO model_versions ({VERSION_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'None', ?)"


def artifact_roots(snapshot: Transaction) -> Iterator[Digest]:
    """Yield the bundle of every version."""
    for (bundle,) in snapshot.execute("SELECT bundle FROM model_versions WHERE bundle IS NOT NULL"):
        yield Digest(bundle)


def register_version(
    store: Store,
    model: str,
    *,
    bundle: Digest,
    run_id: str | None,
    evidence: Mapping[str, object],
    author: str,
    at: datetime,
    status: VersionStatus = "candidate",
) -> ModelVersion:
    """Add a bundle as the next version of `model` and return it; one that is registered already gives its old version.

    `status` is `candidate` for one that gates are about to judge, `registered` for one that nobody judges.
    Equal work is one version: that holds for what is submitted here, not for `create_version`.
    """
    check_served_name(model)
    document = json.dumps(dict(evidence), sort_keys=True, allow_nan=False)
    moment = to_iso(at)

    def write(transaction: Transaction) -> tuple[int, bool]:
        # asked and numbered inside the transaction: two that register at once get two numbers, or one for one bundle
        same = transaction.execute(
            "SELECT version FROM model_versions WHERE model = ? AND bundle = ? ORDER BY version", (model, bundle)
        )
        if same:
            return same[0][0], False
        ensure_model(transaction, model, actor=author, at=moment)
        version = _next_number(transaction, model, moment)
        row = (model, version, bundle, run_id, status, document, moment, author, "", "", "", "", "", moment)
        transaction.execute(_INSERT, row)
        return version, True

    def event(made: tuple[int, bool]) -> Event | None:
        details = {"bundle": bundle, "run_id": run_id, "version": made[0]}
        return Event("model.registered", f"models/{model}", details, actor=author) if made[1] else None

    version, _ = store.change(event, write)
    return find_version(store, f"{model}/{version}")


def create_version(
    store: Store,
    model: str,
    *,
    source: str,
    location: str = "",
    bundle: Digest | None = None,
    run_id: str | None = None,
    run_link: str = "",
    logged_model: str = "",
    description: str = "",
    tags: Mapping[str, str] | None = None,
    author: str,
    at: datetime,
    number: int = 1,
) -> ModelVersion:
    """Take a model in from where it lies, as the next version of a model that exists; each call makes a version.

    `bundle` is the digest of the source's folder, where its files are kept here. The version is `number`, or the next
    one that was never given.

    Raises:
        NotFound: there is no such model.
    """
    check_model_name(model)
    moment = to_iso(at)

    def write(transaction: Transaction) -> int:
        known_model(transaction.execute, model)
        version = _next_number(transaction, model, moment, at_least=number)
        about = (source, location, run_link, logged_model, description)
        transaction.execute(
            _INSERT, (model, version, bundle, run_id, "registered", "{}", moment, author, *about, moment)
        )
        rows = [(model, version, key, value) for key, value in (tags or {}).items()]
        transaction.execute_many("INSERT INTO version_tags (model, version, key, value) VALUES (?, ?, ?, ?)", rows)
        return version

    def event(version: int) -> Event:
        details = {"source": source, "bundle": bundle, "run_id": run_id, "version": version}
        return Event("model.registered", f"models/{model}", details, actor=author)

    version = store.change(event, write)
    return find_version(store, f"{model}/{version}")


def _next_number(transaction: Transaction, model: str, moment: str, *, at_least: int = 1) -> int:
    """Take the next number of a model; a deleted version's number is not given again."""
    sql = (
        "UPDATE models SET last_version = CASE WHEN last_version + 1 < ? THEN ? ELSE last_version + 1 END,"
        " updated_at = ? WHERE name = ? RETURNING last_version"
    )
    number: int = transaction.execute(sql, (at_least, at_least, moment, model))[0][0]
    return number


def set_status(store: Store, version: ModelVersion, status: VersionStatus, *, reason: str) -> None:
    """Move a version to another status, with the reason in the audit log."""
    event = Event(f"model.{status}", f"models/{version.reference}", {"reason": reason})
    store.change(
        event,
        lambda transaction: transaction.execute(
            "UPDATE model_versions SET status = ? WHERE model = ? AND version = ?",
            (status, version.model, version.version),
        ),
    )


def find_version(store: Store, reference: str, *, default_alias: str = "champion") -> ModelVersion:
    """Return the version that ``name/3``, ``name@alias`` or ``name`` (its champion, else its newest) stands for.

    ``name@latest`` is the newest.

    Raises:
        NotFound: there is no such model, version or alias; the message names what there is.
    """
    model, number, alias = parse_model(reference)
    newest = store.read("SELECT max(version) FROM model_versions WHERE model = ?", (model,))[0][0]
    if newest is None:
        if store.read("SELECT 1 FROM models WHERE name = ?", (model,)):
            raise NotFound(f"The model `{model}` has no version yet", next_step="submit or register one")
        known = [row[0] for row in store.read("SELECT name FROM models")]
        raise NotFound(f"There is no model `{model}`", next_step=nearest(model, known))
    if number is None:
        aliases = current_aliases(store, model)
        wanted = alias or default_alias
        if wanted in aliases:
            number = aliases[wanted]
        elif alias is None or alias.lower() == "latest":
            number = newest
        else:
            listed = nearest(alias, aliases)
            raise NotFound(f"No model version `{reference}`. {listed}", next_step=f"mainspring promote {model}/VERSION")
    found = versions_where(store, "WHERE model = ? AND version = ?", (model, number))
    if not found:
        raise NotFound(f"The model `{model}` has no version {number}", next_step=f"its newest is {newest}")
    return found[0]


def find_champion(store: Store, model: str) -> ModelVersion | None:
    """Return the version that serves `model`; None when none does."""
    number = current_aliases(store, model).get("champion")
    return None if number is None else find_version(store, f"{model}/{number}")


def list_versions(store: Store, model: str | None = None) -> list[ModelVersion]:
    """Return the versions of one model, or of all, newest first."""
    clause, bound = ("WHERE model = ?", (model,)) if model is not None else ("", ())
    return versions_where(store, f"{clause} ORDER BY model, version DESC", bound)


def latest_versions(store: Store, model: str, stages: Sequence[Stage] = STAGES) -> list[ModelVersion]:
    """Return the newest version of a model in each stage that has one, oldest first."""
    marks = ",".join("?" * len(stages))
    return versions_where(
        store,
        "WHERE model = ? AND version IN (SELECT max(version) FROM model_versions WHERE model = ?"
        f" AND stage IN ({marks}) GROUP BY stage) ORDER BY version",
        (model, model, *stages),
    )


def versions_where(store: Store, clause: str, bound: Sequence[str | int | float]) -> list[ModelVersion]:
    """Return the versions that a clause of SQL selects, in its order, with their aliases and tags."""
    rows = store.read(f"SELECT {VERSION_COLUMNS} FROM model_versions {clause}", bound)
    aliases = {name: current_aliases(store, name) for name in {row[0] for row in rows}}
    tags: dict[tuple[str, int], dict[str, str]] = {}
    for name in aliases:
        one = [row[1] for row in rows if row[0] == name]
        span = (name, min(one), max(one))
        asked = (
            "SELECT version, key, value FROM version_tags WHERE model = ? AND version BETWEEN ? AND ?"
            " ORDER BY version, key"
        )
        for version, key, value in store.read(asked, span):
            tags.setdefault((name, version), {})[key] = value
    return [_from_row(row, aliases[row[0]], tags.get((row[0], row[1]), {})) for row in rows]


def describe_version(store: Store, version: ModelVersion, description: str, *, actor: str, at: datetime) -> None:
    """Say in words what a version is."""

    def write(transaction: Transaction) -> None:
        sql = "UPDATE model_versions SET description = ?, updated_at = ? WHERE model = ? AND version = ?"
        transaction.execute(sql, (description, to_iso(at), version.model, version.version))

    store.change(Event("version.described", f"models/{version.reference}", {}, actor), write)


def set_version_tag(store: Store, version: ModelVersion, key: str, value: str, *, actor: str) -> None:
    """Put a tag on a version, in the place of an earlier one of that key."""

    def write(transaction: Transaction) -> None:
        known_version(transaction.execute, version.model, version.version)
        transaction.execute(
            "INSERT INTO version_tags (model, version, key, value) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (model, version, key) DO UPDATE SET value = excluded.value",
            (version.model, version.version, key, value),
        )

    store.change(Event("version.tagged", f"models/{version.reference}", {"key": key}, actor), write)


def unset_version_tag(store: Store, version: ModelVersion, key: str, *, actor: str) -> None:
    """Take a tag off a version; one that is not there is no error."""

    def write(transaction: Transaction) -> bool:
        sql = "DELETE FROM version_tags WHERE model = ? AND version = ? AND key = ? RETURNING key"
        return bool(transaction.execute(sql, (version.model, version.version, key)))

    event = Event("version.untagged", f"models/{version.reference}", {"key": key}, actor)
    store.change(lambda gone: event if gone else None, write)


def set_stage(
    store: Store, version: ModelVersion, stage: Stage, *, archive_others: bool = False, actor: str, at: datetime
) -> None:
    """Move a version to a stage; `archive_others` moves those that are there to Archived.

    Whether it may is asked in `control.py`, by who calls this.

    Raises:
        Invalid: there is no such stage.
    """
    if stage not in STAGES:
        raise Invalid(f"`{stage}` is no stage", next_step=f"use one of {', '.join(STAGES)}")
    moment = to_iso(at)

    def write(transaction: Transaction) -> list[int]:
        known_version(transaction.execute, version.model, version.version)
        rows: list[Row] = []
        if archive_others:
            rows = transaction.execute(
                "UPDATE model_versions SET stage = 'Archived', updated_at = ?"
                " WHERE model = ? AND version != ? AND stage = ? RETURNING version",
                (moment, version.model, version.version, stage),
            )
        transaction.execute(
            "UPDATE model_versions SET stage = ?, updated_at = ? WHERE model = ? AND version = ?",
            (stage, moment, version.model, version.version),
        )
        touch_model(transaction, version.model, moment)
        return sorted(row[0] for row in rows)

    def event(archived: list[int]) -> Event:
        details = {"from": version.stage, "to": stage, "archived": archived}
        return Event("version.staged", f"models/{version.reference}", details, actor)

    store.change(event, write)


def delete_version(
    store: Store,
    version: ModelVersion,
    *,
    drop_aliases: bool = False,
    along: Callable[[Transaction], None] | None = None,
    actor: str,
    at: datetime,
) -> None:
    """Delete a version with its tags, comments and evidence. The bytes go with the next collection of garbage.

    `drop_aliases` takes away the aliases that point at it, as MLflow does, where no rule protects them and the
    version does not serve under them. `along` writes to the tables of other rooms, inside the change.

    Raises:
        Conflict: an alias points at it.
    """

    def write(transaction: Transaction) -> None:
        known_version(transaction.execute, version.model, version.version)
        pointing = aliases_of(transaction.execute, version.model)
        named = [alias for alias, number in pointing.items() if number == version.version]
        held = [each for each in named if not drop_aliases or is_held(transaction.execute, version.model, each)]
        if held:
            raise Conflict(
                f"{version.reference} is in use: the alias {', '.join(held)} points at it",
                next_step=f"take the alias away first: mainspring alias remove {version.model} {held[0]} --reason WHY",
            )
        for alias in named:
            reason = "the version was deleted"
            write_move(transaction, version.model, alias, None, at=to_iso(at), actor=actor, reason=reason)
        for table in ("model_versions", "version_tags", "version_comments", "gate_results", "approvals"):
            key = (version.model, version.version)
            transaction.execute(f"DELETE FROM {table} WHERE model = ? AND version = ?", key)
        touch_model(transaction, version.model, to_iso(at))
        if along is not None:
            along(transaction)

    details = {"bundle": version.bundle, "run_id": version.run_id}
    store.change(Event("version.deleted", f"models/{version.reference}", details, actor), write)


def known_version(ask: Ask, model: str, version: int) -> None:
    """Make sure inside a change that there is such a version.

    Raises:
        NotFound: there is none.
    """
    if not ask("SELECT 1 FROM model_versions WHERE model = ? AND version = ?", (model, version)):
        raise NotFound(f"The model `{model}` has no version {version}", next_step="list them: mainspring models")


def _from_row(row: Row, aliases: Mapping[str, int], tags: Mapping[str, str]) -> ModelVersion:
    model, version, bundle, run_id, status, evidence, created_at, created_by, *about = row
    source, location, run_link, logged_model, description, stage, updated_at = about
    return ModelVersion(
        model,
        version,
        bundle,
        run_id,
        status,
        created_at,
        created_by,
        json.loads(evidence),
        tuple(sorted(alias for alias, number in aliases.items() if number == version)),
        source=source,
        location=location,
        run_link=run_link,
        logged_model=logged_model,
        description=description,
        stage=stage,
        updated_at=updated_at,
        tags=tags,
    )
