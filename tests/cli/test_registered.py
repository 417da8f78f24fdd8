"""Versions that were registered from outside: kept and moved as any other, and not served as if they were bundles."""

from datetime import UTC, datetime

import pytest

from mainspring.artifacts.trees import TreeFile, tree_bytes
from mainspring.cli.main import main
from mainspring.registry.models import create_model
from mainspring.registry.versions import create_version
from mainspring.workspace import Workspace

NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def registered(tmp_path, monkeypatch) -> None:
    """Version 1 lies elsewhere, version 2 here, in another format."""
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "home"))
    with Workspace() as workspace:
        create_model(workspace.store, "m", actor="ada", at=NOW)
        create_version(workspace.store, "m", source="s3://b/m", author="ada", at=NOW)
        file = workspace.artifacts.put_bytes(b"flavors: {lightgbm: {}}")
        folder = workspace.artifacts.put_bytes(tree_bytes([TreeFile("MLmodel", file, 23)]))
        create_version(workspace.store, "m", source="runs:/r/m", bundle=folder, author="ada", at=NOW)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("serve", "m/1", "--port", "0"), "m/1 has no files here: it was registered from `s3://b/m`"),
        (("serve", "m/2", "--port", "0"), "m/2 cannot be served. It was logged to MLflow as `lightgbm`"),
        (("predict", "m/2", "rows.csv"), "m/2 cannot be served. It was logged to MLflow as `lightgbm`"),
    ],
)
def test_what_cannot_be_served_is_told_before_anything_starts(registered, capfd, words, said: str) -> None:
    assert main(list(words)) == 1
    assert said in capfd.readouterr().err


def test_it_can_be_champion_and_be_looked_at(registered, capfd) -> None:
    assert main(["promote", "m/2"]) == main(["alias", "set", "m", "staging", "1"]) == main(["models", "m/1"]) == 0
    assert "s3://b/m" in capfd.readouterr().out
    assert main(["serve", "m", "--port", "0"]) == 1
