"""A request's words to a typed struct, and what is wrong with them in MLflow's words.

The fast way decodes JSON straight into the struct. Only where that fails the body is read once more, leniently, as
MLflow's server reads it: nulls count as absent, numbers may be text, NaN may stand bare. What does not fit is named.
Source: mlflow/server/handlers.py, `_get_request_message` and `_validate_param_against_schema`, MLflow 3.17.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from mainspring.errors import Invalid
from mainspring.tracking.limits import invalid_value

__all__ = ["decode_body", "decode_query", "missing_value"]

T = TypeVar("T")
#: Escapes of characters that may be no text by themselves.
_ODD = re.compile(rb"\\u(?:[dD][89a-fA-F]|0000)")
_SEE = " See the API docs for more information about request parameters."
_MISSING = re.compile(r"Object missing required field `(?P<name>.+?)`(?: - at `\$(?P<place>.*)`)?")


def missing_value(place: str) -> Invalid:
    """Return the error for a parameter that must be there."""
    return Invalid(f"Missing value for required parameter '{place}'.{_SEE}", where=place)


def decode_body(kind: type[T], body: bytes) -> T:
    """Return the body as the struct `kind`; an empty body is an empty object.

    Raises:
        Invalid: it does not fit; the message names the place.
    """
    if _ODD.search(body):  # before anything else: an error could not even be told in such words
        _check_characters(body)
    try:
        found: T = _decoder(_plain(kind)).decode(body or b"{}")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        found = _lenient(kind, body)
    return _complete(kind, found)


def decode_query(kind: type[T], query: Mapping[str, Sequence[str]]) -> T:
    """Return the words behind a question mark as the struct `kind`.

    Raises:
        Invalid: they do not fit.
    """
    if any("\0" in value for values in query.values() for value in values):
        raise _odd_character()
    lists = _lists(_plain(kind))
    words = {name: list(values) if name in lists else values[-1] for name, values in query.items()}
    return _complete(kind, _converted(kind, words))


def _check_characters(body: bytes) -> None:
    """Refuse half a surrogate pair, which is no text, and NUL, which Postgres does not keep."""
    try:
        words = json.dumps(json.loads(body), ensure_ascii=False)
    except (ValueError, RecursionError):
        return  # no JSON at all: told where it is decoded
    try:
        words.encode()
    except UnicodeEncodeError as error:
        raise _odd_character() from error
    if "\\u0000" in words:
        raise _odd_character()


def _odd_character() -> Invalid:
    return Invalid(
        "The request holds a NUL, or half of a surrogate pair, which is no text", where="body", next_step="send UTF-8"
    )


def _plain(kind: object) -> type:
    """Return a class as what a cache takes for a key."""
    assert isinstance(kind, type)
    return kind


@lru_cache(maxsize=512)
def _decoder(kind: type) -> "msgspec.json.Decoder[Any]":
    return msgspec.json.Decoder(kind, strict=False)


@lru_cache(maxsize=512)
def _fields(kind: type) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(kind)


@lru_cache(maxsize=512)
def _lists(kind: type) -> frozenset[str]:
    return frozenset(each.encode_name for each in _fields(kind) if str(each.type).startswith("list["))


@lru_cache(maxsize=512)
def _needed_texts(kind: type) -> tuple[str, ...]:
    return tuple(each.name for each in _fields(kind) if each.required and each.type is str)


def _complete(kind: type[T], found: T) -> T:
    """Refuse an empty text where one is needed: MLflow's wire cannot tell it from an absent one."""
    for name in _needed_texts(_plain(kind)):
        if getattr(found, name) == "":
            raise missing_value(name)
    return found


def _lenient(kind: type[T], body: bytes) -> T:
    try:
        words = json.loads(body.decode() or "{}")
        if isinstance(words, str):  # old clients encode twice
            words = json.loads(words)
    except RecursionError as error:
        raise Invalid("The body is nested too deep", where="body", next_step="send a flat JSON object") from error
    except ValueError as error:
        raise Invalid(f"The body is not JSON: {error}", where="body", next_step="send a JSON object") from error
    if words is None:
        words = {}
    if not isinstance(words, dict):
        raise Invalid(f"The body is a JSON {type(words).__name__}", where="body", next_step="send a JSON object")
    return _converted(kind, _without_nulls(words))


def _converted(kind: type[T], words: dict[str, Any]) -> T:
    try:
        return msgspec.convert(words, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _misfit(kind, words, str(error)) from error


def _misfit(kind: type, words: dict[str, Any], told: str) -> Invalid:
    missing = _MISSING.fullmatch(told)
    if missing and not missing["place"]:
        return missing_value(missing["name"])
    for each in _fields(kind):
        if each.encode_name not in words:
            continue
        value = words[each.encode_name]
        try:
            msgspec.convert(value, each.type, strict=False)
        except msgspec.ValidationError as error:
            inner = _MISSING.fullmatch(str(error))
            if inner:
                return missing_value(f"{each.encode_name}{inner['place'] or ''}.{inner['name']}")
            hint = invalid_value(each.encode_name, value, f" Hint: Value was of type '{type(value).__name__}'.")
            return Invalid(hint.what + _SEE, where=each.encode_name)
    return Invalid(f"The request does not fit: {told}", where="body")


def _without_nulls(words: Any) -> Any:
    """Drop what is null, at every depth that a request has."""
    if isinstance(words, dict):
        return {name: _without_nulls(value) for name, value in words.items() if value is not None}
    if isinstance(words, list):
        return [_without_nulls(each) for each in words]
    return words
