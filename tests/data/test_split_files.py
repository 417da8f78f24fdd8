"""From file to files as in memory, with the same borders."""

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.test_join_files import SUPPRESSED, either

from mainspring.data.split import PARTS, split_by_share, split_by_time
from mainspring.data.split_files import split_file
from mainspring.data.table import read_columns
from mainspring.errors import Conflict, Invalid

share = st.floats(0.05, 0.45)


def write(path: Path, ticks: list[int]) -> Path:
    rows = "".join(f"{number},{np.datetime64(tick * 7_000_001, 'us')}\n" for number, tick in enumerate(ticks))
    path.write_text("id,at\n" + rows)
    return path


@settings(max_examples=40, deadline=None, suppress_health_check=SUPPRESSED)
@given(
    ticks=st.lists(st.integers(0, 10**9), min_size=2, max_size=60), validation=share, test=share, timed=st.booleans()
)
def test_as_in_memory(tmp_path: Path, ticks: list[int], validation: float, test: float, timed: bool) -> None:
    source = write(tmp_path / "rows.csv", ticks)
    target = tmp_path / f"parts-{len(list(tmp_path.iterdir()))}"
    shares: Any = {"validation": validation, "test": test}
    moments = read_columns(source)["at"]
    wanted, refused = either(
        lambda: split_by_time(moments, **shares) if timed else split_by_share(len(ticks), **shares)
    )
    sizes, again = either(lambda: split_file(source, target, time="at" if timed else "", **shares))
    assert again == refused
    assert target.exists() != bool(refused)
    if refused:
        return
    for name in PARTS:
        (ids,) = duckdb.sql(f"SELECT list(id) FROM '{target / name}.parquet'").fetchall()[0]
        assert ids == getattr(wanted, name).tolist()
        assert sizes[name] == len(ids)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("time", "said"), [("when", "no column `when`"), ("id", "holds no moments"), ("late", "A row has no time")]
)
def test_a_time_that_is_none_is_refused_and_nothing_is_left(tmp_path: Path, time: str, said: str) -> None:
    (tmp_path / "rows.csv").write_text("id,late\n1,2013-01-01\n2,\n3,2013-01-02\n")
    with pytest.raises(Invalid, match=said) as caught:
        split_file(tmp_path / "rows.csv", tmp_path / "parts", time=time)
    if time == "late":
        assert caught.value.where == "rows[1]"
    assert [each.name for each in tmp_path.iterdir()] == ["rows.csv"]


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    with pytest.raises(Conflict, match="exists already"):
        split_file(write(tmp_path / "rows.csv", [1, 2, 3]), tmp_path / "parts", time="at")
