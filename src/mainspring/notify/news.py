"""What a webhook can ask for, and how it is told: one table from the verbs of the audit chain to what goes out.

The registry's news carry MLflow's names and payloads, so a receiver that was written for MLflow understands them; the
rest are ours. What an event does not hold (a tag's value, a description) is looked up when it is told.
Source: mlflow/webhooks/types.py and mlflow/entities/webhook.py of MLflow 3.17.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from mainspring.domain.version import ModelVersion, RegisteredModel
from mainspring.errors import Invalid, NotFound, nearest
from mainspring.monitor.incidents import newest_incident
from mainspring.monitor.silences import is_silenced
from mainspring.registry.models import find_model
from mainspring.registry.search import PROMPT_TAG
from mainspring.registry.versions import find_version
from mainspring.store.events import EventRow
from mainspring.store.protocol import Store

__all__ = ["MLFLOW_NEWS", "NEWS", "News", "check_news", "example_of", "news_of"]

T = TypeVar("T")
Payload = dict[str, object]


class News(NamedTuple):
    """One thing to tell: its name (``model_version.created``), and what is told of it."""

    name: str
    data: Payload


def _created(store: Store, event: EventRow) -> Iterator[News]:
    name = event.subject.removeprefix("models/")
    model = _or_none(lambda: find_model(store, name))
    tags = {} if model is None else dict(model.tags)
    yield News("registered_model.created", {"name": name, "tags": tags, "description": _said(model)})


def _registered(store: Store, event: EventRow) -> Iterator[News]:
    name, number = event.subject.removeprefix("models/"), event.details.get("version")
    version = _version(store, f"models/{name}/{number}")
    yield News(
        "model_version.created",
        {
            "name": name,
            "version": str(number),
            "source": event.details.get("source") or f"models:/{name}/{number}",
            "run_id": event.details.get("run_id"),
            "tags": {} if version is None else dict(version.tags),
            "description": _said(version),
        },
    )


def _tagged(store: Store, event: EventRow) -> Iterator[News]:
    name, number = _split(event.subject)
    version, key = _version(store, event.subject), str(event.details["key"])
    value = None if version is None else version.tags.get(key)
    yield News("model_version_tag.set", {"name": name, "version": number, "key": key, "value": value})


def _untagged(store: Store, event: EventRow) -> Iterator[News]:
    name, number = _split(event.subject)
    yield News("model_version_tag.deleted", {"name": name, "version": number, "key": event.details["key"]})


def _prompt_tagged(store: Store, event: EventRow) -> Iterator[News]:
    """Tell of a tag of a prompt; of those of other models MLflow tells nothing."""
    name, key = event.subject.removeprefix("models/"), str(event.details["key"])
    prompt = _prompt(store, name)
    if prompt is not None and event.verb == "model.tagged":
        yield News("prompt_tag.set", {"name": name, "key": key, "value": prompt.tags.get(key)})
    elif prompt is not None:
        yield News("prompt_tag.deleted", {"name": name, "key": key})


def _alias_moved(store: Store, event: EventRow) -> Iterator[News]:
    name, number = _split(event.subject)
    alias, to = event.details["alias"], event.details.get("to", number)
    if to is None:
        yield News("model_version_alias.deleted", {"name": name, "alias": alias})
    else:
        yield News("model_version_alias.created", {"name": name, "alias": alias, "version": str(to)})


def _promoted(store: Store, event: EventRow) -> Iterator[News]:
    yield from _alias_moved(store, event)
    yield from _plain("deployment.live")(store, event)


def _deployed(name: str, alias: str, *, stays: bool = True) -> Callable[[Store, EventRow], Iterator[News]]:
    """Tell what happened to a deployment, and before it where the alias that stands for it went."""

    def told(store: Store, event: EventRow) -> Iterator[News]:
        model, number = _split(event.subject)
        if stays:
            version = str(event.details.get("to", number))
            yield News("model_version_alias.created", {"name": model, "alias": alias, "version": version})
        else:
            yield News("model_version_alias.deleted", {"name": model, "alias": alias})
        yield from _plain(name)(store, event)

    return told


def _plain(name: str) -> Callable[[Store, EventRow], Iterator[News]]:
    """Tell an event as it stands in the chain."""

    def told(store: Store, event: EventRow) -> Iterator[News]:
        yield News(name, {"subject": event.subject, "actor": event.actor, "at": event.at, **event.details})

    return told


def _unless_quiet(name: str) -> Callable[[Store, EventRow], Iterator[News]]:
    """Tell what becomes of an incident, unless it was quiet, or silenced, at that moment.

    What is not told of an opening is told when the incident is released, if it is open still; so nobody hears of the
    end of what they never heard of.
    """

    def told(store: Store, event: EventRow) -> Iterator[News]:
        key = event.subject.removeprefix("incidents/")
        if not event.details.get("quiet") and not is_silenced(store.read, key, event.at):
            standing = newest_incident(store, key)
            about = {} if standing is None else {
                "title": standing.title, "severity": standing.severity, "opened_at": standing.opened_at,
            }  # fmt: skip
            for news in _plain(name)(store, event):
                yield News(name, {**about, **news.data})

    return told


#: verb of the audit chain -> what is told because of it
_TOLD: dict[str, Callable[[Store, EventRow], Iterator[News]]] = {
    "model.created": _created,
    "model.registered": _registered,
    "model.tagged": _prompt_tagged,
    "model.untagged": _prompt_tagged,
    "version.tagged": _tagged,
    "version.untagged": _untagged,
    "alias.moved": _alias_moved,
    "alias.refused": _plain("gate.refused"),
    "model.gated": _plain("gate.answered"),
    "model.approved": _plain("approval.given"),
    "model.overridden": _plain("gate.overridden"),
    "model.promoted": _promoted,
    "model.rolled_back": _deployed("deployment.rolled_back", "champion"),
    "canary.started": _deployed("deployment.started", "challenger"),
    "canary.advanced": _plain("deployment.advanced"),
    "canary.rolled_back": _deployed("deployment.rolled_back", "challenger", stays=False),
    "version.staged": _plain("model_version.staged"),
    "version.deleted": _plain("model_version.deleted"),
    "version.commented": _plain("model_version.commented"),
    "incident.opened": _unless_quiet("incident.opened"),
    "incident.released": _unless_quiet("incident.opened"),
    "incident.assigned": _plain("incident.assigned"),
    "incident.acknowledged": _unless_quiet("incident.acknowledged"),
    "incident.mitigated": _unless_quiet("incident.mitigated"),
    "incident.resolved": _unless_quiet("incident.resolved"),
    "schedule.failed": _plain("schedule.failed"),
    "schedule.recovered": _plain("schedule.recovered"),
    "access.denied": _plain("access.denied"),
    "access.login_failed": _plain("access.login_failed"),
}
#: The names that MLflow's clients know. Nothing here makes those of budgets.
MLFLOW_NEWS: tuple[str, ...] = (
    "registered_model.created",
    "model_version.created",
    "model_version_tag.set",
    "model_version_tag.deleted",
    "model_version_alias.created",
    "model_version_alias.deleted",
    "prompt.created",
    "prompt_version.created",
    "prompt_tag.set",
    "prompt_tag.deleted",
    "prompt_version_tag.set",
    "prompt_version_tag.deleted",
    "prompt_alias.created",
    "prompt_alias.deleted",
    "budget_policy.exceeded",
)
#: Every name that a webhook can ask for.
NEWS: tuple[str, ...] = (
    *MLFLOW_NEWS,
    "run.finished",
    "metric.crossed",
    "gate.answered",
    "gate.refused",
    "gate.overridden",
    "approval.given",
    "deployment.started",
    "deployment.advanced",
    "deployment.live",
    "deployment.rolled_back",
    "model_version.staged",
    "model_version.deleted",
    "model_version.commented",
    "incident.opened",
    "incident.assigned",
    "incident.acknowledged",
    "incident.mitigated",
    "incident.resolved",
    "schedule.failed",
    "schedule.recovered",
    "access.denied",
    "access.login_failed",
)
_EXAMPLES: dict[str, Payload] = {
    "registered_model.created": {
        "name": "example_model",
        "tags": {"example_key": "example_value"},
        "description": "An example registered model",
    },
    "model_version.created": {
        "name": "example_model",
        "version": "1",
        "source": "models:/123",
        "run_id": "abcd1234abcd5678",
        "tags": {"example_key": "example_value"},
        "description": "An example model version",
    },
    "model_version_tag.set": {
        "name": "example_model",
        "version": "1",
        "key": "example_key",
        "value": "example_value",
    },
    "model_version_tag.deleted": {"name": "example_model", "version": "1", "key": "example_key"},
    "model_version_alias.created": {"name": "example_model", "alias": "example_alias", "version": "1"},
    "model_version_alias.deleted": {"name": "example_model", "alias": "example_alias"},
}


#: What is told of a prompt, which is a model of the registry with a tag, in place of what is told of a model.
_OF_PROMPTS = {
    "registered_model.created": "prompt.created",
    "model_version.created": "prompt_version.created",
    "model_version_tag.set": "prompt_version_tag.set",
    "model_version_tag.deleted": "prompt_version_tag.deleted",
    "model_version_alias.created": "prompt_alias.created",
    "model_version_alias.deleted": "prompt_alias.deleted",
}
_PROMPT_TEXT_TAG = "mlflow.prompt.text"
_TAGS_OF_PROMPTS = frozenset({PROMPT_TAG, _PROMPT_TEXT_TAG, "_mlflow_prompt_type"})


def news_of(store: Store, event: EventRow) -> list[News]:
    """Return what is told because of an entry of the audit chain; mostly nothing."""
    told = _TOLD.get(event.verb)
    return [] if told is None else [_of_prompt(store, each) for each in told(store, event)]


def _of_prompt(store: Store, news: News) -> News:
    """Return news of a model as MLflow tells them when the model is a prompt; all others as they are."""
    if news.name not in _OF_PROMPTS:
        return news
    if _prompt(store, str(news.data["name"])) is None:
        return news
    data = dict(news.data)
    if isinstance(tags := data.get("tags"), dict):
        data["tags"] = {key: value for key, value in tags.items() if key not in _TAGS_OF_PROMPTS}
        if news.name == "model_version.created":
            data |= {"template": tags.get(_PROMPT_TEXT_TAG)}
            del data["source"], data["run_id"]
    return News(_OF_PROMPTS[news.name], data)


def check_news(name: str) -> str:
    """Return `name` if it is one of the news.

    Raises:
        Invalid: it is not; the message names the nearest.
    """
    if name not in NEWS:
        entity, _, action = name.partition(".")
        actions = sorted(each.partition(".")[2] for each in NEWS if each.startswith(f"{entity}."))
        if actions:
            raise Invalid(
                f"Invalid action '{action}' for entity '{entity}'. Valid actions are: {actions}", where="events"
            )
        raise Invalid(
            f"Invalid entity or action in event string: {name}", where="events", next_step=nearest(name, NEWS)
        )
    return name


def example_of(name: str) -> Payload:
    """Return a payload to try a webhook with."""
    return _EXAMPLES.get(name, {"subject": "example", "actor": "example", "test": True})


def _prompt(store: Store, name: str) -> RegisteredModel | None:
    """Return a model that is a prompt."""
    model = _or_none(lambda: find_model(store, name))
    return model if model is not None and model.tags.get(PROMPT_TAG, "").lower() == "true" else None


def _split(subject: str) -> tuple[str, str]:
    name, _, number = subject.removeprefix("models/").rpartition("/")
    return (name, number) if name else (number, "")


def _version(store: Store, subject: str) -> ModelVersion | None:
    return _or_none(lambda: find_version(store, subject.removeprefix("models/")))


def _or_none(ask: Callable[[], T]) -> T | None:
    try:
        return ask()
    except NotFound:  # deleted meanwhile: what is left is told
        return None


def _said(thing: object) -> str | None:
    return getattr(thing, "description", "") or None
