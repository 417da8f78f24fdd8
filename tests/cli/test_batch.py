"""`mainspring predict` on large files: in parts as at once, online as offline, on any executor, and through a kill."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest
from tests.cli.conftest import Run, customers, serving

from mainspring.deploy import batch

PART = ("--part-rows", "400")


@pytest.fixture
def rows(project: Path) -> Path:
    """The customers without the outcome, and with two columns that the model does not eat, in three formats."""
    duckdb.sql(
        "COPY (SELECT * EXCLUDE (churned), '00' || row_number() OVER () AS id, 'said \"yes\", twice' AS note"
        " FROM read_csv('customers.csv')) TO 'in.csv' (HEADER)"
    )
    duckdb.sql("COPY (FROM read_csv('in.csv', all_varchar = false)) TO 'in.parquet'")
    duckdb.sql("COPY (FROM 'in.parquet') TO 'in.jsonl' (FORMAT json)")
    return project


@pytest.mark.parametrize("source", ["csv", "parquet", "jsonl"])
@pytest.mark.parametrize("target", ["csv", "parquet", "jsonl"])
def test_in_parts_as_at_once(rows: Path, run: Run, source: str, target: str) -> None:
    assert run("predict", "churn", f"in.{source}", f"once.{target}").code == 0
    done = run("predict", "churn", f"in.{source}", f"parts.{target}", *PART)
    assert done.code == 0, done.err
    assert "1,500 rows scored by churn" in done.err
    assert not list(rows.glob(".*.parts"))
    if target == "parquet":
        (difference,) = duckdb.sql(
            "SELECT count(*) FROM (FROM 'once.parquet' EXCEPT ALL FROM 'parts.parquet')"
        ).fetchall()
        assert difference == (0,)
        ids = [duckdb.sql(f"SELECT id FROM '{each}.parquet'").fetchall() for each in ("once", "parts")]
        assert ids[0] == ids[1]
    else:
        assert (rows / f"parts.{target}").read_bytes() == (rows / f"once.{target}").read_bytes()


def test_a_stream_in_parts_as_a_file(rows: Path, run: Run) -> None:
    assert run("predict", "churn", "in.csv", "parts.csv", *PART).code == 0
    words = [sys.executable, "-m", "mainspring", "predict", "churn", "-", "-", *PART]
    piped = subprocess.run(words, input=(rows / "in.csv").read_bytes(), capture_output=True, check=False)
    assert b"1,500 rows scored by churn into -" in piped.stderr
    assert piped.stdout == (rows / "parts.csv").read_bytes()
    broken = subprocess.run(words, input=(rows / "in.csv").read_bytes() + b"x", capture_output=True, check=False)
    assert (broken.returncode, broken.stdout) == (2, b"")
    assert not list((rows / ".mainspring").glob("mainspring-scratch-*"))


def test_a_bad_row_of_a_late_part_is_named_and_nothing_is_written(rows: Path, run: Run) -> None:
    lines = (rows / "in.csv").read_text().splitlines()
    lines[1301] = "40,basic,ten,x,y"
    (rows / "in.csv").write_text("\n".join([*lines, ""]))
    (rows / "out.csv").write_text("what was there")
    done = run("predict", "churn", "in.csv", "out.csv", *PART)
    assert done.code == 2
    assert "rows[1300].spend" in done.err
    assert (rows / "out.csv").read_text() == "what was there"
    assert not list(rows.glob(".*.parts"))  # the input has to change, so no part of it will be of use


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("in.csv", "out.xlsx"), "has an ending Mainspring does not write"),
        (("gone.csv", "out.csv"), "There is no file `gone.csv`"),
        (("in.csv", "nowhere/out.csv", "--executor", "abacus"), "There is no executor `abacus`"),
        (("short.csv", "out.csv"), "spend"),
        (("numbered.csv", "out.csv"), "A column is called `file_row_number`"),
    ],
)
def test_what_cannot_be_begun_leaves_nothing(rows: Path, run: Run, words: tuple[str, ...], said: str) -> None:
    (rows / "short.csv").write_text("age,plan\n40,basic\n")
    (rows / "numbered.csv").write_text("age,plan,spend,file_row_number\n40,basic,10,7\n")
    done = run("predict", "churn", *words, *PART)
    assert done.code != 0
    assert said in done.err
    assert not (rows / words[1]).exists()


def test_a_killed_call_goes_on_from_the_parts_that_are_there(rows: Path, run: Run) -> None:
    """And tells the warnings of all parts, and shares its target with nobody meanwhile."""
    lines = customers(20_000).splitlines()
    lines[1] = lines[1].replace(lines[1].split(",")[1], "unheard-of")
    (rows / "in.csv").write_text("\n".join([*lines, ""]))
    words = ["predict", "churn", "in.csv", "out.csv", "--part-rows", "100", "--row-rules", "flag"]
    killed = subprocess.Popen(
        [sys.executable, "-m", "mainspring", *words], stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while len(list(rows.glob(".out.csv.parts/0*.csv"))) < 3:
        assert killed.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    second = run(*words)
    assert second.code != 0
    assert "Another call is writing `out.csv`" in second.err
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not (rows / "out.csv").exists()
    there = len([each for each in rows.glob(".out.csv.parts/0*.csv") if each.suffix == ".csv"])
    assert 3 <= there < 200
    done = run(*words)
    assert done.code == 0, done.err
    assert f"({there} parts were there already)" in done.err
    assert "unheard-of" in done.err
    assert run("predict", "churn", "in.csv", "once.csv", "--row-rules", "flag").code == 0
    assert (rows / "out.csv").read_bytes() == (rows / "once.csv").read_bytes()


def test_an_input_that_is_replaced_meanwhile_gives_no_answers(
    rows: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = batch._score

    def meanwhile(*words) -> None:
        score(*words)
        (rows / "other.parquet").write_bytes((rows / "in.parquet").read_bytes())
        (rows / "other.parquet").replace(rows / "in.parquet")

    monkeypatch.setattr(batch, "_score", meanwhile)
    done = run("predict", "churn", "in.parquet", "out.csv", *PART)
    assert done.code == 2
    assert "was changed while it was scored" in done.err
    assert not (rows / "out.csv").exists()
    assert not list(rows.glob(".*.parts"))
    same = run("predict", "churn", "in.csv", "in.csv", *PART)
    assert same.code == 2
    assert "IN and OUT are both" in same.err


def test_parts_of_another_input_are_not_taken(rows: Path, run: Run) -> None:
    folder = rows / ".out.csv.parts"
    folder.mkdir()
    (folder / "000000.csv").write_text("what another call left")
    (folder / "plan.json").write_text("{}")
    assert run("predict", "churn", "in.csv", "out.csv", *PART).code == 0
    assert "another call" not in (rows / "out.csv").read_text()


def test_on_dask_as_here(rows: Path, run: Run) -> None:
    pytest.importorskip("distributed", reason="pip install 'mainspring[dask]'")
    from mainspring.integrations.dask import DaskExecutor

    executor = DaskExecutor.start_local(1)
    try:
        executor_name = f"dask:{executor.address}"
        done = run("predict", "churn", "in.csv", "dask.csv", *PART, "--executor", executor_name)
    finally:
        executor.close()
    assert done.code == 0, done.err
    assert run("predict", "churn", "in.csv", "once.csv", "--row-rules", "flag").code == 0
    assert (rows / "dask.csv").read_bytes() == (rows / "once.csv").read_bytes()


def test_served_rows_recomputed_offline_are_equal_to_the_bit(rows: Path, run: Run) -> None:
    """The skew test: no difference between what was answered online and what the file gets."""
    assert run("predict", "churn", "in.jsonl", "out.parquet", *PART).code == 0
    given = duckdb.sql("SELECT age, plan, spend FROM read_json('in.jsonl')").fetchall()
    asked = [dict(zip(("age", "plan", "spend"), row, strict=True)) for row in given]
    offline = duckdb.sql("SELECT score, label FROM 'out.parquet'").fetchall()
    with serving("serve", "churn", ready=rows / "ready.json") as client:
        online = []
        for first in range(0, len(asked), 250):
            answer = client.predict("churn", asked[first : first + 250])
            online += [(each.score, each.label) for each in answer.predictions]
        online_alone = [client.predict("churn", [row]).predictions[0].score for row in asked[:50]]
    assert online == offline
    assert online_alone == [score for score, _ in offline[:50]]
