"""The conformance suite of `Executor`: subclass it, say how to make an executor, and pytest does the rest.

    class TestMyExecutor(ExecutorSuite):
        def make_executor(self) -> Executor:
            return MyExecutor("local")

What a run finds, keeps and tells is the engine's; here it is tested that steps run elsewhere give the same digests, see
the same files, come back with their errors, and survive the death of a worker.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mainspring.artifacts.local import LocalArtifactStore
from mainspring.errors import Unavailable
from mainspring.pipeline.context import PipelineContext
from mainspring.pipeline.executor import Executor, InProcessExecutor
from mainspring.pipeline.outcome import RunFailed
from mainspring.pipeline.step import pipeline, step
from mainspring.store.sqlite import SqliteStore
from mainspring.testing import _sample_steps as sample

__all__ = ["ExecutorSuite"]


class ExecutorSuite:
    """What every executor must do, as tests. Artifacts are in a local folder, so workers must be on this machine."""

    #: Whether a step can kill the process it runs in and leave the run alive.
    survives_a_killed_worker = True

    def make_executor(self) -> Executor:
        """Return a new executor."""
        raise NotImplementedError("a subclass says how its executor is made")

    @pytest.fixture
    def context(self, tmp_path: Path) -> Iterator[PipelineContext]:
        """A context with an empty store and the executor."""
        store = SqliteStore(tmp_path / "store.sqlite")
        yield PipelineContext(store, LocalArtifactStore(tmp_path / "artifacts"), executor=self.make_executor())
        store.close()

    @pytest.fixture
    def plain(self, tmp_path: Path) -> Iterator[PipelineContext]:
        """A context of its own whose steps run in this process."""
        store = SqliteStore(tmp_path / "plain.sqlite")
        yield PipelineContext(store, LocalArtifactStore(tmp_path / "plain"), executor=InProcessExecutor())
        store.close()

    def test_digests_are_those_of_a_run_in_one_process(self, context: PipelineContext, plain: PipelineContext) -> None:
        here, there = sample.diamond.run(plain), sample.diamond.run(context)
        assert there.value == here.value == sample.diamond()
        assert [row.output_digest for row in there.steps] == [row.output_digest for row in here.steps]
        assert [row.key for row in there.steps] == [row.key for row in here.steps]
        assert all(row.status == "finished" and row.cpu_seconds is not None for row in there.steps)

    def test_second_run_finds_everything(self, context: PipelineContext) -> None:
        first = sample.diamond.run(context)
        second = sample.diamond.run(context)
        assert all(row.cached for row in second.steps)
        assert second.value == first.value

    def test_steps_that_are_ready_run_at_once(self, context: PipelineContext, tmp_path: Path) -> None:
        width = context.executor.crew().width
        if width == 1:
            pytest.skip("this executor runs one step at a time")
        assert sample.meet.run(context, str(tmp_path), 2).value == ["mark-0", "mark-1"]

    def test_files_that_a_step_reads_are_seen(self, context: PipelineContext, tmp_path: Path) -> None:
        path = tmp_path / "input.txt"
        path.write_text("a")
        assert sample.reads_file.run(context, str(path)).value == ["1 a", "2 a"]
        assert all(row.cached for row in sample.reads_file.run(context, str(path)).steps)
        path.write_text("b")
        assert sample.reads_file.run(context, str(path)).value == ["1 b", "2 b"]

    def test_error_comes_back_with_its_type_and_place(self, context: PipelineContext, tmp_path: Path) -> None:
        with pytest.raises(RunFailed, match="`stumble` failed: LookupError: way 0 is closed") as caught:
            sample.fails_beside.run(context, str(tmp_path))
        assert isinstance(caught.value.__cause__, LookupError)

    def test_step_beside_one_that_fails_is_kept(self, context: PipelineContext, tmp_path: Path) -> None:
        if context.executor.crew().width == 1:
            pytest.skip("this executor runs one step at a time")
        with pytest.raises(RunFailed) as caught:
            sample.fails_beside.run(context, str(tmp_path))
        assert caught.value.outcome is not None
        assert [row.status for row in caught.value.outcome.steps] == ["failed", "finished"]

    def test_step_is_tried_again(self, context: PipelineContext, tmp_path: Path) -> None:
        out = sample.moody.run(context, str(tmp_path))
        assert (out.value, out.steps[0].attempts) == ([3], 3)

    def test_time_limit_ends_the_step(self, context: PipelineContext) -> None:
        with pytest.raises(RunFailed, match="took longer than") as caught:
            sample.slow_native.run(context)
        assert isinstance(caught.value.__cause__, Unavailable)

    def test_memory_limit_ends_the_step_and_is_named(self, context: PipelineContext) -> None:
        with pytest.raises(RunFailed, match="more memory than its limit of 100 MB"):
            sample.greedy.run(context)

    def test_step_that_cannot_travel_runs_here(self, context: PipelineContext) -> None:
        offset = 10

        @step
        def local(number: int) -> int:
            return number + offset

        @pipeline
        def mixed() -> list[Any]:  # whole numbers that are lazy
            return [local(1), local(2), sample.count(2), sample.count(3)]

        assert mixed.run(context).value == [11, 12, [0, 1], [0, 1, 2]]

    def test_worker_that_dies_costs_nothing_but_time(self, context: PipelineContext, tmp_path: Path) -> None:
        if not self.survives_a_killed_worker:
            pytest.skip("this executor has no workers to lose")
        assert sample.absent_minded.run(context, str(tmp_path)).value == 3
        assert (tmp_path / "died-1-0").exists()
