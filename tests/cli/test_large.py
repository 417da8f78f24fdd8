"""`mainspring data join` and `split`, and the gauge that tells how far they are."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from tests.cli.conftest import Run

from mainspring.cli import gauge as gauges
from mainspring.cli.gauge import Gauge

ASOF = ("--on", "origin", "--left-time", "at", "--right-time", "seen_at", "--delay", "1h")


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "home"))
    duckdb.sql(
        "COPY (SELECT i AS id, ['JFK', 'LGA'][1 + i % 2] AS origin, TIMESTAMP '2013-01-01' + to_minutes(i) AS at"
        " FROM range(6000) t(i)) TO 'left.parquet'"
    )
    duckdb.sql(
        "COPY (SELECT 'JFK' AS origin, TIMESTAMP '2013-01-01' + to_hours(i) AS seen_at, i AS temp"
        " FROM range(200) t(i)) TO 'right.csv'"
    )
    return tmp_path


def test_joined_and_split_from_file_to_file(tables: Path, run: Run) -> None:
    done = run("data", "join", "left.parquet", "right.csv", "joined.parquet", *ASOF, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"rows": 6000, "matched": 2970, "orphans": 3030, "duplicates": 0}
    (wrong,) = duckdb.sql(
        "SELECT count(*) FROM 'joined.parquet'"
        " WHERE temp IS DISTINCT FROM CASE WHEN origin = 'JFK' AND id >= 60 THEN id // 60 - 1 END"
    ).fetchall()
    assert wrong == (0,)
    split = run("data", "split", "joined.parquet", "--time", "at", "--into", "parts", "--test", "0.1")
    assert split.code == 0, split.err
    assert "parts/test.parquet: 600 rows" in split.out
    assert run("data", "split", "joined.parquet", "--time", "at", "--into", "parts").code == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (ASOF[:4], "needs both times and the delay"),
        ((*ASOF, "--one-to-one"), "takes the newest row"),
        ((), "A lookup needs a key"),
        (("--on", "origin", "--orphans", "refuse"), "keys more than once, such as origin=JFK (200 times)"),
    ],
)
def test_words_that_do_not_fit_are_refused(tables: Path, run: Run, words: tuple[str, ...], said: str) -> None:
    done = run("data", "join", "left.parquet", "right.csv", "joined.parquet", *words)
    assert done.code == 2
    assert said in done.err


def test_a_gauge_tells_share_rate_and_rest(
    tables: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr(gauges.time, "monotonic", lambda: now[0])
    with Gauge(Path("left.parquet")) as gauge:
        for seconds, share in ((0, 0.0), (1, 0.1), (3, 0.25), (4, 0.3), (6, 0.5)):
            now[0] = 100.0 + seconds
            gauge("first scan", share)
        now[0] += 1
        gauge("second scan", 0.9)
    assert capsys.readouterr().err.splitlines() == [
        "  first scan: 25% of 6,000 rows, 500 rows a second, 9 s left",
        "  first scan: 50% of 6,000 rows, 500 rows a second, 6 s left",
    ]


def test_a_gauge_on_a_terminal_renews_one_line(
    tables: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr(gauges.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(gauges.sys.stderr, "isatty", lambda: True)
    with Gauge(Path("right.csv")) as gauge:
        gauge("scan", 0.0)
        now[0] += 1
        gauge("scan", 0.5)
    told = capsys.readouterr().err
    assert told.startswith("\r\x1b[2K  scan: 50% of 0 MB")
    assert told.endswith("\r\x1b[2K")
    assert "\n" not in told


def test_a_disk_that_takes_no_more_is_told_and_nothing_is_left(tables: Path) -> None:
    few = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, 1 << 14))  # noqa: E731
    for words in (
        ("join", "left.parquet", "right.csv", "joined.parquet", *ASOF),
        ("split", "left.parquet", "--into", "parts"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "mainspring", "data", *words],
            preexec_fn=few,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 3, done.stderr
        assert "cannot be written" in done.stderr
        assert "make room" in done.stderr
    assert sorted(each.name for each in tables.iterdir()) == ["left.parquet", "right.csv"]


def test_an_amount_of_memory_that_is_none_is_refused(tables: Path) -> None:
    words = [sys.executable, "-m", "mainspring", "data", "profile", "right.csv"]
    environment = {**os.environ, "MAINSPRING_MEMORY": "plenty"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "`plenty` is no amount of memory" in done.stderr
