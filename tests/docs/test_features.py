"""The page on features works as it is written: its Python runs in order, in one folder, beside its commands."""

import re
from pathlib import Path

import pandas as pd
import pytest

from mainspring.cli.main import main
from mainspring.workspace import Workspace

PAGE = (Path(__file__).parents[2] / "docs" / "features.md").read_text(encoding="utf-8")


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "home"))
    with Workspace() as workspace:
        now = pd.Timestamp(workspace.clock.now()).tz_localize(None).floor("h")
    hours = [now - pd.Timedelta(hours=each) for each in (60, 30, 3)]
    trips = {"driver_id": [1001, 1001, 1002], "ended_at": hours, "fare": [10.0, 14.0, 6.0], "km": [3.0, 25.0, 2.0]}
    pd.DataFrame(trips).to_parquet("trips.parquet")
    pd.DataFrame({"driver_id": [1001, 1002], "asked_at": [hours[2], hours[1]], "late": [0, 1]}).to_parquet(
        "rides.parquet"
    )
    declare, join, read = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    Path("features.py").write_text(declare)
    assert main(["features", "materialize", "features.py"]) == 0
    names: dict[str, object] = {}
    for block in (declare, join, read):
        exec(compile(block, "docs/features.md", "exec"), names)
    training = names["training"]
    assert isinstance(training, pd.DataFrame)
    assert training["fare_week"].fillna(-1).tolist() == [12, -1]
    first, second = names["values"].rows  # type: ignore[attr-defined]
    assert first == [14.0, 12.0, 2, 1, 108000.0]
    assert second == [6.0, 6.0, 1, 0, None]
    command = next(line for line in PAGE.splitlines() if line.startswith("mainspring features join"))
    assert main(command.split()[1:]) == 0
    assert pd.read_parquet("training.parquet")["trips_week"].fillna(0).tolist() == [2, 0]
    assert "driver_stats/" in capsys.readouterr().out
