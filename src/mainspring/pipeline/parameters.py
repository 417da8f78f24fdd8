"""The parameters of a pipeline, and their values read from text such as ``c=0.5``: what a command line needs.

A value is read by the parameter's annotation. Lists and dicts are written as JSON; a parameter without an annotation
takes JSON where the text is JSON, and the text itself where it is not.
"""

import enum
import inspect
import json
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union

from mainspring.domain.moments import from_iso
from mainspring.errors import Invalid, nearest
from mainspring.pipeline.partitions import Partition, partition

if TYPE_CHECKING:
    from mainspring.pipeline.step import Pipeline

__all__ = ["Parameter", "parameters_of", "parse_parameters"]

_TRUE, _FALSE = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: its name, its annotation (``object`` where there is none), and its default if it has one."""

    name: str
    annotation: object
    default: object = None
    required: bool = True

    @property
    def type_name(self) -> str:
        """The annotation as people write it."""
        if self.annotation is object:
            return "any"
        return self.annotation.__name__ if isinstance(self.annotation, type) else str(self.annotation)


def parameters_of(pipeline: "Pipeline[..., Any]") -> tuple[Parameter, ...]:
    """Return the parameters of a pipeline in their order."""
    try:
        hints = typing.get_type_hints(pipeline.function)
    except Exception:  # an annotation that cannot be read means text is taken as it is, nothing worse
        hints = {}
    found = []
    for name, each in pipeline.signature.parameters.items():
        required = each.default is inspect.Parameter.empty
        found.append(Parameter(name, hints.get(name, object), None if required else each.default, required))
    return tuple(found)


def parse_parameters(
    pipeline: "Pipeline[..., Any]", words: Iterable[str], *, partial: bool = False
) -> dict[str, object]:
    """Read ``name=value`` words into arguments for `pipeline`; with `partial` the rest comes from elsewhere.

    Raises:
        Invalid: a word is no ``name=value``, names no parameter, or its value does not fit the annotation; or a
            parameter without a default is missing.
    """
    known = {each.name: each for each in parameters_of(pipeline)}
    values: dict[str, object] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or name not in known:
            raise Invalid(
                f"`{word}` does not name a parameter of `{pipeline.name}`" if equals else f"`{word}` is not name=value",
                where=pipeline.where,
                next_step=nearest(name, known),
            )
        values[name] = _parse(text, known[name].annotation, f"-p {name}")
    missing = [each for each in known.values() if each.required and each.name not in values]
    if missing and not partial:
        raise Invalid(
            f"`{pipeline.name}` needs a value for `{missing[0].name}` ({missing[0].type_name})",
            where=pipeline.where,
            next_step=f"add -p {missing[0].name}=...",
        )
    return values


def _parse(text: str, annotation: object, where: str) -> object:
    origin, choices = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        return _parse_union(text, choices, where)
    if origin is Literal:
        found = [choice for choice in choices if str(choice) == text]
        if not found:
            raise _unfit(text, " | ".join(str(choice) for choice in choices), where)
        return found[0]
    if annotation is str:
        return text
    if annotation is Path:
        return Path(text)
    if annotation is datetime:
        return from_iso(text)
    if annotation is Partition:
        return partition(text)
    if annotation is bool:
        if text.lower() not in _TRUE | _FALSE:
            raise _unfit(text, "true or false", where)
        return text.lower() in _TRUE
    if annotation in (int, float):
        try:
            return int(text) if annotation is int else float(text)
        except ValueError:
            raise _unfit(text, "a whole number" if annotation is int else "a number", where) from None
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        if text not in annotation.__members__:
            raise _unfit(text, " | ".join(annotation.__members__), where)
        return annotation[text]
    return _parse_json(text, origin or annotation, where)


def _parse_union(text: str, choices: tuple[object, ...], where: str) -> object:
    if type(None) in choices and text.lower() in ("", "none", "null"):
        return None
    kinds = [choice for choice in choices if choice is not type(None)]
    # Text fits everything, so it is asked last.
    for kind in sorted(kinds, key=lambda each: each is str):
        try:
            return _parse(text, kind, where)
        except Invalid:
            continue
    named = " | ".join(str(getattr(kind, "__name__", kind)) for kind in kinds)
    raise _unfit(text, f"{named} (lists and dicts are written as JSON)", where)


def _parse_json(text: str, kind: object, where: str) -> object:
    try:
        value = json.loads(text)
    except ValueError:
        if kind is object or kind is Any:
            return text
        raise _unfit(text, f"a {getattr(kind, '__name__', kind)} written as JSON", where) from None
    if kind in (tuple, set, frozenset) and isinstance(value, list):
        return kind(value)
    if isinstance(kind, type) and kind is not object and not isinstance(value, kind):
        raise _unfit(text, f"a {kind.__name__} written as JSON", where)
    return value


def _unfit(text: str, wanted: str, where: str) -> Invalid:
    return Invalid(f"`{text}` is not {wanted}", where=where, next_step=f"write {wanted}")
