#!/usr/bin/env python3
"""Ten checks on a Parquet file beside Pandera (on polars) and Great Expectations (on pandas), each in its own process.

Each peer lives in an environment of its own below --peers, made at the first call. A process reads and checks the file;
CPU seconds (user and system, all threads) are told for both together, without imports, and the most memory that the
process had. Two faults are planted, and what each finds is printed. Times are given as ratios.

    .venv/bin/python benchmarks/data.py --peers FOLDER [--rows N] [--rounds N] [--json]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb

HEAD = """
import json, resource, sys
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
path = sys.argv[1]
"""
TAIL = """
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"cpu": cpu() - start, "peak_mb": peak, "base_mb": base, "found": sorted(found)}))
"""
# the threads that imports have started (of NumPy's library for matrices) spin for a while, which is no part of the work
START = """
import time
time.sleep(0.3)
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
start = cpu()
"""
# three not missing, three ranges, two lists of values, one share of missing values, one mean
OURS = (
    """
from pathlib import Path
from mainspring.data.checks import check_table
from mainspring.data.schema import ColumnRule, Rule, Schema
letters, codes = tuple("abcdefgh"), tuple(f"C{n}" for n in range(20))
schema = Schema({
    "n0": ColumnRule("number", min=-10, max=10), "n1": ColumnRule("number", min=-10, max=10),
    "n2": ColumnRule("number", min=-10, max=10), "s0": ColumnRule("string", nullable=True, categories=letters),
    "s1": ColumnRule("string", nullable=True, categories=codes),
    "n3": ColumnRule("number", most_missing=0.1),
}, rules=(Rule("mean", "table", expression="avg(n4) BETWEEN -0.1 AND 0.1"),))
"""
    + START
    + """
found = {each.column or each.rule for each in check_table(Path(path), schema).violations}
"""
)
# the least that any of them can do: one engine made, the columns read and summed, nothing checked
LIMIT = (
    "import duckdb\n"
    + START
    + """
columns = "sum(n0), sum(n1), sum(n2), count(s0), count(s1), sum(n3), sum(n4)"
duckdb.connect().execute(f"SELECT {columns} FROM read_parquet('{path}')").fetchall()
found = set()
"""
)
PANDERA = (
    """
import polars as pl, pandera.polars as pa
letters, codes = list("abcdefgh"), [f"C{n}" for n in range(20)]
share = pa.Check(lambda data: data.lazyframe.select(pl.col(data.key).is_null().mean() <= 0.1), ignore_na=False)
mean = pa.Check(lambda data: data.lazyframe.select(pl.col(data.key).mean().is_between(-0.1, 0.1)))
number = lambda: pa.Column(float, pa.Check.in_range(-10, 10))
schema = pa.DataFrameSchema({
    "n0": number(), "n1": number(), "n2": number(), "s0": pa.Column(str, pa.Check.isin(letters), nullable=True),
    "s1": pa.Column(str, pa.Check.isin(codes), nullable=True), "n3": pa.Column(float, share, nullable=True),
    "n4": pa.Column(float, mean, nullable=True),
})
"""
    + START
    + """
try:
    schema.validate(pl.read_parquet(path), lazy=True)
    found = set()
except pa.errors.SchemaErrors as error:
    found = {each.schema.name for each in error.schema_errors}
"""
)
GREAT = (
    """
import pandas as pd, great_expectations as gx, great_expectations.expectations as gxe
letters, codes = list("abcdefgh"), [f"C{n}" for n in range(20)]
context = gx.get_context(mode="ephemeral")
context.variables.progress_bars = {"globally": False}
suite = gx.ExpectationSuite(name="s", expectations=[
    *(gxe.ExpectColumnValuesToNotBeNull(column=f"n{n}") for n in range(3)),
    *(gxe.ExpectColumnValuesToBeBetween(column=f"n{n}", min_value=-10, max_value=10) for n in range(3)),
    gxe.ExpectColumnValuesToBeInSet(column="s0", value_set=letters),
    gxe.ExpectColumnValuesToBeInSet(column="s1", value_set=codes),
    gxe.ExpectColumnValuesToNotBeNull(column="n3", mostly=0.9),
    gxe.ExpectColumnMeanToBeBetween(column="n4", min_value=-0.1, max_value=0.1),
])
batch = context.data_sources.add_pandas("p").add_dataframe_asset("a").add_batch_definition_whole_dataframe("b")
"""
    + START
    + """
