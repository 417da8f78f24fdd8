"""Patterns for requests: those that are taken mean what they mean to RE2, and none of them runs away."""

import time
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.bundle.patterns import may_match, why_unmatchable
from mainspring.data.table import connect, quoted_text

_TEXTS = [
    "",
    "N123",
    "n1",
    "N",
    "AA",
    "2013-04-01",
    "a\nb",
    "ab",
    "aab",
    "-",
    "a-b",
    "é",
    "[x]",
    "a.b",
    "aXb",
    "42",
    "٣",
]
_PATTERNS = [
    "N[0-9]+[A-Z]*", "[A-Z]{2}", r"\d{4}-\d{2}-\d{2}", "a.b", r"a\.b", "(AA|B6|UA)", "AA|B6", "^N.*$", "[^a-z]+",
    r"\w+", r"\W*", "a?b?c?", "", "[]a]+", r"\[x\]", "(?:ab)?", r"\s*a\sb", "a{1,3}b",
]  # fmt: skip


@pytest.mark.parametrize("pattern", _PATTERNS)
def test_a_pattern_that_is_taken_means_what_it_means_to_the_engine_of_tables(pattern: str, engine: Any) -> None:
    assert why_unmatchable(pattern) == ""
    for text in _TEXTS:
        asked = f"SELECT regexp_full_match({quoted_text(text)}, {quoted_text(pattern)})"
        assert may_match(pattern, text) == engine.execute(asked).fetchall()[0][0], text


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    with connect() as one:
        yield one


@given(st.text(alphabet="ab.*+?|()[]{}1,^$\\dws-", max_size=12), st.lists(st.text("ab1-. \n", max_size=6), max_size=5))
@settings(max_examples=300, deadline=None)
def test_no_pattern_is_taken_that_the_engine_reads_differently(engine: Any, pattern: str, texts: list[str]) -> None:
    if why_unmatchable(pattern):
        return
    for text in texts:
        asked = f"SELECT regexp_full_match({quoted_text(text)}, {quoted_text(pattern)})"
        try:
            wanted = engine.execute(asked).fetchall()[0][0]
        except duckdb.Error:  # RE2 does not take it: the check of the training table would have said so
            return
        assert may_match(pattern, text) == wanted, text


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+b", "(a|a)*b", "a*a*a*b", "(a?){30}", "a?" * 11, r"\p{Lu}", "(?i)a", "[[:alpha:]]", "a$b", "(", r"\z"],
)
def test_a_pattern_that_could_run_away_or_mean_something_else_is_named(pattern: str) -> None:
    assert pattern in why_unmatchable(pattern)


def test_the_worst_text_for_the_worst_pattern_is_soon_done() -> None:
    assert why_unmatchable("a*a*b") == ""
    began = time.process_time()
    assert may_match("a*a*b", "a" * 1_000_000)  # too long to be looked at
    assert not may_match("a*a*b", "a" * 256)
    assert not may_match("a*b", "a" * 1_000_000)
    assert time.process_time() - began < 5  # an exponential one would not end
