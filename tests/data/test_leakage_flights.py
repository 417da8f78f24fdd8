"""The table of the demo, on real flights: it looks at no weather that was not known, and without the delay it would."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from mainspring.data.leakage import future_leaks
from mainspring.data.table import Columns, columns_of, frame_of, read_columns
from mainspring.demo.scene import set_scene

pytest.importorskip("sklearn", reason="the demo's loop needs scikit-learn: pip install 'mainspring[ml]'")
TEMPLATE = Path(__file__).parents[2] / "src/mainspring/templates/flights/loop.py"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Columns]:
    """What the demo reads, of the first days of January."""
    folder = tmp_path_factory.mktemp("scene") / "demo"
    set_scene(folder, fast=True, fresh=False)
    found = {}
    for name in ("flights", "weather", "planes"):
        columns = read_columns(folder / "data" / f"{name}.csv")
        early = columns["time_hour"] < np.datetime64("2013-01-10") if name != "planes" else slice(None)
        found[name] = {column: array[early] for column, array in columns.items()}
    return found


def builder(folder: Path, code: str) -> Callable[[dict[str, Columns]], Columns]:
    space: dict[str, object] = {"__file__": str(TEMPLATE), "__name__": "flights_loop"}
    exec(compile(code.split("@ms.pipeline")[0], str(TEMPLATE), "exec"), space)  # what makes the table, and no loop

    def build(tables: dict[str, Columns]) -> Columns:
        for name, columns in tables.items():
            frame_of(columns).to_csv(folder / f"{name}.csv", index=False)
        return columns_of(space["flights"](folder, datetime(2013, 2, 1, tzinfo=UTC)))  # type: ignore[operator]

    return build


def test_the_table_of_the_demo_does_not_look_ahead(sources: dict[str, Columns], tmp_path: Path) -> None:
    build = builder(tmp_path, TEMPLATE.read_text())
    assert len(build(sources)["late"]) > 500
    assert future_leaks(build, sources, {"weather": ("time_hour", "1h")}, time="departs_at", cuts=2) == []


def test_with_a_shorter_delay_it_would(sources: dict[str, Columns], tmp_path: Path) -> None:
    hasty = TEMPLATE.read_text().replace('delay="1h"', 'delay="0h"')
    found = future_leaks(builder(tmp_path, hasty), sources, {"weather": ("time_hour", "1h")}, time="departs_at", cuts=2)
    assert {"temp", "pressure"} <= {each.column for each in found}
