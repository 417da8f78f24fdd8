"""Graphs of runs and of bodies, and the cost of a run."""

import json

import pytest

import mainspring as ms
from mainspring.errors import Invalid
from mainspring.pipeline.context import PipelineContext
from mainspring.pipeline.cost import cost_of
from mainspring.pipeline.drawing import as_mermaid, as_text, drawing_of_pipeline, drawing_of_run
from mainspring.pipeline.ledger import Ledger, steps_of


@ms.step
def load(path: str) -> list[int]:
    return [1, 2, 3]


@ms.step
def add(values: list[int], more: int) -> list[int]:
    return [each + more for each in values]


@ms.step
def total(left: list[int], right: list[int]) -> int:
    return sum(left) + sum(right)


@ms.pipeline
def diamond(path: str, more: int = 1) -> int:
    values = load(path)
    return total(add(values, more), add(values, 2))


@ms.pipeline
def dynamic(path: str) -> int:
    values = load(path)
    if len(values) > 2:
        return total(values, values)
    return 0


@ms.pipeline
def broken(path: str) -> int:
    return 1 // 0


def test_run_and_body_have_one_graph(context: PipelineContext) -> None:
    outcome = diamond.run(context, "x")
    ran = drawing_of_run("diamond", steps_of(context.store, outcome.run_id))
    said = drawing_of_pipeline(diamond, {"path": "x"})
    assert [(each.number, each.name, each.needs) for each in ran.nodes] == [
        (0, "load", ()), (1, "add", (0,)), (2, "add", (0,)), (3, "total", (1, 2)),
    ]  # fmt: skip
    assert [(each.number, each.name, each.needs) for each in said.nodes] == [
        (each.number, each.name, each.needs) for each in ran.nodes
    ]
    again = diamond.run(context, "x")
    assert {each.status for each in drawing_of_run("diamond", again.steps).nodes} == {"cached"}


def test_text_names_what_each_call_takes() -> None:
    assert as_text(drawing_of_pipeline(diamond, {"path": "x"})).splitlines() == [
        "diamond",
        "  0 load",
        "  1 add    <- load",
        "  2 add    <- load",
        "  3 total  <- add 1, add 2",
    ]


def test_mermaid_has_nodes_and_arrows() -> None:
    lines = as_mermaid(drawing_of_pipeline(diamond, {"path": "x"})).splitlines()
    assert lines[:2] == ["flowchart TD", '  s0["load"]']
    assert "  s1 --> s3" in lines


def test_parameter_that_is_not_given_may_be_handed_on() -> None:
    drawing = drawing_of_pipeline(diamond, {})
    assert len(drawing.nodes) == 4
    assert not drawing.undecided


def test_drawing_ends_where_a_value_is_needed() -> None:
    drawing = drawing_of_pipeline(dynamic, {"path": "x"})
    assert [each.name for each in drawing.nodes] == ["load"]
    assert "test_drawing.py" in drawing.undecided
    assert "decided at run time" in as_text(drawing)


def test_body_that_fails_is_told_with_its_line() -> None:
    with pytest.raises(Invalid, match="ZeroDivisionError"):
        drawing_of_pipeline(broken, {})


def test_found_step_says_what_it_saved(context: PipelineContext) -> None:
    first = diamond.run(context, "x")
    again = diamond.run(context, "x")
    ledger = Ledger(context.store, context.artifacts)
    made = cost_of(first.steps, ledger)
    saved = cost_of(again.steps, ledger)
    assert made.saved_seconds == 0
    assert made.seconds > 0
    assert saved.seconds == 0
    assert saved.saved_seconds == pytest.approx(made.seconds)
    assert json.dumps([each.saved_seconds for each in saved.steps])
