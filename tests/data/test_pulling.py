"""Files, servers and databases as sources: what changed is read, what is odd is refused, no secret is told."""

import datetime as dt
import gzip
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mainspring.cli.main import main
from mainspring.data import pulling
from mainspring.data.pulling import Evolve, pull_from
from mainspring.data.row_types import typed_columns
from mainspring.data.sources import Wanted, source_at
from mainspring.data.table import connect, quoted_files
from mainspring.data.versions import DatasetVersion, list_datasets
from mainspring.errors import Conflict, Invalid, MainspringError, NotFound, Unavailable
from mainspring.workspace import Workspace

NOW = dt.datetime(2013, 4, 1, tzinfo=dt.UTC)
Take = Callable[..., DatasetVersion]


@pytest.fixture
def take(workspace: Workspace) -> Take:
    def call(address: str, cursor: str = "", evolve: Evolve = "refuse", **words: Any) -> DatasetVersion:
        source = source_at(str(address), Wanted(cursor, **words))
        store, artifacts = workspace.store, workspace.artifacts
        return pull_from(store, artifacts, source, name="d", at=NOW, cursor=cursor, evolve=evolve)

    return call


@pytest.fixture
def rows(workspace: Workspace) -> Callable[[DatasetVersion], list[tuple[Any, ...]]]:
    def call(version: DatasetVersion) -> list[tuple[Any, ...]]:
        with connect() as engine:
            return engine.execute(
                f"SELECT * FROM {quoted_files([workspace.artifacts.path_of(version.digest)])}"
            ).fetchall()

    return call


def parts_of(version: DatasetVersion) -> list[dict[str, Any]]:
    assert version.origin is not None
    found: list[dict[str, Any]] = version.origin["parts"]
    return found


# ---- folders -------------------------------------------------------------------------------------------------------


