#!/usr/bin/env python3
"""Versions of files beside DVC: many small files, one large file, and edited versions of a table.

Each step is a whole process of the command line, DVC's from an environment of its own below --peers, made at the first
call. CPU seconds (user and system) are taken per process, the median of --rounds; for what changes the store (the
first add) and for checkouts each round begins anew. Peer over ours, so above 1 we take less. Times are ratios.

    .venv/bin/python benchmarks/versions.py --peers FOLDER [--files N] [--large-mb N] [--rounds N] [--json]
"""

import argparse
import csv
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

DVC = "dvc==3.67.1"
STEPS = ("add", "status", "re-add", "checkout")


class Tool:
    """One of the two: its commands, and where it keeps what it was given."""

    def __init__(self, name: str, program: Path, folder: Path) -> None:
        self.name = name
        self.program = program
        self.folder = folder
        self.kept = folder / (".dvc/cache" if name == "dvc" else ".mainspring/artifacts")
        self.environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        self.environment |= {"MAINSPRING_HOME": str(folder / ".mainspring"), "DVC_NO_ANALYTICS": "1"}

    def begin(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        if self.name == "dvc":
            subprocess.run(["git", "init", "-q"], cwd=self.folder, check=True)
            self.run("init", "-q")

    def run(self, *words: str) -> float:
        """Run a command and return the CPU seconds it took."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [self.program, *words], cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode != 0:
            sys.exit(f"{self.name} {' '.join(words)}: {done.stdout}{done.stderr}")
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def step(self, step: str, what: str) -> float:
        if step in ("add", "re-add"):
            return self.run("add", what) if self.name == "dvc" else self.run("data", "add", what, "--pin")
        if step == "status":
            return self.run("status") if self.name == "dvc" else self.run("data", "status")
        place = self.folder / what
        shutil.rmtree(place) if place.is_dir() else place.unlink()
        return self.run("checkout", what) if self.name == "dvc" else self.run("data", "checkout", f"{what}.pin")

    def kept_bytes(self) -> int:
        return sum(each.stat().st_size for each in self.kept.rglob("*") if each.is_file())


def steps(tools: list[Tool], make: Callable[[Path], None], what: str, rounds: int) -> dict[str, dict[str, float]]:
    """Return step -> tool -> median CPU seconds; the tools take turns."""
    taken: dict[str, dict[str, list[float]]] = {step: {tool.name: [] for tool in tools} for step in STEPS}
    for _ in range(rounds):
        for tool in tools:
            tool.begin()
            make(tool.folder / what)
        for step in STEPS:
            for tool in tools:
                taken[step][tool.name].append(tool.step(step, what))
    return {step: {name: statistics.median(each) for name, each in found.items()} for step, found in taken.items()}


def small_files(count: int) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        rng = random.Random(0)
        for number in range(count):
            place = folder / f"{number % 100:02d}"
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{number:06d}.bin").write_bytes(rng.randbytes(2000))

    return make


def large_file(megabytes: int) -> Callable[[Path], None]:
    def make(file: Path) -> None:
        rng = random.Random(0)
        with file.open("wb") as stream:
            for _ in range(megabytes):
                stream.write(rng.randbytes(1 << 20))

    return make


def table_versions(rows: int) -> list[list[list[object]]]:
    """Five versions of a table: as it began, 1 % appended, 100 cells edited, 0.5 % deleted, a column refilled."""
    rng = random.Random(0)

    def row(number: int) -> list[object]:
        return [
            number,
            rng.choice("ABCDEFGH"),
            round(rng.gauss(0, 1), 6),
            round(rng.gauss(5, 2), 6),
            rng.randrange(1000),
        ]

    first = [row(number) for number in range(rows)]
    second = first + [row(rows + number) for number in range(rows // 100)]
    third = [list(each) for each in second]
    for at in rng.sample(range(len(third)), 100):
        third[at][2] = round(rng.gauss(0, 1), 6)
    gone = set(rng.sample(range(len(third)), rows // 200))
    fourth = [each for at, each in enumerate(third) if at not in gone]
    fifth = [[*each[:4], rng.randrange(1000) if rng.random() < 0.05 else each[4]] for each in fourth]
    return [first, second, third, fourth, fifth]


def space(tools: list[Tool], rows: int) -> dict[str, int]:
    """Return tool -> bytes kept for five versions of one CSV file."""
    versions = table_versions(rows)
    for tool in tools:
        tool.begin()
        for version in versions:
            with (tool.folder / "table.csv").open("w", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(["id", "kind", "x", "y", "n"])
                writer.writerows(version)
            tool.step("add", "table.csv")
        if tool.name == "mainspring":
            time.sleep(2)  # beyond the grace
            tool.run("gc", "--grace", "1s")  # each night, where a scheduler runs
    return {tool.name: tool.kept_bytes() for tool in tools}


def peer(folder: Path) -> Path:
    program = folder / "dvc/bin/dvc"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", folder / "dvc"], check=True)
        subprocess.run([folder / "dvc/bin/pip", "install", "-q", DVC], check=True)
    return program


def main() -> None:
    """Run what was asked for and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--large-mb", type=int, default=2048)
    parser.add_argument("--table-rows", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    program = peer(given.peers.absolute())
    with tempfile.TemporaryDirectory() as scratch:
        ours = Path(sys.executable).with_name("mainspring")
        tools = [Tool("dvc", program, Path(scratch) / "dvc"), Tool("mainspring", ours, Path(scratch) / "ours")]
        told: dict[str, dict[str, float]] = {}
        for kind, make, what, rounds in (
            (f"{given.files} files", small_files(given.files), "many", given.rounds),
            (f"one file of {given.large_mb} MB", large_file(given.large_mb), "large.bin", 1),
        ):
            for step, found in steps(tools, make, what, rounds).items():
                told[f"{step}, {kind}"] = {**found, "ratio": found["dvc"] / found["mainspring"]}
        kept = space(tools, given.table_rows)
        told["space, five versions of a table"] = {**kept, "ratio": kept["dvc"] / kept["mainspring"]}
    if given.json:
        print(json.dumps(told))
        return
    for what, found in told.items():
        print(f"{what:45} DVC / Mainspring {found['ratio']:6.1f}")


if __name__ == "__main__":
    main()
