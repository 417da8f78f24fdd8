#!/usr/bin/env python3
"""Tables several times larger than memory: profiled, checked, joined as-of, split by time and scored under a cap.

    .venv/bin/python benchmarks/size.py [--gb 0.5] [--csv-gb 0.1] [--cap-mb 2000] [--memory 700MB]
        [--folder F] [--keep] [--steps ...]

`--gb` is the size that the rows have as CSV, which is measured on 200,000 of them; they lie there as Parquet, several
times smaller, and hold the same values. With `--csv-gb` a CSV file of that many bytes is profiled, checked and split as
well. Every step is the real command in a process group of its own. The cap is hard twice over: the kernel lets no
process have more than that of writable memory of its own (RLIMIT_DATA), and the resident memory of the whole group,
added up every 100 ms with shared pages counted in each process, ends the step when it is above.

Every value is a function of the row's number, so what must come out is known without reading a row: counts, sums,
orphans and each partner of the join, borders of the split. Planted faults must be told to the row. One join and one
check are killed in the middle first: nothing may be torn, and nothing of theirs may be left after the next call. Data
that is there with --folder is not made again, so with --keep the --steps may be done one by one; without --keep all of
it is removed in the end.
"""

import argparse
import json
import math
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mainspring.bundle.format import write_bundle
from mainspring.bundle.predictor import load_bundle
from mainspring.domain.signature import Column, Signature

STATIONS, HOURS = 50, 8760
YEAR_US = HOURS * 3600 * 10**6
#: Of each numeric column the factor and the modulus of its values, which are primes: (i * factor) % modulus / 100.
NUMBERS = {f"x{at}": pair for at, pair in enumerate(
    [(7919, 9973), (104729, 9967), (1299709, 9949), (15485863, 9941), (32452843, 9931), (49979687, 9929),
     (67867967, 9923), (86028121, 9907), (104395301, 9901), (122949823, 9887), (141650939, 9883), (160481183, 9871)]
)}  # fmt: skip
FEATURES, TEXTS = [*NUMBERS, "temp"], ["station", "kind"]
#: Every so many rows x3 is missing; in so many x5 is below zero, which the schema forbids.
GAP, FAULT = 10, 1_000_003
#: Bytes that are left free on the disk at every moment.
SPARE_BYTES = 12 << 30
SCHEMA = """
columns:
  id: {type: integer, min: 0, unique: true}
  at: {type: timestamp}
  station: {type: string, pattern: "S[0-9]{2}"}
  kind: {type: string, categories: [kind-0, kind-1, kind-2, kind-3, kind-4, kind-5, kind-6]}
  x3: {type: number, most_missing: 0.11}
  x5: {type: number, min: 0}
rules:
  adds_up: {row: "x0 + x1 < 200"}
  known: {columns: [station], found_in: stations}
"""


@dataclass
class Step:
    """What a command did: its exit code, what it said, and what it took."""

    code: int
    out: str
    err: str
    seconds: float
    cpu: float
    peak: int = 0
    spilled: int = 0
    killed: str = ""


