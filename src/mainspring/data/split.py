"""Splitting a table into train, validation and test: by time where there is a time, else at random.

By time, no row of a later part is older than any row of an earlier one, so nothing is learnt from the future, and
rows of one moment never straddle a border.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainspring.errors import Invalid

__all__ = ["Split", "split_by_share", "split_by_time"]


@dataclass(frozen=True, slots=True)
class Split:
    """Row numbers of the three parts, each in the table's order."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def split_by_time(moments: NDArray[Any], *, validation: float = 0.15, test: float = 0.15) -> Split:
    """Put the newest `test` share of rows into test, the `validation` share before them into validation.

    Raises:
        Invalid: a moment is missing, the column holds no moments, or a part would be empty.
    """
    if moments.dtype.kind != "M":
        raise Invalid("The time column holds no moments", where="split(time)", next_step="parse it as a timestamp")
    if np.isnat(moments).any():
        row = int(np.argmax(np.isnat(moments)))
        raise Invalid("A row has no time", where=f"rows[{row}]", next_step="drop or mend rows without a time")
    _shares(validation, test)
    if not len(moments):
        raise Invalid("There are no rows to split", where="split", next_step="give more rows")
    ordered = np.sort(moments)
    test_from = ordered[_border(len(ordered), test)]
    validation_from = ordered[_border(len(ordered), test + validation)]
    parts = Split(
        train=np.flatnonzero(moments < validation_from),
        validation=np.flatnonzero((moments >= validation_from) & (moments < test_from)),
        test=np.flatnonzero(moments >= test_from),
    )
    return _filled(parts)


def split_by_share(rows: int, *, validation: float = 0.15, test: float = 0.15, seed: int = 0) -> Split:
    """Deal `rows` rows into the three parts at random, the same way each time for one `seed`.

    Raises:
        Invalid: a part would be empty.
    """
    _shares(validation, test)
    order = np.random.default_rng(seed).permutation(rows)
    n_test, n_validation = round(rows * test), round(rows * validation)
    parts = Split(
        train=np.sort(order[n_test + n_validation :]),
        validation=np.sort(order[n_test : n_test + n_validation]),
        test=np.sort(order[:n_test]),
    )
    return _filled(parts)


def _border(rows: int, share: float) -> int:
    return min(rows - 1, max(0, rows - round(rows * share)))


def _shares(validation: float, test: float) -> None:
    if not (0 < validation < 1 and 0 < test < 1 and validation + test < 1):
        raise Invalid(
            f"validation={validation} and test={test} leave nothing to train on",
            where="split",
            next_step="give shares above zero that add up to less than 1",
        )


def _filled(parts: Split) -> Split:
    for name in ("train", "validation", "test"):
        if len(getattr(parts, name)) == 0:
            raise Invalid(f"The {name} part would be empty", where="split", next_step="give more rows or other shares")
    return parts
