#!/usr/bin/env python3
"""Large hostile files before each command that reads one: read, or refused with a clear error, in little memory.

    .venv/bin/python benchmarks/hostile_files.py [--mb 1000] [--cap-mb 2000] [--json]

A line of a gigabyte, in CSV, in JSON lines and packed a thousandfold; a heading of as much; a file of gigabytes that
swells out of a few megabytes; ten thousand columns. Each command is a process of its own which may not have more
writable memory than the cap (RLIMIT_DATA). What is a table must be read, or refused because the memory is too little;
what is none must be refused. A refusal ends with 2 or 3, names the file, shows no trace and is short. The smaller
animals are in `tests/data/test_zoo.py`. The exit code is 1 when one got out.
"""

import argparse
import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

SCHEMA = "zoo.schema.yaml"
COMMANDS = (
    ("profile",),
    ("schema",),
    ("personal",),
    ("check", SCHEMA),
    ("clean", SCHEMA, "--name", "cleaned"),
    ("add", "--name", "added"),
)
LONGEST_MESSAGE = 2500
Write = Callable[[IO[bytes], int], None]


def one_text(head: bytes, tail: bytes) -> Write:
    """Return what writes a text of so many bytes between `head` and `tail`."""

    def write(file: IO[bytes], size: int) -> None:
        file.write(head)
        for _ in range(size >> 20):
            file.write(b"x" * (1 << 20))
        file.write(tail)

    return write


CELL, RECORD = one_text(b"a,b\n1,", b"\n2,y\n"), one_text(b'{"a": 1, "b": "', b'"}\n')


def many_rows(file: IO[bytes], size: int) -> None:
    """Write a CSV file of small rows that swells to four times `size`."""
    file.write(b"a,b\n")
    rows = (b"0," + b"x" * 253 + b"\n") * (1 << 12)
    for _ in range(4 * size >> 20):
        file.write(rows)


def many_columns(file: IO[bytes], size: int) -> None:
    """Write a CSV file of ten thousand columns, as many rows as make up a tenth of `size`."""
    columns = 10_000
    file.write(",".join(["a", *(f"c{n}" for n in range(1, columns))]).encode() + b"\n")
    row = ",".join(str(n % 97) for n in range(columns)).encode() + b"\n"
    for _ in range(size // 10 // len(row)):
        file.write(row)


#: What is made: the name to who writes it, and whether it is a table.
ZOO: dict[str, tuple[Write, bool]] = {
    "line.csv": (CELL, False),
    "line.csv.gz": (CELL, False),
    "line.jsonl": (RECORD, False),
    "line.jsonl.gz": (RECORD, False),
    "heading.csv": (one_text(b"a,", b"\n1,2\n"), False),
    "swelling.csv.gz": (many_rows, True),
    "wide.csv": (many_columns, True),
}


def ask(words: list[str], folder: Path, cap_mb: int) -> tuple[int, str, int]:
    """Run `mainspring data` under the cap; return its exit code, what it said and the most memory it had, in MB."""

    def capped() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (cap_mb << 20, cap_mb << 20))

    command = [Path(sys.executable).parent / "mainspring", "data", *words]
    environment = os.environ | {"MAINSPRING_HOME": str(folder / "home"), "MAINSPRING_MEMORY": f"{cap_mb // 2}MB"}
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          preexec_fn=capped) as process:  # fmt: skip
        assert process.stdout is not None
        told = process.stdout.read().decode(errors="replace")
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, told, used.ru_maxrss // 1024


def escaped(name: str, code: int, told: str, *, is_read: bool) -> str:
    """Return what is wrong with an answer, or nothing."""
    if code not in ((0, 3) if is_read else (2, 3)):
        return f"ended with {code}"
    if is_read and code and "memory" not in told:
        return "does not say that the memory is too little"
    if "Traceback" in told or "Internal error" in told:
        return "shows a trace"
    if code and name not in told:
        return "does not name the file"
    return "says too much" if code and len(told) > LONGEST_MESSAGE else ""


def visit(folder: Path, size: int, cap_mb: int) -> Iterator[dict[str, object]]:
    """Make one file after the other and yield what each command did with it."""
    (folder / SCHEMA).write_text("columns:\n  a: {type: any, nullable: true}\nrows: {min: 1}\n")
    for name, (write, is_read) in ZOO.items():
        path = folder / name
        with gzip.open(path, "wb", 6) if path.suffix == ".gz" else path.open("wb") as file:
            write(file, size)  # type: ignore[arg-type]  # a gzip file takes bytes as well
        for command, *options in COMMANDS:
            code, told, peak = ask([command, name, *options], folder, cap_mb)
            wrong = escaped(name, code, told, is_read=is_read)
            first = next((line for line in told.splitlines() if line.startswith("Error")), "")
            yield {"file": name, "mb": path.stat().st_size >> 20, "command": command, "code": code, "peak_mb": peak,
                   "wrong": wrong, "said": first[:150]}  # fmt: skip
        path.unlink()


def main() -> int:
    """Visit the zoo and return 1 when something got out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--mb", type=int, default=1000, help="megabytes of a line; of fewer than 50 the engine reads some"
    )
    parser.add_argument("--cap-mb", type=int, default=2000, help="writable memory that a command may have")
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each command")
    given = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as scratch:
        for each in visit(Path(scratch), given.mb << 20, given.cap_mb):
            wrong += bool(each["wrong"])
            if given.json:
                print(json.dumps(each), flush=True)
            else:
                verdict = f"WRONG: {each['wrong']}" if each["wrong"] else "refused" if each["code"] else "read"
                head = f"{each['file']:16} {each['mb']:>5} MB  {each['command']:9} {verdict:9}"
                said = each["said"] if each["code"] else ""
                print(f"{head} peak {each['peak_mb']:>5} MB  {said}".rstrip(), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
