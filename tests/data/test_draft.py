"""The draft of a schema from several good batches: what they share is bounded, what differs between them is not."""

from pathlib import Path

import numpy as np
import pytest

from mainspring.data.checks import violations
from mainspring.data.draft import draft_schema
from mainspring.data.schema_file import read_schema, write_schema
from mainspring.data.table import Columns, columns_of
from mainspring.errors import Invalid


def batch(number: int, *, rows: int = 2000, scale: float = 1.0, favourite: float = 0.5) -> Columns:
    rng = np.random.default_rng(number)
    codes = rng.choice(["AA", "B6", "UA"], size=rows, p=[favourite, 0.9 - favourite, 0.1])
    miles = rng.lognormal(6, 0.5, rows).round() * scale
    heat = np.where(rng.random(rows) < 0.05, np.nan, rng.normal(60, 10, rows))
    return columns_of({"month": np.full(rows, number), "code": codes.tolist(), "miles": miles, "heat": heat})


GOOD = [batch(number) for number in range(1, 5)]


def test_further_good_batches_fit_and_one_that_lies_elsewhere_does_not() -> None:
    schema = draft_schema(GOOD)
    assert {rule.name: rule.kind for rule in schema.rules} == {
        "code_as_before": "shares",
        "miles_as_before": "spread",
        "heat_as_before": "spread",
    }
    assert (schema.min_rows, schema.max_rows) == (1000, 4000)
    assert schema.columns["heat"].most_missing == pytest.approx(0.12, abs=0.03)

    def broken(table: Columns) -> set[str]:
        bounds = ("min", "max")  # what was the largest so far need not stay so
        return {each.rule for each in violations(table, schema) if each.rule not in bounds}

    for number in range(5, 9):
        assert broken({**batch(number), "month": GOOD[0]["month"]}) == set()
    assert broken({**batch(5, scale=2), "month": GOOD[0]["month"]}) == {"miles_as_before"}
    assert broken({**batch(5, favourite=0.7), "month": GOOD[0]["month"]}) == {"code_as_before"}
    assert broken({name: array[:500] for name, array in batch(5).items()} | {"month": GOOD[0]["month"][:500]}) == {
        "min_rows"
    }


def test_a_draft_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    schema = draft_schema(GOOD)
    (tmp_path / "s.yaml").write_text(write_schema(schema))
    assert read_schema(tmp_path / "s.yaml") == schema


def test_one_batch_tells_nothing_about_distributions() -> None:
    assert draft_schema(GOOD[:1]).rules == ()


def test_batches_of_other_columns_are_refused_with_the_column() -> None:
    with pytest.raises(Invalid, match=r"Not all batches have `heat`.*batches\[1\]"):
        draft_schema([GOOD[0], {name: array for name, array in GOOD[1].items() if name != "heat"}])
    with pytest.raises(Invalid, match="`miles` is not of one type"):
        draft_schema([GOOD[0], {**GOOD[1], "miles": GOOD[1]["code"]}])
    with pytest.raises(Invalid, match="no batch"):
        draft_schema([])
