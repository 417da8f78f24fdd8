"""A store with people in it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mainspring.access.login import Login
from mainspring.access.users import create_user
from mainspring.domain.moments import SimulatedClock
from mainspring.store.sqlite import SqliteStore

NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(NOW)


@pytest.fixture
def store(tmp_path: Path, clock: SimulatedClock) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "store.sqlite", actor="root", clock=clock)
    create_user(opened, "ada", roles=["admin"], password="correct horse", actor="root", at=NOW)
    create_user(opened, "eve", roles=["reviewer"], password="battery staple", actor="root", at=NOW)
    create_user(opened, "bot", roles=["data-scientist"], actor="root", at=NOW)
    yield opened
    opened.close()


@pytest.fixture
def login(store: SqliteStore, clock: SimulatedClock) -> Login:
    return Login(store, owner="me", is_required=True, clock=clock)
