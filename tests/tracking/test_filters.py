"""The language of searches: what it reads, and the words it refuses."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.errors import Invalid
from mainspring.tracking.conditions import RUN_VOCABULARY
from mainspring.tracking.filters import All, Any, Comparison, Not, Order, Term, parse_filter, parse_order


def test_an_empty_filter_holds_for_everything() -> None:
    assert parse_filter("  ", RUN_VOCABULARY) == parse_filter(None, RUN_VOCABULARY) == All(())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("metrics.loss < 0.5", Comparison(Term("metric", "loss"), "<", 0.5)),
        ("metric.`a b` >= -1e-3", Comparison(Term("metric", "a b"), ">=", -0.001)),
        ("params.x = 'it''s'", Comparison(Term("parameter", "x"), "=", "it's")),
        ('tags."k" != "v"', Comparison(Term("tag", "k"), "!=", "v")),
        ("attributes.`Run name` like '%a_'", Comparison(Term("attribute", "run_name"), "LIKE", "%a_")),
        ("start_time > 1002", Comparison(Term("attribute", "start_time"), ">", 1002)),
        ("run_id NOT IN ('a','b')", Comparison(Term("attribute", "run_id"), "NOT IN", ("a", "b"))),
        ("tags.mlflow.parentRunId IS NOT NULL", Comparison(Term("tag", "mlflow.parentRunId"), "IS NOT NULL", None)),
        ("at(metrics.loss, 10) = 3", Comparison(Term("metric", "loss", "at", 10), "=", 3)),
    ],
)
def test_one_comparison(text: str, wanted: Comparison) -> None:
    assert parse_filter(text, RUN_VOCABULARY) == wanted


def test_and_binds_before_or_and_parentheses_before_both() -> None:
    a, b, c = (Comparison(Term("parameter", key), "=", "1") for key in "abc")
    text = "params.a = '1' or params.b = '1' and not params.c = '1'"
    assert parse_filter(text, RUN_VOCABULARY) == Any((a, All((b, Not(c)))))
    text = "(params.a = '1' OR params.b = '1') AND params.c = '1'"
    assert parse_filter(text, RUN_VOCABULARY) == All((Any((a, b)), c))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("foo.x = '1'", "Invalid entity type 'foo'"),
        ("attributes.foo = '1'", "Invalid attribute key 'foo'"),
        ("metrics.a = 'x'", "Expected numeric value type for metric. Found 'x'"),
        ("params.a = 3", "Expected a quoted string value"),
        ("params.a > '3'", "Invalid comparator '>'"),
        ("metrics.a IS NULL", "only supported for tags and params"),
        ("status IN ('a')", "attributes support comparison with a list"),
        ("run_id IN ()", "expected a non-empty list"),
        ("metrics.a >", r"Invalid clause\(s\) in filter string"),
        ("metrics.a > 1; DROP TABLE runs", "multiple expression"),
        ("metrics.a > 1 metrics.b > 1", r"Invalid clause\(s\)"),
        ("(metrics.a > 1", r"Invalid clause\(s\)"),
        ("at(params.a, 1) = 1", "asked of a metric"),
        ("at(metrics.a, 1.5) = 1", "A step is a whole number"),
        ("not " * 100 + "params.a = '1'", "nested deeper"),
        (" and ".join(["params.a = '1'"] * 300), "more than 200 comparisons"),
    ],
)
def test_what_is_no_filter_is_named(text: str, told: str) -> None:
    with pytest.raises(Invalid, match=told):
        parse_filter(text, RUN_VOCABULARY)


@given(st.text(max_size=200))
def test_any_text_is_a_filter_or_invalid(text: str) -> None:
    with contextlib.suppress(Invalid):
        parse_filter(text, RUN_VOCABULARY)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("metrics.loss DESC", Order(Term("metric", "loss"), ascending=False)),
        ("metrics.`a b`", Order(Term("metric", "a b"), ascending=True)),
        ("Created asc", Order(Term("attribute", "start_time"), ascending=True)),
        ("max(metrics.acc) desc", Order(Term("metric", "acc", "max"), ascending=False)),
    ],
)
def test_an_order(text: str, wanted: Order) -> None:
    assert parse_order(text, RUN_VOCABULARY) == wanted


@pytest.mark.parametrize("text", ["metrics.a up", "foo.bar", "acc", "", "metrics.a, metrics.b"])
def test_what_is_no_order_is_named(text: str) -> None:
    with pytest.raises(Invalid):
        parse_order(text, RUN_VOCABULARY)
