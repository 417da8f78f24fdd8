"""What must hold before this loop may run by itself: bad data is stopped, and a trained model answers over HTTP."""

import csv
from pathlib import Path

import pytest

import mainspring as ms
from loop import loop
from mainspring.data import read_columns
from mainspring.errors import CheckFailed
from mainspring.serve.client import PredictionClient
from mainspring.serve.process import ServerProcess

PROJECT = Path(__file__).parents[1]
SCHEMA = PROJECT / "customers.schema.yaml"


def test_the_data_fits_its_schema() -> None:
    table = read_columns(PROJECT / "customers.csv")
    assert ms.check(table, SCHEMA) is table


@pytest.mark.parametrize(("column", "value"), [("monthly_fee", -1.0), ("satisfaction", 6.0), ("plan", "gold")])
def test_the_check_stops_a_value_that_cannot_be(column: str, value: object) -> None:
    table = read_columns(PROJECT / "customers.csv")
    table[column] = table[column].copy()
    table[column][7] = value
    with pytest.raises(CheckFailed, match=rf"rows\[7\]\.{column}"):
        ms.check(table, SCHEMA)


def test_a_small_training_run_ends_in_a_server_that_answers(some_customers: Path) -> None:
    with some_customers.open(encoding="utf-8", newline="") as file:
        header, first = list(csv.reader(file))[:2]
    row = {name: _value(text) for name, text in zip(header, first, strict=True)}
    del row["observed_on"], row["churned"]
    with ms.Workspace() as workspace:
        loop.run(workspace, data=some_customers)
        with (
            ServerProcess.start(workspace.endpoints, workspace.journals) as server,
            PredictionClient(server.url) as client,
        ):
            answer = client.predict(loop.name, [row])
    assert answer.version == 1
    prediction = answer.predictions[0]
    assert isinstance(prediction.score, float)
    assert 0 <= prediction.score <= 1
    assert prediction.label in ("0", "1")


def _value(text: str) -> object:
    try:
        return float(text) if text else None
    except ValueError:
        return text
