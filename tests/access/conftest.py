"""A store with people in it."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from mainspring.access.login import Login
from mainspring.access.users import create_user
from mainspring.domain.moments import SimulatedClock
from mainspring.store.opening import open_store
from mainspring.store.protocol import Store

NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(NOW)


@pytest.fixture
def store(store_address: str, clock: SimulatedClock) -> Iterator[Store]:
    opened = open_store(store_address, actor="root", clock=clock)
    create_user(opened, "ada", roles=["admin"], password="correct horse", actor="root", at=NOW)
    create_user(opened, "eve", roles=["reviewer"], password="battery staple", actor="root", at=NOW)
    create_user(opened, "bot", roles=["data-scientist"], actor="root", at=NOW)
    yield opened
    opened.close()


@pytest.fixture
def login(store: Store, clock: SimulatedClock) -> Login:
    return Login(store, owner="me", is_required=True, clock=clock)
