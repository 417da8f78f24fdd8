"""Files that libraries open below Python are seen, by names put together at run time too."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mainspring.pipeline.tracing import ReadTrace, tracing


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("a\n1\n2\n")
    import duckdb

    duckdb.connect().execute("COPY (SELECT 1 AS a) TO 'a.parquet' (FORMAT parquet)")


def _seen(read: Callable[[], Any]) -> list[str]:
    with tracing() as trace:
        read()
    return _names(trace)


def _names(trace: ReadTrace) -> list[str]:
    return sorted({path for kind, path in trace.opened if kind == "file"})


@pytest.mark.parametrize(
    ("call", "file"),
    [("read_csv", "a.csv"), ("scan_csv", "a.csv"), ("read_parquet", "a.parquet"), ("scan_parquet", "a.parquet")],
)
def test_polars(call: str, file: str) -> None:
    pl = pytest.importorskip("polars")
    assert _seen(lambda: getattr(pl, call)(file)) == [file]


def test_pyarrow() -> None:
    pa = pytest.importorskip("pyarrow")
    parquet, dataset = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow.dataset")
    csv = pytest.importorskip("pyarrow.csv")
    assert _seen(lambda: parquet.read_table("a.parquet")) == ["a.parquet"]
    assert _seen(lambda: parquet.ParquetFile(Path("a.parquet")).read()) == ["a.parquet"]
    assert _seen(lambda: dataset.dataset(["a.parquet"]).to_table()) == ["a.parquet"]
    assert _seen(lambda: csv.read_csv("a.csv")) == ["a.csv"]
    assert _seen(lambda: pa.memory_map("a.csv").read()) == ["a.csv"]


def test_everything_is_put_back_afterwards() -> None:
    import duckdb

    before = (os.stat, os.getcwd, duckdb.sql, duckdb.DuckDBPyConnection.execute, type(os.environ).__getitem__)
    with tracing():
        assert os.stat is not before[0]
        with tracing():
            assert duckdb.sql is not before[2]
        assert os.stat is not before[0], "the outer trace goes on"
    now = (os.stat, os.getcwd, duckdb.sql, duckdb.DuckDBPyConnection.execute, type(os.environ).__getitem__)
    assert now == before


def test_an_answer_is_kept_as_it_was_when_it_was_asked() -> None:
    with tracing() as trace:
        assert not Path("new.txt").exists()
        Path("new.txt").write_text("x")
    assert trace.answered["presence", "new.txt"] == "absent"
