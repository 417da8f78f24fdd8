"""Clusters of this machine, one for all tests of a module."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mainspring.errors import Unavailable

# Workers import the pipeline of the tests by its name.
sys.path.insert(0, str(Path(__file__).parent))


def _need(module: str, extra: str) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed: pip install 'mainspring[{extra}]'")


@pytest.fixture(scope="module")
def ray_executor() -> Iterator[object]:
    _need("ray", "ray")
    from mainspring.integrations.ray import RayExecutor

    try:
        executor = RayExecutor.start_local(num_cpus=2)
    except Unavailable as error:
        pytest.skip(f"Ray cannot start on this machine: {error}")
    yield executor
    executor.close()


@pytest.fixture(scope="module")
def dask_executor() -> Iterator[object]:
    _need("distributed", "dask")
    from mainspring.integrations.dask import DaskExecutor

    executor = DaskExecutor.start_local(workers=2)
    yield executor
    executor.close()
