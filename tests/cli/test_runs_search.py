"""`mainspring runs` and `mainspring sql`: searched, grouped and written to files."""

import json
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from mainspring.cli.main import main
from mainspring.tracking import log_metrics, start_run
from mainspring.workspace import Workspace

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "home"))
    with Workspace() as workspace:
        for seed in range(4):
            parameters = {"model": "tree" if seed % 2 else "line"}
            run = start_run(workspace.store, experiment="e", name=f"r{seed}", parameters=parameters, at=NOW)
            log_metrics(workspace.store, run, {"loss": seed / 2}, NOW)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(list(words)) == 0
    return capsys.readouterr().out


def test_runs_are_filtered_and_ordered(capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        "runs",
        "--filter",
        "params.model = 'tree' or metrics.loss = 0",
        "--order-by",
        "metrics.loss desc",
        "--json",
    )
    assert [run["name"] for run in json.loads(said(capsys, *words))] == ["r3", "r1", "r0"]


def test_runs_are_grouped(capsys: pytest.CaptureFixture[str]) -> None:
    groups = json.loads(said(capsys, "runs", "--group-by", "params.model", "--order-by", "metrics.loss", "--json"))
    assert [(each["params.model"], each["metrics"]["loss"]["mean"]) for each in groups] == [
        ("line", 0.5),
        ("tree", 1.0),
    ]
    assert "loss=0.5±0.71" in said(capsys, "runs", "--group-by", "params.model")


@pytest.mark.parametrize("ending", ["parquet", "csv", "json"])
def test_runs_and_rows_are_written_to_files(capsys: pytest.CaptureFixture[str], tmp_path: Path, ending: str) -> None:
    target = tmp_path / f"runs.{ending}"
    said(capsys, "runs", "--to", str(target), "--order-by", "metrics.loss")
    rows = duckdb.sql(f"SELECT name, \"metrics.loss\" FROM '{target}'").fetchall()
    assert rows == [("r0", 0.0), ("r1", 0.5), ("r2", 1.0), ("r3", 1.5)]
    said(capsys, "sql", "SELECT name, value FROM runs JOIN latest_metrics ON run = number", "--to", str(target))
    assert duckdb.sql(f"SELECT sum(value) FROM '{target}'").fetchall() == [(3.0,)]


def test_a_file_without_a_format_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "--to", str(tmp_path / "runs.xls")]) == 2
    assert "says no format" in capsys.readouterr().err
    assert list(tmp_path.glob("*.xls")) == []


def test_sql_says_when_more_rows_follow(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sql", "SELECT name FROM runs", "--limit", "2"]) == 0
    assert "the first 2 rows" in capsys.readouterr().err
    assert main(["sql", "DROP TABLE runs"]) == 2
