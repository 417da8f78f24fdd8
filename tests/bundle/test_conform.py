"""A table fits a model's signature or is told where it does not."""

import numpy as np
import pytest

from mainspring.bundle.conform import conform
from mainspring.data.table import columns_of
from mainspring.domain.signature import Column, Signature
from mainspring.errors import Invalid


def of(*columns: Column) -> Signature:
    return Signature(columns, "y", "binary", ("no", "yes"))


EVERY = of(
    Column("n", "number", nullable=True, low=0, high=10),
    Column("i", "integer", nullable=True),
    Column("b", "boolean", nullable=True),
    Column("s", "string", nullable=True, categories=("AA", "B6")),
    Column("t", "timestamp", nullable=True),
)


def test_a_table_that_fits_passes_with_what_the_model_knows_only() -> None:
    table = columns_of(
        {"s": ["AA", None], "n": [1.5, None], "i": [3, None], "b": [True, None], "more": [1, 2],
         "t": np.array(["2013-01-01", "NaT"], "M8[us]")}
    )  # fmt: skip
    columns, warnings = conform(table, EVERY)
    assert list(columns) == ["n", "i", "b", "s", "t"]
    assert warnings == []


def test_a_column_of_gaps_fits_whatever_it_was_read_as() -> None:
    columns, _ = conform(columns_of({name: [None, None] for name in EVERY.names}), EVERY)
    assert [array.dtype.kind for array in columns.values()] == ["f", "f", "f", "O", "M"]


def test_unusual_values_pass_with_their_places() -> None:
    table = columns_of({"n": [11, -1], "i": [1, 1], "b": [0, 1], "s": ["AA", "ZZ"], "t": [None, None]})
    _, warnings = conform(table, EVERY)
    assert warnings == [
        "rows[0].n: 11 is outside 0 to 10, the range seen in training",
        "rows[1].n: -1 is outside 0 to 10, the range seen in training",
        "rows[1].s: 'ZZ' was not seen in training",
    ]


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        ("number", ["1", "x"], "at rows[1].c: 'x' is not a number"),
        ("number", [np.inf, 1], "is not a number"),
        ("integer", [1, 2.5], "at rows[1].c: 2.5 is not a whole number"),
        ("integer", ["1", "2.5"], "at rows[1].c: '2.5' is not a whole number"),
        ("boolean", [0, 2], "is not true or false"),
        ("boolean", ["1", "7"], "at rows[1].c: '7' is not true or false"),
        ("string", [1, 2.5], "is not text"),
        ("timestamp", ["soon", "later"], "at rows[0].c: 'soon' is not a moment"),
        ("timestamp", [1, 2], "is not a moment"),
        ("number", [1, None], "at rows[1].c: missing, and the model needs a value"),
        ("string", ["a", None], "at rows[1].c: missing"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_place(kind, values: list[object], said: str) -> None:
    with pytest.raises(Invalid, match="does not fit the model") as caught:
        conform(columns_of({"c": values}), of(Column("c", kind)))
    assert said in caught.value.what


def test_a_missing_column_is_named_with_its_likeliest_typo() -> None:
    with pytest.raises(Invalid, match="Did you mean `carier`"):
        conform(columns_of({"carier": ["AA"]}), of(Column("carrier", "string")))


def test_codes_that_were_read_as_numbers_go_back_to_text() -> None:
    columns, _ = conform(columns_of({"c": [7, None, 42]}), of(Column("c", "string", nullable=True)))
    assert columns["c"].tolist() == ["7", None, "42"]
    numbers, _ = conform(columns_of({"c": ["7", None]}), of(Column("c", "number", nullable=True)))
    np.testing.assert_array_equal(numbers["c"], [7, np.nan])


def test_at_most_twenty_places_are_named() -> None:
    wide = of(*(Column(f"c{n}", "number") for n in range(30)))
    with pytest.raises(Invalid) as caught:
        conform({}, wide)
    assert caught.value.what.count("the column is missing") == 20
