"""Whose rows may be used: a column says it, row by row, and a gap is no consent."""

import numpy as np
from numpy.typing import NDArray

from mainspring.data.table import Columns
from mainspring.errors import Invalid, nearest

__all__ = ["consent_sql", "consenting"]

_AGREED = ("true", "yes", "y", "1", "1.0")


def consenting(columns: Columns, consent: str, where: str) -> NDArray[np.bool_]:
    """Return which rows may be used: those whose column `consent` says true, yes, y or 1; a gap is no consent.

    Raises:
        Invalid: there is no such column.
    """
    if consent not in columns:
        what = f"There is no column `{consent}`, which says whose rows may be used"
        raise Invalid(what, where=where, next_step=nearest(consent, columns))
    array = columns[consent]
    if array.dtype.kind == "f":
        return np.asarray(array == 1)
    agreed = {value: str(value).strip().lower() in _AGREED for value in set(array.tolist())}
    return np.array([agreed[value] for value in array.tolist()], dtype=np.bool_)


def consent_sql(value: str) -> str:
    """Return the SQL of whether a row may be used, as `consenting` sees it, for a column's SQL."""
    words = ", ".join(f"'{each}'" for each in _AGREED)
    return f"coalesce(lower(trim(CAST({value} AS VARCHAR))) IN ({words}), false)"
