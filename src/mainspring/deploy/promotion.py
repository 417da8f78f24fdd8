"""The one door through which people move aliases: asked of the rules, then moved; a move of champion is a deployment.

Commands, the native API and MLflow clients all come through here. A refusal leaves an entry in the audit log, and so
does an override, with its reason.
"""

from datetime import datetime
from pathlib import Path

from mainspring.deploy.rollout import end_deployments, put_live, rename_deployments, take_off
from mainspring.domain.version import ModelVersion, RegisteredModel, Stage, check_alias
from mainspring.errors import Conflict, Denied, GateFailed, Invalid
from mainspring.registry.aliases import alias_before, current_aliases, set_alias
from mainspring.registry.control import Mover, ask_rules, objections, refuse
from mainspring.registry.models import delete_model, rename_model
from mainspring.registry.versions import delete_version, find_version, set_stage
from mainspring.store.events import Event
from mainspring.store.protocol import Store, Transaction

__all__ = ["erase_model", "erase_version", "move_alias", "move_stage", "rename", "undo_move"]


def move_alias(
    store: Store,
    model: str,
    alias: str,
    version: ModelVersion | None,
    *,
    mover: Mover,
    reason: str,
    override: bool = False,
    at: datetime,
) -> None:
    """Point an alias at a version of its model, or take it away with None, if its rules allow it.

    `override` goes past what the version has not shown, and not past who may move the alias; it needs a reason and is
    audited. Who may override is asked by the caller, of `access`.

    Raises:
        Denied: it is not for the mover to move this alias.
        GateFailed: a gate or an approval is missing.
        Invalid: an override without a reason.
    """
    if version is not None:
        check_alias(alias)
    if current_aliases(store, model).get(alias) == (None if version is None else version.version):
        return
    if override:
        _override(store, model, alias, version, mover, reason)

    def guard(transaction: Transaction) -> None:
        ask_rules(transaction.execute, model, alias, version, mover, override=override)

    try:
        if alias != "champion":
            number = None if version is None else version.version
            set_alias(store, model, alias, number, at=at, reason=reason, actor=mover.name, guard=guard)
        elif version is None:
            take_off(store, model, reason=reason, at=at, actor=mover.name, guard=guard)
        else:
            put_live(store, version, reason=reason, at=at, actor=mover.name, guard=guard)
    except (Denied, GateFailed) as error:
        refuse(store, model, alias, None if version is None else version.version, error, mover)
        raise


def move_stage(
    store: Store, version: ModelVersion, stage: Stage, *, archive_others: bool, mover: Mover, at: datetime
) -> None:
    """Move a version to one of MLflow's stages; `Production` asks the rules of the alias champion.

    Raises:
        Denied, GateFailed: as `move_alias`.
    """
    if stage == "Production" and version.stage != stage:
        try:
            ask_rules(store.read, version.model, "champion", version, mover)
        except (Denied, GateFailed) as error:
            refuse(store, version.model, "champion", version.version, error, mover)
            raise
    set_stage(store, version, stage, archive_others=archive_others, actor=mover.name, at=at)


def rename(store: Store, endpoints: Path, name: str, new_name: str, *, actor: str, at: datetime) -> RegisteredModel:
    """Give a model another name, in the registry and among the deployments.

    Raises:
        Conflict: prediction servers follow its route file, and predictions know it by its name; or the name is taken.
    """
    if (endpoints / f"{name}.json").exists():
        raise Conflict(f"`{name}` has served, and its predictions know it by that name", next_step="keep its name")
    return rename_model(
        store, name, new_name, along=lambda t: rename_deployments(t, name, new_name), actor=actor, at=at
    )


def erase_model(store: Store, name: str, *, actor: str, at: datetime) -> int:
    """Delete a model with its versions, and end what it has in production; return how many versions that were.

    Raises:
        Conflict: a version of it can be serving, or a protected alias points at one.
    """
    return delete_model(store, name, along=lambda t: end_deployments(t, name, None, at=at), actor=actor, at=at)


def erase_version(store: Store, version: ModelVersion, *, drop_aliases: bool = False, actor: str, at: datetime) -> None:
    """Delete a version, and end what it has in production; `drop_aliases` as `registry.versions.delete_version`.

    Raises:
        Conflict: an alias points at it.
    """
    model, number = version.model, version.version
    delete_version(
        store,
        version,
        drop_aliases=drop_aliases,
        along=lambda t: end_deployments(t, model, number, at=at),
        actor=actor,
        at=at,
    )


def undo_move(store: Store, model: str, alias: str, *, mover: Mover, reason: str, at: datetime) -> int | None:
    """Move an alias back to where it pointed before its last move, under the same rules, and return where that is.

    Raises:
        NotFound: the alias has never moved, or its earlier version is deleted.
    """
    number = alias_before(store, model, alias)
    version = None if number is None else find_version(store, f"{model}/{number}")
    move_alias(store, model, alias, version, mover=mover, reason=reason, at=at)
    return number


def _override(store: Store, model: str, alias: str, version: ModelVersion | None, mover: Mover, reason: str) -> None:
    if not reason.strip():
        raise Invalid("An override needs a reason", where="reason", next_step="say why")
    against = objections(store.read, model, alias, version, mover)
    subject = f"models/{model}" if version is None else f"models/{version.reference}"
    details = {"alias": alias, "reason": reason, "against": against}
    store.change(Event("model.overridden", subject, details, mover.name), lambda _: None)
