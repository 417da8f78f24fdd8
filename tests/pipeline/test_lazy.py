"""Lazy values: which questions force, which do not, and what a type checker and a person see."""

import math
import operator
import os
import pickle
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from mainspring.errors import Invalid
from mainspring.pipeline.graph import Graph, recording
from mainspring.pipeline.lazy import Lazy, Reference, force
from mainspring.pipeline.step import Pipeline, Step, pipeline, step


class Pair(NamedTuple):
    left: int
    right: "Inner"


@dataclass(frozen=True)
class Inner:
    size: float
    words: tuple[str, ...] = ()


@step
def pair() -> Pair:
    """Make a pair."""
    return Pair(1, Inner(2.5, ("a",)))


@step
def fixed() -> tuple[int, str]:
    return 1, "x"


@step
def number() -> float:
    return 7.5


@step
def words() -> list[str]:
    return ["a", "b"]


class Recorder:
    """A graph that runs each call when it is asked for, and counts."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.graph = Graph(self.resolve)

    def resolve(self, number: int) -> object:
        self.asked.append(number)
        return self.graph.calls[number].step.function()


@pytest.fixture
def recorder() -> Any:
    recorder = Recorder()
    with recording(recorder.graph):
        yield recorder


def test_fields_and_unpacking_are_lazy(recorder: Recorder) -> None:
    made: Any = pair()
    left, right = made
    first, second = fixed()  # type: ignore[misc]
    for lazy in (made.left, made.right, made.right.size, left, right.words, first, second, made[0], made[-1]):
        assert type(lazy) is Lazy
    assert recorder.asked == []
    assert force(made.right.size) == force(right.size) == 2.5
    assert force(made[-1]) == Inner(2.5, ("a",))
    assert force(second) == "x"


def test_repr_forces_nothing(recorder: Recorder) -> None:
    assert repr(pair().right.size) == "<lazy pair().right.size>"
    assert recorder.asked == []


@pytest.mark.parametrize(
    "ask",
    [
        bool, float, int, str, math.floor, math.ceil, math.trunc, round, abs, operator.neg, operator.pos, hash,
        lambda x: x + 1, lambda x: 1 + x, lambda x: x - 1, lambda x: 10 - x, lambda x: x * 2, lambda x: 2 / x,
        lambda x: x // 2, lambda x: x % 2, lambda x: x**2, lambda x: 2**x, lambda x: divmod(x, 2),
        lambda x: x == 7.5, lambda x: x != 7.5, lambda x: x > 7, lambda x: x <= 7, lambda x: x + x,
        lambda x: f"{x:.2f}", lambda x: isinstance(x, float), lambda x: x.is_integer(), lambda x: [1, 7.5].index(x),
        complex, lambda x: {7.5: "found"}[x], lambda x: x in (7.5,), lambda x: max(x, 3),
    ],
)  # fmt: skip
def test_any_other_question_gets_the_real_answer(recorder: Recorder, ask: Any) -> None:
    assert ask(number()) == ask(7.5)
    assert recorder.asked


def test_containers_force(recorder: Recorder) -> None:
    made: Any = words()
    assert len(made) == 2
    assert list(made) == ["a", "b"]
    assert "a" in made
    assert made[0] == "a"
    assert made[::-1] == ["b", "a"]
    assert list(reversed(made)) == ["b", "a"]
    assert os.path.join("x", made[1]) == "x/b"
    assert not isinstance(made, dict)


def test_writing_is_refused(recorder: Recorder) -> None:
    made: Any = pair()
    for write in (
        lambda: setattr(made, "left", 2),
        lambda: delattr(made, "left"),
        lambda: operator.setitem(made, 0, 1),
        lambda: operator.delitem(made, 0),
    ):
        with pytest.raises(Invalid, match="cannot be changed in the pipeline body"):
            write()
    assert recorder.asked == []


def test_result_that_is_not_what_was_promised(recorder: Recorder) -> None:
    @step
    def liar() -> tuple[int, int, int]:
        return (1, 2)  # type: ignore[return-value]

    _, _, third = liar()
    with pytest.raises(Invalid, match=r"`liar\(\)\[2\]` is not there"):
        force(third)


def test_lazy_value_of_another_run_is_refused(recorder: Recorder) -> None:
    stranger = number()
    with recording(Graph(recorder.resolve)), pytest.raises(Invalid, match="another run"):
        add_one(stranger)


@step
def add_one(x: float) -> float:
    return x + 1


def test_needs_are_found_in_nested_arguments(recorder: Recorder) -> None:
    @step
    def take(values: object) -> int:
        return 0

    take({"a": [number(), (Inner(number(), ()),)]})
    assert recorder.graph.calls[-1].needs == (0, 1)
    assert Reference.of(take(1)).call == 3  # type: ignore[arg-type]


def test_step_keeps_what_the_function_says() -> None:
    assert pair.__name__ == "pair"
    assert pair.__doc__ == "Make a pair."
    assert pair.where.startswith("test_lazy.py:")
    assert isinstance(pair, Step)
    assert pickle.loads(pickle.dumps(_module_step)) is _module_step
    named = step(name="other", retries=3, timeout="2m", cache=False)(lambda: 1)
    assert (named.name, named.options.retries, named.options.cache) == ("other", 3, False)


_module_step = add_one
_module_step.__qualname__ = "_module_step"


@pytest.mark.parametrize("wrong", [int, 3])
def test_only_functions_are_decorated(wrong: Any) -> None:
    with pytest.raises(Invalid):
        step(wrong)
    with pytest.raises(Invalid):
        pipeline(wrong)


def test_generators_and_coroutines_are_refused() -> None:
    def generator() -> Any:
        yield 1

    async def coroutine() -> None: ...

    for wrong in (generator, coroutine):
        with pytest.raises(Invalid, match="generator or a coroutine"):
            step(wrong)


@pytest.mark.parametrize("options", [{"retries": -1}, {"timeout": "soon"}, {"timeout": "0s"}])
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        step(**options)


def test_pipeline_outside_a_run_is_the_function() -> None:
    @pipeline
    def body() -> float:
        return add_one(number())

    assert isinstance(body, Pipeline)
    assert body() == 8.5
