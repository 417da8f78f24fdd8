"""The straight way reads what the careful way reads, and gives up where that one has something to say."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.domain.signature import Column, Signature
from mainspring.serve.decode import RowDecoder
from mainspring.serve.problems import InvalidRows
from mainspring.serve.typed import TypedRows

SIGNATURE = Signature(
    (
        Column("distance", "number", low=0.0, high=5000.0),
        Column("seats", "integer", nullable=True, low=1.0, high=500.0, missing_seen=False),
        Column("carrier", "string", nullable=True, categories=("AA", "UA")),
        Column("gate", "string", nullable=True, missing_seen=False),
        Column("weekend", "boolean", nullable=True),
        Column("departed at", "timestamp", nullable=True),
    ),
    "late",
    "binary",
    ("0", "1"),
)
CAREFUL, STRAIGHT = RowDecoder(SIGNATURE), TypedRows(SIGNATURE)
ROW = {"distance": 1.5, "seats": 3, "carrier": "AA", "gate": "B2", "weekend": True, "departed at": "2013-04-01T06:00Z"}

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(2**53 - 2, 2**53 + 2),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3),
    st.sampled_from(["AA", "ZZ", "2013-04-01", "2013-04-01T06:00:00+02:00", 1.0, 3, -0.0]),
    st.just([]),
)
ROWS = st.lists(
    st.one_of(
        st.fixed_dictionaries(dict.fromkeys(SIGNATURE.names, VALUES)),
        st.builds(lambda name, value: ROW | {name: value}, st.sampled_from(SIGNATURE.names), VALUES),
        st.builds(lambda name: ROW | {name: 1}, st.text(max_size=4)),
    ),
    max_size=5,
)


@given(rows=ROWS, bare=st.booleans())
def test_what_is_read_straight_is_what_is_read_with_care(rows: list[dict[str, Any]], bare: bool) -> None:
    found = STRAIGHT.read(json.dumps(rows if bare else {"id": "r", "rows": rows}).encode())
    try:
        careful = CAREFUL.rows(rows)
    except InvalidRows:
        assert found is None
        return
    if found is None:  # integers written as 3.0 are the one thing that only the careful way takes
        assert any(isinstance(row["seats"], float) for row in rows)
        return
    values, identifier = found
    assert identifier == (None if bare else "r")
    assert values == careful.rows()
    block = STRAIGHT.block(values)
    assert block.columns.keys() == careful.columns.keys()
    for name, array in careful.columns.items():
        np.testing.assert_array_equal(block.columns[name], array)
        assert block.columns[name].dtype == array.dtype
    surprising = [bool(CAREFUL.warnings([[value] for value in row], careful.where)[0]) for row in values]
    assert (block.surprising is not None) == any(surprising)
    if block.surprising is not None:
        assert block.surprising.tolist() == surprising


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"rows": []}', b"[" * 100_000, b"\xff", b'{"rows": [{}]}'])
def test_whatever_is_no_request_is_left_to_the_careful_way(body: bytes) -> None:
    assert STRAIGHT.read(body) is None


def test_a_name_that_no_field_can_bear_is_read_with_care() -> None:
    odd = Signature((Column('a"b', "number"),), "y", "regression")
    assert TypedRows(odd).read(b'[{"a\\"b": 1}]') is None
    values = RowDecoder(odd).rows([{'a"b': 1}]).rows()
    np.testing.assert_array_equal(TypedRows(odd).block(values).columns['a"b'], [1.0])


def test_a_single_column_is_a_row_too() -> None:
    one = TypedRows(Signature((Column("x", "number"),), "y", "regression"))
    assert one.read(b'[{"x": 1}, {"x": 2}]') == ([(1.0,), (2.0,)], None)
