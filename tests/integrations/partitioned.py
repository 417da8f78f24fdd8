"""A table in partitions: profiled and checked part by part, wherever steps run, and added up."""

from pathlib import Path
from typing import Any

import duckdb

from mainspring.artifacts.local import LocalArtifactStore
from mainspring.data.checks import check_table
from mainspring.data.profile import Counts, Profile, count, merge, profile
from mainspring.data.schema import ColumnRule, Schema
from mainspring.data.table import read_columns
from mainspring.pipeline.context import PipelineContext
from mainspring.pipeline.executor import Executor
from mainspring.pipeline.mapped import map as map_step
from mainspring.pipeline.step import pipeline, step
from mainspring.store.sqlite import SqliteStore

SCHEMA = Schema({"hour": ColumnRule("number", max=20), "carrier": ColumnRule("string", categories=("AA", "DL"))})


@step
def look(part: str, reference: dict[str, Any]) -> dict[str, Any]:
    """Count one partition into the bins of the reference, and the rows that break each rule."""
    checked = check_table(Path(part), SCHEMA)
    return {
        "counts": count(Profile.from_json(reference), read_columns(Path(part))).to_json(),
        "rows": checked.n_rows,
        "broken": {f"{each.column} {each.rule}": each.count for each in checked.violations},
    }


@step
def add_up(looks: list[dict[str, Any]]) -> dict[str, Any]:
    """Add the partitions up."""
    first, *others = (Counts.from_json(each["counts"]) for each in looks)
    for each in others:
        first = merge(first, each)
    rules = sorted({rule for each in looks for rule in each["broken"]})
    broken = {rule: sum(each["broken"].get(rule, 0) for each in looks) for rule in rules}
    return {"counts": first.to_json(), "rows": sum(each["rows"] for each in looks), "broken": broken}


@pipeline
def by_partition(parts: list[str], reference: dict[str, Any]) -> dict[str, Any]:
    return add_up(map_step(look, parts, reference=reference))


def assert_partitions_give_the_whole(executor: Executor, folder: Path) -> None:
    """Do it on `executor`, of a reference that is the first partition, and compare with the whole file."""
    rows = "SELECT i, (i * 7) % 24 AS hour, ['AA', 'DL', 'UA'][1 + i % 3] AS carrier FROM range(5000) t(i)"
    parts = []
    for number in range(4):
        parts.append(folder / f"part-{number}.parquet")
        duckdb.sql(f"COPY (SELECT * EXCLUDE (i) FROM ({rows}) WHERE i % 4 = {number}) TO '{parts[-1]}'")
    whole = folder / "whole.parquet"
    duckdb.sql(f"COPY (SELECT * EXCLUDE (i) FROM ({rows}) WHERE i % 4 >= 0) TO '{whole}'")
    reference = profile(read_columns(parts[0]))
    store = SqliteStore(folder / "partitions.sqlite")
    context = PipelineContext(store, LocalArtifactStore(folder / "partitions"), executor=executor)
    found = by_partition.run(context, [str(each) for each in parts], reference.to_json()).value
    store.close()
    assert found == look.function(str(whole), reference.to_json())
    assert found["rows"] == 5000
    assert found["broken"]["carrier categories"] == 1666
