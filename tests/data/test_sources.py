"""Pulled rows: typed, in batches, only what is new when there is a cursor, and changed columns are decided on."""

import sqlite3
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from mainspring.data import pulling
from mainspring.data.pulling import Evolve, Fetch, pull
from mainspring.data.sources import RowSource, Wanted, source_at
from mainspring.data.table import Columns, connect, quoted_files, read_columns
from mainspring.data.versions import DatasetVersion, checkout_dataset, find_dataset, list_datasets
from mainspring.errors import Conflict, Invalid, NotFound
from mainspring.store.events import events
from mainspring.workspace import Workspace

NOW = datetime(2013, 4, 1, tzinfo=UTC)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute('CREATE TABLE "or""ders" (id INTEGER, item TEXT, price REAL)')
        connection.executemany('INSERT INTO "or""ders" VALUES (?,?,?)', [(1, "a", 1.5), (2, None, None)])
    connection.close()
    return path


def sqlite_source(path: Path, table: str, cursor: str = "") -> Fetch:
    source = source_at(f"sqlite:{path}#{table}", Wanted(cursor))
    assert isinstance(source, RowSource)
    return source.fetch


def take(workspace: Workspace, fetch: Fetch, cursor: str = "", evolve: Evolve = "refuse") -> DatasetVersion:
    store, artifacts = workspace.store, workspace.artifacts
    return pull(store, artifacts, fetch, name="d", at=NOW, source="test", cursor=cursor, evolve=evolve)


def table(workspace: Workspace, tmp_path: Path, version: DatasetVersion) -> Columns:
    target = tmp_path / f"{version.version}.parquet"
    checkout_dataset(workspace.store, workspace.artifacts, version.reference, target, force=True)
    return read_columns(target)


def test_a_sqlite_table_is_pulled_and_then_only_what_is_new(shop: Path, workspace: Workspace, tmp_path: Path) -> None:
    fetch = sqlite_source(shop, 'or"ders', "id")
    first = take(workspace, fetch, "id")
    assert (first.reference, first.n_rows) == ("d/1", 2)
    assert take(workspace, fetch, "id") == first
    with sqlite3.connect(shop) as connection:
        connection.execute('INSERT INTO "or""ders" VALUES (3, ?, 7)', ("c",))
    connection.close()
    second = take(workspace, fetch, "id")
    assert (second.version, second.n_rows, second.source) == (2, 3, "test, id > 2")
    found = table(workspace, tmp_path, second)
    assert (found["id"].tolist(), found["item"].tolist()) == ([1, 2, 3], ["a", None, "c"])
    assert [each.details["version"] for each in events(workspace.store, verb="data.pulled")] == [1, 2]


def test_batches_are_one_table_whatever_is_missing_in_them(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulling, "_BATCH_ROWS", 2)
    told: list[int] = []
    rows = [{"n": None}, {"n": None}, {"n": 1, "t": "x"}, {"n": 2}, {"n": None, "never": None}]
    made = pull(
        workspace.store, workspace.artifacts, lambda _: iter(rows), name="d", at=NOW, source="generator",
        progress=lambda count, rate: told.append(count) if rate > 0 else None,
    )  # fmt: skip
    found = table(workspace, tmp_path, made)
    assert str(found["n"].tolist()) == "[nan, nan, 1.0, 2.0, nan]"
    assert (found["t"].tolist(), found["never"].tolist()) == ([None, None, "x", None, None], [None] * 5)
    assert told == [2, 4, 5]


def test_other_columns_are_refused_until_they_are_accepted(workspace: Workspace, tmp_path: Path) -> None:
    take(workspace, lambda _: [{"id": 1, "old": "x"}], "id")
    with pytest.raises(Conflict, match=r"not those of `d/1`: new extra; gone old"):
        take(workspace, lambda _: [{"id": 2, "extra": 5}], "id")
    with pytest.raises(Conflict, match=r"changed old \(VARCHAR to BIGINT\)"):
        take(workspace, lambda _: [{"id": 2, "old": 5}])
    assert len(list_datasets(workspace.store, "d")) == 1
    made = take(workspace, lambda _: [{"id": 2, "extra": 5}], "id", evolve="accept")
    found = table(workspace, tmp_path, made)
    assert (found["old"].tolist(), str(found["extra"].tolist())) == (["x", None], "[nan, 5.0]")


def test_a_version_that_came_meanwhile_is_not_written_over(workspace: Workspace) -> None:
    take(workspace, lambda _: [{"id": 1}], "id")

    def slow(_: object):
        take(workspace, lambda _: [{"id": 2}], "id")
        yield {"id": 2}

    with pytest.raises(Conflict, match="has got version 2 meanwhile"):
        take(workspace, slow, "id")
    assert find_dataset(workspace.store, "d").n_rows == 2


