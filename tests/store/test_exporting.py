"""Leaving with everything: each table is exported or said to stay, whole, and as it is at one instant."""

import contextlib
from datetime import UTC, datetime

import pytest

from mainspring.store import exporting
from mainspring.store.exporting import EXPORTED, KEPT_BACK, export_tables
from mainspring.store.opening import open_store
from mainspring.tracking.metrics import Point
from mainspring.tracking.runs import log_batch, start_run

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def test_every_table_is_exported_in_the_order_of_its_key_or_stays(tmp_path) -> None:
    with contextlib.closing(open_store(f"sqlite:///{tmp_path / 'store.sqlite'}")) as store:
        tables = {
            name
            for (name,) in store.read(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            )
        }
        assert EXPORTED.keys() | KEPT_BACK == tables
        for table, key in EXPORTED.items():
            found = store.read(f"SELECT name FROM pragma_table_info('{table}') WHERE pk > 0 ORDER BY pk")
            assert key == tuple(name for (name,) in found)


def test_long_tables_come_in_pages_of_one_instant(store_address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "_PAGE", 7)
    with contextlib.closing(open_store(store_address)) as store:
        run_id = start_run(store, experiment="e", name="r", parameters={"depth": 3}, at=NOW)
        points = [Point(f"m{number % 3}", number / 3, number, number) for number in range(50)]
        store.record(lambda transaction: log_batch(transaction, run_id, points=points))
        tables: dict[str, tuple[tuple[str, ...], list[object]]] = {}

        def keep(table, columns, pages) -> None:
            rows = [row for page in pages for row in page]
            tables[table] = (columns, rows)
            store.record(
                lambda transaction: log_batch(transaction, run_id, points=[Point("late", 1.0, len(tables), 0)])
            )

        export_tables(store, keep)
    columns, rows = tables["metric_points"]
    assert {"run", "metric", "value"} <= {*columns}
    assert len(rows) == 50
    assert len(tables["runs"][1]) == 1
    assert tables.keys() == EXPORTED.keys()