@dataclass
class Bench:
    """The folder, the caps, and what has been found wrong."""

    folder: Path
    cap: int
    memory: str
    rows: int
    wrong: list[str] = field(default_factory=list)

    def expect(self, holds: object, what: str) -> None:
        if not holds:
            self.wrong.append(what)
            print(f"  WRONG: {what}", flush=True)

    def run(self, *words: object, kill_when: Any = None) -> Step:
        """Run a command under the cap; `kill_when` says, 10 times a second, whether it is to be killed now."""
        free = shutil.disk_usage(self.folder).free
        if free < SPARE_BYTES:
            sys.exit(f"only {free / 1e9:.0f} GB are free on the disk: stopping before {words[:3]}")
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        environment = os.environ | {"MAINSPRING_HOME": str(home), "MAINSPRING_MEMORY": self.memory}
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("mainspring")), *map(str, words)],
            cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (self.cap, self.cap)),
        )  # fmt: skip
        step = Step(0, "", "", 0, 0)
        watch = threading.Thread(target=self._watch, args=(process, step, kill_when), daemon=True)
        watch.start()
        step.out, step.err = process.communicate()
        watch.join()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        step.code, step.seconds = process.returncode, time.monotonic() - began
        step.cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return step

    def _watch(self, process: "subprocess.Popen[str]", step: Step, kill_when: Any) -> None:
        while process.poll() is None:
            step.peak = max(step.peak, group_bytes(process.pid))
            step.spilled = max(step.spilled, tree_bytes(self.folder / "home", "mainspring-scratch-*"))
            if step.peak > self.cap:
                step.killed = "above the cap"
            elif kill_when is not None and kill_when():
                step.killed = "as wanted"
            elif shutil.disk_usage(self.folder).free < SPARE_BYTES:
                step.killed = "the disk is nearly full"
            if step.killed:
                os.killpg(process.pid, signal.SIGKILL)
                return
            time.sleep(0.1)

    def tell(self, what: str, step: Step, rows: int) -> None:
        """Print what a step took, and check that it told how far it was."""
        told = [line.strip() for line in step.err.splitlines() if re.search(r": +\d+% of", line)]
        print(
            f"{what:28} {step.seconds:7.1f} s {step.cpu:7.1f} s CPU  {rows / step.seconds / 1e6:6.2f} M rows/s"
            f"  peak {step.peak / 1e6:5.0f} MB  spilled {step.spilled / 1e6:6.0f} MB  {len(told)} lines of progress",
            flush=True,
        )
        if told:
            print(f"{'':28} {told[len(told) // 2]}", flush=True)
        self.expect(not step.killed, f"{what}: killed, {step.killed}")
        self.expect(step.seconds < 15 or told, f"{what}: took {step.seconds:.0f} s and told no progress")

    def ask(self, sql: str) -> Any:
        with duckdb.connect(
            config={"memory_limit": "1GB", "temp_directory": str(self.folder / "asking")}
        ) as connection:
            return connection.execute(sql).fetchall()[0]


