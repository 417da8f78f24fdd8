"""`mainspring doctor`: what it finds, what it advises, and that it leaves nothing behind."""

import json
import sqlite3
import sys
from pathlib import Path

import pytest

from mainspring.cli import doctor
from mainspring.cli.doctor import Check, checks
from mainspring.cli.main import main
from mainspring.workspace import Workspace


def found(home: Path) -> dict[str, Check]:
    return {each.stage: each for each in checks(home)}


def test_every_stage_of_a_life_is_looked_at(tmp_path: Path) -> None:
    wanted = ["Python", "bytecode", "data", "pipeline", "train", "package", "metadata", "workspace", "disk", "registry"]
    wanted += ["serve", "monitor", "serve, compiled", "demo data", "git", "project tests"]
    assert list(found(tmp_path / "home")) == wanted


def test_a_new_place_is_ready_and_stays_untouched(tmp_path: Path) -> None:
    seen = found(tmp_path / "home")
    assert {each.status for each in seen.values() if each.needed} == {"ready"}
    assert "no store yet" in seen["registry"].what
    assert not list(tmp_path.iterdir())


def test_the_command_prints_json_and_exits_with_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path))
    assert main(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["well"] is True
    assert {"stage", "status", "what", "mend", "needed"} == set(told["checks"][0])


def test_a_missing_base_package_is_named_and_the_exit_code_is_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "duckdb", None)
    assert main(["doctor"]) == 3
    told = capsys.readouterr().out
    assert "duckdb cannot be imported" in told
    assert "pip install --force-reinstall mainspring" in told


def test_a_missing_extra_is_told_with_its_command_and_the_base_stays_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = doctor.util.find_spec
    monkeypatch.setattr(doctor.util, "find_spec", lambda name: None if name == "sklearn" else look(name))
    train = found(tmp_path)["train"]
    assert (train.status, train.needed) == ("missing", False)
    assert train.mend == "pip install 'mainspring[ml]'"


def test_a_package_older_than_asked_for_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = doctor.metadata.version
    monkeypatch.setattr(doctor.metadata, "version", lambda name: "0.1" if name == "skops" else version(name))
    package = found(tmp_path)["package"]
    assert package.status == "missing"
    assert "skops 0.1 is older than 0.15" in package.what


def test_forbidden_bytecode_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert found(tmp_path)["bytecode"] == (
        "bytecode",
        "warning",
        "compiled modules are not kept, so every start compiles them anew",
        "unset PYTHONDONTWRITEBYTECODE",
        False,
    )


def test_a_clock_that_is_not_the_machine_s_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "clock" not in {each.stage for each in checks(tmp_path / "home")}
    monkeypatch.setenv("MAINSPRING_CLOCK", str(tmp_path / "clock"))
    for content, told in (("2013-04-01T00:00:00Z", "2013-04-01T00:00:00.000000Z"), ("soon", "no moment")):
        (tmp_path / "clock").write_text(content)
        found = {each.stage: each for each in checks(tmp_path / "home")}["clock"]
        assert found.status == "warning"
        assert told.removeprefix("no ") in found.what


def test_a_workspace_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    seen = found(tmp_path / "file" / "home")["workspace"]
    assert (seen.status, seen.needed) == ("missing", True)
    assert "MAINSPRING_HOME" in seen.mend


def test_a_full_disk_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_LEAST_BYTES", 1 << 60)
    assert found(tmp_path)["disk"].status == "warning"


def test_an_intact_store_is_proven(workspace: Workspace) -> None:
    workspace.store.read("SELECT 1")
    assert found(workspace.home)["registry"].what == "the store opens and its audit chain holds: 0 entries"


def test_a_tampered_audit_chain_is_found(workspace: Workspace) -> None:
    from mainspring.store.events import Event

    workspace.store.change(Event("model.promoted", "models/churn/1"), lambda _: None)
    workspace.close()
    with sqlite3.connect(workspace.home / "store.sqlite") as connection:
        connection.execute("UPDATE events SET subject = 'models/churn/2'")
    connection.close()
    seen = found(workspace.home)["registry"]
    assert (seen.status, seen.needed) == ("missing", True)
    assert "audit chain breaks at entry 1" in seen.what


def test_a_store_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").write_bytes(b"not a database" * 100)
    seen = found(tmp_path)["registry"]
    assert seen.status == "missing"
    assert seen.mend
