"""The pipeline of a loop that names only its data and target: the same four steps, on a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mainspring.data.table import columns_of, frame_of, read_columns
from mainspring.errors import Invalid, nearest
from mainspring.pipeline.step import pipeline, step
from mainspring.train.candidate import Candidate
from mainspring.train.steps import agreed_rows, check, evaluate, fit, split

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["default_pipeline"]


@step
def read_table(data: Path, target: str) -> "pd.DataFrame":
    """Read the file; rows whose target is not known are left out.

    Raises:
        NotFound, Invalid: the file is missing, empty or malformed, or has no column `target`.
    """
    columns = read_columns(data)
    if target not in columns:
        raise Invalid(f"`{data.name}` has no column `{target}`", where=str(data), next_step=nearest(target, columns))
    frame = frame_of(columns)
    return frame[frame[target].notna()].reset_index(drop=True)


def read_checked(data: Path, target: str, purpose: Sequence[str] = ()) -> "pd.DataFrame":
    """Read the file, and check it against the schema that lies beside it, if one does."""
    table = read_table(data, target)
    schema = data.with_name(data.stem + ".schema.yaml")
    return check(table, schema, purpose=purpose) if schema.exists() else table


@step
def add_labelled(table: "pd.DataFrame", labelled: Path) -> "pd.DataFrame":
    """Put production rows whose labels have come behind the rows of the file.

    Where the schema that the table was checked with asks for consent, these are the rows that have it: a row that says
    nothing of it has none. The others are left out and counted in the log.

    Raises:
        Invalid: the production rows lack a column of the file.
    """
    old, new = columns_of(table), agreed_rows(table, read_columns(labelled), labelled.name)
    missing = [name for name in old if name not in new]
    if missing:
        raise Invalid(
            f"The labelled rows have no column `{missing[0]}`", where=str(labelled), next_step="retrain by hand"
        )
    both = frame_of({name: np.concatenate([old[name], new[name].astype(old[name].dtype)]) for name in old})
    both.attrs.update(table.attrs)
    return both


@pipeline(name="train")
def default_pipeline(
    data: Path,
    target: str,
    time: str = "",
    slices: Sequence[str] = (),
    labelled: Path | None = None,
    purpose: Sequence[str] = (),
) -> Candidate:
    """Read, check against ``NAME.schema.yaml`` if that file lies beside the data, split, fit and evaluate."""
    table = read_checked(data, target, purpose)
    if labelled is not None:
        table = add_labelled(table, labelled)
    parts = split(table, target=target, time=time)
    return evaluate(fit(None, parts), parts, slices=slices)
