"""Suspects end to end: planted errors are found, judged on rows they do not touch, and told on the command line."""

import json
from pathlib import Path

import numpy as np
import pytest

from mainspring.cli.main import main
from mainspring.data.table import Columns, columns_of, frame_of
from mainspring.errors import Invalid
from mainspring.train.row_suspects import Suspects, suspects


def table(n: int = 1_500) -> tuple[Columns, set[int]]:
    """Return a table whose class follows from two columns, and the rows before the hold-out with the wrong one."""
    rng = np.random.default_rng(0)
    a, kind = rng.normal(size=n), rng.choice(["x", "y"], n)
    truth = np.where(a + (kind == "x") > 0.5, "yes", "no")
    wrong = rng.choice(int(n * 0.8), n // 5, replace=False)
    truth[wrong] = np.where(truth[wrong] == "yes", "no", "yes")
    at = np.datetime64("2026-01-01", "us") + np.arange(n) * np.timedelta64(2, "h")
    return columns_of({"a": a, "kind": kind, "at": at, "answer": truth}), set(wrong.tolist())


@pytest.fixture(scope="module")
def planted() -> tuple[Suspects, set[int]]:
    """What is said of the table with rows without a label and an outlier before it, and a twin behind."""
    columns, wrong = table()
    front = {name: array[:4].copy() for name, array in columns.items()}
    front["answer"][:3] = None
    front["a"][3] = 1e6
    twin = {name: array[[9]].copy() for name, array in columns.items()}
    twin["answer"][0] = "no" if columns["answer"][9] == "yes" else "yes"
    whole = {name: np.concatenate([front[name], columns[name], twin[name]]) for name in columns}
    found = suspects(frame_of(whole), target="answer", time="at", fix=250)
    return found, {row + 4 for row in wrong}


def test_planted_label_errors_come_first(planted: tuple[Suspects, set[int]]) -> None:
    found, wrong = planted
    first = found.of("label")[:200]
    assert np.mean([each.row in wrong for each in first]) > 0.85
    assert {each.suggested for each in first} == {"yes", "no"}


def test_mending_what_was_planted_is_proven_better(planted: tuple[Suspects, set[int]]) -> None:
    trials = {each.action: each for each in planted[0].trials if each.kind == "label"}
    assert set(trials) == {"left out", "relabelled"}
    for each in trials.values():
        assert each.comparison.verdict == "better"
        assert each.comparison.level > 0.95
        assert 0 < each.rows <= 250
        assert not each.comparison.n > planted[0].held_out


def test_rows_keep_their_numbers_and_rows_without_a_label_are_counted(planted: tuple[Suspects, set[int]]) -> None:
    found, _ = planted
    assert (found.rows, found.unlabelled) == (1_505, 3)
    assert next(each.row for each in found.of("outlier")) == 3
    assert all(each.held_out == (1_279 <= each.row < 1_504) for each in found.of("label"))
    twins = [each for each in found.of("duplicate") if "everything but the label" in each.reason]
    assert [(each.row, each.reason.startswith("row 13 is equal")) for each in twins] == [(1_504, True)]


def test_leaving_out_good_rows_is_not_called_better() -> None:
    """Without planted errors the trials have nothing to win, and the intervals say so."""
    rng = np.random.default_rng(1)
    a = rng.normal(size=600)
    y = (rng.random(600) < 1 / (1 + np.exp(-2 * a))).astype(float)
    found = suspects({"a": a, "y": y}, target="y", fix=20)
    assert found.trials
    assert all(each.comparison.verdict != "better" for each in found.trials)


def test_numbers_far_from_their_prediction_are_told() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 10, 1_000)
    y = 3 * x + rng.normal(0, 0.3, 1_000)
    y[5], y[600], y[700] = 300.0, -80.0, np.nan
    found = suspects({"x": x, "y": y}, target="y", fix=0)
    assert {each.row for each in found.of("label")[:2]} == {5, 600}
    assert found.unlabelled == 1
    assert found.trials == ()


@pytest.mark.parametrize("n", [5, 60])
def test_rows_that_nothing_tells_apart_are_refused(n: int) -> None:
    with pytest.raises(Invalid, match=r"too few to judge|No feature column"):
        suspects({"a": np.zeros(n), "y": np.arange(n) % 2.0}, target="y")


def test_a_column_without_values_is_no_feature() -> None:
    rng = np.random.default_rng(0)
    found = suspects(
        {"a": rng.normal(size=90), "gap": np.full(90, np.nan), "y": np.arange(90) % 2.0}, target="y", fix=0
    )
    assert found.rows == 90


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(Invalid, match="no column `when`"):
        suspects({"a": np.arange(9.0), "y": np.arange(9.0) % 2}, target="y", time="when")


def test_the_command_tells_rows_with_reasons_and_writes_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    columns, wrong = table(600)
    columns["kind"][3] = "<b>x</b>"
    frame = frame_of(columns)
    frame.to_csv(tmp_path / "table.csv", index=False)
    words = ["data", "suspects", str(tmp_path / "table.csv"), "--target", "answer", "--time", "at", "--top", "25"]
    assert main([*words, "--no-trial", "--html", str(tmp_path / "page.html"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rows"] == 600
    assert told["trials"] == []
    assert len(told["suspects"]["label"]) <= 25
    assert len({each["row"] for each in told["suspects"]["label"]} & wrong) > 10
    page = (tmp_path / "page.html").read_text()
    assert "<b>x</b>" not in page
    assert "the model says" in page
    assert main(["data", "suspects", str(tmp_path / "table.csv"), "--target", "anwser"]) == 2
    assert "answer" in capsys.readouterr().err
