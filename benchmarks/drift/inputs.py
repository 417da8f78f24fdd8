"""The tables of the drift benchmark, and the clock that every contender holds against itself.

Runs in every environment, so it needs numpy alone; `frame` needs pandas too. A side of the comparison is a folder of
arrays, one a column; texts are codes of a few names. What a contender needs as input is made before its clock runs.
"""

import json
import resource
import sys
from pathlib import Path

import numpy as np

NUMBERS = tuple(f"n{index}" for index in range(20))
TEXTS = tuple(f"c{index}" for index in range(10))
PLANTED = ("c0", "n0", "n1")


def make_side(folder: Path, rows: int, seed: int, *, is_moved: bool) -> None:
    """Write a table; where it is moved, n0 by 0.25 deviations, in n1 a tenth is missing, and c0 has other shares."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for index, name in enumerate(NUMBERS):
        values = rng.lognormal(0, 1, rows) if index % 4 == 3 else rng.normal(0, 1, rows)
        if is_moved and name == "n0":
            values += 0.25
        if is_moved and name == "n1":
            values[rng.random(rows) < 0.1] = np.nan
        np.save(folder / f"{name}.npy", values)
    for index, name in enumerate(TEXTS):
        weights = 1 / np.arange(1.0, 4 + 3 * index)
        if is_moved and name == "c0":
            weights = weights[::-1]
        codes = rng.choice(weights.size, rows, p=weights / weights.sum())
        np.save(folder / f"{name}.npy", codes.astype(np.int8))


def columns(folder: Path) -> "dict[str, np.ndarray]":
    """Return the table as arrays: numbers as float64, texts as objects."""
    found = {name: np.load(folder / f"{name}.npy") for name in NUMBERS}
    names = np.array([f"value {each}" for each in range(128)], dtype=object)
    return found | {name: names[np.load(folder / f"{name}.npy")] for name in TEXTS}


def frame(folder: Path):  # a pandas frame, where there is pandas
    """Return the table as a pandas frame."""
    import pandas as pd

    return pd.DataFrame(columns(folder))


def cpu() -> float:
    """Return the CPU seconds of this process and all its threads and children so far."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in spent)


def peak_mb() -> float:
    """Return the most memory that this process had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def sides() -> "tuple[Path, Path, Path]":
    """Return the folders of the reference and of the window, and where a stored reference may lie."""
    return Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])


def tell(*, reference: float, window: float, flagged: "list[str]", base_mb: float) -> None:
    """Print what was measured: CPU seconds to reduce the reference and to report on the window."""
    print(
        json.dumps(
            {
                "reference": reference,
                "window": window,
                "flagged": sorted(flagged),
                "base_mb": base_mb,
                "peak_mb": peak_mb(),
                "process": cpu(),
            }
        )
    )
