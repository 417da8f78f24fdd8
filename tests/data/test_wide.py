"""A table of very many columns is looked at as any other, wherever it is put meanwhile."""

from pathlib import Path

import pytest

from mainspring.artifacts.scratch import scratch_folder
from mainspring.data import wide
from mainspring.data.overview import overview
from mainspring.data.personal import personal_data
from mainspring.data.table import connect, settled_scan
from mainspring.data.wide import narrowed


def written(tmp_path: Path, name: str = "t.csv") -> Path:
    path = tmp_path / name
    rows = "".join(f"{n},w{n % 3},a{n}@b.org,{n * 0.5},{n * 10**18}\n" for n in range(40))
    path.write_text(f"n,word,mail,half,long\n{rows}")
    return path


@pytest.mark.parametrize("small", [0, 1 << 20])
def test_what_is_told_of_a_table_does_not_hang_on_where_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: int
) -> None:
    path, other = written(tmp_path), written(tmp_path, "other.csv")
    wanted = overview(path, target="half", against=other), personal_data(path)
    assert {(each.column, each.kind) for each in wanted[1].findings} >= {("mail", "email")}
    monkeypatch.setattr(wide, "_WIDE", 2)
    monkeypatch.setattr(wide, "_AT_ONCE", 2)
    monkeypatch.setattr(wide, "_SMALL_BYTES", small)
    assert (overview(path, target="half", against=other), personal_data(path)) == wanted


def test_only_what_is_wide_is_moved(tmp_path: Path) -> None:
    path = written(tmp_path)
    with connect() as connection, scratch_folder() as scratch:
        scan, _ = settled_scan(connection, path)
        assert narrowed(connection, path, scan, 64, scratch) == (scan, 64)
        found = narrowed(connection, path, scan, 65, scratch)
        assert found.scan.startswith("wide_")
        assert connection.execute(f"SELECT count(*) FROM {found.scan}").fetchall() == [(40,)]
        assert not list(scratch.iterdir())
