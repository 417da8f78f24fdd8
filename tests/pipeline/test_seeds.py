"""The seed of a step: the same call draws the same numbers, and the caller's generators are left as they were."""

import dataclasses
import random
import subprocess
import sys

import numpy as np

import mainspring as ms
from mainspring.pipeline._seeds import seed_for, seeded
from mainspring.pipeline.context import PipelineContext
from mainspring.pipeline.executor import InProcessExecutor


def test_seed_follows_the_key_and_else_the_place() -> None:
    assert seed_for("00000010ffff", "a", 0) == 16
    assert seed_for("", "a", 0) == seed_for("", "a", 0) != seed_for("", "a", 1)


def test_shared_generators_begin_anew_and_are_given_back() -> None:
    random.seed(5)
    np.random.seed(5)
    expected = (random.random(), np.random.rand())
    random.seed(5)
    np.random.seed(5)
    with seeded(7):
        first = (random.random(), np.random.rand())
    with seeded(7):
        assert (random.random(), np.random.rand()) == first
    assert (random.random(), np.random.rand()) == expected


def test_library_imported_by_the_step_is_seeded_as_it_comes() -> None:
    program = (
        "import sys\nfrom mainspring.pipeline._seeds import seeded\nassert 'numpy' not in sys.modules\n"
        "with seeded(7):\n    import numpy\n    print(numpy.random.rand())\nimport numpy.random\n"
        "assert not any('_seeds' in type(each).__module__ for each in sys.meta_path)\n"
        "assert numpy.random.__spec__.loader.__class__.__name__ == 'SourceFileLoader'\n"
    )
    printed = {
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    with seeded(7):
        assert printed == {f"{np.random.rand()}\n"}


@ms.step
def draw(count: int) -> list[float]:
    return [random.random() + float(np.random.rand()) for _ in range(count)]


@ms.step(cache=False)
def draw_always(count: int) -> list[float]:
    return [random.random() for _ in range(count)]


@ms.pipeline
def draws(count: int) -> list[list[float]]:
    return [draw(count), draw(count + 1), draw_always(count)]


def test_step_without_a_seed_of_its_own_repeats(context: PipelineContext) -> None:
    first = draws.run(context, 3)
    for row in first.steps:
        assert row.seed is not None
    value = first.value
    context.store.record(lambda transaction: transaction.execute("DELETE FROM step_results"))
    again = draws.run(context, 3)
    assert not any(row.cached for row in again.steps)
    assert again.value == value
    assert value[0][:1] != value[1][:1]  # another call, another seed


def test_given_seeds_take_the_place_of_the_keys(context: PipelineContext) -> None:
    given = dataclasses.replace(context, seeds={0: 7}, executor=InProcessExecutor())
    outcome = draws.run(given, 1)
    with seeded(7):
        assert outcome.value[0] == draw.function(1)
    assert outcome.steps[0].seed == 7
