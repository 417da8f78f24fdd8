"""What names and values may be, where they come from outside: MLflow's limits in MLflow's words.

Its clients and their tests look for these messages, so they stand here as they are there. Values that are too long are
cut for parameters and tags of runs, as its server does by default, and refused elsewhere.
Source: mlflow/utils/validation.py of MLflow 3.17.
"""

import json
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from urllib.parse import unquote

from mainspring.errors import Invalid

__all__ = [
    "check_batch_size",
    "check_experiment_name",
    "check_experiment_tags",
    "check_location",
    "check_model_name",
    "check_path",
    "check_points",
    "check_run_id",
    "fitting_parameters",
    "fitting_tags",
    "invalid_value",
]

_NAME = re.compile(r"[/\w.\- :]*")
_RUN_ID = re.compile(r"[a-zA-Z0-9][\w\-]{0,255}")
_MOST_NAME = 250
_MOST_PARAMETER = 6_000
_MOST_TAG = 8_000
_MOST_EXPERIMENT_NAME = 500
_MOST_EXPERIMENT_TAG = 20_000
_MOST_METRICS = 1_000
_MOST_LOCATION = 2_048
_MOST_PARAMETERS_OR_TAGS = 100
_MOST_SHOWN = 1_000
_WHOLE = 1 << 63
_CHARACTERS = (
    "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes"
    " (/)."
)


def invalid_value(place: str, value: object, reason: str = "") -> Invalid:
    """Return the error for a value that does not fit, in MLflow's words; `reason` is theirs too."""
    shown = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    if len(shown) > _MOST_SHOWN:
        shown = shown[:_MOST_SHOWN] + "..."
    told = f": {reason}" if reason else "."
    return Invalid(f"Invalid value {shown} for parameter '{place}' supplied{told}", where=place)


def check_points(points: Sequence[tuple[str, float, int, int]], place_of: str = "metrics[{}].") -> None:
    """Refuse points whose name, time or step MLflow would refuse."""
    if not points:
        return
    keys, _, moments, steps = zip(*points, strict=True)
    fits = min(moments) >= 0 and min(steps) >= -_WHOLE and max(max(moments), max(steps)) < _WHOLE
    if fits and not any(len(key) > _MOST_NAME or _name_fault(key) for key in set(keys)):
        return
    for number, (key, value, at_ms, step) in enumerate(points):  # one does not: which, and in MLflow's words
        place = place_of.format(number)
        _check_name(key, f"{place}name")
        if not 0 <= at_ms < _WHOLE:
            reason = f"metric '{key}' (value={value}). Timestamp must be a nonnegative long (64-bit integer) "
            raise invalid_value(f"{place}timestamp", at_ms, reason)
        if not -_WHOLE <= step < _WHOLE:
            reason = f"metric '{key}' (value={value}). Step must be a valid long (64-bit integer)."
            raise invalid_value(f"{place}step", step, reason)
        _check_length("Metric name", key, _MOST_NAME)


def fitting_parameters(parameters: Iterable[tuple[str, str]], place: str = "params[{}].") -> list[tuple[str, str]]:
    """Return parameters as they are kept: names are checked, each may come once, long values are cut."""
    kept = []
    for number, (key, value) in enumerate(parameters):
        _check_name(key, f"{place.format(number)}key")
        _check_length("Param key", key, _MOST_NAME)
        kept.append((key, value[:_MOST_PARAMETER]))
    if len({key for key, _ in kept}) < len(kept):
        names = [key for key, _ in kept]
        repeated = [key for number, key in enumerate(names) if key in names[:number]]
        raise Invalid(
            f"Duplicate parameter keys have been submitted: {repeated}. Please ensure the request contains only one"
            " param value per param key.",
            where="params",
        )
    return kept


def fitting_tags(tags: Iterable[tuple[str, str]], place: str = "tags[{}].") -> list[tuple[str, str]]:
    """Return tags of a run as they are kept: names are checked, long values are cut."""
    kept = []
    for number, (key, value) in enumerate(tags):
        at = f"{place.format(number)}key"
        _check_name(key, at)
        _check_length(at, key, _MOST_NAME)
        kept.append((key, value[:_MOST_TAG]))
    return kept


