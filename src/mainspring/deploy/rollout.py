"""Rollouts: start a canary, widen it, make it champion, or roll it back. Owner of the table `deployments`.

The database is the truth; the route file that the prediction server follows is written after each change from what
the database says (`publish_routes`), and written again at every start, so a crash between the two heals itself. The
champion stays loaded beside a canary, so that going back is one pointer.
"""

import fcntl
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from mainspring.domain.deployment import Deployment
from mainspring.domain.ids import new_id
from mainspring.domain.moments import to_iso
from mainspring.domain.policy import Canary
from mainspring.domain.version import ModelVersion
from mainspring.errors import Conflict, Invalid, NotFound
from mainspring.registry.aliases import alias_now, current_aliases, write_move
from mainspring.serve.routes import Route, RouteTable, read_routes, write_routes
from mainspring.store.events import Event
from mainspring.store.protocol import Row, Store, Transaction

__all__ = [
    "active_canary",
    "advance",
    "champion_before",
    "end_deployments",
    "find_deployment",
    "list_deployments",
    "publish_routes",
    "put_live",
    "read_deployments",
    "rename_deployments",
    "roll_back",
    "roll_back_champion",
    "start_canary",
    "take_off",
    "update_state",
]

_COLUMNS = "deployment_id, model, version, status, stage, weight, started_at, stage_at, ended_at, reason, state"


def put_live(
    store: Store,
    version: ModelVersion,
    *,
    reason: str,
    at: datetime,
    actor: str = "loop",
    guard: Callable[[Transaction], None] | None = None,
) -> Deployment:
    """Make a version champion at once, with all of the traffic; a canary that is under way ends.

    `guard` may refuse by raising, inside the change.

    Raises:
        Conflict: the version is live already, as the second of two loops that want the same finds.
    """
    moment, identifier = to_iso(at), new_id()

    def write(transaction: Transaction) -> None:
        sql = "SELECT 1 FROM deployments WHERE model = ? AND version = ? AND status = 'live'"
        if transaction.execute(sql, (version.model, version.version)):
            raise Conflict(f"{version.reference} is live already", next_step="look again and decide anew")
        if guard is not None:
            guard(transaction)
        _end_others(transaction, version.model, moment)
        transaction.execute(
            f"INSERT INTO deployments ({_COLUMNS}) VALUES (?, ?, ?, 'live', 0, 100, ?, ?, NULL, ?, '{{}}')",
            (identifier, version.model, version.version, moment, moment, reason),
        )
        _no_challenger(transaction, version.model, at=moment, actor=actor, reason=reason)
        write_move(transaction, version.model, "champion", version.version, at=moment, actor=actor, reason=reason)

    details = {"alias": "champion", "reason": reason}
    store.change(Event("model.promoted", f"models/{version.reference}", details, actor=actor), write)
    return find_deployment(store, identifier)


def take_off(
    store: Store,
    model: str,
    *,
    reason: str,
    at: datetime,
    actor: str,
    guard: Callable[[Transaction], None] | None = None,
) -> None:
    """Leave a model without a champion: what serves ends, and nothing takes its place. Without a champion, nothing."""
    moment = to_iso(at)

    def write(transaction: Transaction) -> int | None:
        champion = alias_now(transaction, model, "champion")
        if champion is not None:
            if guard is not None:
                guard(transaction)
            _end_others(transaction, model, moment, reason=reason)
            _no_challenger(transaction, model, at=moment, actor=actor, reason=reason)
            write_move(transaction, model, "champion", None, at=moment, actor=actor, reason=reason)
        return champion

    def event(champion: int | None) -> Event | None:
        details = {"alias": "champion", "from": champion, "to": None, "reason": reason}
        return None if champion is None else Event("alias.moved", f"models/{model}/{champion}", details, actor)

    store.change(event, write)


