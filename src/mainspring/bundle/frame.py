"""Columns to the pandas frame a scikit-learn model was fitted on.

The types come from the signature and never from the batch, so that one row and a million rows, with a missing value or
without, reach the model's encoders in the same types.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mainspring.domain.signature import Column, Signature
from mainspring.errors import Invalid

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["frame_of"]


def frame_of(columns: Mapping[str, NDArray[Any]], signature: Signature) -> "pd.DataFrame":
    """Return a frame with the signature's columns in its order.

    Integers and booleans that may be missing stay float64 and object, as pandas reads them; the others become int64
    and bool. Strings become pandas' own ``str`` type (object before pandas 3).

    Raises:
        Invalid: a column is missing, or holds a missing value and may not.
    """
    import pandas as pd  # heavy and optional

    absent = [name for name in signature.names if name not in columns]
    if absent:
        raise Invalid(f"The column `{absent[0]}` is missing", where=absent[0], next_step="hand in every column")
    return pd.DataFrame({each.name: _series(columns[each.name], each) for each in signature.columns}, copy=False)


def _series(values: NDArray[Any], column: Column) -> object:
    import pandas as pd  # heavy and optional

    if column.type == "string":
        # Before pandas 3, dtype="str" would turn None into the text "None".
        new = int(pd.__version__.partition(".")[0]) >= 3
        return pd.Series(values, dtype="str") if new else pd.Series(values, dtype=object).fillna(np.nan)
    if column.type in ("integer", "boolean"):
        missing = np.isnan(values)
        if column.nullable:
            if column.type == "integer":
                return values
            truth = values.astype(bool).astype(object)
            truth[missing] = None
            return truth
        if missing.any():
            raise Invalid(
                f"`{column.name}` has a missing value and may not",
                where=f"{column.name}[{int(missing.argmax())}]",
            )
        return values.astype(np.int64 if column.type == "integer" else np.bool_)
    return values
