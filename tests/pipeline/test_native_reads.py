"""Files that libraries open below Python are seen, by names put together at run time too."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mainspring.pipeline.reads import StampCache, digest_of_path, files_below, first_changed
from mainspring.pipeline.tracing import ReadTrace, tracing
from mainspring.store.sqlite import SqliteStore


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


def test_settings_of_an_engine_name_no_inputs(tmp_path: Path) -> None:
    import duckdb

    spill = tmp_path / "work.d" / "spill"
    spill.mkdir(parents=True)
    with tracing() as trace:
        duckdb.connect(config={"temp_directory": str(spill)}).execute("SELECT 1")
    assert not [each for each in trace.opened if each[0] == "folder"]


def test_a_workspace_in_a_folder_that_is_read_keeps_the_locks_of_its_database(tmp_path: Path) -> None:
    """Opening and closing it would end them, and the next process to leave would take the log of this one away."""
    home = tmp_path / ".mainspring"
    home.mkdir()
    store = SqliteStore(home / "store.sqlite")
    store.record(lambda t: t.execute("CREATE TABLE kept (n INTEGER)"))
    before = digest_of_path(str(tmp_path), StampCache(lambda path: None, lambda: 0))
    (home / "more").write_text("more")
    assert digest_of_path(str(tmp_path), StampCache(lambda path: None, lambda: 0)) == before
    assert [Path(each).name for each in files_below(str(tmp_path))] == ["a.csv", "a.parquet"]
    other = "import pathlib, sys; import mainspring.store.sqlite as s; s.SqliteStore(pathlib.Path(sys.argv[1])).close()"
    subprocess.run([sys.executable, "-c", other, str(home / "store.sqlite")], check=True)
    assert (home / "store.sqlite-wal").exists()
    store.record(lambda t: t.execute("INSERT INTO kept VALUES (1)"))
    store.close()
    again = SqliteStore(home / "store.sqlite")
    assert again.read("SELECT n FROM kept") == [(1,)]
    again.close()


def _noticed(step: Callable[[], Any], change: Callable[[], Any]) -> bool:
    """Say whether what changed after a step is seen at the next look-up."""
    stamps = lambda: StampCache(lambda path: None, time.time_ns)  # noqa: E731
    with tracing() as trace:
        step()
    reads = trace.reads(stamps())
    change()
    return first_changed(reads, stamps()) is not None


def test_making_what_is_there_already_makes_it_no_work_of_the_step() -> None:
    Path("data").mkdir()
    Path("data/a.txt").write_text("1")
    Path("kept.txt").write_text("one")

    def listed() -> list[str]:
        os.makedirs("data", exist_ok=True)
        return os.listdir("data")

    def globbed() -> list[Path]:
        Path("data").mkdir(exist_ok=True)
        return sorted(Path("data").glob("*.txt"))

    def opened() -> str:
        with contextlib.suppress(FileExistsError), open("kept.txt", "x") as file:
            file.write("default")
        return Path("kept.txt").read_text()

    assert _noticed(listed, lambda: Path("data/b.txt").write_text("2"))
    assert _noticed(globbed, lambda: Path("data/c.txt").write_text("3"))
    assert _noticed(opened, lambda: Path("kept.txt").write_text("two"))


def test_what_was_moved_here_came_from_somewhere() -> None:
    def moved() -> str:
        os.replace("inbox.txt", "work.txt")
        return Path("work.txt").read_text()

    Path("inbox.txt").write_text("one")
    assert _noticed(moved, lambda: Path("inbox.txt").write_text("two"))


def test_a_file_that_a_library_looked_for_in_vain_is_an_input() -> None:
    import duckdb

    def counted() -> object:
        with contextlib.suppress(duckdb.Error):
            return duckdb.sql("SELECT count(*) FROM 'extra.csv'").fetchall()
        return None

    assert _noticed(counted, lambda: Path("extra.csv").write_text("a\n1\n"))