def start_canary(
    store: Store, version: ModelVersion, policy: Canary, *, reason: str, at: datetime, actor: str = "loop"
) -> Deployment:
    """Give a version the first share of the traffic beside the champion.

    Raises:
        Conflict: another canary of the model is under way, there is no champion to compare with, or it is the version
            itself.
    """
    moment, identifier = to_iso(at), new_id()

    def write(transaction: Transaction) -> None:
        # asked inside the transaction: two loops that want a canary at once get one
        champion = alias_now(transaction, version.model, "champion")
        if champion is None:
            what = f"`{version.model}` has no champion to compare a canary with"
            raise Conflict(what, next_step="put it live instead")
        if champion == version.version:
            raise Conflict(f"{version.reference} is champion already", next_step="look again and decide anew")
        if transaction.execute("SELECT 1 FROM deployments WHERE model = ? AND status = 'canary'", (version.model,)):
            raise Conflict(f"A canary of `{version.model}` is under way", next_step="wait for it, or roll it back")
        transaction.execute(
            "UPDATE deployments SET status = 'ended', ended_at = ?"
            " WHERE model = ? AND version = ? AND status = 'shadow'",
            (moment, version.model, version.version),
        )
        transaction.execute(
            f"INSERT INTO deployments ({_COLUMNS}) VALUES (?, ?, ?, 'canary', 0, ?, ?, ?, NULL, ?, '{{}}')",
            (identifier, version.model, version.version, policy.stages[0], moment, moment, reason),
        )
        write_move(transaction, version.model, "challenger", version.version, at=moment, actor=actor, reason=reason)

    details = {"weight": policy.stages[0], "reason": reason}
    store.change(Event("canary.started", f"models/{version.reference}", details, actor=actor), write)
    return find_deployment(store, identifier)


def advance(store: Store, deployment: Deployment, policy: Canary, *, reason: str, at: datetime) -> Deployment:
    """Give a canary its next share; behind the last share it becomes champion.

    A stage of 100 percent is the promotion itself, so the stage before it is the last one that is tested.
    """
    stage = deployment.stage + 1
    weight = policy.stages[stage] if stage < len(policy.stages) else 100.0
    moment = to_iso(at)
    if weight >= 100:

        def promote(transaction: Transaction) -> None:
            still_canary(transaction, deployment)
            transaction.execute(
                "UPDATE deployments SET status = 'superseded', ended_at = ? WHERE model = ? AND status = 'live'",
                (moment, deployment.model),
            )
            transaction.execute(
                "UPDATE deployments SET status = 'live', stage = ?, weight = 100, stage_at = ?, reason = ?"
                " WHERE deployment_id = ?",
                (stage, moment, reason, deployment.deployment_id),
            )
            _no_challenger(transaction, deployment.model, at=moment, actor="loop", reason=reason)
            write_move(
                transaction, deployment.model, "champion", deployment.version, at=moment, actor="loop", reason=reason
            )

        event = Event("model.promoted", _subject(deployment), {"alias": "champion", "reason": reason}, actor="loop")
        store.change(event, promote)
        return find_deployment(store, deployment.deployment_id)

    def widen(transaction: Transaction) -> None:
        still_canary(transaction, deployment)
        transaction.execute(
            "UPDATE deployments SET stage = ?, weight = ?, stage_at = ? WHERE deployment_id = ?",
            (stage, weight, moment, deployment.deployment_id),
        )

    store.change(Event("canary.advanced", _subject(deployment), {"weight": weight, "reason": reason}, "loop"), widen)
    return find_deployment(store, deployment.deployment_id)


def roll_back(
    store: Store,
    deployment: Deployment,
    *,
    reason: str,
    evidence: Mapping[str, object],
    at: datetime,
    actor: str = "loop",
) -> Deployment:
    """Take a canary off the traffic; the champion answers everything again."""
    moment = to_iso(at)

    def write(transaction: Transaction) -> None:
        still_canary(transaction, deployment)
        transaction.execute(
            "UPDATE deployments SET status = 'rolled_back', weight = 0, ended_at = ?, reason = ?"
            " WHERE deployment_id = ?",
            (moment, reason, deployment.deployment_id),
        )
        _no_challenger(transaction, deployment.model, at=moment, actor=actor, reason=reason)

    details = {"reason": reason, "evidence": dict(evidence)}
    store.change(Event("canary.rolled_back", _subject(deployment), details, actor=actor), write)
    return find_deployment(store, deployment.deployment_id)