def check_batch_size(metrics: int, parameters: int, tags: int) -> None:
    """Refuse a batch that is larger than MLflow takes."""
    for what, most, count in (
        ("metrics", _MOST_METRICS, metrics),
        ("params", _MOST_PARAMETERS_OR_TAGS, parameters),
        ("tags", _MOST_PARAMETERS_OR_TAGS, tags),
        ("metrics, params, and tags", _MOST_METRICS, metrics + parameters + tags),
    ):
        if count > most:
            raise Invalid(
                f"A batch logging request can contain at most {most} {what}. Got {count} {what}. Please split up {what}"
                " across multiple requests and try again.",
                where="batch",
            )


def check_run_id(run_id: str) -> None:
    """Refuse what can be no id of a run."""
    if not _RUN_ID.fullmatch(run_id):
        raise invalid_value("run_id", run_id)


def check_experiment_name(name: str) -> None:
    """Refuse an empty name and one that is too long."""
    if not name:
        raise Invalid(f"Invalid experiment name: '{name}'", where="name")
    _check_length("name", name, _MOST_EXPERIMENT_NAME)


def check_experiment_tags(tags: Mapping[str, str]) -> None:
    """Refuse names of tags that MLflow refuses, and values that are too long."""
    for key, value in tags.items():
        _check_name(key, "key")
        _check_length("key", key, _MOST_NAME)
        _check_length("value", value, _MOST_EXPERIMENT_TAG)


def check_location(location: str) -> None:
    """Refuse where an experiment cannot keep its artifacts; an empty location is chosen by the server."""
    if location.startswith("runs:"):
        raise Invalid(f"Artifact location cannot be a runs:/ URI. Given: '{location}'", where="artifact_location")
    _check_length("artifact_location", location, _MOST_LOCATION)
    path, _, query = unquote(location).partition("?")
    if ".." in query or ".." in path.split("/") or any(ord(each) < 32 for each in location) or "#" in location:
        raise Invalid(f"Invalid artifact location: {location[:200]!r}", where="artifact_location")


def check_model_name(name: str) -> None:
    """Refuse a name of a logged model that MLflow refuses; an empty one is made up later."""
    unwanted = ("/", ":", ".", "%", '"', "'")
    if name and (not name.strip() or any(each in name for each in unwanted)):
        raise Invalid(
            f"Invalid model name ({name!r}) provided. Model name must be a non-empty string and cannot contain the"
            f" following characters: {unwanted}",
            where="name",
        )


def check_path(path: str) -> str:
    """Return a path of an artifact that stays below its root, or refuse it.

    The path is refused as it is sent and as it reads once or more often decoded, since a proxy may decode it again.
    """
    decoded = path
    for _ in range(4):
        unsafe = "\\" in decoded or "#" in decoded or "\0" in decoded or decoded.startswith(("/", "file:"))
        if unsafe or ".." in decoded.split("/") or re.match(r"[A-Za-z]:", decoded):
            raise Invalid("Invalid path", where="path")
        again = unquote(decoded)
        if again == decoded:
            break
        decoded = again
    else:
        raise Invalid("Invalid path", where="path")
    if any(ord(each) < 32 for each in path):
        raise Invalid("Invalid path", where="path")
    normal = posixpath.normpath(path) if path else ""
    return "" if normal == "." else normal


@lru_cache(maxsize=16_384)
def _name_fault(name: str) -> str:
    if not _NAME.fullmatch(name):
        return _CHARACTERS
    normal = posixpath.normpath(name)
    if normal != name or normal == "." or normal.startswith(("..", "/")):
        return (
            "Names may be treated as files in certain cases, and must not resolve to other names when treated as such."
            f" This name would resolve to {normal!r}"
        )
    return ""


def _check_name(name: str, place: str) -> None:
    if len(name) > _MOST_NAME:
        return  # told as too long, and not kept by the cache
    if fault := _name_fault(name):
        raise invalid_value(place, name, fault)


def _check_length(what: str, value: str, most: int) -> None:
    if len(value) > most:
        raise Invalid(f"'{what}' exceeds the maximum length of {most} characters", where=what)
