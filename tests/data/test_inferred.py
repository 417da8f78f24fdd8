"""What a file looks like is told by the engine as it is told of a table in memory."""

from pathlib import Path

import duckdb
import pytest

from mainspring.cli.main import main
from mainspring.data.inferred import infer_file
from mainspring.data.schema import infer_schema
from mainspring.data.table import read_columns
from mainspring.errors import Invalid, NotFound

TABLES = {
    "plain.csv": "id,share,when,code,gap\n1,0.5,2026-01-01,a,\n2,,2026-01-02 10:00,b,\n3,1e300,,,\n",
    "truth.csv": "yes,no,word,mixed\nTrue,false,true,true\nFALSE,false,,x\n",
    "typed.jsonl": '{"a": true, "b": [1, 2], "c": {"d": 1}, "e": "true"}\n{"a": null, "c": null, "e": "true"}\n',
    "one.tsv": "a\tb\n-0\t00123\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_a_file_looks_as_its_table_in_memory_does(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(TABLES[name])
    assert infer_file(path) == infer_schema(read_columns(path))


@pytest.mark.parametrize("columns", [6, 100])
def test_numbers_that_are_none_and_many_texts_of_a_wide_file_too(tmp_path: Path, columns: int) -> None:
    path = tmp_path / "table.parquet"
    more = "".join(f", i % {n + 1} AS c{n}" for n in range(columns - 6))
    query = f"""SELECT i, i / 2 AS half, CASE WHEN i % 3 = 0 THEN 'nan'::DOUBLE WHEN i % 3 = 1 THEN 7 END AS seven,
        'nan'::FLOAT AS nothing, 'k' || (i % 200) AS few, 'k' || (i % 201) AS many{more} FROM range(5000) AS t(i)"""
    duckdb.sql(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
    schema = infer_file(path)
    assert schema == infer_schema(read_columns(path))
    assert len(schema.columns["few"].categories or ()) == 200
    assert schema.columns["many"].categories is None
    assert schema.columns["seven"].type == "integer"
    assert schema.columns["nothing"].type == "number"


def test_what_is_no_table_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        infer_file(tmp_path / "none.csv")
    (tmp_path / "bare.csv").write_text("a,b\n")
    with pytest.raises(Invalid, match="holds no rows"):
        infer_file(tmp_path / "bare.csv")


@pytest.mark.parametrize("memory", ["1MB", "100MB"])  # while the types are read, and while columns are
@pytest.mark.parametrize("command", ["schema", "personal", "profile"])
def test_too_little_memory_is_told_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, memory: str
) -> None:
    path = tmp_path / "wide.csv"
    path.write_text(",".join(f"c{n}" for n in range(3000)) + "\n" + ",".join("1" for _ in range(3000)) + "\n")
    monkeypatch.setenv("MAINSPRING_MEMORY", memory)
    monkeypatch.setattr("mainspring.data.table._engines", {})
    assert main(["data", command, str(path)]) == 3
    told = capsys.readouterr().err
    assert "memory allowed is too little for `wide.csv`" in told
    assert "MAINSPRING_MEMORY" in told
