"""`mainspring store` on a trained project."""

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Run


def test_a_backup_holds_the_models_and_the_chain(run: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models, whole = run("models", "--json").out, json.loads(run("store", "check", "--json").out)
    assert whole["is_whole"]
    assert whole["events"] > 0
    copied = run("store", "backup", "copy.sqlite", "--json")
    assert json.loads(copied.out)["size_bytes"] == (project / "copy.sqlite").stat().st_size
    assert run("store", "backup", "copy.sqlite").code == 1
    monkeypatch.setenv("MAINSPRING_STORE", f"sqlite:///{project}/copy.sqlite")
    assert run("models", "--json").out == models
    assert json.loads(run("store", "check", "--json").out) == whole
