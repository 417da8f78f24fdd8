"""Steps on Dask: the suite, and the same digests as here from a pipeline with scikit-learn."""

from pathlib import Path

import pytest

from mainspring.artifacts.local import LocalArtifactStore
from mainspring.pipeline.context import PipelineContext
from mainspring.pipeline.executor import Executor, InProcessExecutor
from mainspring.store.sqlite import SqliteStore
from mainspring.testing.executor import ExecutorSuite

# The libraries of the cluster warn of their own future.
pytestmark = pytest.mark.filterwarnings("default")


class TestDask(ExecutorSuite):
    @pytest.fixture(autouse=True)
    def _on_a_cluster(self, dask_executor: Executor) -> None:
        self._executor = dask_executor

    def make_executor(self) -> Executor:
        return self._executor


def test_digests_are_those_of_a_local_run(dask_executor: Executor, tmp_path: Path) -> None:
    flights = pytest.importorskip("flights", reason="scikit-learn is not installed")
    digests = []
    for number, executor in enumerate((InProcessExecutor(), dask_executor)):
        store = SqliteStore(tmp_path / f"{number}.sqlite")
        artifacts = LocalArtifactStore(tmp_path / f"artifacts-{number}")
        out = flights.late.run(PipelineContext(store, artifacts, executor=executor))
        digests.append([(row.name, row.key, row.output_digest) for row in out.steps])
        assert not any("in this process" in row.reason for row in out.steps)
        store.close()
    assert digests[0] == digests[1]


def test_a_table_in_partitions_gives_what_the_whole_gives(dask_executor: Executor, tmp_path: Path) -> None:
    partitioned = pytest.importorskip("partitioned")
    partitioned.assert_partitions_give_the_whole(dask_executor, tmp_path)
