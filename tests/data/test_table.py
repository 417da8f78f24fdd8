"""Tables come in as files of every kind and frames of every library, and leave in one convention."""

import gzip
import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mainspring.data.table import Columns, column_type, columns_of, connect, frame_of, read_columns, settled_scan
from mainspring.errors import Invalid, NotFound

ROWS = [
    {"n": 1, "x": 1.5, "text": "a,b", "yes": True, "at": "2013-01-01T05:00:00Z", "day": "2013-01-02"},
    {"n": None, "x": None, "text": None, "yes": None, "at": None, "day": None},
    {"n": 3, "x": -2.0, "text": 'say "hi"', "yes": False, "at": "2013-07-01T12:00:00+02:00", "day": "2013-12-31"},
]


def as_csv(path: Path, delimiter: str = ",") -> None:
    lines = [delimiter.join(ROWS[0])]
    for row in ROWS:
        cells = ["" if value is None else str(value) for value in row.values()]
        lines.append(delimiter.join('"' + cell.replace('"', '""') + '"' if cell else "" for cell in cells))
    path.write_text("\n".join(lines) + "\n")


def as_parquet(path: Path) -> None:
    source = path.with_name("rows.json")
    source.write_text(json.dumps(ROWS))
    with connect() as connection:
        connection.execute(
            f'COPY (SELECT n, x, "text", yes, CAST("at" AS TIMESTAMPTZ) AS "at", day FROM \'{source}\') TO \'{path}\''
        )


WRITERS = {
    "t.csv": as_csv,
    "t.tsv": lambda path: as_csv(path, "\t"),
    "t.CSV": as_csv,
    "t.json": lambda path: path.write_text(json.dumps(ROWS)),
    "t.jsonl": lambda path: path.write_text("".join(json.dumps(row) + "\n" for row in ROWS)),
    "t.ndjson": lambda path: path.write_text("".join(json.dumps(row) + "\n" for row in ROWS)),
    "t.parquet": as_parquet,
}


def same(found: Columns, wanted: dict[str, list[object]]) -> None:
    assert list(found) == list(wanted)
    for name, values in wanted.items():
        array = found[name]
        if array.dtype.kind == "M":
            assert array.dtype == "datetime64[us]"
            np.testing.assert_array_equal(array, np.array(values, dtype="datetime64[us]"))
        elif array.dtype == object:
            assert array.tolist() == values
        else:
            assert array.dtype == np.float64
            np.testing.assert_array_equal(array, np.array(values, dtype=float))


