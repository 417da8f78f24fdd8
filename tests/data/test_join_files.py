"""From file to file as in memory: the same partners, whatever the part, the format and the order of rows."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.data.test_join import T0, hours

from mainspring.data.join import join_asof, join_lookup
from mainspring.data.join_files import join_files
from mainspring.data.matching import Match
from mainspring.data.table import connect, read_columns
from mainspring.errors import Conflict, Invalid, Unavailable

#: Files are written anew for each example, and a busy machine takes its time for it.
SUPPRESSED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
hour = st.one_of(st.none(), st.integers(0, 6).map(float))
lefts = st.lists(st.tuples(st.sampled_from(["a", "b", None]), hour), min_size=1, max_size=25)
rights = st.lists(st.tuples(st.sampled_from(["a", "b", None]), hour, st.integers(0, 9)), min_size=1, max_size=25)


def write(path: Path, **columns: Any) -> Path:
    """Write columns as a Parquet file; those without any value are texts or moments by their name."""
    arrays = {name: np.asarray(values, dtype=None if name[-1] == "t" else object) for name, values in columns.items()}
    listed = ", ".join(f'"{name}"::{"TIMESTAMP" if name[-1] == "t" else "VARCHAR"} AS "{name}"' for name in columns)
    with connect() as connection:
        connection.register("given", arrays)
        connection.execute(f"COPY (SELECT {listed} FROM given) TO '{path}'").fetchall()
    return path


def either(call: Callable[[], Any]) -> tuple[Any, str]:
    """Return what comes of a call, or what it says when it refuses."""
    try:
        return call(), ""
    except Invalid as error:
        return None, str(error)


def same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@settings(max_examples=40, deadline=None, suppress_health_check=SUPPRESSED)
@given(left=lefts, right=rights, part_rows=st.integers(1, 9), orphans=st.sampled_from(["keep", "drop"]))
def test_as_of_as_in_memory(tmp_path: Path, left: list[Any], right: list[Any], part_rows: int, orphans: Any) -> None:
    here = write(tmp_path / "l.parquet", k=[k for k, _ in left], at=hours(*(t for _, t in left)))
    there = write(
        tmp_path / "r.parquet",
        k=[k for k, *_ in right],
        seen_at=hours(*(t for _, t, _ in right)),
        v=[str(v) for *_, v in right],
    )
    words: Any = {"on": "k", "left_time": "at", "right_time": "seen_at", "delay": "2h"}
    wanted = join_asof(read_columns(here), read_columns(there), orphans=orphans, **words)
    target, match = tmp_path / "out.parquet", Match.known(**words)
    found = join_files(here, there, target, match, orphans=orphans, part_rows=part_rows)
    assert (found.matched, found.orphans, found.rows) == (wanted.matched, wanted.orphans, len(wanted.columns["k"]))
    with connect() as connection:
        if found.rows:
            same(read_columns(tmp_path / "out.parquet"), wanted.columns)
        else:
            assert connection.execute(f"SELECT count(*) FROM '{tmp_path / 'out.parquet'}'").fetchall() == [(0,)]


@settings(max_examples=40, deadline=None, suppress_health_check=SUPPRESSED)
@given(left=lefts, right=rights, part_rows=st.integers(1, 9), pick=st.sampled_from(["first", "last", "refuse"]))
def test_a_lookup_as_in_memory(tmp_path: Path, left: list[Any], right: list[Any], part_rows: int, pick: Any) -> None:
    here = write(tmp_path / "l.parquet", k=[k for k, _ in left], n=[str(n) for n in range(len(left))])
    there = write(tmp_path / "r.parquet", k=[k for k, *_ in right], v=[str(v) for *_, v in right])
    target = tmp_path / "out.parquet"
    wanted, refused = either(lambda: join_lookup(read_columns(here), read_columns(there), on="k", duplicates=pick))
    found, again = either(
        lambda: join_files(here, there, target, Match.equal("k", duplicates=pick), part_rows=part_rows)
    )
    assert again == refused
    if refused:
        return
    assert (found.matched, found.orphans, found.duplicates) == (wanted.matched, wanted.orphans, wanted.duplicates)
    same(read_columns(tmp_path / "out.parquet"), wanted.columns)


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "l.csv").write_text("id,k,at\n9007199254740993,a,2013-01-01 05:00:00\n2,b,2013-01-01 01:00:00\n")
    (tmp_path / "r.jsonl").write_text('{"k":"a","seen":"2013-01-01 03:00:00","l":[1,2]}\n')
    return tmp_path / "l.csv", tmp_path / "r.jsonl"


def asof(left: Path, right: Path, target: Path, **more: Any) -> Any:
    words: Any = {"on": "k", "left_time": "at", "right_time": "seen", "delay": "1h"}
    words |= {name: more.pop(name) for name in words if name in more}
    return join_files(left, right, target, Match.known(**words), **more)


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_no_value_changes_on_its_way(tables: tuple[Path, Path], tmp_path: Path, ending: str) -> None:
    target = tmp_path / f"out.{ending}"
    assert asof(*tables, target, part_rows=1).rows == 2
    rows = duckdb.sql(f"SELECT id, k, l::VARCHAR FROM '{target}'").fetchall()
    assert rows == [(9007199254740993, "a", "[1, 2]"), (2, "b", None)]
    assert not list(tmp_path.glob(".*"))


def test_orphans_that_are_refused_leave_what_was_there(tables: tuple[Path, Path], tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    target.write_text("before")
    with pytest.raises(Invalid, match="1 left rows find nothing, the first with k=b") as caught:
        asof(*tables, target, orphans="refuse")
    assert caught.value.where == "left table rows[1]"
    assert target.read_text() == "before"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"on": "x"}, "left table has no column `x`"),
        ({"left_time": "id"}, "holds no moments"),
        ({"right_time": "seem"}, "right table has no column `seem`"),
        ({"delay": "-1h"}, "1h|sees the future"),
        ({"target": "out.txt"}, "does not write"),
        ({"target": "l.csv"}, "is one of the tables"),
        ({"left": "r.jsonl", "on": "l", "left_time": "seen"}, "both have|Both tables have"),
    ],
)
def test_what_cannot_be_joined_is_refused(
    tables: tuple[Path, Path], tmp_path: Path, changed: dict[str, str], said: str
) -> None:
    left = tmp_path / changed.pop("left", "l.csv")
    with pytest.raises(Invalid, match=said):
        asof(left, tables[1], tmp_path / changed.pop("target", "out.csv"), **changed)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["l.csv", "r.jsonl"]


def test_memory_that_is_too_little_is_told(tmp_path: Path) -> None:
    error = duckdb.OutOfMemoryException("Out of Memory Error: failed to pin block (1.0 MiB/1.0 MiB used)")
    from mainspring.data.table import unreadable

    told = unreadable(tmp_path / "x.parquet", error)
    assert isinstance(told, Unavailable)
    assert "MAINSPRING_MEMORY" in told.next_step


KILLED = """
import os, signal, sys
from pathlib import Path
from mainspring.data import join_files
unite = join_files.unite
join_files.unite = lambda parts, ending, tell: (unite(parts, ending, tell), os.kill(os.getpid(), signal.SIGKILL))
here = Path(sys.argv[1])
match = join_files.Match.known("k", left_time="at", right_time="seen", delay="1h")
join_files.join_files(here / "l.csv", here / "r.jsonl", here / "out.csv", match, part_rows=1)
"""


def test_a_killed_join_leaves_no_target_and_the_next_one_no_trace(tables: tuple[Path, Path], tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "out.csv").exists()
    assert os.listdir(tmp_path / ".out.csv.parts")
    asof(*tables, tmp_path / "out.csv")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["l.csv", "out.csv", "r.jsonl"]


def test_two_joins_into_one_target_at_once_are_refused(tables: tuple[Path, Path], tmp_path: Path) -> None:
    def second(what: str, share: float) -> None:
        if what.startswith("joining"):
            with pytest.raises(Conflict, match="Another call is writing"):
                asof(*tables, tmp_path / "out.csv")
            seen.append(what)

    seen: list[str] = []
    asof(*tables, tmp_path / "out.csv", tell=second)
    assert seen == ["joining l.csv"]
    assert read_columns(tmp_path / "out.csv")["at"][0] == T0 + np.timedelta64(5, "h")


def test_long_numbers_are_keys_and_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(f"id,n\n9007199254740993,{2**64}\n9007199254740994,{10**37 + 1}\n{2**63},7\n")
    (tmp_path / "r.jsonl").write_text(
        f'{{"id": 9007199254740992, "v": 1}}\n{{"id": 9007199254740993, "v": {2**63 + 1}}}\n'
    )
    for ending in ("parquet", "csv", "jsonl"):
        target = tmp_path / f"out.{ending}"
        found = join_files(tmp_path / "l.csv", tmp_path / "r.jsonl", target, Match.equal("id"))
        assert (found.matched, found.orphans) == (1, 2)
        read = f"read_csv('{target}', all_varchar=true)" if ending == "csv" else f"'{target}'"
        if ending == "jsonl":  # beyond 64 bits the engine's own reader rounds, so look at what is written
            assert f'"id":9007199254740993,"n":{2**64},"v":{2**63 + 1}' in target.read_text()
            continue
        rows = duckdb.sql(f"SELECT id::VARCHAR, n::VARCHAR, v::VARCHAR FROM {read}").fetchall()
        assert rows[0] == ("9007199254740993", str(2**64), str(2**63 + 1))
        assert rows[1][1] == str(10**37 + 1)


@pytest.mark.parametrize("left", ["BIGINT", "UBIGINT", "DECIMAL(38,0)", "DECIMAL(20,2)"])
@pytest.mark.parametrize("right", ["BIGINT", "UBIGINT", "DECIMAL(38,0)", "DECIMAL(20,2)", "INTEGER", "DOUBLE"])
def test_keys_of_several_types_meet(tmp_path: Path, left: str, right: str) -> None:
    with connect() as connection:
        for name, kind in (("l", left), ("r", right)):
            query = f"SELECT CAST(unnest([5, 7]) AS {kind}) AS k, '{name}' AS {name}"
            connection.execute(f"COPY ({query}) TO '{tmp_path / name}.parquet'").fetchall()
    found = join_files(tmp_path / "l.parquet", tmp_path / "r.parquet", tmp_path / "out.parquet", Match.equal("k"))
    assert found.matched == 2


@pytest.mark.parametrize("long", [2**53 + 1, -(2**53) - 1])
def test_a_key_that_a_double_rounds_finds_no_neighbour(tmp_path: Path, long: int) -> None:
    near = long - 1 if long > 0 else long + 1
    with connect() as connection:
        for name, key in (("l", f"CAST({long} AS BIGINT)"), ("r", f"CAST({near} AS DOUBLE)")):
            connection.execute(f"COPY (SELECT {key} AS k, 1 AS {name}) TO '{tmp_path / name}.parquet'").fetchall()
    with pytest.raises(Invalid, match=f"{near} is too large") as caught:
        join_files(tmp_path / "l.parquet", tmp_path / "r.parquet", tmp_path / "out.parquet", Match.equal("k"))
    assert caught.value.where == "left table rows[0].k"
