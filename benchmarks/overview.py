#!/usr/bin/env python3
"""A page about a table beside skrub's and ydata-profiling's: distributions, common values, correlations, gaps.

Each peer lives in an environment of its own below --peers, made at the first call. A process reads a Parquet file of
eight columns of numbers and two of texts and writes an HTML page; CPU seconds (user and system, all threads) are told
without imports, with the most memory that the process had. ydata-profiling runs in its minimal mode, which leaves its
correlations out, and as it comes at no more than --full-rows rows. Times are given as ratios.

    .venv/bin/python benchmarks/overview.py --peers FOLDER [--rows N ...] [--json]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from data import environment, make_table

HEAD = """
import json, resource, sys
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
def peak_mb():
    (peak,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(peak) // 1024
source, page = sys.argv[1:]
"""
TAIL = """
print(json.dumps({"cpu": cpu() - start, "peak_mb": peak_mb()}))
"""
OURS = """
from pathlib import Path
from mainspring.data.overview import overview
from mainspring.data.overview_page import overview_page
start = cpu()
Path(page).write_text(overview_page(overview(Path(source))))
"""
SKRUB = """
import pandas as pd
from skrub import TableReport
start = cpu()
TableReport(pd.read_parquet(source), verbose=0).write_html(page)
"""
YDATA = """
import pandas as pd
from ydata_profiling import ProfileReport
start = cpu()
ProfileReport(pd.read_parquet(source), progress_bar=False, minimal=MINIMAL).to_file(page, silent=True)
"""
PEERS = {
    "skrub": ("skrub", "skrub pandas pyarrow matplotlib", SKRUB),
    "ydata-profiling, minimal": ("ydata", "ydata-profiling pyarrow setuptools<80", YDATA.replace("MINIMAL", "True")),
    "ydata-profiling": ("ydata", "ydata-profiling pyarrow setuptools<80", YDATA.replace("MINIMAL", "False")),
}


def measure(python: str, code: str, source: Path, page: Path) -> dict[str, float]:
    """Run one contender in a process of its own and return what it told; its page has to be there."""
    page.unlink(missing_ok=True)
    done = subprocess.run(
        [python, "-c", HEAD + code + TAIL, source, page], capture_output=True, text=True, check=False, timeout=600
    )
    if done.returncode or not page.exists():
        raise SystemExit(done.stderr[-2000:])
    return {**json.loads(done.stdout.splitlines()[-1]), "page_kb": page.stat().st_size // 1024}


def main() -> int:
    """Measure each once a size, and print ratios to Mainspring."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", type=Path, required=True, help="folder for the peers' environments")
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--full-rows", type=int, default=100_000, help="most rows for ydata-profiling as it comes")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    given = parser.parse_args()
    figures: dict[int, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for rows in given.rows:
            source, page = Path(scratch) / "table.parquet", Path(scratch) / "page.html"
            make_table(source, rows)
            figures[rows] = {"mainspring": measure(sys.executable, OURS, source, page)}
            for name, (folder, packages, code) in PEERS.items():
                if name != "ydata-profiling" or rows <= given.full_rows:
                    python = environment(given.peers, folder, packages)
                    figures[rows][name] = measure(python, code, source, page)
    if given.json:
        print(json.dumps(figures))
        return 0
    for rows, seen in figures.items():
        print(f"{rows:,} rows; CPU as multiples of Mainspring's")
        for name, each in seen.items():
            ratio = each["cpu"] / seen["mainspring"]["cpu"]
            print(f"  {name:26} {ratio:8.1f}  peak {each['peak_mb']:,} MB, page {each['page_kb']:,} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
