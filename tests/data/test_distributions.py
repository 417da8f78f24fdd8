"""Distributions: a table that lies too far from the rule is told, with the rows that it has too many of."""

from pathlib import Path

import numpy as np
import pytest

from mainspring.data.checks import violations
from mainspring.data.schema import Rule, Schema
from mainspring.data.schema_file import read_schema, write_schema
from mainspring.data.table import Columns, columns_of
from mainspring.errors import Invalid

MILES = Rule("miles", "spread", columns=("d",), shares={"100": 0.25, "200": 0.5, "300.5": 0.75}, most=0.1)


def numbers(*values: float | None) -> Columns:
    return columns_of({"d": list(values)})


def test_a_spread_is_told_where_it_lies_furthest_with_the_rows_that_are_too_many() -> None:
    rule = Schema(rules=(MILES,))
    assert violations(numbers(50, 150, 250, 350, None), rule) == []
    (found,) = violations(numbers(50, 150, 350, 400, 500, None), rule)
    assert str(found) == (
        "miles: d is distributed otherwise: distance 0.350, at most 0.1; 40.0% are at most 300.5 where 75.0% were"
        " (rows[2] = {'d': '350.0'}; rows[3] = {'d': '400.0'}; rows[4] = {'d': '500.0'})"
    )


def test_the_distance_is_that_of_the_empirical_distributions() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0.3, 1.2, 2000)
    points = {
        str(point): float(share) for point, share in zip([-1.5, -0.5, 0.5, 1.5], [0.07, 0.31, 0.69, 0.93], strict=True)
    }
    apart = max(abs((values <= float(point)).mean() - share) for point, share in points.items())
    for most, broken in ((apart - 0.001, True), (apart + 0.001, False)):
        rule = Rule("r", "spread", columns=("d",), shares=points, most=most)
        assert bool(violations({"d": values}, Schema(rules=(rule,)))) is broken


def test_a_spread_of_a_column_that_is_missing_everywhere_is_not_told() -> None:
    assert violations(numbers(None, float("nan")), Schema(rules=(MILES,))) == []


def test_a_spread_is_asked_of_numbers_and_of_their_texts(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"`d` is a timestamp where a spread wants numbers.*rules\.miles"):
        violations({"d": np.array(["2020-01-01"], dtype="datetime64[us]")}, Schema(rules=(MILES,)))
    (found,) = violations(columns_of({"d": ["a", "b", None]}), Schema(rules=(MILES,)))
    assert (found.count, found.message) == (2, "d holds no numbers where a spread wants them")
    (tmp_path / "t.csv").write_text("d\n50\n150\n250\n350\nn/a\n")
    assert violations(tmp_path / "t.csv", Schema(rules=(MILES,))) == []


def test_shares_of_whole_numbers_are_named_by_them() -> None:
    rule = Rule("days", "shares", columns=("d",), shares={"0": 0.5, "6": 0.25, "0.5": 0.25}, most=0.1)
    assert violations(numbers(0, 0, 6, 0.5), Schema(rules=(rule,))) == []
    (found,) = violations(numbers(0, 6, 6, 6), Schema(rules=(rule,)))
    assert "`6` has 75.0% where 25.0% were" in str(found)
    assert [row for row, _ in found.examples] == [1, 2, 3]


def test_a_spread_is_written_back_as_it_was_read(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(write_schema(Schema(rules=(MILES,))))
    assert "100: 0.25" in path.read_text()
    assert read_schema(path).rules == (MILES,)
