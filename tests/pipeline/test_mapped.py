"""`ms.map`: one cached call for each value, in a body and outside."""

from typing import Any

import pytest

import mainspring as ms
from mainspring.errors import Invalid
from mainspring.pipeline.context import PipelineContext
from mainspring.pipeline.outcome import RunFailed
from mainspring.pipeline.step import pipeline, step


@step
def numbers(n: int) -> list[int]:
    return list(range(n))


@step
def square(x: int, plus: int = 0) -> int:
    return x * x + plus


@step
def total(values: list[int]) -> int:
    return sum(values)


@pipeline
def squares(n: int = 3, plus: int = 0) -> int:
    return total(ms.map(square, numbers(n), plus=plus))


def test_each_value_is_a_call_of_its_own(context: PipelineContext) -> None:
    out = squares.run(context)
    assert out.value == 5
    assert [row.name for row in out.steps] == ["numbers", "square", "square", "square", "total"]
    wider = squares.run(context, n=4)
    assert wider.value == 14
    assert [row.cached for row in wider.steps if row.name == "square"] == [True, True, True, False]
    assert not any(row.cached for row in squares.run(context, n=3, plus=1).steps if row.name == "square")


def test_nothing_forces_a_list_of_values(context: PipelineContext) -> None:
    @pipeline
    def plain() -> list[int]:
        made = ms.map(square, [1, 2])
        assert [type(each).__name__ for each in made] == ["Lazy", "Lazy"]
        return made

    assert plain.run(context).value == [1, 4]


def test_several_parameters_go_together(context: PipelineContext) -> None:
    @pipeline
    def pairs() -> list[int]:
        return ms.map(square, {"x": [1, 2], "plus": [10, 20]})

    assert pairs.run(context).value == [11, 24]
    assert ms.map(square, {"x": [1, 2], "plus": [10, 20]}) == [11, 24], "outside, it is a plain call"
    assert ms.map(square, [], plus=1) == []


def test_results_of_steps_can_be_mapped_over(context: PipelineContext) -> None:
    @pipeline
    def twice() -> list[int]:
        return ms.map(square, ms.map(square, [2, 3]))

    assert twice.run(context).value == [16, 81]


def test_partitions_can_be_mapped_over(context: PipelineContext) -> None:
    @step
    def days(month: ms.Partition) -> int:
        return (month.end - month.start).days

    @pipeline
    def year() -> list[int]:
        return ms.map(days, ms.partitions("2013-01", "2013-03"))

    assert year.run(context).value == [31, 28, 31]
    assert all(row.cached for row in year.run(context).steps)


@pytest.mark.parametrize(
    ("over", "fixed", "words"),
    [
        ({"x": [1, 2], "plus": [1]}, {}, "differ in length: `x` has 2, `plus` has 1"),
        ({"x": [1]}, {"x": 2}, "`x` is given twice"),
        ([1], {"x": 1, "plus": 2}, "no parameter left"),
    ],
)
def test_words_that_do_not_fit_are_refused(over: Any, fixed: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        ms.map(square, over, **fixed)


def test_a_wrong_name_is_refused_by_the_step(context: PipelineContext) -> None:
    @pipeline
    def wrong() -> list[int]:
        return ms.map(square, [1], pluss=1)

    with pytest.raises(RunFailed, match="does not fit `square"):
        wrong.run(context)