def group_bytes(group: int) -> int:
    """Return the resident memory of all processes of a group."""
    total = 0
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                fields = (each / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == group:
                    total += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
            except (OSError, IndexError, ValueError):
                continue
    return total


def tree_bytes(root: Path, pattern: str) -> int:
    """Return the bytes on disk of the files in folders that match."""
    total = 0
    for each in root.glob(f"{pattern}/**/*"):
        try:
            total += each.stat().st_blocks * 512
        except OSError:
            continue
    return total


def spread(rows: int) -> int:
    """Return a factor that puts 0 to rows - 1 into another order."""
    return next(each for each in (611_953, 746_773, 882_377) if math.gcd(each, rows) == 1)


def rows_sql(rows: int, first: int = 0, count: int | None = None) -> str:
    """Return the generated rows as SQL; each is a function of its number i."""
    numbers = ", ".join(
        f"CASE WHEN i % {GAP} = 0 THEN NULL ELSE {value} END AS {name}" if name == "x3"
        else f"CASE WHEN i % {FAULT} = 7 THEN -1 ELSE {value} END AS {name}" if name == "x5"
        else f"{value} AS {name}"
        for name, (factor, modulus) in NUMBERS.items()
        for value in [f"((i * {factor}) % {modulus}) / 100.0::DOUBLE"]
    )  # fmt: skip
    return (
        f"SELECT i AS id, TIMESTAMP '2013-01-01' + to_microseconds((i * {spread(rows)}) % {rows}"
        f" * {YEAR_US // rows}) AS at,"
        f" 'S' || lpad((i % {STATIONS})::VARCHAR, 2, '0') AS station, 'kind-' || (i * 31) % 7 AS kind, {numbers},"
        f" (i * 7919) % 9973 > 4900 AS y, 'a note of row group ' || (i * 13) % 1009 || ', as people write them' AS note"
        f" FROM range({first}, {first + (rows if count is None else count)}) t(i)"
    )


def sum_of(name: str, rows: int) -> float:
    """Return the sum of a numeric column without faults and gaps: whole cycles, and the rest."""
    factor, modulus = NUMBERS[name]
    whole, rest = divmod(rows, modulus)
    return (whole * modulus * (modulus - 1) // 2 + int((np.arange(rest) * factor % modulus).sum())) / 100


def make(bench: Bench) -> None:
    """Write the tables, unless they are there."""
    marker = bench.folder / "made.json"
    wanted = json.dumps({"rows": bench.rows})
    if marker.is_file() and marker.read_text() == wanted:
        return
    began = time.monotonic()
    with duckdb.connect(config={"memory_limit": "1GB", "temp_directory": str(bench.folder / "asking")}) as connection:
        connection.execute(f"COPY ({rows_sql(bench.rows)}) TO '{bench.folder / 'rows.parquet'}'")
        connection.execute(
            f"COPY (SELECT 'S' || lpad(s::VARCHAR, 2, '0') AS station, TIMESTAMP '2013-01-01' + to_hours(h) AS seen_at,"
            f" (s * {HOURS} + h)::DOUBLE AS temp, (h % 37)::DOUBLE AS wind"
            f" FROM range({STATIONS}) a(s), range({HOURS}) b(h) ORDER BY hash(s * {HOURS} + h))"
            f" TO '{bench.folder / 'weather.csv'}'"
        )
        connection.execute(
            f"COPY (SELECT 'S' || lpad(s::VARCHAR, 2, '0') AS station FROM range({STATIONS}) a(s))"
            f" TO '{bench.folder / 'stations.csv'}'"
        )
    (bench.folder / "rows.schema.yaml").write_text(SCHEMA)
    marker.write_text(wanted)
    print(f"made in {time.monotonic() - began:.0f} s", flush=True)


def bytes_a_row(rows: int, folder: Path) -> float:
    """Return the bytes that a row has as CSV, by 200,000 of them."""
    path = folder / "sample.csv"
    count = min(rows, 200_000)
    duckdb.sql(f"COPY ({rows_sql(rows, rows // 2, count)}) TO '{path}' (HEADER)")
    size = path.stat().st_size / count
    path.unlink()
    return size


def profile(bench: Bench, file: str, rows: int) -> None:
    """Profile a file and compare with what must come out."""
    step = bench.run("data", "profile", file, "--target", "y", "--json")
    bench.tell(f"profile {file}", step, rows)
    if step.code != 0:
        bench.expect(False, f"profile: {step.code} {step.err[-500:]}")
        return
    told = json.loads(step.out)
    columns = {each["name"]: each for each in told["columns"]}
    bench.expect(told["rows"] == rows, f"profile: {told['rows']} rows")
    bench.expect(columns["x3"]["missing"] == -(-rows // GAP), "profile: missing values of x3")
    mean = columns["x0"]["mean"]
    bench.expect(math.isclose(mean, sum_of("x0", rows) / rows, rel_tol=1e-9), f"profile: mean of x0 {mean}")
    bench.expect(sum(columns["x1"]["bins"]) == rows, "profile: bins of x1 add up")


def check(bench: Bench, file: str, rows: int) -> None:
    """Check a file; of its faults every one is told, and nothing else."""
    words = ("data", "check", file, "rows.schema.yaml", "--with", "stations=stations.csv", "--json")
    if file.endswith(".parquet"):
        spilling = lambda: tree_bytes(bench.folder / "home", "mainspring-scratch-*") > 1 << 20  # noqa: E731
        killed = bench.run(*words, kill_when=spilling)
        left = list((bench.folder / "home").glob("mainspring-scratch-*"))
        print(
            f"{'':28} a check is killed while it spills: {killed.killed or 'it spilled nothing'}; it left {len(left)}"
        )
    step = bench.run(*words)
    bench.tell(f"check {file}", step, rows)
    bench.expect(not list((bench.folder / "home").glob("mainspring-scratch-*")), "check: something is left on the disk")
    faults = len(range(7, rows, FAULT))
    bench.expect(step.code == (1 if faults else 0), f"check: exit code {step.code}: {step.err[-500:]}")
    if step.code in (0, 1):
        found = {f"{each['column']} {each['rule']}": each["count"] for each in json.loads(step.out)}
        bench.expect(found == ({"x5 min": faults} if faults else {}), f"check: {found} where {faults} are planted")


def join(bench: Bench) -> None:
    """Join as-of, once with a kill in the middle, and look at the partner of every row."""
    target, parts = bench.folder / "joined.parquet", bench.folder / ".joined.parquet.parts"
    target.unlink(missing_ok=True)
    words = ("data", "join", "rows.parquet", "weather.csv", target, "--on", "station", "--left-time", "at",
             "--right-time", "seen_at", "--delay", "1h", "--json")  # fmt: skip
    killed = bench.run(*words, kill_when=lambda: parts.is_dir() and any(parts.glob("0*.parquet")))
    bench.expect(killed.killed == "as wanted", f"join: it was to be killed: {killed.err[-300:]}")
    bench.expect(not target.exists(), "join: a killed one left a target")
    print(f"{'':28} a join is killed in the middle: no target, {len(list(parts.iterdir()))} files of its own")
    step = bench.run(*words)
    bench.tell("join as-of", step, bench.rows)
    bench.expect(step.code == 0, f"join: {step.code} {step.err[-500:]}")
    bench.expect(not parts.exists(), "join: parts are left")
    orphans = min(bench.rows, -(-3600 * 10**6 // (YEAR_US // bench.rows)))
    account = {"rows": bench.rows, "matched": bench.rows - orphans, "orphans": orphans, "duplicates": 0}
    bench.expect(json.loads(step.out or "{}") == account, f"join: {step.out} where {account} is right")
    rows, ids, lost, wrong = bench.ask(
        f"SELECT count(*), sum(id), count_if(temp IS NULL), count_if(temp IS DISTINCT FROM CASE WHEN hour >= 0 THEN"
        f" substr(station, 2)::INT * {HOURS} + hour END) FROM (SELECT *,"
        f" epoch_us(\"at\" - TIMESTAMP '2013-01-01') // 3600000000 - 1 AS hour FROM '{target}')"
    )
    right = (bench.rows, bench.rows * (bench.rows - 1) // 2, orphans, 0)
    said = f"join: {rows} rows, sum of ids {ids}, {lost} without a partner, {wrong} with a wrong one"
    bench.expect((rows, ids, lost, wrong) == right, said)


def split(bench: Bench, file: str, rows: int, into: str) -> None:
    """Split by time; sizes, borders and sums are known."""
    shutil.rmtree(bench.folder / into, ignore_errors=True)
    step = bench.run("data", "split", file, "--time", "at", "--into", into, "--json")
    bench.tell(f"split {file}", step, rows)
    bench.expect(step.code == 0, f"split: {step.code} {step.err[-500:]}")
    test = round(rows * 0.15)
    sizes = {"train": rows - round(rows * 0.3), "validation": round(rows * 0.3) - test, "test": test}
    bench.expect(json.loads(step.out or "{}") == sizes, f"split: {step.out} where {sizes} is right")
    spans = [
        bench.ask(f'SELECT min("at"), max("at"), sum(id)::HUGEINT FROM \'{bench.folder / into / name}.parquet\'')
        for name in sizes
    ]
    bench.expect(spans[0][1] < spans[1][0] and spans[1][1] < spans[2][0], f"split: the parts overlap: {spans}")
    bench.expect(sum(int(each[2]) for each in spans) == rows * (rows - 1) // 2, "split: a row is lost or twice")


def fit(bench: Bench) -> Path:
    """Fit a model on 50,000 rows of the training part."""
    path = bench.folder / "parts" / "train.parquet"
    listed = ", ".join([*FEATURES, *TEXTS, "y"])
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT {listed} FROM '{path}' LIMIT 50000").fetchnumpy()
    frame = pd.DataFrame({name: np.ma.filled(found[name], np.nan) for name in FEATURES})
    for name in TEXTS:
        frame[name] = pd.Series(np.asarray(found[name], object), dtype="str")
    encode = ColumnTransformer(
        [("n", make_pipeline(SimpleImputer(), StandardScaler()), FEATURES),
         ("s", OneHotEncoder(handle_unknown="ignore"), TEXTS)]
    )  # fmt: skip
    target = np.asarray(found["y"]).astype(int)
    model = make_pipeline(encode, LogisticRegression(max_iter=1000)).fit(frame, target)
    columns = tuple(
        Column(each, "string", categories=tuple(sorted(set(frame[each])))) if each in TEXTS
        else Column(each, "number", nullable=each in ("x3", "temp"), low=float(frame[each].min()),
                    high=float(frame[each].max()))
        for each in frame
    )  # fmt: skip
    example = json.loads(frame.head(1).to_json(orient="records"))[0]
    sample = {each: frame[each].to_numpy(object if each in TEXTS else float)[:2000] for each in frame}
    bundle = bench.folder / "bundle"
    shutil.rmtree(bundle, ignore_errors=True)
    write_bundle(bundle, model, Signature(columns, "y", "binary", ("0", "1"), example), name="size", sample=sample)
    return bundle


def score(bench: Bench) -> None:
    """Score every joined row; the first and last 1,000 as the bundle scores them here."""
    bundle = fit(bench)
    target = bench.folder / "scored.parquet"
    step = bench.run("predict", bundle, "joined.parquet", target)
    bench.tell("score", step, bench.rows)
    bench.expect(step.code == 0, f"score: {step.code} {step.err[-500:]}")
    if step.code:
        return
    rows, ids, outside, mixed = bench.ask(
        "SELECT count(*), sum(id), count_if(score IS NULL OR score < 0 OR score > 1),"
        f" count_if((score >= 0.5) <> (label = '1')) FROM '{target}'"
    )
    right = (bench.rows, bench.rows * (bench.rows - 1) // 2, 0, 0)
    said = f"score: {rows} rows, sum of ids {ids}, {outside} that are none, {mixed} with the other label"
    bench.expect((rows, ids, outside, mixed) == right, said)
    predictor = load_bundle(bundle)
    for where in ("id < 1000", f"id >= {bench.rows - 1000}"):
        with duckdb.connect() as connection:
            found = connection.execute(f"SELECT * FROM '{target}' WHERE {where} ORDER BY id").fetchnumpy()
        table = {
            name: np.asarray(found[name], object) if name in TEXTS else np.ma.filled(found[name].astype(float), np.nan)
            for name in predictor.signature.names
        }
        bench.expect(np.array_equal(predictor.predict(table), found["score"]), f"score: other scores where {where}")
    target.unlink()


STEPS = {
    "profile": lambda bench: profile(bench, "rows.parquet", bench.rows),
    "check": lambda bench: check(bench, "rows.parquet", bench.rows),
    "join": join,
    "split": lambda bench: split(bench, "joined.parquet", bench.rows, "parts"),
    "score": score,
}


def main() -> None:
    """Make the rows, do every step, and say what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=0.5)
    parser.add_argument("--csv-gb", type=float, default=0.1)
    parser.add_argument("--cap-mb", type=int, default=2000)
    parser.add_argument("--memory", default="700MB")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--steps", nargs="+", choices=[*STEPS, "csv"], default=[*STEPS, "csv"])
    given = parser.parse_args()
    folder = (given.folder or Path(tempfile.mkdtemp(prefix="mainspring-size-"))).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        each = bytes_a_row(1_000_003, folder)
        rows = int(given.gb * 1e9 / each)
        bench = Bench(folder, given.cap_mb * 10**6, given.memory, rows)
        print(f"{rows:,} rows of {each:.0f} bytes as CSV: {rows * each / 1e9:.1f} GB; cap {given.cap_mb} MB")
        make(bench)
        print(f"as Parquet {(folder / 'rows.parquet').stat().st_size / 1e9:.2f} GB", flush=True)
        for step in given.steps:
            if step != "csv":
                STEPS[step](bench)
            elif given.csv_gb:
                csv(bench, int(given.csv_gb * 1e9 / each))
        print(f"{len(bench.wrong)} things were wrong")
        sys.exit(1 if bench.wrong else 0)
    finally:
        if not given.keep:
            shutil.rmtree(folder, ignore_errors=True)


def csv(bench: Bench, rows: int) -> None:
    """Profile, check and split a CSV file."""
    path = bench.folder / "rows.csv"
    with duckdb.connect(config={"memory_limit": "1GB"}) as connection:
        connection.execute(f"COPY ({rows_sql(rows)}) TO '{path}' (HEADER)")
    print(f"as CSV {path.stat().st_size / 1e9:.2f} GB, {rows:,} rows", flush=True)
    profile(bench, path.name, rows)
    check(bench, path.name, rows)
    split(bench, path.name, rows, "csv-parts")
    shutil.rmtree(bench.folder / "csv-parts", ignore_errors=True)
    path.unlink()


if __name__ == "__main__":
    main()
