"""Windows on the disk, so that every contender looks at the same ones; and what a contender says of them."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from world import NUMBERS, TEXTS, Rows


def save(path: Path, rows: Rows) -> None:
    """Write a window."""
    codes = {name: np.array([int(each[6:]) for each in rows.columns[name]], dtype=np.int8) for name in TEXTS}
    numbers = {name: rows.columns[name] for name in NUMBERS}
    np.savez(path, scores=rows.scores, truth=rows.truth, **numbers, **codes)


def load(path: Path) -> Rows:
    """Read a window."""
    names = np.array([f"value {each}" for each in range(64)], dtype=object)
    with np.load(path) as kept:
        columns = {name: kept[name] for name in NUMBERS} | {name: names[kept[name]] for name in TEXTS}
        return Rows(columns, kept["scores"], kept["truth"])


def frame(rows: Rows, *, with_scores: bool = False):  # a pandas frame, where there is pandas
    """Return the window's columns as a pandas frame."""
    import pandas as pd

    answered = {"score": rows.scores, "answer": (rows.scores > 0.5).astype(int), "truth": rows.truth.astype(int)}
    return pd.DataFrame(rows.columns | (answered if with_scores else {}))


def reference_and_windows() -> "tuple[Rows, Iterator[tuple[str, Rows]]]":
    """Return the reference, and every window with its name."""
    folder = Path(sys.argv[1])
    files = sorted(each for each in folder.glob("*.npz") if each.stem != "reference")
    return load(folder / "reference.npz"), ((each.stem, load(each)) for each in files)


def tell(alarms: "dict[str, dict[str, list[str]]]") -> None:
    """Print for each rule of a contender, and each window, what it flagged."""
    print(json.dumps(alarms))


def judge(flagged: "Callable[[Rows], dict[str, list[str]]]", windows: "Iterator[tuple[str, Rows]]") -> None:
    """Ask `flagged` of every window what each rule flags, and print it."""
    said: dict[str, dict[str, list[str]]] = {}
    for name, rows in windows:
        for rule, found in flagged(rows).items():
            said.setdefault(rule, {})[name] = found
    tell(said)
