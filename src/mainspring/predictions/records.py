"""What the prediction server writes down: one record for each batch it scored, one for each batch of labels. JSON.

A prediction is recorded as it was asked and as it was answered, so that it can be explained, scored against its label,
and replayed on another model. The prediction server writes these; the log and the monitors read them. A frame of the
journal holds one record.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from mainspring.errors import Corrupt

__all__ = [
    "BatchRecord",
    "FeatureLookup",
    "LabelRecord",
    "LostRecord",
    "PredictionRecord",
    "Record",
    "RefusedRecord",
    "RouteRole",
    "decode_lookups",
    "decode_record",
    "encode_record",
    "source_of_review",
]

RouteRole = Literal["champion", "canary", "shadow"]


class FeatureLookup(msgspec.Struct, frozen=True, kw_only=True):
    """That the server looked the features of an entity up: of which version of a view, by what keys, and when (`at`).

    `until` is the moment until when the online store was complete; keys that the log does not take are left out.
    """

    version: str
    keys: dict[str, object]
    until: str
    at: str


class BatchRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="batch"):
    """Some answered requests that one version scored together: the server's own form, for it is cheap to write.

    `ids`, `columns` and `scores` go through the rows of all requests in order. The other lists hold one value for each
    request; its `rows` follow one another. `event_at` is the moment that the client named, or None for `received_at`,
    and `trace_ids` the client's trace, or None for the id of the request's first row. `redacted` are columns that the
    model saw and that are not in `columns`. `lookups` says for each row, by the names of views, which features were
    looked up and not sent; it is empty where none were.
    """

    model: str
    version: int
    route: RouteRole
    received_at: str
    rows: list[int]
    event_at: list[str | None]
    request_ids: list[str | None]
    trace_ids: list[str | None]
    latency_ms: list[float]
    warnings: list[int]
    ids: list[str]
    columns: dict[str, Sequence[object]]
    scores: list[float | list[float]]
    redacted: list[str] = []
    lookups: list[dict[str, FeatureLookup]] = []


class PredictionRecord(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="prediction"):
    """One answered request with all its rows.

    `at` is when the event happened, by the client's ``x-event-at`` header or else `received_at`; both are ISO 8601 UTC.
    `columns` holds the values as they came, one list a column, in the order of `ids`. A record of route ``shadow`` was
    never sent to anybody; it bears the ids of the answer that was, so that labels join both.
    """

    model: str
    version: int
    route: RouteRole
    at: str
    received_at: str
    request_id: str | None
    ids: list[str]
    columns: dict[str, list[object]]
    scores: list[float | list[float]]
    latency_ms: float
    warnings: int

    def as_batch(self) -> BatchRecord:
        """Return the same as a batch of one request."""
        return BatchRecord(
            model=self.model,
            version=self.version,
            route=self.route,
            received_at=self.received_at,
            rows=[len(self.ids)],
            event_at=[self.at],
            request_ids=[self.request_id],
            trace_ids=[None],
            latency_ms=[self.latency_ms],
            warnings=[self.warnings],
            ids=self.ids,
            columns=dict(self.columns),
            scores=self.scores,
        )


class LabelRecord(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="label"):
    """What came true for some predictions: a class name each, or a number for a regression."""

    model: str
    at: str
    ids: list[str]
    labels: list[str | float]
    source: str | None


def source_of_review(kind: str, reviewer: str) -> str:
    """Return the `source` of a label that a person gave, and why that prediction was asked: ``sampled`` or not."""
    return f"review:{kind}:{reviewer}"


class LostRecord(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="lost"):
    """Requests that were refused because the journal could not be written, told when it could be again.

    `first_at` and `last_at` are when the first and the last of them happened; `reason` is what the disk said.
    """

    model: str
    first_at: str
    last_at: str
    requests: int
    rows: int
    reason: str


class RefusedRecord(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="refused"):
    """Requests of the minute of `at` that got no prediction: `refused` were wrong (4xx), `failed` were not (5xx).

    `rules` are those of the model's schema that stopped some of them, with how many requests each of them stopped.
    """

    model: str
    at: str
    refused: int
    failed: int
    rules: dict[str, int] = {}


Record = BatchRecord | PredictionRecord | LabelRecord | LostRecord | RefusedRecord

_encoder = msgspec.json.Encoder()
_lookups = msgspec.json.Decoder(dict[str, FeatureLookup])
_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


def encode_record(record: Record) -> bytes:
    """Return the record as one JSON object; its key ``kind`` says which it is."""
    return _encoder.encode(record)


def decode_lookups(text: str | None) -> dict[str, FeatureLookup]:
    """Read what the sealed log holds of the look-ups of one row; none for None.

    Raises:
        Corrupt: the text tells of none.
    """
    try:
        return {} if text is None else _lookups.decode(text)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"The look-ups of a prediction cannot be read: {error}") from error


def decode_record(payload: bytes, *, where: str = "") -> Record:
    """Read what `encode_record` wrote.

    Raises:
        Corrupt: the payload is no record.
    """
    try:
        return _decoder.decode(payload)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"A record of the journal cannot be read: {error}", where=where) from error
