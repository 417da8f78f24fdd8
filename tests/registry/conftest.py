"""A store with versions in it that were never trained."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from mainspring.domain.ids import Digest
from mainspring.domain.version import ModelVersion
from mainspring.registry.versions import register_version
from mainspring.store.opening import open_store
from mainspring.store.protocol import Store

NOW = datetime(2013, 4, 1, tzinfo=UTC)


@pytest.fixture
def store(store_address: str) -> Iterator[Store]:
    opened = open_store(store_address, actor="ada")
    yield opened
    opened.close()


@pytest.fixture
def register(store: Store) -> Callable[..., ModelVersion]:
    """Register a version whose bundle is named by one digit."""

    def registered(digit: str = "a", model: str = "m", author: str = "ada") -> ModelVersion:
        bundle = Digest(digit * 64)
        return register_version(store, model, bundle=bundle, run_id=None, evidence={"n": 1}, author=author, at=NOW)

    return registered