def test_a_text_that_cannot_be_read_is_not_repeated(workspace: Workspace, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("CREATE TABLE t (a TEXT)")
        connection.execute("INSERT INTO t VALUES (CAST(x'626f62ff' AS TEXT))")
    connection.close()
    with pytest.raises(Invalid, match="column 'a'") as caught:
        take(workspace, sqlite_source(tmp_path / "x.db", "t"))
    assert "bob" not in str(caught.value)


def test_what_cannot_be_pulled_is_told(shop: Path, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "no.db").write_text("no database, but long enough to be looked at " * 20)
    for fetch, cursor, error, said in (
        (sqlite_source(shop, "orders"), "", NotFound, "no table `orders`"),
        (sqlite_source(shop, 'or"ders', "ident"), "", Invalid, "No column `ident`"),
        (sqlite_source(tmp_path / "no.db", "t"), "", Invalid, "cannot be read"),
        (lambda _: [], "", Invalid, "gives no rows"),
        (lambda _: [3], "", Invalid, "A row is of type int, not a mapping"),
        (lambda _: [{"a": 1}], "id", Invalid, "No column is named `id`"),
    ):
        with pytest.raises(error, match=said):
            take(workspace, fetch, cursor)
    with pytest.raises(NotFound):
        sqlite_source(tmp_path / "none.db", "t")
    assert list_datasets(workspace.store) == []


def rows_of(workspace: Workspace, version: DatasetVersion) -> list[tuple[object, ...]]:
    with connect() as engine:
        source = quoted_files([workspace.artifacts.path_of(version.digest)])
        return engine.execute(f"SELECT * FROM {source}").fetchall()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([Decimal("12345678901234567890"), Decimal("12345678901234567891.5")], "DECIMAL(38,1)"),
        ([2**63 + 1, 5], "DECIMAL(38,0)"),
        ([9007199254740993, 0.5], "DECIMAL(38,1)"),
        ([Decimal("0.10"), Decimal(7), None], "DOUBLE"),
        ([10**40, 0.5], "VARCHAR"),
        ([9007199254740993, float("inf")], "VARCHAR"),
    ],
)
@pytest.mark.parametrize("batch", [1, 10])
def test_numbers_that_a_float_would_round_keep_their_digits(
    values: list[object], kind: str, batch: int, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulling, "_BATCH_ROWS", batch)
    made = take(workspace, lambda _: [{"n": value, "i": 1} for value in values])
    found = [row[0] for row in rows_of(workspace, made)]
    assert [None if value is None else Decimal(str(value)) for value in found] == [
        None if value is None else Decimal(str(value)) for value in values
    ]
    if batch > 1:
        assert (made.columns or {})["n"] == kind


def test_no_row_is_lost_behind_a_cursor_of_many_digits(workspace: Workspace) -> None:
    rows = [{"id": Decimal("9007199254740995")}]

    def fetch(after: object | None) -> list[dict[str, Decimal]]:
        return [row for row in rows if after is None or row["id"] > after]  # type: ignore[operator]  # a Decimal

    take(workspace, fetch, "id")
    rows += [{"id": Decimal("9007199254740996")}, {"id": Decimal("9007199254740997.25")}]
    assert [row[0] for row in rows_of(workspace, take(workspace, fetch, "id"))] == [row["id"] for row in rows]
    take(workspace, lambda _: [{"id": 9007199254740996.0}])
    with pytest.raises(Conflict, match=r"`id` may be rounded in `d/3`"):
        take(workspace, fetch, "id")
    take(workspace, lambda _: [{"id": 0.5}])
    with pytest.raises(Conflict, match=r"`id` may be rounded in `d/4`"):
        take(workspace, fetch, "id")


def test_a_table_comes_whole_whatever_its_collation_and_with_generated_columns(
    shop: Path, workspace: Workspace
) -> None:
    with sqlite3.connect(shop) as connection:
        connection.execute("CREATE TABLE t (code TEXT COLLATE NOCASE, n INTEGER, twice INTEGER AS (n * 2))")
        connection.execute("INSERT INTO t VALUES ('B1', 1), ('a2', 2)")
    fetch = sqlite_source(shop, "t", "code")
    first = take(workspace, fetch, "code")
    assert rows_of(workspace, first) == [("B1", 1, 2), ("a2", 2, 4)]
    assert take(workspace, fetch, "code") == first
    with sqlite3.connect(shop) as connection:
        connection.execute("INSERT INTO t VALUES ('b3', 3)")
    assert take(workspace, fetch, "code").n_rows == 3
    with sqlite3.connect(shop) as connection:
        connection.execute("INSERT INTO t VALUES (NULL, 4)")
    connection.close()
    with pytest.raises(Invalid, match="1 rows have no `code`"):
        take(workspace, fetch, "code")


def test_a_cursor_says_nothing_about_another_source(workspace: Workspace) -> None:
    take(workspace, lambda _: [{"id": 5}], "id")
    with pytest.raises(Conflict, match="`d/1` was pulled from `test`, whose cursor says nothing here"):
        pull(workspace.store, workspace.artifacts, lambda _: [{"id": 1}], name="d", at=NOW, source="us", cursor="id")


@pytest.mark.parametrize(
    ("rows", "said"),
    [([{1: "x"}], "1 is not named by a text"), ([{"a": 1, "A": 2}], "`a` and `A` differ in case alone"),
     ([{"Name": 1}, {"name": 2}], "`Name` and `name` differ in case alone")],
)  # fmt: skip
def test_columns_whose_names_the_engine_cannot_keep_apart_are_refused(
    rows: list[dict[str, object]], said: str, workspace: Workspace
) -> None:
    with pytest.raises(Invalid, match=said):
        take(workspace, lambda _: rows)