@pytest.mark.parametrize("name", WRITERS)
def test_files_of_every_kind_give_the_same_columns(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    same(
        read_columns(tmp_path / name),
        {
            "n": [1, None, 3],
            "x": [1.5, None, -2],
            "text": ["a,b", None, 'say "hi"'],
            "yes": [1, None, 0],
            "at": ["2013-01-01T05:00", "NaT", "2013-07-01T10:00"],
            "day": ["2013-01-02", "NaT", "2013-12-31"],
        },
    )


def test_a_gzipped_file_is_seen_through(tmp_path: Path) -> None:
    for name, text in (("t.csv.gz", "a,b\n1,x\n"), ("t.jsonl.gz", '{"a": 1, "b": "x"}\n')):
        with gzip.open(tmp_path / name, "wt") as file:
            file.write(text)
        same(read_columns(tmp_path / name), {"a": [1], "b": ["x"]})


def csv(tmp_path: Path, text: str | bytes, name: str = "t.csv") -> Columns:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_columns(path)


def test_empty_cells_and_na_are_missing_and_nothing_else_is(tmp_path: Path) -> None:
    found = csv(tmp_path, "number,text\n1,NA\nNA,\n,null\n4,nan\n")
    same(found, {"number": [1, None, None, 4], "text": [None, None, "null", "nan"]})


def test_true_and_false_are_numbers_and_yes_and_no_stay_text(tmp_path: Path) -> None:
    found = csv(tmp_path, "a,b,c,d,e\ntrue,yes,t,True,NO\nFALSE,no,f,1,\n,yes,t,False,SE\n")
    wanted = {"a": [1, 0, None], "b": ["yes", "no", "yes"], "c": ["t", "f", "t"], "d": ["True", "1", "False"]}
    same(found, wanted | {"e": ["NO", None, "SE"]})


def test_decimals_booleans_and_long_numbers_become_numbers(tmp_path: Path) -> None:
    with connect() as connection:
        path = tmp_path / "t.parquet"
        connection.execute(
            f"COPY (SELECT 1.25::DECIMAL(9,2) AS d, true AS b, 9007199254740993 AS big,"
            f" 170141183460469231731687303715884105727::HUGEINT AS huge, 255::UTINYINT AS small) TO '{path}'"
        )
    found = read_columns(path)
    same(found, {"d": [1.25], "b": [1], "big": [2.0**53], "huge": [2.0**127], "small": [255]})


def test_nested_and_odd_types_become_text(tmp_path: Path) -> None:
    with connect() as connection:
        path = tmp_path / "t.parquet"
        connection.execute(
            f"COPY (SELECT [1, 2] AS list, [[1], [2]] AS deep, {{'a': 1}} AS record, TIME '10:00' AS clock,"
            f" '\\x41'::BLOB AS bytes, NULL AS nothing, INTERVAL 1 DAY AS span,"
            f" [1.5, 2]::DOUBLE[2] AS pair) TO '{path}'"
        )
    found = read_columns(path)
    assert found["list"].tolist() == ["[1, 2]"]
    assert found["deep"].tolist() == ["[[1], [2]]"]
    assert found["record"].tolist() == ["{'a': 1}"]
    assert found["clock"].tolist() == ["10:00:00"]
    assert found["bytes"].tolist() == ["A"]
    assert found["pair"].tolist() == ["[1.5, 2.0]"]
    assert isinstance(found["span"][0], str)


def test_names_with_quotes_spaces_and_other_scripts_are_kept(tmp_path: Path) -> None:
    names = ['say "hi"', "it's", "two words", "größe", "select", "a;b", ""]
    header = ",".join('"' + name.replace('"', '""') + '"' for name in names[:-1])
    assert list(csv(tmp_path, f"{header}\n1,2,3,4,5,6\n")) == names[:-1]


@pytest.mark.parametrize("folder", ["it's", "a[b]c", "what?", "all*", "year=2013"])
def test_a_path_is_a_path_and_no_pattern(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    for name in ("t.csv", "t.parquet"):
        path = tmp_path / folder / name
        if name == "t.csv":
            path.write_text("a\n1\n")
        else:
            frame_of({"a": np.array([1.0])})
            with connect() as connection:
                connection.execute(f"COPY (SELECT 1 AS a) TO '{tmp_path / name}'")
            (tmp_path / name).rename(path)
        same(read_columns(path), {"a": [1]})


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"", "is empty"),
        ("t.csv", b"a,b\n", "holds no rows"),
        ("t.json", b"[]", "holds no rows|cannot be read"),
        ("t.csv", b'a,b\n1,"open\n', "cannot be read"),
        ("t.csv", b"a,b\n1,2\n3,4,5,6\n", "cannot be read"),
        ("t.csv", b"name,b\n\xff\xfe\xfa,2\n", "cannot be read"),
        ("t.parquet", b"PAR1 not really", "cannot be read"),
        ("t.json", b"{broken", "cannot be read"),
        ("t.jsonl", b'{"a": 1}\n{"a": \n', "cannot be read"),
        ("t.xlsx", b"x", "ending Mainspring does not read"),
        ("table", b"x", "ending Mainspring does not read"),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_what_to_do(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    with pytest.raises(Invalid, match=said) as caught:
        csv(tmp_path, content, name)
    assert name in caught.value.what
    assert caught.value.where == str(tmp_path / name)
    assert caught.value.next_step


def test_a_missing_file_and_a_folder_are_not_found(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(NotFound):
            read_columns(path)


@pytest.mark.parametrize("separator", [",", ";", "|", "\t"])
def test_what_separates_values_is_told_by_the_header(tmp_path: Path, separator: str) -> None:
    lines = [["a", '"b,;|c"'], ["1", '"x,;|y"']]
    same(csv(tmp_path, "".join(separator.join(line) + "\n" for line in lines)), {"a": [1], "b,;|c": ["x,;|y"]})


def test_rows_that_look_like_comments_or_quotes_are_rows(tmp_path: Path) -> None:
    same(csv(tmp_path, "a,b\n#1,2\n'x,3\n"), {"a": ["#1", "'x"], "b": [2, 3]})


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    same(csv(tmp_path, b"\xef\xbb\xbfa,b\r\n1,2\r\n"), {"a": [1], "b": [2]})


def test_a_broken_row_in_a_short_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="Line: 3; Original Line: 3,4,5,6"):
        csv(tmp_path, "a,b\n1,2\n3,4,5,6\n")


def test_a_cast_that_may_fail_gives_null_and_does_not_make_the_reader_fail(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("d\n50\nn/a\n")
    number = 'TRY_CAST("#0" AS DOUBLE)'
    with connect() as connection:
        scan, _ = settled_scan(connection, tmp_path / "t.csv")
        query = f'SELECT count(*), [count_if({number} <= 100), count({number})] FROM (SELECT d AS "#0" FROM {scan})'
        assert connection.execute(query).fetchall() == [(2, [1, 1])]


def test_a_line_that_breaks_the_csv_is_named(tmp_path: Path) -> None:
    lines = [f"{row},{row}" for row in range(3000)]
    with pytest.raises(Invalid, match="Line: 3002; Original Line: 1,2,3,4"):
        csv(tmp_path, "a,b\n" + "\n".join([*lines, "1,2,3,4"]) + "\n")


def test_pandas_columns_of_every_type() -> None:
    frame = pd.DataFrame(
        {
            "int": pd.array([1, None, 3], dtype="Int64"),
            "small": pd.array([1, None, 3], dtype="UInt16"),
            "float": pd.array([1.5, None, 3], dtype="Float32"),
            "bool": pd.array([True, None, False], dtype="boolean"),
            "plain": [True, False, True],
            "string": pd.array(["a", None, "c"], dtype="string"),
            "object": pd.Series(["a", None, float("nan")], dtype=object),
            "category": pd.Categorical(["a", None, "b"]),
            "numbers": pd.Categorical([1, None, 2]),
            "zoned": pd.to_datetime(["2013-01-01T05:00", None, "2013-07-01T00:00"]).tz_localize("Europe/Berlin"),
            "naive": pd.to_datetime(["2013-01-01T05:00", None, "2013-07-01T00:00"]),
            "decimal": [Decimal("1.5"), None, Decimal(2)],
            "dates": [date(2013, 1, 1), None, date(2013, 7, 1)],
            "mixed": ["a", 1, None],
        }
    )
    same(
        columns_of(frame),
        {
            "int": [1, None, 3],
            "small": [1, None, 3],
            "float": [1.5, None, 3],
            "bool": [1, None, 0],
            "plain": [1, 0, 1],
            "string": ["a", None, "c"],
            "object": ["a", None, None],
            "category": ["a", None, "b"],
            "numbers": [1, None, 2],
            "zoned": ["2013-01-01T04:00", "NaT", "2013-06-30T22:00"],
            "naive": ["2013-01-01T05:00", "NaT", "2013-07-01"],
            "decimal": [1.5, None, 2],
            "dates": ["2013-01-01", "NaT", "2013-07-01"],
            "mixed": ["a", "1", None],
        },
    )


def test_mappings_of_lists_and_arrays() -> None:
    berlin = timezone(timedelta(hours=2))
    found = columns_of(
        {
            "list": [1, 2.5, None],
            "text": ("a", None, "c"),
            "moments": [datetime(2013, 7, 1, 2, tzinfo=berlin), None, datetime(2013, 7, 1, tzinfo=UTC)],
            "array": np.array([1, 2, 3], dtype=np.int8),
            "strings": np.array(["x", "y", "z"]),
            "masked": np.ma.MaskedArray([1, 2, 3], mask=[False, True, False]),
            "flags": np.array([np.True_, None, np.False_], dtype=object),
            "ragged": [[1], [1, 2], []],
            7: [1, 2, 3],
        }
    )
    same(
        found,
        {
            "list": [1, 2.5, None],
            "text": ["a", None, "c"],
            "moments": ["2013-07-01", "NaT", "2013-07-01"],
            "array": [1, 2, 3],
            "strings": ["x", "y", "z"],
            "masked": [1, None, 3],
            "flags": [1, None, 0],
            "ragged": ["[1]", "[1, 2]", "[]"],
            "7": [1, 2, 3],
        },
    )


class Series:
    """The part of a polars series that is looked at."""

    def __init__(self, values: np.ndarray) -> None:
        self.dtype = "polars.Whatever"
        self._values = values

    def to_numpy(self) -> np.ndarray:
        return self._values


class Frame:
    """The part of a polars frame that is looked at."""

    columns = ("a", "b")

    def __getitem__(self, name: str) -> Series:
        return {"a": Series(np.array([1.0, np.nan])), "b": Series(np.array(["x", None], dtype=object))}[name]


class ArrowTable:
    """The part of an Arrow table that is looked at."""

    column_names = ("a", "b", "at")

    def to_pydict(self) -> dict[str, list[object]]:
        return {"a": [1, None], "b": ["x", None], "at": [datetime(2013, 1, 1, tzinfo=UTC), None]}


def test_frames_of_other_libraries_are_taken_by_their_shape() -> None:
    same(columns_of(Frame()), {"a": [1, None], "b": ["x", None]})
    same(columns_of(ArrowTable()), {"a": [1, None], "b": ["x", None], "at": ["2013-01-01", "NaT"]})


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (7, "is not a table"),
        ("flights.csv", "is not a table"),
        ({"a": [1], "b": [1, 2]}, "differ in length"),
        ({"a": 5}, "of shape"),
        ({"a": np.zeros((2, 2))}, "of shape"),
        ({1: [1], "1": [2]}, "Two columns are named `1`"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "of shape|Two columns"),
    ],
)
def test_what_is_no_table_is_refused(table: object, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        columns_of(table)


def test_empty_tables_have_no_rows_and_no_faults() -> None:
    assert columns_of({}) == {}
    assert len(columns_of(pd.DataFrame({"a": [], "b": pd.Series([], dtype=object)}))["b"]) == 0


def test_columns_go_out_as_a_frame_and_come_back_the_same() -> None:
    columns = columns_of(
        {"x": [1.5, None], "t": ["a", None], "at": np.array(["2013-01-01", "NaT"], dtype="datetime64[us]")}
    )
    same(columns_of(frame_of(columns)), {"x": [1.5, None], "t": ["a", None], "at": ["2013-01-01", "NaT"]})


def test_the_type_of_a_column_follows_from_its_values() -> None:
    values = {"integer": [1.0, np.nan], "number": [0.5, 1.0], "string": ["a"], "timestamp": [datetime(2013, 1, 1)]}  # noqa: DTZ001
    for kind, array in columns_of({}).items() | {(kind, tuple(each)) for kind, each in values.items()}:
        assert column_type(columns_of({"c": list(array)})["c"]) == kind
    assert column_type(np.array([np.nan])) == "number"


def test_a_forked_child_reads_with_an_engine_of_its_own(tmp_path: Path) -> None:
    program = """
import os, sys
from pathlib import Path
from mainspring.data.table import read_columns
path = Path(sys.argv[1])
path.write_text("a\\n1\\n")
read_columns(path)
child = os.fork()
if child == 0:
    os._exit(0 if read_columns(path)["a"][0] == 1 else 1)
print(os.waitpid(child, 0)[1])
"""
    command = [sys.executable, "-c", program, str(tmp_path / "t.csv")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "0\n", done.stderr  # some versions warn of any fork beside threads


def test_bytes_that_are_no_csv_file_are_told(tmp_path: Path) -> None:
    path = tmp_path / "noise.csv"
    path.write_bytes(b"id,a\rt\xff\x00,\x9d\r\xfe,\n\xff\xfe\x00" * 20)
    with pytest.raises(Invalid, match="cannot be read"):
        read_columns(path)


def test_moments_do_not_depend_on_the_time_zone_of_the_machine() -> None:
    program = (
        "from mainspring.data.table import connect\n"
        "query = \"SELECT CAST('2026-01-01 12:00' AS TIMESTAMPTZ) = CAST('2026-01-01 12:00+00' AS TIMESTAMPTZ)\"\n"
        "print(connect().execute(query).fetchall())\n"
    )
    environment = {**os.environ, "TZ": "America/New_York"}
    said = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout == "[(True,)]\n"
