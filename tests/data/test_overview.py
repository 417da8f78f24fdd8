"""The overview of a table: what it says is what NumPy says of the same rows, and its page is safe to open."""

import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pytest

from mainspring.data.overview import overview
from mainspring.data.overview_page import Overview, overview_page
from mainspring.errors import Invalid, NotFound

ROWS = 20_000


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    wind = rng.normal(10, 3, ROWS)
    columns = {
        "id": np.array([f"row-{at}" for at in range(ROWS)], dtype=object),
        "wind": np.where(rng.random(ROWS) < 0.3, np.nan, wind),
        "twice": 2 * wind + 1,
        "carrier": rng.choice(np.array(["AA", "UA", "it's", "<b>"], dtype=object), ROWS, p=[0.4, 0.3, 0.2, 0.1]),
        "night": rng.random(ROWS) < 0.25,
        "one": np.ones(ROWS),
        "seats": rng.integers(0, 5, ROWS),
    }
    columns["late"] = np.where((wind > 12) | (columns["carrier"] == "UA"), "yes", "no")
    path = tmp_path_factory.mktemp("overview") / "flights.parquet"
    with duckdb.connect() as connection:
        connection.register("given", columns)
        connection.execute(
            f"COPY (SELECT *, TIMESTAMP '2026-01-01' + INTERVAL 1 MINUTE * seats AS at FROM given) TO '{path}'"
        )
    return path, columns


@pytest.fixture(scope="module")
def found(table: tuple[Path, dict[str, np.ndarray]]) -> Overview:
    return overview(table[0], target="late")


def by_name(found: Overview):
    return {each.name: each for each in found.columns}


def test_figures_are_those_of_numpy(found: Overview, table: tuple[Path, dict[str, np.ndarray]]) -> None:
    columns, seen = table[1], by_name(found)
    assert found.rows == ROWS
    for name in ("wind", "twice", "seats"):
        values = columns[name][~np.isnan(columns[name])].astype(float)
        each = seen[name]
        assert each.missing == ROWS - len(values)
        assert (each.minimum, each.maximum) == (values.min(), values.max())
        assert each.mean == pytest.approx(values.mean())
        assert each.deviation == pytest.approx(values.std(ddof=1))
        assert each.quantiles["0.5"] == pytest.approx(np.quantile(values, 0.5), rel=0.02, abs=0.5)
        assert sum(each.bins) == len(values)
    assert seen["seats"].zeros == np.count_nonzero(columns["seats"] == 0)
    assert seen["id"].distinct == pytest.approx(ROWS, rel=0.05)
    counts = {group.label: group.rows for group in seen["carrier"].top}
    assert counts == {name: np.count_nonzero(columns["carrier"] == name) for name in ("AA", "UA", "it's", "<b>")}
    assert {group.label: group.rows for group in seen["night"].top}["true"] == columns["night"].sum()
    assert (seen["at"].minimum, seen["at"].maximum) == ("2026-01-01 00:00:00", "2026-01-01 00:04:00")


def test_relations_are_the_correlation_ratio(found: Overview, table: tuple[Path, dict[str, np.ndarray]]) -> None:
    columns, seen = table[1], by_name(found)
    late = (columns["late"] == "yes").astype(float)
    assert (found.target, found.classes) == ("late", ("no", "yes"))
    groups = {group.label: group for group in seen["carrier"].relation.groups}
    between = 0.0
    for name, group in groups.items():
        mine = late[columns["carrier"] == name]
        assert (group.rows, group.target) == (len(mine), pytest.approx(mine.mean()))
        between += len(mine) * (mine.mean() - late.mean()) ** 2
    assert seen["carrier"].relation.explains == pytest.approx(between / (ROWS * late.var()))
    assert seen["twice"].relation.explains > 0.2 > seen["seats"].relation.explains
    assert [group.label for group in seen["wind"].relation.groups][-1] == "missing"
    assert sum(group.rows for group in seen["wind"].relation.groups) == ROWS
    assert seen["late"].relation is None


def test_correlations_are_pearsons(found: Overview, table: tuple[Path, dict[str, np.ndarray]]) -> None:
    assert found.correlations[0][:2] == ("wind", "twice")
    assert found.correlations[0][2] == pytest.approx(1.0)
    columns = table[1]
    expected = np.corrcoef(columns["twice"], columns["seats"])[0, 1]
    (seen,) = [value for one, other, value in found.correlations if (one, other) == ("twice", "seats")]
    assert seen == pytest.approx(expected)