result = batch.get_batch(batch_parameters={"dataframe": pd.read_parquet(path)}).validate(suite)
found = {each.expectation_config.kwargs["column"] for each in result.results if not each.success}
"""
)
PEERS = {"pandera": ("pandera[polars]", PANDERA), "great-expectations": ("great-expectations pyarrow", GREAT)}


def make_table(path: Path, rows: int) -> None:
    """Write the table: eight columns of numbers, two of texts, and a fault in n1 and one in s1."""
    normal = "sqrt(-2 * ln(1 - random())) * cos(6.283185307 * random())"
    numbers = [f"{normal} AS n{n}" for n in range(8)]
    numbers[1] = f"CASE WHEN i = {rows // 2} THEN 99 ELSE {normal} END AS n1"
    numbers[3] = f"CASE WHEN random() < 0.05 THEN NULL ELSE {normal} END AS n3"
    texts = [
        "chr(97 + CAST(floor(random() * 8) AS INT)) AS s0",
        f"CASE WHEN i = {rows // 3} THEN 'ZZ' ELSE 'C' || CAST(floor(random() * 20) AS INT) END AS s1",
    ]
    with duckdb.connect() as connection:
        connection.execute("SELECT setseed(0.5)")
        query = f"SELECT {', '.join([*numbers, *texts])} FROM range({rows}) AS t(i)"
        connection.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")


def environment(folder: Path, name: str, packages: str) -> str:
    """Return the interpreter of a peer's environment, made if it is not there yet."""
    python = folder / name / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder / name], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages.split()], check=True, stdout=sys.stderr)
    return str(python)


def measure(python: str, code: str, path: Path) -> dict[str, object]:
    """Run one contender in a process of its own and return what it told."""
    done = subprocess.run([python, "-c", HEAD + code + TAIL, path], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> int:
    """Measure in turns, print ratios to Mainspring, and return 1 when a budget is not kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", type=Path, required=True, help="folder for the peers' environments")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    given = parser.parse_args()
    contenders = {"mainspring": (sys.executable, OURS), "reading alone": (sys.executable, LIMIT)}
    for name, (packages, code) in PEERS.items():
        contenders[name] = (environment(given.peers, name, packages), code)
    told: dict[str, list[dict[str, object]]] = {name: [] for name in contenders}
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "table.parquet"
        make_table(path, given.rows)
        for _ in range(given.rounds):
            for name, (python, code) in contenders.items():
                told[name].append(measure(python, code, path))
    figures = {}
    for name, each in told.items():
        figures[name] = {
            "cpu": round(statistics.median(float(str(one["cpu"])) for one in each), 4),
            "peak_mb": round(max(float(str(one["peak_mb"])) for one in each)),
            "grown_mb": round(max(float(str(one["peak_mb"])) - float(str(one["base_mb"])) for one in each)),
            "found": each[0]["found"],
        }
    ratios = {
        name: round(float(str(figures[name]["cpu"])) / float(str(figures["mainspring"]["cpu"])), 2) for name in figures
    }
    kept = ratios["pandera"] >= 1 and ratios["great-expectations"] >= 30
    if given.json:
        print(json.dumps({"rows": given.rows, "figures": figures, "ratios": ratios, "kept": kept}))
    else:
        print(f"10 checks, {given.rows:,} rows of Parquet, reading included; CPU as multiples of Mainspring's")
        for name, each in figures.items():
            memory = f"peak {each['peak_mb']} MB (grew {each['grown_mb']})"
            print(f"{name:20} {ratios[name]:8.2f}  {memory}, found {each['found']}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
