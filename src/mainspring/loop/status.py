"""How everything stands, for whoever asks from outside: each model's champion, health, last change and next look.

Read from a few tables and no log, so that it may be asked every minute.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mainspring.deploy.rollout import active_canary
from mainspring.domain.incident import Incident
from mainspring.domain.moments import to_iso
from mainspring.monitor.incidents import list_incidents
from mainspring.pipeline.ticks import Standing, list_standings
from mainspring.registry.aliases import alias_history
from mainspring.registry.versions import list_versions

if TYPE_CHECKING:
    from mainspring.workspace import Workspace

__all__ = ["Health", "ModelStatus", "Status", "status_of"]

#: The worst of what is open; a model that does not serve, and of which nothing is open, is `off`.
Health = Literal["well", "info", "ticket", "page", "off"]
_ORDER: tuple[Health, ...] = ("page", "ticket", "info", "well", "off")


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """How one model stands. `champion` is None where no version serves; `canary` says what else answers, in words."""

    model: str
    health: Health
    champion: int | None
    champion_since: str
    canary: str
    incidents: tuple[Incident, ...]
    last_change: str
    last_change_at: str
    last_prediction_at: str
    next_look_at: str


@dataclass(frozen=True, slots=True)
class Status:
    """How everything stands at a moment; the worst models come first."""

    at: str
    models: tuple[ModelStatus, ...]
    schedules: tuple[Standing, ...]


def status_of(workspace: "Workspace", *, may_read: Callable[[str], bool] = lambda model: True) -> Status:
    """Return how the models stand that serve, or of which an incident is open, if whoever asks `may_read` them."""
    store = workspace.store
    champions = {each.model: each.version for each in list_versions(store) if "champion" in each.aliases}
    still_open: dict[str, list[Incident]] = {}
    for incident in list_incidents(store, only_open=True):
        still_open.setdefault(incident.model, []).append(incident)
    standings = list_standings(store)
    looks = {each.schedule.name: to_iso(each.schedule.next_at) for each in standings}
    found = [
        _model(workspace, name, champions.get(name), still_open.get(name, []), looks.get(f"look-{name}", ""))
        for name in {*champions, *still_open}
        if may_read(name)
    ]
    found.sort(key=lambda each: (_ORDER.index(each.health), each.model))
    return Status(to_iso(workspace.clock.now()), tuple(found), tuple(standings))


def _model(
    workspace: "Workspace", name: str, champion: int | None, incidents: list[Incident], next_look_at: str
) -> ModelStatus:
    severities = {each.severity for each in incidents}
    calm: Health = "off" if champion is None else "well"
    health = next((each for each in _ORDER if each in severities), calm)
    moves = alias_history(workspace.store, name)
    since = [each.at for each in moves if each.alias == "champion"]
    last = moves[-1] if moves else None
    canary = active_canary(workspace.store, name)
    seen = workspace.log.last_at(name)
    return ModelStatus(
        name,
        health,
        champion,
        since[-1] if since else "",
        "" if canary is None else f"version {canary.version} answers {canary.weight:g} %",
        tuple(incidents),
        "" if last is None else _told(last.alias, last.version, last.reason, last.actor),
        "" if last is None else last.at,
        "" if seen is None else to_iso(seen),
        next_look_at,
    )


def _told(alias: str, version: int | None, reason: str, actor: str) -> str:
    moved = f"{alias} was taken away" if version is None else f"version {version} became {alias}"
    return f"{moved}: {reason} ({actor})" if reason else f"{moved} ({actor})"
