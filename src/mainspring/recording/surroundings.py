"""What a run stood in: the commit of the code, and the machine's processors, memory and graphics cards while it ran."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import psutil

from mainspring.pipeline.tracing import unwatched

__all__ = ["Usage", "files_at_start", "git_tags", "script_name"]

_SECONDS = 10.0
_MEGABYTE = 1e6
#: A longer text is kept by its beginning.
_MOST_CHARACTERS = 1 << 20


def script_name() -> str:
    """Return the name of the program that runs, as a name for its runs."""
    return Path(sys.argv[0]).stem if sys.argv and sys.argv[0] not in ("", "-c", "-m") else "python"


def git_tags(folder: Path) -> dict[str, str]:
    """Return commit and branch under the names that MLflow gives them, and whether files differ from the commit."""
    said = _git(folder, "rev-parse", "HEAD", "--abbrev-ref", "HEAD").split()
    if len(said) != 2:
        return {}
    dirty = bool(_git(folder, "status", "--porcelain"))
    return {
        "mlflow.source.git.commit": said[0],
        "mlflow.source.git.branch": said[1],
        "mainspring.git.dirty": "true" if dirty else "false",
    }


def files_at_start(folder: Path) -> dict[str, str]:
    """Return the uncommitted difference and the installed packages, as files for a run."""
    packages = sorted({f"{each.name}=={each.version}" for each in metadata.distributions()}, key=str.lower)
    found = {"requirements.txt": "\n".join(packages) + "\n"}
    difference = _git(folder, "diff", "HEAD", "--no-color", "--no-ext-diff")
    if difference:
        found["uncommitted.diff"] = _bounded(difference)
    return found


def _bounded(text: str) -> str:
    if len(text) <= _MOST_CHARACTERS:
        return text
    return f"{text[:_MOST_CHARACTERS]}\n... {len(text) - _MOST_CHARACTERS:,} more characters ...\n"


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


class Usage:
    """Logs what the machine is doing, every ten seconds and at the end, under MLflow's names for it."""

    def __init__(self, log: Callable[[dict[str, float], int], None]) -> None:
        self._log = log
        self._process = psutil.Process()
        self._graphics = shutil.which("nvidia-smi")
        self._stop = threading.Event()
        self._step = 0
        psutil.cpu_percent()  # the first look only sets the mark
        self._thread = threading.Thread(target=self._watch, name="run-usage", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Look once more, and stop."""
        self._stop.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        with unwatched():  # what this thread opens is not read by a step that runs meanwhile
            while not self._stop.wait(_SECONDS):
                self._look()

    def _look(self) -> None:
        memory = psutil.virtual_memory()
        values = {
            "system/cpu_utilization_percentage": psutil.cpu_percent(),
            "system/system_memory_usage_megabytes": (memory.total - memory.available) / _MEGABYTE,
            "system/system_memory_usage_percentage": memory.percent,
            "system/process_memory_usage_megabytes": self._process.memory_info().rss / _MEGABYTE,
        }
        self._log(values | self._cards(), self._step)
        self._step += 1

    def _cards(self) -> dict[str, float]:
        if self._graphics is None:
            return {}
        asked = "--query-gpu=utilization.gpu,memory.used,memory.total"
        try:
            done = subprocess.run(
                [self._graphics, asked, "--format=csv,noheader,nounits"], capture_output=True, text=True, timeout=5
            )
            cards = [[float(word) for word in line.split(",")] for line in done.stdout.splitlines()]
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return {}
        found = {}
        for number, (busy, used, total) in enumerate(cards):
            found[f"system/gpu_{number}_utilization_percentage"] = busy
            found[f"system/gpu_{number}_memory_usage_megabytes"] = used * 1.048576
            found[f"system/gpu_{number}_memory_usage_percentage"] = 100 * used / total
        return found
