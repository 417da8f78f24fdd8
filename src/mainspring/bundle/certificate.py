"""The equality certificate: proof, kept in the bundle, that a faster form of a model answers as the original does.

A form is compared with its original on validation rows, on rows at the edges of the signature, on rows one unit in the
last place to either side of every threshold it knows of, and one row alone against the same row among many. It serves
only if no class flips and no score differs by more than the tolerance; else the certificate says why the original does.
Conversion by trust goes wrong in silence: a boosted model turned into float32 flips a quarter of its classes when one
column holds Unix times (known class of fault: onnxruntime issue 4130, sklearn-onnx issues 1151 and 1192).
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainspring.domain.signature import Column, Signature

__all__ = ["TOLERANCE", "Certificate", "Scores", "certify", "compare", "edge_rows", "no_form"]

Columns = Mapping[str, NDArray[Any]]
Scores = Callable[[Columns], NDArray[np.float64]]
#: The largest difference between a form's score and its original's; a share of the score where that is above 1.
TOLERANCE = 1e-6
_MOST_ROWS = 5000
#: Rows that are compared together, so that a forest's many thresholds need no more memory than few.
_AT_ONCE = 8192
#: Numbers that float32 cannot tell from their neighbours, a Unix time among them (IEEE 754: 24 bits of significand).
_COLLIDING = (2.0**24 + 1, 1_700_000_001.0)
#: Values of a sample between which a number is tried.
_MOST_BETWEEN = 50
_UNSEEN = "\x00mainspring:never seen"


class Certificate(msgspec.Struct, frozen=True):
    """What was compared and what came of it; `holds` decides whether the form may serve.

    `rows` were validation rows, `edges` rows made from the signature, `thresholds` rows beside the form's thresholds,
    `alone` rows scored one at a time as well. `original` and `form` are the BLAKE3 hashes of the two models; `versions`
    of the packages that were compared. `why` says why the original serves, and is empty where the form does.
    """

    kind: str
    rows: int
    edges: int
    thresholds: int
    alone: int
    flips: int
    largest_difference: float
    tolerance: float
    original: str
    form: str
    versions: dict[str, str]
    why: str = ""

    @property
    def holds(self) -> bool:
        """Whether there is a form of which no class flipped and every score was within the tolerance."""
        return not self.why and self.flips == 0 and self.largest_difference <= self.tolerance


def no_form(kind: str, why: str, *, original: str, versions: Mapping[str, str]) -> Certificate:
    """Return the certificate of a model that was compared with nothing; `kind` is the form that was tried, if any."""
    return Certificate(kind, 0, 0, 0, 0, 0, 0.0, TOLERANCE, original, "", dict(versions), why)


def certify(
    kind: str,
    original: Scores,
    form: Scores,
    signature: Signature,
    sample: Columns,
    *,
    threshold: float,
    hashes: tuple[str, str],
    versions: Mapping[str, str],
    near: Columns | None = None,
    tolerance: float = TOLERANCE,
) -> Certificate:
    """Compare `form` with `original` and write down what was seen.

    `sample` holds validation rows, of which at most 5,000 are used, evenly spread; `near` rows beside the thresholds of
    the form. A score that is not a number on one side only counts as a flip.
    """
    rows = _length(sample)
    chosen = (
        np.unique(np.linspace(0, rows - 1, min(rows, _MOST_ROWS)).astype(np.intp)) if rows else np.zeros(0, np.intp)
    )
    validation = {name: sample[name][chosen] for name in signature.names}
    edges = edge_rows(signature, validation)
    near = {name: array[:0] for name, array in validation.items()} if near is None else near
    flips, largest = 0, 0.0
    for part in (validation, edges, near):
        for at in range(0, _length(part), _AT_ONCE):
            rows_of = {name: array[at : at + _AT_ONCE] for name, array in part.items()}
            found, difference = compare(original(rows_of), form(rows_of), threshold)
            flips, largest = flips + found, max(largest, difference)
    lone = min(50, len(chosen))
    together = form(validation)
    for row in range(lone):
        one = form({name: array[row : row + 1] for name, array in validation.items()})
        found, difference = compare(together[row : row + 1], one, threshold)
        flips, largest = flips + found, max(largest, difference)
    empty = form({name: array[:0] for name, array in validation.items()})
    flips += int(empty.shape[0] != 0)
    compared = (len(chosen), _length(edges), _length(near), lone)
    found_form = Certificate(kind, *compared, flips, largest, tolerance, *hashes, dict(versions))
    if found_form.holds:
        return found_form
    why = f"{flips} scores flip their class, and the largest difference is {largest:g}: more than {tolerance:g}"
    return msgspec.structs.replace(found_form, why=why)


def _length(columns: Columns) -> int:
    return len(next(iter(columns.values())))


def edge_rows(signature: Signature, sample: Columns) -> dict[str, NDArray[Any]]:
    """Return rows in which one column after the other takes every value that is special, on rows of `sample`.

    Special are: missing, a text never seen, the ends of the range and far outside, zero, numbers that float32 confuses,
    and numbers between and beside those of the sample.
    """
    tries = {column.name: [*_special(column), *_between(column, sample[column.name])] for column in signature.columns}
    count = sum(map(len, tries.values()))
    rows = _length(sample)
    if not rows:
        return {name: array[:0] for name, array in sample.items()}
    beneath = np.arange(count) % rows
    table = {name: sample[name][beneath].copy() for name in signature.names}
    at = 0
    for name, values in tries.items():
        for value in values:
            table[name][at] = value
            at += 1
    return table


def _special(column: Column) -> list[object]:
    if column.type == "string":
        texts: list[object] = [_UNSEEN, "", *(column.categories or ())[:200]]
        return [*texts, None] if column.nullable else texts
    if column.type == "timestamp":
        moments: list[object] = [np.datetime64("1970-01-01", "us"), np.datetime64("2100-01-01", "us")]
        return [*moments, np.datetime64("NaT", "us")] if column.nullable else moments
    missing: list[object] = [np.nan] if column.nullable else []
    if column.type == "boolean":
        return [0.0, 1.0, *missing]
    low, high = column.low or 0.0, column.high or 0.0
    span = max(high - low, 1.0)
    near = [low, high, np.nextafter(low, -np.inf), np.nextafter(high, np.inf), low - 10 * span, high + 10 * span]
    numbers = [*near, 0.0, *_COLLIDING]
    return [*(np.rint(numbers) if column.type == "integer" else numbers), *missing]


def _between(column: Column, values: NDArray[Any]) -> list[object]:
    if column.type not in ("number", "integer"):
        return []
    known = np.unique(values[~np.isnan(values)])
    known = known[np.unique(np.linspace(0, len(known) - 1, min(len(known), _MOST_BETWEEN)).astype(np.intp))]
    middles = known[:-1] + np.diff(known) / 2
    if column.type == "integer":
        return [*np.rint(middles), *(known + 1)]
    return [*middles, *np.nextafter(known, np.inf)]


def compare(expected: NDArray[np.float64], given: NDArray[np.float64], threshold: float) -> tuple[int, float]:
    """Return how many scores flip their class, and the largest difference; a share of the score where that is above 1.

    `threshold` is that of a binary model.
    """
    if expected.shape != given.shape:
        return max(len(expected), 1), np.inf
    if not expected.size:
        return 0, 0.0
    if expected.ndim == 2:
        flips = int(np.count_nonzero(expected.argmax(1) != given.argmax(1)))
    else:
        flips = int(np.count_nonzero((expected >= threshold) != (given >= threshold)))
    unknown = np.isnan(expected) | np.isnan(given)
    flips += int(np.count_nonzero(np.isnan(expected) != np.isnan(given)))
    # of large values (a regression's) the difference is a share: no two ways to add agree in more digits than there are
    size = np.maximum(1.0, np.abs(expected))
    difference = np.where(unknown | (expected == given), 0.0, np.abs(expected - given) / size)
    return flips, float(difference.max())
