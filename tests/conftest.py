"""Fixtures that more than one room's tests need."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mainspring.workspace import Workspace


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's own settings out of the tests."""
    for name in list(os.environ):
        if name.startswith("MAINSPRING_"):
            monkeypatch.delenv(name)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A new workspace, closed at the end."""
    with Workspace(tmp_path / "home", actor="ada") as opened:
        yield opened