def test_of_a_folder_only_files_that_changed_are_read(
    take: Take, rows: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    monkeypatch.setattr(
        pulling,
        "copy_as_parquet",
        lambda file, to, real=pulling.copy_as_parquet: (read.append(file.name), real(file, to)),
    )
    folder = tmp_path / "in"
    folder.mkdir()
    for month in (1, 2, 3):
        (folder / f"m{month}.csv").write_text(f"id,what\n{month}0,a\n{month}1,b\n")
    (folder / ".hidden.csv").write_text("no,table\n")
    first = take(folder)
    assert read == ["m1.csv", "m2.csv", "m3.csv"]
    assert [(each["name"], each["rows"], each["size_bytes"]) for each in parts_of(first)] == [
        ("m1.csv", 2, 18), ("m2.csv", 2, 18), ("m3.csv", 2, 18),
    ]  # fmt: skip
    assert take(folder) == first
    (folder / "m2.csv").write_text("id,what\n25,c\n")
    (folder / "m0.jsonl").write_text('{"id": 1, "what": "z"}\n')
    read.clear()
    second = take(folder)
    assert read == ["m0.jsonl", "m2.csv"]
    assert rows(second) == [(1, "z"), (10, "a"), (11, "b"), (25, "c"), (30, "a"), (31, "b")]
    (folder / "m1.csv").unlink()
    read.clear()
    third = take(folder)
    assert (rows(third), read) == ([(1, "z"), (25, "c"), (30, "a"), (31, "b")], [])
    assert [each["name"] for each in parts_of(third)] == ["m0.jsonl", "m2.csv", "m3.csv"]


def test_files_of_other_columns_are_refused_by_name_until_accepted(take: Take, rows: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("id,n\n1,2\n")
    (tmp_path / "in" / "b.csv").write_text("id,n,extra\n2,2.5,x\n")
    with pytest.raises(Conflict, match=r"not those of `a.csv`: new extra \(at .*b.csv\)"):
        take(tmp_path / "in")
    (tmp_path / "in" / "b.csv").write_text("id,n\n2,two\n")
    with pytest.raises(Conflict, match=r"changed n \(BIGINT to VARCHAR\)"):
        take(tmp_path / "in")
    assert rows(take(tmp_path / "in", evolve="accept")) == [(1, "2"), (2, "two")]
    (tmp_path / "in" / "b.csv").write_text("id,n\n2,2.5\n")  # a wider number is no other column
    with pytest.raises(Conflict, match=r"of `d/1`: changed n \(VARCHAR to DOUBLE\)"):
        take(tmp_path / "in")


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"a,b\n1\n2,3,4,5\n", "cannot be read"),
        ("a.csv", b"a\n\xff\xfe\xff\n", "cannot be read"),
        ("a.parquet", b"PAR1 no footer PAR1", "cannot be read"), ("a.jsonl", b'{"a": 1}\n{"a": ', "cannot be read"),
        ("a.exe", b"MZ", "ending"), ("a.csv.gz", gzip.compress(b"a\n1\n", mtime=0)[:-9], "cannot be read"),
        ("a.arrow", b"ARROW1\0\0" + b"\xff" * 64, "no file of Arrow"), ("a.xlsx", b"PK\x03\x04 nothing", "no workbook"),
        ("a.csv", b"a\n", "gives no rows"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_table_is_told_and_nothing_is_kept(
    take: Take, workspace: Workspace, tmp_path: Path, name: str, data: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(MainspringError, match=said):
        take(tmp_path / name)
    assert list_datasets(workspace.store) == []


def test_an_arrow_file_keeps_its_types(take: Take, rows: Any, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    table = pa.table(
        {"id": pa.array([2**60 + 1, None], pa.int64()), "at": pa.array([NOW, None], pa.timestamp("us", "UTC"))}
    )
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    made = take(tmp_path / "a.arrow")
    assert made.columns == {"id": "BIGINT", "at": "TIMESTAMP WITH TIME ZONE"}
    assert rows(made)[0][0] == 2**60 + 1


# ---- workbooks -----------------------------------------------------------------------------------------------------


def workbook(path: Path, **sheets: list[list[Any]]) -> Path:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, lines in sheets.items():
        sheet = book.create_sheet(name)
        for line in lines:
            sheet.append(line)
    book.save(path)
    return path


def test_a_sheet_of_a_workbook_is_a_table(take: Take, rows: Any, tmp_path: Path) -> None:
    day = dt.datetime(2024, 5, 6, 7, 8)  # noqa: DTZ001  # a workbook knows no zones
    lines = [["id", "price", "sold at", "note"], [1, 2.5, day, "x"], [None] * 4, [2, None, None, "y"]]
    path = workbook(tmp_path / "b.xlsx", first=lines, second=[["a"], [1]], empty=[])
    with pytest.raises(Invalid, match="has 2 sheets: first, second"):
        take(path)
    with pytest.raises(Invalid, match="no sheet `frist`"):
        take(f"{path}#frist")
    made = take(f"{path}#first")
    assert rows(made) == [(1, 2.5, day, "x"), (2, None, None, "y")]
    assert (made.columns or {})["sold at"] == "TIMESTAMP"
    assert take(f"{path}#first") == made


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([["a", None, "c"], [1, 2, 3]], "The cell B1 has no name, as where cells are merged"),
        ([["a", "a"], [1, 2]], "Two columns are named `a`"),
        ([["a", "b"], [1, "=A2+1"]], "The result of the formula in B2 was not saved"),
        ([["a"], [1], ["#DIV/0!"]], "A3 holds #DIV/0!"),
        ([["a"], [1, 2]], "A value stands in a column without a name"),
        ([["a"]], "gives no rows"),
    ],
)
def test_what_would_have_to_be_guessed_of_a_workbook_is_told_with_its_cell(
    take: Take, tmp_path: Path, lines: list[list[Any]], said: str
) -> None:
    with pytest.raises(Invalid, match=said):
        take(workbook(tmp_path / "b.xlsx", only=lines))


def test_a_workbook_that_swells_is_not_unpacked(take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mainspring.data.sources.tables._MOST_UNPACKED_BYTES", 100)
    with pytest.raises(Invalid, match="bytes large when it is unpacked"):
        take(workbook(tmp_path / "b.xlsx", only=[["a"], [1]]))


# ---- the web -------------------------------------------------------------------------------------------------------


class Site:
    """A web server whose answers a test sets; it keeps the requests."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        site = self

        class Answering(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append((self.path, dict(self.headers)))
                status, headers, body = site.answers.get(self.path.partition("?")[0], (404, {}, b""))
                if headers.get("ETag") and headers["ETag"] == self.headers.get("If-None-Match"):
                    status, body = 304, b""
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def site() -> Iterator[Site]:
    one = Site()
    thread = threading.Thread(target=one.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield one
    one.server.shutdown()
    one.server.server_close()
    thread.join()


def test_a_file_of_the_web_is_sent_once_as_long_as_it_does_not_change(take: Take, rows: Any, site: Site) -> None:
    site.answers["/a.csv"] = (200, {"ETag": '"1"'}, b"id\n1\n")
    first = take(f"{site.url}/a.csv")
    assert [(each["name"], each["stamp"], each["rows"]) for each in parts_of(first)] == [("a.csv", 'etag "1"', 1)]
    assert take(f"{site.url}/a.csv") == first
    assert site.asked[-1][1]["If-None-Match"] == '"1"'
    site.answers["/a.csv"] = (200, {"ETag": '"2"'}, b"id\n1\n2\n")
    assert rows(take(f"{site.url}/a.csv")) == [(1,), (2,)]
    site.answers["/a.csv"] = (200, {}, b"id\n1\n2\n")
    assert take(f"{site.url}/a.csv").version == 2  # equal bytes, though without a stamp


def test_a_file_of_another_query_is_another_file(take: Take, rows: Any, site: Site) -> None:
    site.answers["/a.csv"] = (200, {"ETag": '"1"'}, b"id\n1\n")
    take(f"{site.url}/a.csv?day=monday")
    take(f"{site.url}/a.csv?day=tuesday")
    assert "If-None-Match" not in site.asked[-1][1]
    site.answers["/a.csv"] = (200, {"ETag": '"1"'}, b"id\n2\n")
    assert rows(take(f"{site.url}/a.csv?day=tuesday")) == [(2,)]


def test_a_length_that_is_no_number_is_passed_over(take: Take, rows: Any, site: Site) -> None:
    site.answers["/a.csv"] = (200, {"Content-Length": "12x"}, b"id\n1\n")
    assert rows(take(f"{site.url}/a.csv")) == [(1,)]


def test_login_and_query_of_an_address_are_told_nowhere(
    take: Take, site: Site, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    site.answers["/x/a"] = (200, {"Content-Type": "text/csv; charset=utf-8"}, b"id\n1\n")
    address = site.url.replace("//", "//me:s3cret@") + "/x/a?signature=hush&b=1"
    made = take(address)
    assert site.asked[-1][0].endswith("?signature=hush&b=1")
    assert site.asked[-1][1]["Authorization"] == "Basic bWU6czNjcmV0"
    site.answers["/x/a"] = (403, {}, b"hush")
    with pytest.raises(Unavailable, match="answers 403") as caught:
        take(address)
    dumped = "\n".join(str(row) for row in workspace.store.read("SELECT * FROM dataset_versions"))
    dumped += "\n".join(str(row) for row in workspace.store.read("SELECT * FROM events"))
    assert made.source == f"{site.url}/x/a?..."
    for told in (str(caught.value), dumped, str(made)):
        assert "s3cret" not in told
        assert "hush" not in told


@pytest.mark.parametrize(
    ("status", "headers", "body", "said"),
    [
        (404, {}, b"", "no such file"), (500, {}, b"", "answers 500"),
        (302, {"Location": "file:///etc/passwd"}, b"", "not followed"),
        (302, {"Location": "ftp://127.0.0.1/a.csv"}, b"", "not followed"),
        (302, {"Location": "/a.csv"}, b"", "not followed"),
        (200, {"Content-Length": "100"}, b"id\n1\n", "broke off after 5 of 100"),
        (200, {"Content-Length": "200000"}, b"", "larger than"),
        (200, {"Content-Encoding": "gzip"}, gzip.compress(b"id\n1\n", mtime=0), "unasked"),
        (200, {}, b"id\n" + b"1\n" * 60_000, "larger than"),
        (200, {}, b"\x00\x01", "gives no rows|cannot be read"),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_file_is_told(
    take: Take, site: Site, workspace: Workspace, status: int, headers: dict[str, str], body: bytes, said: str
) -> None:
    site.answers["/a.csv"] = (status, headers, body)
    with pytest.raises(MainspringError, match=said):
        take(f"{site.url}/a.csv", most_bytes=100_000)
    assert list_datasets(workspace.store) == []


def test_nobody_at_the_address_is_told(take: Take) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable, match="cannot be fetched"):
            take(f"http://127.0.0.1:{one.getsockname()[1]}/a.csv")
    for address in ("https:///a.csv", "http://a b/c.csv", "http://h/\r\nX: y"):
        with pytest.raises(Invalid, match="names no host"):
            take(address)


# ---- buckets -------------------------------------------------------------------------------------------------------


def test_objects_below_a_prefix_are_read_once(take: Take, rows: Any, s3: Any) -> None:
    folder = s3.root / "ml" / "lake"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.csv").write_text("id\n1\n")
    (folder / "deep" / "b.csv").write_text("id\n2\n")
    (s3.root / "ml" / "lakeside.csv").write_text("id\n9\n")
    first = take("s3://ml/lake/")
    assert rows(first) == [(1,), (2,)]
    assert [each["name"] for each in parts_of(first)] == ["a.csv", "deep/b.csv"]
    assert all(each["stamp"] for each in parts_of(first))
    assert take("s3://ml/lake/") == first
    (folder / "deep" / "b.csv").write_text("id\n2\n3\n")
    assert rows(take("s3://ml/lake/")) == [(1,), (2,), (3,)]
    with pytest.raises(NotFound, match=r"no object `lake/none\.csv`"):
        take("s3://ml/lake/none.csv")
    with pytest.raises(Invalid, match="larger than 3 bytes"):
        take("s3://ml/lake/a.csv", most_bytes=3)
    shutil.rmtree(folder)


# ---- databases -----------------------------------------------------------------------------------------------------

_MADE = [
    "CREATE TABLE {q}or%ders{q} (id BIGINT, {q}the item{q} VARCHAR(20), price DECIMAL(8,2), at TIMESTAMP NULL)",
    "INSERT INTO {q}or%ders{q} VALUES (9007199254740993, 'a', 1.50, '2024-01-02 03:04:05'),"
    " (9007199254740994, NULL, NULL, NULL)",
]


def check_database(take: Take, rows: Any, address: str, run: Callable[[str], None], quote: str) -> None:
    for statement in _MADE:
        run(statement.format(q=quote))
    first = take(f"{address}#or%25ders", "id")
    assert rows(first) == [
        (9007199254740993, "a", 1.5, dt.datetime(2024, 1, 2, 3, 4, 5)),  # noqa: DTZ001
        (9007199254740994, None, None, None),
    ]  # fmt: skip
    assert take(f"{address}#or%25ders", "id") == first
    run(f"INSERT INTO {quote}or%ders{quote} VALUES (9007199254740995, 'c', 7, NULL)")
    second = take(f"{address}#or%25ders", "id")
    assert second.n_rows == 3
    assert (
        parts_of(second)
        == [
            {"name": "", "rows": 1, "size_bytes": 0, "after": "id > 9007199254740994", "until": "id = 9007199254740995"}
        ]
        or parts_of(second)[0]["rows"] == 1
    )
    run(f"ALTER TABLE {quote}or%ders{quote} ADD COLUMN extra INT")
    run(f"INSERT INTO {quote}or%ders{quote} VALUES (9007199254740996, 'd', 7, NULL, 5)")
    with pytest.raises(Conflict, match="new extra"):
        take(f"{address}#or%25ders", "id")
    assert take(f"{address}#or%25ders", "id", "accept").n_rows == 4
    with pytest.raises(NotFound, match="no table"):
        take(f"{address}#or%25der")
    with pytest.raises(Conflict, match="no column `ident`"):
        take(f"{address}#or%25ders", "ident")
    run("CREATE TABLE codes (code VARCHAR(9))")
    run("INSERT INTO codes VALUES ('B1'), ('a2')")  # in the order of bytes, which few collations have
    whole = take(f"{address}#codes", evolve="accept")
    assert take(f"{address}#codes", "code") == whole
    run("INSERT INTO codes VALUES ('b3'), ('C4')")
    assert rows(take(f"{address}#codes", "code"))[2:] == [("b3",)]
    run("INSERT INTO codes VALUES (NULL)")
    with pytest.raises(Invalid, match="1 rows have no `code`"):
        take(f"{address}#codes", "code")


def test_moments_of_a_zone_are_a_cursor_and_values_that_are_structures_are_json(
    take: Take, rows: Any, tmp_path: Path, postgres: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    psycopg = pytest.importorskip("psycopg")
    monkeypatch.setenv("PGTZ", "America/New_York")
    address = postgres.address(tmp_path / "x")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (at timestamptz, told jsonb, many int[], raw bytea, id uuid)")
        fill = "INSERT INTO t VALUES ('2024-01-01 12:00Z', '{\"a\": null}', '{1,2}', '\\x01ff', %s)"
        connection.execute(fill, ("01a20039-0167-7000-9351-f14eb7ec89a6",))
        first = take(f"{address}#t", "at")
        assert rows(first) == [
            (dt.datetime(2024, 1, 1, 12), '{"a": null}', "[1, 2]", "01ff", "01a20039-0167-7000-9351-f14eb7ec89a6")  # noqa: DTZ001
        ]
        assert take(f"{address}#t", "at") == first
        connection.execute("INSERT INTO t VALUES ('2024-01-01 12:00:00.000001Z')")
        assert take(f"{address}#t", "at").n_rows == 2


def test_a_killed_pull_leaves_no_version_and_its_scratch_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "home"))
    with sqlite3.connect(tmp_path / "s.db") as connection:
        connection.execute("CREATE TABLE t (id INTEGER, what TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", ((number, "x" * 20) for number in range(300_000)))
    connection.close()
    words = ["data", "pull", f"sqlite:{tmp_path}/s.db#t", "--name", "t"]
    killed = subprocess.Popen([sys.executable, "-m", "mainspring", *words], stderr=subprocess.PIPE)
    assert killed.stderr is not None
    assert b"50,000 rows" in killed.stderr.readline()
    killed.kill()
    killed.wait()
    killed.stderr.close()
    assert list((tmp_path / "home").glob("mainspring-scratch-*"))
    assert main(["data", "list", "t"]) == 3
    assert main(words) == 0
    assert not list((tmp_path / "home").glob("mainspring-scratch-*"))


def test_a_table_of_postgres_is_pulled(take: Take, rows: Any, tmp_path: Path, postgres: Any) -> None:
    psycopg = pytest.importorskip("psycopg")
    address = postgres.address(tmp_path / "x")

    def run(statement: str) -> None:
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(statement)

    check_database(take, rows, address, run, '"')
    with pytest.raises(Unavailable, match="cannot be read") as caught:
        take("postgresql://me:s3cret@127.0.0.1:1/none#t")
    assert "s3cret" not in str(caught.value)
    for odd in (
        "postgresql://me:s3cret@host#t",
        "postgresql://me:s3cret@host/db",
        "postgresql://me:s3cret@host:port/db#t",
    ):
        with pytest.raises(Invalid) as refused:
            take(odd)
        assert "s3cret" not in str(refused.value)


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The socket of a MariaDB of our own, whose user `reader` has a password."""
    pytest.importorskip("pymysql")
    program = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin")
    installer = shutil.which("mariadb-install-db")
    if program is None or installer is None:
        pytest.skip("no MariaDB here: apt-get install mariadb-server")
    import pymysql

    folder = tmp_path_factory.mktemp("mariadb")
    user = [f"--user={os.environ.get('USER') or 'root'}"] if os.getuid() == 0 else []
    data, place = f"--datadir={folder}/data", f"/tmp/mainspring-{os.getpid()}.sock"
    words = [installer, "--no-defaults", data, "--auth-root-authentication-method=normal", "--skip-test-db", *user]
    subprocess.run(words, check=True, capture_output=True)
    words = [
        program,
        "--no-defaults",
        data,
        f"--socket={place}",
        "--skip-networking",
        f"--pid-file={folder}/pid",
        *user,
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not Path(place).exists():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        while True:
            try:
                with pymysql.connect(unix_socket=place, user="root") as connection, connection.cursor() as cursor:
                    cursor.execute("CREATE DATABASE shop")
                    cursor.execute("CREATE USER reader IDENTIFIED BY 's3cret'")
                    cursor.execute("GRANT ALL ON shop.* TO reader")
                break
            except pymysql.OperationalError:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield place
    finally:
        process.terminate()
        process.wait(30)


def test_a_table_of_mysql_is_pulled(take: Take, rows: Any, mariadb: str) -> None:
    import pymysql

    def run(statement: str) -> None:
        with (
            pymysql.connect(unix_socket=mariadb, user="root", database="shop") as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)
            connection.commit()

    address = "mysql://reader:{}@localhost/shop?unix_socket=" + mariadb.replace("/", "%2F")
    check_database(take, rows, address.format("s3cret"), run, "`")
    with pytest.raises(Unavailable, match="Access denied") as caught:
        take(address.format("wr0ng") + "#orders")
    assert "wr0ng" not in str(caught.value)


# ---- all of them ---------------------------------------------------------------------------------------------------


def test_whole_numbers_stay_whole_and_several_types_are_texts() -> None:
    made, kinds = typed_columns(
        {"i": [2**60 + 1, None], "big": [2**70, 1], "b": [True, None], "mix": [1, "x"], "raw": [b"\x01", None],
         "np": [np.int64(3), np.float64(0.5)], "none": [None, None]}
    )  # fmt: skip
    assert made["i"].tolist() == [2**60 + 1, None]
    assert made["b"].tolist() == [True, None]
    assert made["mix"].tolist() == ["1", "x"]
    assert made["raw"].tolist() == ["01", None]
    assert made["np"].tolist() == [3.0, 0.5]
    assert made["big"].tolist() == ["1180591620717411303424", "1"]
    assert kinds == {"big": "DECIMAL(38,0)"}


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://bob:Secr@t77@127.0.0.1:1/shop#orders", "postgresql://bob:12/S3cret@127.0.0.1:1/shop#orders",
        "postgresql://bob:12#S3cret@127.0.0.1:1/shop#orders", "postgresql://bob:12?S3cret@127.0.0.1:1/shop#orders",
        "postgresql://bob:a%20Secret%zz@127.0.0.1:1/shop#orders", "postgresql://bob@127.0.0.1:1/s?sslmode=SECRETX#o",
        "postgresql://bob@127.0.0.1:1/shop?SECRETX#orders", "postgresql://bob:S%00ecret@127.0.0.1:1/shop#orders",
        "mysql://bob:12/S3cret@127.0.0.1:1/shop#orders", "mysql://bob:Se[cr3t@127.0.0.1:1/shop#orders",
        "https://bob:Se[cr3t@127.0.0.1:1/a.csv", "https://bob:12#S3cret@127.0.0.1:1/a.csv",
        "https://bob:12/S3cret@127.0.0.1:1/a.csv", "s3://Se[cr3t@bucket/key",
    ],
)  # fmt: skip
def test_nothing_of_a_password_is_told_where_an_address_cannot_be_used(take: Take, address: str) -> None:
    for package in ("psycopg", "pymysql"):
        pytest.importorskip(package)
    with pytest.raises(MainspringError) as caught:
        take(address)
    told = f"{caught.value} {caught.value.where} {caught.value.__cause__}".lower()
    assert not any(each in told for each in ("secr", "cret", "cr3t", "t77"))


def test_a_table_of_mysql_is_told_with_its_schema_and_no_login() -> None:
    for package in ("psycopg", "pymysql"):
        pytest.importorskip(package)
    assert source_at("mysql://me:pw@h:1/shop#orders").told == "mysql://me@h:1/shop#shop.orders"
    assert source_at("postgresql://me:pw@h:1/shop#orders").told == "postgresql://me@h:1/shop#orders"


def test_an_address_of_no_known_kind_is_told() -> None:
    with pytest.raises(Invalid, match="`sqllite` is no kind of source"):
        source_at("sqllite:a.db#t")
    with pytest.raises(NotFound, match="no file or folder"):
        source_at("nowhere.csv")
    with pytest.raises(Invalid, match="Files have no cursor"):
        source_at(__file__, Wanted("id"))


def test_the_command_shows_where_every_part_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "home"))
    with sqlite3.connect(tmp_path / "s.db") as connection:
        connection.execute("CREATE TABLE t (id INTEGER)")
        connection.execute("INSERT INTO t VALUES (4)")
    connection.close()
    assert main(["data", "pull", f"sqlite:{tmp_path}/s.db#t", "--name", "t", "--cursor", "id"]) == 0
    assert main(["data", "pull", str(tmp_path / "s.db"), "--name", "u"]) == 2
    capsys.readouterr()
    assert main(["data", "show", "t/1"]) == 0
    told = capsys.readouterr().out
    assert "t/1, added" in told
    assert "id = 4" in told
    assert main(["data", "show", "t", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["origin"]["parts"][0]["rows"] == 1