def roll_back_champion(store: Store, model: str, *, reason: str, at: datetime, actor: str) -> int:
    """Make the champion before this one champion again and return its version; a canary that is under way ends.

    Going back twice goes back two versions, never to one that was itself rolled back.

    Raises:
        NotFound: there is no such version.
        Conflict: the champion changed meanwhile.
    """
    now = current_aliases(store, model).get("champion")
    moment = to_iso(at)

    def write(transaction: Transaction) -> int:
        if alias_now(transaction, model, "champion") != now:
            raise Conflict(f"`{model}` has got another champion meanwhile", next_step="look again and decide anew")
        previous = _champion_before(transaction, model, now)
        if previous is None:
            raise NotFound(f"`{model}` has no earlier champion to go back to", next_step="mainspring models")
        _end_others(transaction, model, moment, ending="rolled_back", reason=reason)
        transaction.execute(
            f"INSERT INTO deployments ({_COLUMNS}) VALUES (?, ?, ?, 'live', 0, 100, ?, ?, NULL, ?, '{{}}')",
            (new_id(), model, previous, moment, moment, reason),
        )
        _no_challenger(transaction, model, at=moment, actor=actor, reason=reason)
        write_move(transaction, model, "champion", previous, at=moment, actor=actor, reason=reason)
        return previous

    def event(previous: int) -> Event:
        details = {"to": previous, "reason": reason}
        return Event("model.rolled_back", f"models/{model}/{now}", details, actor=actor)

    return store.change(event, write)


def champion_before(store: Store, model: str) -> int | None:
    """Return the version that `roll_back_champion` would make champion; None where there is none."""
    now = current_aliases(store, model).get("champion")
    return store.snapshot(lambda snapshot: _champion_before(snapshot, model, now))


def end_deployments(transaction: Transaction, model: str, version: int | None, *, at: datetime) -> None:
    """End what a version (None: any) of a model has in production, inside the change that deletes it."""
    clause, bound = ("", ()) if version is None else (" AND version = ?", (version,))
    transaction.execute(
        "UPDATE deployments SET status = 'superseded', ended_at = ?, reason = 'deleted'"
        f" WHERE model = ? AND status IN ('live', 'canary', 'shadow'){clause}",
        (to_iso(at), model, *bound),
    )


def rename_deployments(transaction: Transaction, name: str, new_name: str) -> None:
    """Let the deployments of a model follow its new name, inside the change that renames it."""
    transaction.execute("UPDATE deployments SET model = ? WHERE model = ?", (new_name, name))


def _champion_before(transaction: Transaction, model: str, now: int | None) -> int | None:
    """Return the newest earlier champion that was not itself taken off for doing harm, in its last time of serving."""
    if now is None:
        return None
    rows = transaction.execute(
        "SELECT version, status FROM deployments WHERE model = ? AND status NOT IN ('canary', 'shadow', 'ended')"
        " ORDER BY started_at, deployment_id",
        (model,),
    )
    last: dict[int, str] = dict(rows)
    moves = transaction.execute(
        "SELECT version FROM alias_moves WHERE model = ? AND alias = 'champion' ORDER BY number DESC", (model,)
    )
    candidates = (row[0] for row in moves if row[0] not in (None, now))
    return next((version for version in candidates if last.get(version) == "superseded"), None)


