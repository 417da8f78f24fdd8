"""Bytes to typed bodies and back, with errors that say where: the byte of a syntax error, the path of a wrong type.

NaN and Infinity are not JSON, and yet most clients in Python send them; they are found and named by their place instead
of by a byte nobody can look up.
"""

import json
import math
import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import TypeVar

import msgspec

from mainspring.errors import Invalid
from mainspring.serve.decode import MOST_PLACES
from mainspring.serve.problems import HttpRefusal, InvalidRows, Place
from mainspring.serve.wire import Feedback, InferRequest, PredictRequest, Row

__all__ = ["decode_as", "decode_feedback", "decode_infer", "decode_predict", "encode"]

_T = TypeVar("_T")
_PATH = re.compile(r" - at `(?:key in )?\$\.?(?P<path>[^`]*)`")

# Made once: building a decoder costs more than decoding a small body.
_predict: msgspec.json.Decoder[PredictRequest | list[Row]] = msgspec.json.Decoder(PredictRequest | list[Row])
_infer = msgspec.json.Decoder(InferRequest)
_feedback = msgspec.json.Decoder(Feedback)
_encoder = msgspec.json.Encoder()


def decode_predict(body: bytes) -> PredictRequest:
    """Read the body of a predict request; a bare list stands for its rows.

    Raises:
        HttpRefusal: the body is not JSON.
        Invalid: it has another shape, or holds NaN or Infinity.
    """
    request = _decode(_predict, body, "rows")
    return request if isinstance(request, PredictRequest) else PredictRequest(request)


def decode_infer(body: bytes) -> InferRequest:
    """Read the body of an Open Inference request; raises as `decode_predict` does."""
    return _decode(_infer, body, "")


def decode_feedback(body: bytes) -> Feedback:
    """Read the body of a feedback request; raises as `decode_predict` does."""
    return _decode(_feedback, body, "")


def decode_as(decoder: "msgspec.json.Decoder[_T]", body: bytes) -> _T:
    """Read a body of another shape; raises as `decode_predict` does."""
    return _decode(decoder, body, "")


def encode(value: object) -> bytes:
    """Return `value` as JSON."""
    return _encoder.encode(value)


def _decode(decoder: "msgspec.json.Decoder[_T]", body: bytes, bare: str) -> _T:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        found = _PATH.search(str(error))
        path = found["path"] if found else ""
        what = _PATH.sub("", str(error))
        where = bare + path if path.startswith("[") else path
        raise Invalid(what, where=where or "body", next_step="GET / lists the paths and what they take") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _malformed(body, str(error), bare) from None
    except RecursionError:
        raise _malformed(b"", "it is nested too deep", bare) from None


def _malformed(body: bytes, reason: str, bare: str) -> HttpRefusal | InvalidRows:
    if not body.strip():
        reason = "it is empty" if not body else reason
    try:
        value = json.loads(body)  # takes NaN and Infinity
    except (ValueError, RecursionError):
        value = None
    places = tuple(
        Place(where or "body", f"{number} is not a value; send null where there is none")
        for where, number in _not_finite(value, bare if isinstance(value, list) else "")
    )
    if places:
        return InvalidRows(
            places[0].what, where=places[0].where, next_step="JSON has no NaN", places=places[:MOST_PLACES]
        )
    return HttpRefusal(
        HTTPStatus.BAD_REQUEST,
        f"The body is not JSON: {reason.removeprefix('JSON is malformed: ')}",
        where="body",
        next_step='send {"rows": [{column: value, ...}, ...]}' if bare else "send one JSON object",
    )


def _not_finite(value: object, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, float) and not math.isfinite(value):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _not_finite(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _not_finite(inner, f"{path}[{at}]")
