#!/usr/bin/env python3
"""What Mainspring weighs before it does anything: the base install, `import mainspring`, `mainspring --help`.

Installs requirements/base.txt into a temporary environment and adds up its files without compiled bytecode; counts
modules; measures CPU time beside `import pandas`, in turns, the median of several fresh processes each. Times are
given as ratios, because machines differ. The exit code is 1 when something is over its budget.

    .venv/bin/python benchmarks/footprint.py [--json] [--skip-install]
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MOST_BYTES = 170_000_000
MOST_MODULES = 60
#: Starting the command line may cost this share of importing pandas. The promise is 120 ms; a ratio travels better.
MOST_OF_PANDAS = 0.5
ROUNDS = 7
STARTS = {
    "python": "pass",
    "import mainspring": "import mainspring",
    "mainspring --help": "from mainspring.cli.main import main; main(['--help'])",
    "import pandas": "import pandas",
}


def install_size(folder: Path) -> tuple[int, dict[str, int]]:
    """Install the base requirements and Mainspring itself below `folder`; return the bytes, in all and by package."""
    environment = folder / "venv"
    lock = ROOT / "requirements" / "base.txt"
    uv = shutil.which("uv") or (str(ROOT / ".bootstrap/bin/uv") if (ROOT / ".bootstrap/bin/uv").exists() else None)
    if uv is not None:
        _run(uv, "venv", "--quiet", "--python", sys.executable, str(environment))
        python = str(environment / "bin/python")
        # copied, so that the sizes are those of a disk of its own and not of links into a cache
        _run(uv, "pip", "install", "--quiet", "--python", python, "--link-mode", "copy", "--require-hashes", "-r", lock)
    else:
        _run(sys.executable, "-m", "venv", environment)
        python = str(environment / "bin/python")
        quiet = ("--quiet", "--disable-pip-version-check", "--no-compile")
        _run(python, "-m", "pip", "install", *quiet, "--require-hashes", "-r", lock)
    packages = next((environment / "lib").glob("python*/site-packages"))
    installer = ("pip", "pip-", "setuptools", "_distutils_hack", "distutils-precedence")
    sizes = {each.name: _bytes_in(each) for each in packages.iterdir() if not each.name.startswith(installer)}
    sizes["mainspring"] = _bytes_in(ROOT / "src" / "mainspring")
    return sum(sizes.values()), dict(sorted(sizes.items(), key=lambda item: -item[1]))


def _run(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, stdout=sys.stderr)


def _bytes_in(path: Path) -> int:
    """Return the size of the files, without compiled bytecode, which depends on how the installer was called."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file() and not each.is_symlink()]
    return sum(each.stat().st_size for each in files if each.suffix != ".pyc")


def modules_of(code: str) -> int:
    """Return how many modules a fresh interpreter has loaded behind `code`."""
    counted = f"{code}\nimport sys\nprint('\\n' + str(len(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", counted], capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[-1])


def cpu_ms(code: str) -> float:
    """Return the CPU milliseconds of one fresh process, user and system together."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def measure(*, with_install: bool) -> dict[str, object]:
    """Measure everything and return the figures."""
    taken: dict[str, list[float]] = {name: [] for name in STARTS}
    for code in STARTS.values():
        cpu_ms(code)  # compiled once, whoever came first
    for _ in range(ROUNDS):
        for name, code in STARTS.items():
            taken[name].append(cpu_ms(code))
    bare = modules_of("pass")
    figures: dict[str, object] = {
        "cpu_ms": {name: round(statistics.median(values), 1) for name, values in taken.items()},
        "modules": {name: modules_of(code) - bare for name, code in STARTS.items() if name != "python"},
    }
    if with_install:
        with tempfile.TemporaryDirectory() as scratch:
            total, sizes = install_size(Path(scratch))
        figures["install_bytes"] = total
        figures["largest"] = dict(list(sizes.items())[:6])
    return figures


def verdicts(figures: dict[str, object]) -> list[tuple[str, str, str, bool]]:
    """Return a row for each budget: what, the figure, the budget, and whether it is kept."""
    times: dict[str, float] = figures["cpu_ms"]  # type: ignore[assignment]
    modules: dict[str, int] = figures["modules"]  # type: ignore[assignment]
    own = {name: times[name] - times["python"] for name in STARTS}
    rows = []
    if "install_bytes" in figures:
        size = int(str(figures["install_bytes"]))
        rows.append(("base install", f"{size / 1e6:.0f} MB", f"{MOST_BYTES / 1e6:.0f} MB", size < MOST_BYTES))
    count = modules["import mainspring"]
    rows.append(("import mainspring, modules", str(count), str(MOST_MODULES), count <= MOST_MODULES))
    for name in ("import mainspring", "mainspring --help"):
        ratio = own[name] / own["import pandas"]
        shown = f"{ratio:.3f} of import pandas ({own[name]:.0f} to {own['import pandas']:.0f} ms CPU above bare Python)"
        rows.append((name, shown, f"{MOST_OF_PANDAS}", ratio <= MOST_OF_PANDAS))
    return rows


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--skip-install", action="store_true", help="leave out the size of the base install")
    given = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else every start compiles every module
    figures = measure(with_install=not given.skip_install)
    rows = verdicts(figures)
    if given.json:
        print(json.dumps({**figures, "kept": {name: kept for name, _, _, kept in rows}}))
    else:
        for name, figure, budget, kept in rows:
            print(f"{'ok  ' if kept else 'OVER'}  {name}: {figure}; budget {budget}")
        print(json.dumps(figures, indent=1))
    return 0 if all(kept for *_, kept in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
