"""What a pipeline costs: the same four scenarios in Mainspring, in a bare script, and in seven other tools.

    python benchmarks/pipelines.py [--tools mainspring,bare,...] [--scenarios five_steps,...] [--best-of 3]

Each tool runs from an environment of its own, made by uv under a cache folder with the versions pinned below, and each
scenario is a small script in ``benchmarks/pipelines/TOOL/``. Counted are CPU seconds of the whole process with all it
started, and wall seconds; rounds are interleaved, and the best of them counts. Bounded in time: a script that takes
more than `_LONG_SECONDS` is run once, one that takes more than `_MOST_SECONDS` is ended and said so.
"""

import argparse
import contextlib
import ctypes
import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = Path(__file__).resolve().with_suffix("")
LEARN = "scikit-learn==1.9.1"
# scikit-learn imports pandas and rich where it finds them, so what is compared must have them too.
PANDAS = "pandas==3.1.1"
RICH = "rich==15.0.0"
#: The environments. `fastapi` is held back because prefect 3.8.8 fails on newer releases that it admits.
TOOLS: dict[str, tuple[str, ...]] = {
    "mainspring": ("-e", f"{ROOT}[ml]", LEARN, PANDAS),
    "bare": (LEARN, PANDAS, RICH),
    "joblib": (LEARN, PANDAS, RICH, "joblib==1.5.3"),
    "hamilton": (LEARN, "sf-hamilton==1.90.0", "pandas==2.3.3"),
    "prefect": (LEARN, "prefect==3.8.8", "fastapi==0.149.0"),
    "zenml": (LEARN, "zenml[local]==0.98.0"),
    "metaflow": (LEARN, "metaflow==2.19.39"),
    "dagster": (LEARN, "dagster==1.13.29"),
    "dvc": (LEARN, "dvc==3.67.1"),
}
#: What a reader has to know to read a figure.
NOTES = {
    "bare": "keeps nothing: its re-run computes again",
    "metaflow": "has no cache: its re-run computes again; a process for each step",
    "dagster": "has no automatic cache: its re-run computes again; in one process, fan-out in processes",
    "zenml": "its local orchestrator runs the fan-out one after the other",
    "dvc": "a process for each stage; it does not run stages side by side",
    "joblib": "joblib.Memory: a cache without a run, a graph or a record",
}
SCENARIOS = {
    "five_steps": "five scikit-learn steps",
    "cached": "the same again, all cached",
    "chain": "50 steps that do nothing",
    "start": "one step that does nothing",
    "fan_out": "8 steps of 0.5 s on 2 cores",
}
_SCRIPT_OF = {"cached": "five_steps"}
_IDEAL_FAN_OUT_SECONDS = 8 * 0.5 / 2
_MOST_SECONDS = 240.0
_LONG_SECONDS = 25.0
_BUILD_SECONDS = 900.0


class Cost(NamedTuple):
    """One run of one script."""

    cpu: float
    wall: float


class Broken(Exception):
    """A script or an environment that did not come to an end; the text says why."""