def test_what_stands_out_is_said(found: Overview, tmp_path: Path) -> None:
    assert any("`id` has nearly a value of its own" in note for note in found.notes)
    assert any("`one` has one value only" in note for note in found.notes)
    assert any("`wind` is missing in 30%" in note for note in found.notes)
    (tmp_path / "leak.csv").write_text(
        "\n".join(["y,copy,noise", *(f"{i % 2},{3 * (i % 2)},{i % 7}" for i in range(700)), ""])
    )
    leak = overview(tmp_path / "leak.csv", target="y")
    assert [note for note in leak.notes if "does it know it" in note] == [
        "`copy` alone explains 100% of `y`: does it know it?"
    ]


def test_a_table_that_moved_is_told_from_one_that_did_not(
    table: tuple[Path, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    path = table[0]
    half, moved = tmp_path / "half.parquet", tmp_path / "moved.parquet"
    duckdb.sql(f"COPY (SELECT * FROM '{path}' WHERE rowid_of % 2 = 0) TO '{half}'".replace("rowid_of", "hash(id)"))
    duckdb.sql(f"COPY (SELECT * REPLACE (twice + 6 AS twice, 'UA' AS carrier) FROM '{path}') TO '{moved}'")
    still = by_name(overview(half, against=path))
    assert max(each.drift for each in still.values() if each.drift is not None) < 0.02
    gone = overview(moved, against=path)
    drifts = {name: each.drift for name, each in by_name(gone).items()}
    assert drifts["twice"] > 0.2
    assert drifts["carrier"] > 0.2
    assert drifts["seats"] < 0.01
    assert sum("has moved from flights.parquet" in note for note in gone.notes) == 2


def test_the_page_runs_nothing_and_shows_what_was_found(found: Overview) -> None:
    page = overview_page(found)
    assert "<b>" not in page.replace("<b>id</b>", "").replace("<b>one</b>", "").replace("<b>wind</b>", "")
    assert "&lt;b&gt;" in page
    assert "<script" not in page
    assert page == found._repr_html_()


def test_a_table_of_many_columns_is_looked_at_in_pieces(tmp_path: Path) -> None:
    width = 200
    path = tmp_path / "wide.csv"
    path.write_text(",".join(f"c{at}" for at in range(width)) + "\n" + ",".join(str(at) for at in range(width)) + "\n")
    found = overview(path)
    assert [(each.name, each.minimum) for each in found.columns] == [(f"c{at}", at) for at in range(width)]


@pytest.mark.parametrize(
    ("text", "target", "error", "said"),
    [
        ("a,b\n", "", Invalid, "holds no rows"),
        ("a,b\n1,2\n", "c", Invalid, "There is no column `c`"),
        ("a,b\n1,2\n3\n", "", Invalid, "CSV Error on Line: 3"),
        ("at\n2026-01-01\n", "at", Invalid, "`at` is a moment"),
    ],
)
def test_what_cannot_be_looked_at_is_told(tmp_path: Path, text: str, target: str, error: type, said: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(error, match=said):
        overview(tmp_path / "t.csv", target=target)
    with pytest.raises(NotFound):
        overview(tmp_path / "gone.csv")


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """Twenty million rows, some 640 MB as arrays, in a process that may use 300 MB for tables."""
    script = f"""
import json, duckdb
from pathlib import Path
from mainspring.data.overview import overview
from mainspring.data.table import connect
with connect() as c:
    c.execute("SET GLOBAL max_temp_directory_size = '1KB'")  # so nothing may be spilled
path = Path({str(tmp_path / "large.parquet")!r})
with duckdb.connect(config={{"memory_limit": "300MB", "threads": 1}}) as c:
    c.execute(f"COPY (SELECT range AS a, range % 7 AS b, hash(range) % 1000 AS c, 'x' || range % 50 AS d"
              f" FROM range(20000000)) TO '{{path}}' (ROW_GROUP_SIZE 50000)")
found = overview(path, target="b")
peak = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(json.dumps([found.rows, int(peak[0]) // 1024]))
"""
    (tmp_path / "look.py").write_text(
        script
    )  # without a file the engine takes its program for a person, and draws bars
    done = subprocess.run(
        [sys.executable, tmp_path / "look.py"],
        capture_output=True,
        text=True,
        env={**os.environ, "MAINSPRING_MEMORY": "300MB"},
    )
    assert done.returncode == 0, done.stderr
    rows, mebibytes = json.loads(done.stdout)
    assert rows == 20_000_000
    assert mebibytes < 550
