"""Rows to columns: every type, every mistake with its place, and the fast path no other than the slow one."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.domain.signature import Column, Signature
from mainspring.serve._column import ColumnReader
from mainspring.serve.decode import MOST_PLACES, Decoded, RowDecoder
from mainspring.serve.problems import InvalidRows
from mainspring.serve.wire import Tensor, Warn

SIGNATURE = Signature(
    (
        Column("distance", "number", low=0.0, high=5000.0),
        Column("seats", "integer", nullable=True, low=1.0, high=500.0),
        Column("carrier", "string", nullable=True, categories=("AA", "UA")),
        Column("weekend", "boolean", nullable=True),
        Column("departed_at", "timestamp", nullable=True),
    ),
    "late",
    "binary",
    ("0", "1"),
)
ROW: dict[str, Any] = {
    "distance": 100.5,
    "seats": 180,
    "carrier": "AA",
    "weekend": True,
    "departed_at": "2013-04-01T08:00:00+02:00",
}
EMPTY = {"distance": 7, "seats": None, "carrier": None, "weekend": None, "departed_at": None}
DECODER = RowDecoder(SIGNATURE)


def warnings(decoded: Decoded) -> tuple[list[Warn], Counter[str]]:
    return DECODER.warnings(list(decoded.values.values()), decoded.where)


def places(rows: list[dict[str, Any]]) -> dict[str, str]:
    with pytest.raises(InvalidRows) as caught:
        DECODER.rows(rows)
    return {place.where: place.what for place in caught.value.places}


def test_rows_become_columns_by_the_convention() -> None:
    decoded = DECODER.rows([ROW, EMPTY])
    np.testing.assert_array_equal(decoded.columns["distance"], [100.5, 7.0])
    np.testing.assert_array_equal(decoded.columns["seats"], [180.0, np.nan])
    np.testing.assert_array_equal(decoded.columns["weekend"], [1.0, np.nan])
    assert decoded.columns["carrier"].tolist() == ["AA", None]
    np.testing.assert_array_equal(
        decoded.columns["departed_at"], np.array(["2013-04-01T06:00", "NaT"], dtype="datetime64[us]")
    )
    assert {name: values.dtype.kind for name, values in decoded.columns.items()} == {
        "distance": "f",
        "seats": "f",
        "carrier": "O",
        "weekend": "f",
        "departed_at": "M",
    }
    assert decoded.values["seats"] == [180, None]
    assert decoded.n_rows == 2
    assert not warnings(decoded)[0]


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("distance", "100", '"100" is not a number'),
        ("distance", True, "true is not a number"),
        ("distance", None, "null, and the column may not be null"),
        ("distance", [1], "[1] is not a number"),
        ("distance", math.nan, "nan is no value"),
        ("distance", math.inf, "inf is no value"),
        ("distance", 10**400, "told exactly"),
        ("seats", 1.5, "1.5 is not an integer that can be told exactly"),
        ("seats", 2**53 + 1, "told exactly"),
        ("seats", math.nan, "send null where there is none"),
        ("seats", "1", '"1" is not an integer'),
        ("carrier", 1, "1 is not a string"),
        ("carrier", False, "false is not a string"),
        ("weekend", 1, "1 is not true or false"),
        ("weekend", "true", '"true" is not true or false'),
        ("departed_at", 1364796000, "is not a moment"),
        ("departed_at", "yesterday", '"yesterday" is not a moment as ISO 8601 text'),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_place(column: str, value: object, told: str) -> None:
    found = places([ROW, ROW, {**ROW, column: value}])
    assert list(found) == [f"rows[2].{column}"]
    assert told in found[f"rows[2].{column}"]


def test_all_mistakes_of_a_request_are_collected_in_order() -> None:
    found = places([{**ROW, "distance": "x", "carrier": 3}, ROW, {**ROW, "seats": 1.5}])
    assert list(found) == ["rows[0].distance", "rows[0].carrier", "rows[2].seats"]


def test_missing_and_unknown_columns_are_named_with_a_hint() -> None:
    row = {name: value for name, value in ROW.items() if name != "carrier"} | {"carier": "AA", "distance": None}
    found = places([row])
    assert found["rows[0].carrier"] == "the column is missing; send null where it has no value"
    assert found["rows[0].carier"] == "the model has no column `carier`. Did you mean `carrier`?"
    assert found["rows[0].distance"] == "null, and the column may not be null"


def test_no_more_than_twenty_mistakes_are_listed() -> None:
    with pytest.raises(InvalidRows, match="20 or more others") as caught:
        DECODER.rows([{**ROW, "distance": "x"}] * 100)
    assert len(caught.value.places) == MOST_PLACES


def test_no_rows_is_a_mistake() -> None:
    with pytest.raises(InvalidRows, match="no rows") as caught:
        DECODER.rows([])
    assert caught.value.where == "rows"


def test_what_training_never_saw_is_served_and_told() -> None:
    decoded = DECODER.rows([ROW, {**ROW, "carrier": "ZZ", "distance": 9000, "seats": 0}])
    listed, _ = warnings(decoded)
    assert [(warn.kind, warn.where) for warn in listed] == [
        ("out_of_range", "rows[1].distance"),
        ("out_of_range", "rows[1].seats"),
        ("unknown_category", "rows[1].carrier"),
    ]
    assert "9000 lies outside 0 to 5000" in listed[0].what
    many = DECODER.rows([{**ROW, "carrier": f"Z{number}"} for number in range(300)])
    listed, counts = warnings(many)
    assert len(listed) == MOST_PLACES
    assert counts == {"unknown_category": 300}


JSON_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just("2013-04-01"), st.just([])
)


@pytest.mark.parametrize("column", SIGNATURE.columns, ids=SIGNATURE.names)
@given(values=st.lists(JSON_VALUES, min_size=1, max_size=8))
def test_a_column_is_refused_exactly_when_one_of_its_values_is(column: Column, values: list[Any]) -> None:
    reader = ColumnReader(column)
    faults = list(reader.faults(values))
    together = reader.read(values)
    assert (together is None) == bool(faults)
    if together is not None:
        one_by_one = np.concatenate([part for value in values if (part := reader.read([value])) is not None])
        np.testing.assert_array_equal(together, one_by_one)


# --- Open Inference tensors ---


def tensors(**changes: Any) -> list[Tensor]:
    made = {
        "distance": Tensor("distance", [2], "FP64", [1.5, 2]),
        "seats": Tensor("seats", [2, 1], "INT64", [[3], [None]]),
        "carrier": Tensor("carrier", [2], "BYTES", ["AA", "UA"]),
        "weekend": Tensor("weekend", [2], "BOOL", [True, False]),
        "departed_at": Tensor("departed_at", [2], "BYTES", ["2013-04-01", None]),
    }
    return list((made | changes).values())


def test_tensors_become_the_same_columns() -> None:
    decoded = DECODER.tensors(tensors())
    assert decoded.n_rows == 2
    assert decoded.values["seats"] == [3, None]
    assert list(decoded.columns) == list(SIGNATURE.names)
    np.testing.assert_array_equal(decoded.columns["weekend"], [1.0, 0.0])


@pytest.mark.parametrize(
    ("changes", "where", "told"),
    [
        ({"distance": Tensor("distance", [2], "BYTES", ["1", "2"])}, "inputs[0].datatype", "takes FP64, not BYTES"),
        ({"distance": Tensor("distance", [2], "FP64", ["1", 2.0])}, "inputs[0].data[0]", '"1" is not a number'),
        ({"distance": Tensor("distance", [3], "FP64", [1.0, 2.0])}, "inputs[0].shape", "2 values of shape [3]"),
        ({"seats": Tensor("seats", [1, 2], "INT64", [1, 2])}, "inputs[1].shape", "must have the shape [n] or [n, 1]"),
        ({"seats": Tensor("saets", [2], "INT64", [1, 2])}, "inputs", "the column `seats` is missing"),
        ({"seats": Tensor("distance", [2], "FP64", [1, 2])}, "inputs[1].name", "comes twice"),
        ({"more": Tensor("gate", [2], "FP64", [1, 2])}, "inputs[5].name", "the model has no column `gate`"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named_with_its_place(changes: dict[str, Tensor], where: str, told: str) -> None:
    with pytest.raises(InvalidRows) as caught:
        DECODER.tensors(tensors(**changes))
    assert told in {place.where: place.what for place in caught.value.places}[where]


def test_tensors_without_rows_are_refused() -> None:
    with pytest.raises(InvalidRows):
        DECODER.tensors([Tensor(each.name, [0], each.datatype, []) for each in tensors()])
    with pytest.raises(InvalidRows):
        DECODER.tensors([])