def main() -> int:
    """Build what is missing, run the rounds, print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tools", default=",".join(TOOLS), help="which, with commas between")
    parser.add_argument("--scenarios", default=",".join(SCENARIOS), help="which, with commas between")
    parser.add_argument("--best-of", type=int, default=3, help="rounds")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "mainspring" / "benchmarks")
    words = parser.parse_args()
    tools, scenarios = words.tools.split(","), words.scenarios.split(",")
    _adopt_orphans()
    pythons: dict[str, Path] = {}
    failed: dict[tuple[str, str], str] = {}
    for tool in tools:
        try:
            pythons[tool] = _environment(tool, words.cache)
        except Broken as problem:
            failed |= dict.fromkeys(((tool, scenario) for scenario in scenarios), f"cannot be installed: {problem}")
    costs: dict[tuple[str, str], list[Cost]] = {}
    for number in range(words.best_of):
        for tool in pythons:
            _round(tool, pythons[tool], scenarios, number, costs, failed)
    _print(tools, scenarios, costs, failed)
    return 0


def _round(
    tool: str,
    python: Path,
    scenarios: list[str],
    number: int,
    costs: dict[tuple[str, str], list[Cost]],
    failed: dict[tuple[str, str], str],
) -> None:
    """Run every scenario of one tool once, in an empty folder."""
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        for scenario in scenarios:
            before = costs.get((tool, scenario), [])
            script = _SCRIPT_OF.get(scenario, scenario)
            if not (SCRIPTS / tool / f"{script}.py").exists():
                continue
            if (tool, scenario) in failed or (number and before and before[0].wall > _LONG_SECONDS):
                continue
            folder = Path(scratch) / script
            try:
                if scenario == "cached" and not folder.exists():
                    _run(tool, script, python, folder)
                cost = _run(tool, script, python, folder)
            except Broken as problem:
                failed[tool, scenario] = str(problem)
                continue
            costs.setdefault((tool, scenario), []).append(cost)
            print(f"  {tool:11}{scenario:11}{cost.cpu:7.2f} s CPU{cost.wall:8.2f} s", file=sys.stderr, flush=True)


def _run(tool: str, scenario: str, python: Path, folder: Path) -> Cost:
    folder.mkdir(exist_ok=True)
    script = SCRIPTS / tool / f"{scenario}.py"
    # A copy, because some tools keep their state beside the script, and because bytecode is part of the first run.
    shutil.copyfile(script, folder / script.name)
    before, started = _children_cpu(), time.monotonic()
    process = subprocess.Popen(
        [str(python), script.name],
        cwd=folder,
        env=_variables(folder, python),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=_MOST_SECONDS)
    except subprocess.TimeoutExpired as error:
        _end(process.pid)
        process.communicate()
        _reap()
        raise Broken(f"not done after {_MOST_SECONDS:.0f} s") from error
    wall = time.monotonic() - started
    _end(process.pid)
    _reap()
    lines = said.strip().splitlines()
    if process.returncode != 0 or "RESULT" not in said:
        last = [line for line in lines if "Error" in line] or lines or [f"ended with {process.returncode}"]
        raise Broken(last[-1][:200])
    return Cost(_children_cpu() - before, wall)


def _variables(folder: Path, python: Path) -> dict[str, str]:
    """Return an environment in which a tool keeps its state in `folder`, tells nobody, and asks nothing."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAINSPRING_", "PYTHON"))}
    return kept | {
        "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "HOME": str(folder),
        "USER": "bench",
        "USERNAME": "bench",
        "DO_NOT_TRACK": "1",
        "MAINSPRING_HOME": str(folder / ".mainspring"),
        "PREFECT_HOME": str(folder / ".prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "ZENML_CONFIG_PATH": str(folder / ".zenml"),
        "ZENML_ANALYTICS_OPT_IN": "false",
        "ZENML_LOGGING_VERBOSITY": "ERROR",
        "ZENML_DISABLE_STEP_LOGS_STORAGE": "true",
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(folder),
        "DAGSTER_HOME": str(folder),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "HAMILTON_TELEMETRY_ENABLED": "false",
        "DVC_NO_ANALYTICS": "1",
    }


def _environment(tool: str, cache: Path) -> Path:
    """Return the Python of a tool's environment, which is made where it is not there yet."""
    wanted = TOOLS[tool]
    mark = hashlib.blake2b(repr(wanted).encode(), digest_size=6).hexdigest()
    folder = cache / f"{tool}-{mark}"
    python = folder / "bin" / "python"
    if (folder / "done").exists():
        return python
    uv = _uv()
    print(f"  making the environment of {tool} ...", file=sys.stderr, flush=True)
    version = ".".join(map(str, sys.version_info[:2]))
    for command in (
        [uv, "venv", "--quiet", "--clear", "--python", version, str(folder)],
        [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), *wanted],
    ):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise Broken(f"not done after {_BUILD_SECONDS:.0f} s") from error
        if done.returncode != 0:
            raise Broken(" ".join((done.stderr or done.stdout).split())[:300])
    (folder / "done").touch()
    return python


def _uv() -> str:
    own = ROOT / ".bootstrap" / "bin" / "uv"
    found = str(own) if own.exists() else shutil.which("uv")
    if found is None:
        raise Broken("uv is neither on the path nor in .bootstrap/bin: make setup")
    return found


def _adopt_orphans() -> None:
    """Have what scripts leave behind come to us when they end, so that its CPU time is counted too (Linux)."""
    if sys.platform == "linux":
        pr_set_child_subreaper = 36
        ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1)


def _end(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGTERM)


def _reap() -> None:
    """Wait for what was left behind, a moment each."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                for each in _children():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(each, signal.SIGTERM if deadline - time.monotonic() > 2 else signal.SIGKILL)
                time.sleep(0.05)
        except ChildProcessError:
            return


def _children() -> Iterator[int]:
    for each in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            fields = each.read_text().rpartition(")")[2].split()
            if int(fields[1]) == os.getpid():
                yield int(each.parent.name)


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _print(
    tools: list[str],
    scenarios: list[str],
    costs: dict[tuple[str, str], list[Cost]],
    failed: dict[tuple[str, str], str],
) -> None:
    for scenario in scenarios:
        ours, bare = _best(costs, "mainspring", scenario), _best(costs, "bare", scenario)
        print(f"\n{SCENARIOS[scenario]}")
        print(f"  {'':12}{'CPU s':>8}{'wall s':>8}{'CPU to ours':>13}{'CPU over bare':>15}{'rounds':>8}")
        for tool in tools:
            best = _best(costs, tool, scenario)
            if best is None and (tool, scenario) not in failed:
                continue
            if best is None:
                print(f"  {tool:12}could not run: {failed[tool, scenario]}")
                continue
            ratio = f"{best.cpu / ours.cpu:.1f}x" if ours else ""
            over = f"{best.cpu - bare.cpu:+.2f} s" if bare else ""
            rounds = len(costs[tool, scenario])
            print(f"  {tool:12}{best.cpu:8.2f}{best.wall:8.2f}{ratio:>13}{over:>15}{rounds:>8}")
        start = _best(costs, "mainspring", "start")
        if ours and start and scenario == "chain":
            print(f"  Mainspring: {(ours.cpu - start.cpu) / 49 * 1000:.1f} ms of CPU for each step after the first")
        if ours and scenario == "fan_out":
            print(f"  Mainspring: {ours.wall / _IDEAL_FAN_OUT_SECONDS:.2f} of the ideal {_IDEAL_FAN_OUT_SECONDS:.1f} s")
    print()
    for tool in tools:
        if tool in NOTES:
            print(f"{tool}: {NOTES[tool]}.")


def _best(costs: dict[tuple[str, str], list[Cost]], tool: str, scenario: str) -> Cost | None:
    found = costs.get((tool, scenario))
    return Cost(min(each.cpu for each in found), min(each.wall for each in found)) if found else None


if __name__ == "__main__":
    sys.exit(main())
