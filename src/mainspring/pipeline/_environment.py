"""What a run was made with: every installed distribution, the lock files of the project, the machine and its threads.

Cheap enough for every run: names and versions are read from folder names, nothing is imported, and what only a loaded
numerical library knows is asked of it only where it is loaded.
"""

import os
import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3

__all__ = ["Installed", "distributions", "libraries", "lock_files", "machine", "own_code", "thread_settings"]

_LOCKS = ("uv.lock", "pylock.toml", "poetry.lock", "pdm.lock", "requirements*.txt", "requirements/*.txt")
_MOST_LOCK_BYTES = 8 << 20
_ROOMS_OF_STEPS = ("bundle", "data", "domain", "evaluate", "pipeline", "train")
#: What numerical libraries take the number of their threads from.
_THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS", "LOKY_MAX_CPU_COUNT", "OMP_DYNAMIC", "PYTHONHASHSEED",
)  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Installed:
    """An installed distribution. `is_local`: it came from a folder or a repository, and no index has it."""

    name: str
    version: str
    is_local: bool = False

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


def distributions() -> list[Installed]:
    """Return every installed distribution on the import path, sorted; the first of a name wins, as at import."""
    found: dict[str, Installed] = {}
    for entry in dict.fromkeys(sys.path):
        try:
            names = os.listdir(entry or ".")
        except OSError:  # an entry that is not there holds nothing
            continue
        for each in names:
            if not each.endswith(".dist-info"):
                continue
            name, _, version = each.removesuffix(".dist-info").partition("-")
            name = re.sub(r"[-_.]+", "-", name).lower()
            if version and name not in found:
                local = os.path.exists(os.path.join(entry, each, "direct_url.json"))
                found[name] = Installed(name, version, local)
    return sorted(found.values())


def lock_files(folder: Path) -> Iterator[Path]:
    """Yield the lock files in `folder` and above it, up to the folder of the repository; none without a repository."""
    above = [folder, *folder.parents]
    root = next((each for each in above if (each / ".git").exists()), folder)
    for each in above[: above.index(root) + 1]:
        for pattern in _LOCKS:
            for path in sorted(each.glob(pattern)) if "*" in pattern else [each / pattern]:
                if path.is_file() and path.stat().st_size <= _MOST_LOCK_BYTES:
                    yield path


def machine() -> dict[str, object]:
    """Return what may decide the last bits of a result: CPU, cores, system, Python, and how threads are set."""
    return {
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "system": f"{sys.platform} {os.uname().machine}" if hasattr(os, "uname") else sys.platform,
        "libc": _libc(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "threads": thread_settings(),
    }


def own_code() -> str:
    """Return the digest of the code of Mainspring that steps are made with, for where its version says too little."""
    root = Path(__file__).parents[1]
    whole = blake3()
    for room in _ROOMS_OF_STEPS:
        for path in sorted((root / room).glob("*.py")):
            whole.update(path.read_bytes())
    return whole.hexdigest()


def thread_settings() -> dict[str, str]:
    """Return the settings of the environment that decide how many threads numerical libraries start."""
    return {name: os.environ[name] for name in _THREADS if name in os.environ}


def libraries() -> tuple[str, ...]:
    """Return the numerical libraries that this process has loaded, each with its version and its threads.

    Not asked before a library is there: a run that finds all its results loads none.
    """
    state = ("numpy" in sys.modules, "threadpoolctl" in sys.modules, "sklearn.utils._openmp_helpers" in sys.modules)
    if state not in _asked:
        _asked[state] = tuple(_libraries())
    return _asked[state]


_asked: dict[tuple[bool, ...], tuple[str, ...]] = {}


def _libraries() -> Iterator[str]:
    config: Any = getattr(sys.modules.get("numpy.__config__"), "CONFIG", None)  # a nested dict, of any shape
    try:
        blas = config["Build Dependencies"]["blas"]
        yield f"BLAS of numpy: {blas['name']} {blas['version']}"
    except (KeyError, TypeError):
        pass
    pools: Any = sys.modules.get("threadpoolctl")  # optional, without types
    if pools is not None:
        for each in pools.threadpool_info():
            architecture = f" {each['architecture']}" if each.get("architecture") else ""
            yield f"{each['internal_api']} {each['version'] or ''}{architecture}: {each['num_threads']} threads"
    helpers: Any = sys.modules.get("sklearn.utils._openmp_helpers")  # compiled, without types
    if helpers is not None:
        yield f"scikit-learn: {helpers._openmp_effective_n_threads()} threads"


def _libc() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):  # not this system's word
        return ""


def _cpu() -> str:
    """Return the name of the processor; its generation decides which kernels a BLAS takes."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith(("model name", "Hardware", "CPU part")):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
