"""A small world with a model in it, which can be left alone, changed harmlessly, or broken in one of six ways.

Needs numpy alone: it runs in the environments of the peers too. 20 numbers and 10 texts come in, as in the drift
benchmark. The truth depends on n0, n1, n2 and c0; the model knows how, up to where it never was: the effect of n0 turns
round at one and a half deviations, where the model has seen little, and the model believes that it goes on.
"""

from typing import NamedTuple

import numpy as np

NUMBERS = tuple(f"n{index}" for index in range(20))
TEXTS = tuple(f"c{index}" for index in range(10))
#: What happens, and whether it harms the model.
CHANGES = {
    "nothing": False,
    "all numbers move by 0.02 deviations": False,
    "columns move that the model does not use": False,
    "data: an input moves to where the model never was": True,
    "concept: an input comes to mean the opposite": True,
    "missing: half of an input is gone": True,
    "slice: a fifth of the rows follows another rule": True,
    "upstream: an input comes in other units": True,
}


class Rows(NamedTuple):
    """One window: what came in, what the model answered, and what came true."""

    columns: "dict[str, np.ndarray]"
    scores: np.ndarray
    truth: np.ndarray

    @property
    def losses(self) -> np.ndarray:
        """The Brier loss of each row."""
        return (self.scores - self.truth) ** 2


def weights_of(index: int) -> np.ndarray:
    """Return the shares of the values of a text column: 3 to 30 of them."""
    weights = 1 / np.arange(1.0, 4 + 3 * index)
    return weights / weights.sum()


def draw(rng: np.random.Generator, rows: int, change: str = "nothing", *, used_only: bool = False) -> Rows:
    """Draw a window; `used_only` leaves out the columns that neither truth nor model looks at."""
    kind = change.partition(":")[0]
    columns: dict[str, np.ndarray] = {}
    for index, name in enumerate(NUMBERS[:3] if used_only else NUMBERS):
        values = rng.lognormal(0, 1, rows) if index % 4 == 3 else rng.normal(0, 1, rows)
        if change.startswith("all numbers"):
            values += 0.02
        if change.startswith("columns move") and index in (9, 10, 11):
            values += 0.5
        if kind == "data" and index == 0:
            values += 1.5
        columns[name] = values
    codes = {}
    for index, name in enumerate(TEXTS[:2] if used_only else TEXTS):
        weights = weights_of(index)
        if change.startswith("columns move") and index == 5:
            weights = weights[::-1]
        codes[name] = rng.choice(weights.size, rows, p=weights)
    truth = _truth(rng, columns, codes, kind)
    seen = columns["n0"].copy()
    if kind == "missing":
        seen[rng.random(rows) < 0.5] = np.nan
    if kind == "upstream":
        seen = seen * 2.54
    columns["n0"] = seen
    # a missing input counts as its mean, as in an ordinary pipeline
    scores = _chance(np.nan_to_num(seen), columns["n1"], columns["n2"], codes["c0"])
    names = np.array([f"value {each}" for each in range(64)], dtype=object)
    return Rows(columns | {name: names[each] for name, each in codes.items()}, scores, truth)


def _truth(
    rng: np.random.Generator, columns: "dict[str, np.ndarray]", codes: "dict[str, np.ndarray]", kind: str
) -> np.ndarray:
    effect = 1.5 - np.abs(columns["n0"] - 1.5)
    second = -columns["n1"] if kind == "concept" else columns["n1"]
    chances = _chance(effect, second, columns["n2"], codes["c0"])
    if kind == "slice":
        # the second value of c1 is a fifth of all rows
        chances = np.where(codes["c1"] == 1, 1 - chances, chances)
    return (rng.random(chances.size) < chances).astype(float)


def _chance(n0: np.ndarray, n1: np.ndarray, n2: np.ndarray, c0: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-(1.6 * n0 + 0.9 * n1 + 0.6 * n2 + np.where(c0 == 0, 0.5, -0.5))))
