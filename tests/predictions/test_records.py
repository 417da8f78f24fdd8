"""The records of the journal as JSON."""

import pytest

from mainspring.errors import Corrupt
from mainspring.predictions.records import LabelRecord, PredictionRecord, decode_record, encode_record

PREDICTION = PredictionRecord(
    model="late-flights",
    version=3,
    route="canary",
    at="2013-04-01T06:00:00.000000Z",
    received_at="2013-04-01T06:00:01.000000Z",
    request_id=None,
    ids=["a", "b"],
    columns={"distance": [1.0, None], "carrier": ["AA", None]},
    scores=[0.25, [0.5, 0.5]],
    latency_ms=1.5,
    warnings=1,
)


def test_records_read_back_as_they_were() -> None:
    label = LabelRecord(model="m", at="2013-04-01T06:00:00.000000Z", ids=["a"], labels=["late"], source=None)
    assert decode_record(encode_record(PREDICTION)) == PREDICTION
    assert decode_record(encode_record(label)) == label


def test_the_text_of_a_record_is_what_it_was() -> None:
    assert encode_record(PREDICTION) == (
        b'{"kind":"prediction","model":"late-flights","version":3,"route":"canary","at":"2013-04-01T06:00:00.000000Z",'
        b'"received_at":"2013-04-01T06:00:01.000000Z","request_id":null,"ids":["a","b"],'
        b'"columns":{"distance":[1.0,null],"carrier":["AA",null]},"scores":[0.25,[0.5,0.5]],"latency_ms":1.5,'
        b'"warnings":1}'
    )


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"kind":"other"}', b'{"kind":"label","model":1}'])
def test_what_is_no_record_is_corrupt(payload: bytes) -> None:
    with pytest.raises(Corrupt, match="cannot be read"):
        decode_record(payload, where="byte 0")
