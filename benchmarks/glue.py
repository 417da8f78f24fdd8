"""What one whole loop costs: CPU seconds, disk and lines of user code, on the flights data.

    python benchmarks/glue.py [--fast]

The program that teams write today from seven tools needs 118 CPU seconds, 952 MB of packages and 223 lines for one
loop on 20,190 rows (measured elsewhere, on a machine of the same kind; this script does not run it). Ours is measured
here: the whole demo, from raw files to the second incident closed, in a process of its own.
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

GLUE_CPU_SECONDS = 118.0
GLUE_PACKAGES_MB = 952.0
GLUE_LINES = 223


def main() -> int:
    """Run the demo once and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--fast", action="store_true", help="on a sixth of the flights")
    fast = parser.parse_args().fast
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / "demo"
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        words = ["demo", "--home", str(home), *(["--fast"] if fast else [])]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MAINSPRING_")}
        done = subprocess.run(
            [sys.executable, "-m", "mainspring", *words], capture_output=True, text=True, env=environment
        )
        wall = time.monotonic() - started
        if done.returncode != 0:
            print(done.stdout, done.stderr, file=sys.stderr)
            return 1
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        answers = re.search(r"([\d,]+) answers", done.stdout)
        lines = _code_lines(home / "loop.py")
        workspace_mb = _megabytes(home / ".mainspring")
    packages_mb, packages = _installed()
    rows = [
        ("CPU seconds, the whole run", cpu, GLUE_CPU_SECONDS, "s"),
        ("packages on disk", packages_mb, GLUE_PACKAGES_MB, "MB"),
        ("lines of user code", float(lines), float(GLUE_LINES), ""),
    ]
    print(f"{'':32}{'Mainspring':>12}{'glue stack':>12}{'ratio':>9}")
    for name, ours, theirs, unit in rows:
        print(f"{name:32}{ours:>9.0f} {unit:<2}{theirs:>9.0f} {unit:<2}{ours / theirs:>8.2f}x")
    print(f"\n{packages} packages; workspace {workspace_mb:.0f} MB; {wall:.0f} s of wall time on this machine, now")
    print(f"In that time: {answers[1] if answers else '?'} live predictions over HTTP, two trainings, two incidents.")
    return 0


def _code_lines(path: Path) -> int:
    return sum(1 for line in path.read_text().splitlines() if line.strip())


def _megabytes(folder: Path) -> float:
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file()) / 1e6


def _installed() -> tuple[float, int]:
    """Return the size without bytecode, and the number, of what `mainspring[demo]` pulls in."""
    from packaging.requirements import Requirement  # comes with scikit-learn's tools

    found: dict[str, metadata.Distribution] = {}
    wanted = [("mainspring", frozenset({"demo", "ml"}))]
    while wanted:
        name, extras = wanted.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue
        found[key] = distribution = metadata.distribution(name)
        for text in distribution.requires or []:
            requirement = Requirement(text)
            marked = requirement.marker
            if marked is None or any(marked.evaluate({"extra": extra}) for extra in (*extras, "")):
                wanted.append((requirement.name, frozenset(requirement.extras)))
    size = 0
    for distribution in found.values():
        for file in distribution.files or []:
            path = Path(str(file.locate()))
            if path.suffix != ".pyc" and path.is_file():
                size += path.stat().st_size
    return size / 1e6, len(found)


if __name__ == "__main__":
    sys.exit(main())