def publish_routes(store: Store, endpoints: Path, model: str, bundle_folder: Callable[[int], Path]) -> RouteTable:
    """Write the route file of `model` from what the database says; unchanged routes keep file and revision."""
    endpoints.mkdir(parents=True, exist_ok=True)
    with (endpoints / ".lock").open("w") as lock:
        # read behind the lock: who writes later has seen no less, so an old route never replaces a newer one
        fcntl.flock(lock, fcntl.LOCK_EX)
        canary = active_canary(store, model)
        champion = current_aliases(store, model).get("champion")
        if champion is None:
            raise NotFound(f"`{model}` has no champion to serve", next_step=f"mainspring promote {model}/VERSION")
        if canary is not None and canary.version == champion:  # promoted between the two looks
            canary = None
        share = 0.0 if canary is None else canary.weight
        routes = [Route(champion, str(bundle_folder(champion)), "champion", 100.0 - share)]
        if canary is not None:
            routes.append(Route(canary.version, str(bundle_folder(canary.version)), "canary", canary.weight))
        answering = {route.version for route in routes}
        for shadow in read_deployments(store, "WHERE model = ? AND status = 'shadow' ORDER BY started_at", model):
            if shadow.version not in answering:
                routes.append(Route(shadow.version, str(bundle_folder(shadow.version)), "shadow", shadow.weight))
        path = endpoints / f"{model}.json"
        standing = _standing(path)
        if standing is not None and standing.routes == tuple(routes):
            return standing
        table = RouteTable(model, 1 if standing is None else standing.revision + 1, tuple(routes))
        write_routes(path, table)
        answers = [f"{each.role} {model}/{each.version} {each.weight:g} %" for each in routes]
        details = {"routes": answers, "revision": table.revision}
        store.change(Event("endpoint.changed", f"endpoints/{model}", details), lambda _: None)
        return table


def _standing(path: Path) -> RouteTable | None:
    try:
        return read_routes(path)
    except (NotFound, Invalid):  # a file that somebody broke by hand is written anew
        return None


def active_canary(store: Store, model: str) -> Deployment | None:
    """Return the canary that is under way; None when there is none."""
    found = read_deployments(store, "WHERE model = ? AND status = 'canary' ORDER BY started_at DESC LIMIT 1", model)
    return found[0] if found else None


def list_deployments(store: Store, model: str) -> list[Deployment]:
    """Return all deployments of a model, newest first."""
    return read_deployments(store, "WHERE model = ? ORDER BY started_at DESC, deployment_id DESC", model)


def update_state(store: Store, deployment: Deployment, state: Mapping[str, object]) -> Deployment:
    """Keep what a canary's test has counted so far."""
    document = json.dumps(dict(state), allow_nan=False)
    store.record(
        lambda transaction: transaction.execute(
            "UPDATE deployments SET state = ? WHERE deployment_id = ?", (document, deployment.deployment_id)
        )
    )
    return find_deployment(store, deployment.deployment_id)


def _end_others(
    transaction: Transaction, model: str, moment: str, *, ending: str = "superseded", reason: str = ""
) -> None:
    transaction.execute(
        "UPDATE deployments SET ended_at = ?, reason = CASE WHEN ? = '' THEN reason ELSE ? END,"
        " status = CASE WHEN status = 'canary' THEN 'rolled_back' ELSE ? END"
        " WHERE model = ? AND status IN ('live', 'canary')",
        (moment, reason, reason, ending, model),
    )


def _no_challenger(transaction: Transaction, model: str, *, at: str, actor: str, reason: str) -> None:
    if alias_now(transaction, model, "challenger") is not None:
        write_move(transaction, model, "challenger", None, at=at, actor=actor, reason=reason)


def still_canary(transaction: Transaction, deployment: Deployment) -> None:
    rows = transaction.execute(
        "SELECT status, stage FROM deployments WHERE deployment_id = ?", (deployment.deployment_id,)
    )
    if rows != [("canary", deployment.stage)]:
        raise Conflict(
            f"The canary of {deployment.model}/{deployment.version} has moved on",
            next_step="look again and decide anew",
        )


def _subject(deployment: Deployment) -> str:
    return f"models/{deployment.model}/{deployment.version}"


def find_deployment(store: Store, identifier: str) -> Deployment:
    """Return the deployment of this id."""
    return read_deployments(store, "WHERE deployment_id = ?", identifier)[0]


def read_deployments(store: Store, clause: str, *bound: str) -> list[Deployment]:
    """Return the deployments that a clause of SQL picks."""
    return [_from_row(row) for row in store.read(f"SELECT {_COLUMNS} FROM deployments {clause}", bound)]


def _from_row(row: Row) -> Deployment:
    identifier, model, version, status, stage, weight, started_at, stage_at, ended_at, reason, state = row
    return Deployment(
        identifier, model, version, status, stage, weight, started_at, stage_at, ended_at, reason, json.loads(state)
    )
