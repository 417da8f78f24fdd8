"""Bad input given to `run` and `predict`: a message that names the place, the right exit code, nothing written.

The same faults given to the server are in tests/serve/test_http.py.
"""

from pathlib import Path

import pytest
from tests.cli.conftest import Run, customers

GOOD = "age,plan,spend\n40,basic,10.5\n,pro,99\n"


def _rows_with(change: str, line: int = 3) -> str:
    lines = customers(1500).splitlines()
    lines[line] = change
    return "\n".join([*lines, ""])


@pytest.mark.parametrize(
    ("content", "code", "told"),
    [
        (_rows_with("40,basic,-5,1"), 1, ["spend", "below 0", "rows[2].spend = -5.0"]),
        (_rows_with("40,gold,50,1"), 1, ["plan", "not a known category", "rows[2].plan = 'gold'"]),
        (_rows_with("40,basic,,1"), 1, ["spend", "missing where a value is wanted", "rows[2].spend"]),
        (_rows_with("40,basic,NaN,1"), 1, ["spend", "rows[2].spend"]),
        (_rows_with("forty,basic,50,1"), 1, ["age", "string where number is wanted", "rows[2].age = 'forty'"]),
        (customers().replace("spend", "spent", 1), 1, ["spend", "the column is missing", "`spent`"]),
        ("", 2, ["customers.csv", "is empty"]),
        ("age,plan,spend,churned\n", 2, ["customers.csv", "no rows"]),
    ],
    ids=["breach", "unknown category", "missing value", "nan", "wrong type", "missing column", "empty", "header only"],
)
def test_run_names_the_place_and_registers_nothing(
    project: Path, run: Run, content: str, code: int, told: list[str]
) -> None:
    (project / "customers.csv").write_text(content)
    before = run("models", "--json").out
    done = run("run", "loop.py")
    assert done.code == code, done.err
    for each in told:
        assert each in done.err
    assert "Traceback" not in done.err
    assert run("models", "--json").out == before


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("age,plan\n40,basic\n", ["spend", "the column is missing"]),
        ("age,plan,spent\n40,basic,1\n", ["spend", "Did you mean `spent`?"]),
        ("age,plan,spend\n40,basic,ten\n41,pro,5\n", ["rows[0].spend", "'ten' is not a number"]),
        ("age,plan,spend\n40,basic,1\n41,,5\n", ["rows[1].plan", "missing, and the model needs a value"]),
        ("", ["is empty"]),
        ("age,plan,spend\n", ["no rows"]),
    ],
    ids=["missing column", "misspelt column", "wrong type", "missing value", "empty", "header only"],
)
def test_predict_names_the_place_and_writes_nothing(project: Path, run: Run, content: str, told: list[str]) -> None:
    (project / "in.csv").write_text(content)
    done = run("predict", "churn", "in.csv", "out.csv")
    assert done.code == 2, done.err
    for each in told:
        assert each in done.err
    assert "Traceback" not in done.err
    assert not (project / "out.csv").exists()


def test_predict_keeps_the_old_output_when_the_new_input_is_bad(project: Path, run: Run) -> None:
    (project / "in.csv").write_text(GOOD)
    assert run("predict", "churn", "in.csv", "out.csv").code == 0
    before = (project / "out.csv").read_bytes()
    (project / "in.csv").write_text("age,plan,spend\n40,basic,ten\n")
    assert run("predict", "churn", "in.csv", "out.csv").code == 2
    assert (project / "out.csv").read_bytes() == before


def test_predict_serves_an_unknown_category_with_a_warning(project: Path, run: Run) -> None:
    (project / "in.csv").write_text("age,plan,spend\n40,gold,10.5\n")
    done = run("predict", "churn", "in.csv", "out.csv", "--row-rules", "off")
    assert done.code == 0
    assert "rows[0].plan: 'gold' was not seen in training" in done.err


def test_predict_serves_a_gap_that_training_never_saw_with_a_warning(project: Path, run: Run) -> None:
    (project / "in.csv").write_text("age,plan,spend\n40,pro,10.5\n41,basic,NaN\n42,basic,\n")
    done = run("predict", "churn", "in.csv", "out.csv", "--row-rules", "off")
    assert done.code == 0
    assert "rows[1].spend: missing, and training had a value in every row" in done.err
    assert "rows[2].spend" in done.err


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("rnus",), 2, "Did you mean `runs`?"),
        (("run", "nowhere.py"), 3, "There is no file `nowhere.py`"),
        (("run", "customers.csv"), 2, "is not a Python file"),
        (("run", "loop.py:train"), 3, "defines no loop or pipeline `train`"),
        (("run", "loop.py", "-p", "speed=3"), 2, "does not name a parameter"),
        (("predict", "chrun", "in.csv"), 3, "Did you mean `churn`?"),
        (("predict", "churn/9", "in.csv"), 3, "has no version 9"),
        (("predict", "churn@prod", "in.csv"), 3, "`champion`"),
        (("promote", "churn/9"), 3, "has no version 9"),
        (("rollback", "churn"), 3, "no earlier champion"),
        (("why", "0" * 32), 3, "holds no prediction"),
        (("incidents", "abcdef"), 3, "No incident has"),
        (("data", "checkout", "nothing/1", "--to", "x"), 3, "There is no dataset `nothing`"),
        (("serve", "churn/1", "--host", "0.0.0.0", "--port", "0"), 2, "anybody could ask it"),
    ],
)
def test_wrong_words_are_told_with_the_next_step(
    project: Path, run: Run, words: tuple[str, ...], code: int, told: str
) -> None:
    done = run(*words)
    assert done.code == code, done.err
    assert told in done.err
    assert "Traceback" not in done.err


def test_a_loop_that_cannot_be_imported_names_the_line(project: Path, run: Run) -> None:
    (project / "loop.py").write_text("import mainspring as ms\n\nloop = ms.Loop('x', data='a.csv', target=misspelt)\n")
    done = run("run", "loop.py")
    assert done.code == 2
    assert "loop.py line 3" in done.err
    assert "misspelt" in done.err
