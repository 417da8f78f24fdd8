"""A context on a temporary folder, and a record of what the progress was told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mainspring.artifacts.local import LocalArtifactStore
from mainspring.pipeline.context import PipelineContext
from mainspring.pipeline.outcome import StepEvent
from mainspring.store.opening import open_store


class Told:
    """Keeps the events of a run."""

    def __init__(self) -> None:
        self.events: list[StepEvent] = []

    def on_step(self, event: StepEvent) -> None:
        self.events.append(event)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def context(store_address: str, tmp_path: Path, told: Told) -> Iterator[PipelineContext]:
    store = open_store(store_address)
    yield PipelineContext(store, LocalArtifactStore(tmp_path / "artifacts"), progress=told, sleep=lambda seconds: None)
    store.close()
