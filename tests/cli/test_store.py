"""`mainspring store` on a trained project."""

import json
from pathlib import Path

import duckdb
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


def test_an_export_holds_every_table_and_no_secret(run: Run, project: Path) -> None:
    words = ("webhooks", "create", "hook", "apprise:json://93.184.215.14/x", "--event", "run.finished", "--json")
    made = run(*words)
    assert made.code == 0, made.err
    secret = json.loads(made.out)["secret"]
    told = json.loads(run("store", "export", "facts", "--json").out)
    assert told["rows"]["events"] > 0
    files = sorted((project / "facts").iterdir())
    assert [each.stem for each in files] == sorted(told["rows"])
    with duckdb.connect() as reader:
        for each in files:
            counted = reader.execute(f"SELECT count(*) FROM '{each}'").fetchall()
            assert counted == [(told["rows"][each.stem],)]
        found = reader.execute(f"SELECT r.name, r.status FROM '{project}/facts/runs.parquet' r").fetchall()
    assert len(found) == told["rows"]["runs"] > 0
    assert run("store", "export", "facts").code == 1
    assert run("store", "export", "as-json", "--format", "json").code == 0
    events = json.loads((project / "as-json" / "events.json").read_text())
    assert len(events) >= told["rows"]["events"]
    assert secret not in "".join(each.read_text() for each in (project / "as-json").iterdir())
