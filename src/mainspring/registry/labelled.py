"""Production rows whose labels have come, as a file that a pipeline can train on."""

from datetime import UTC, datetime
from pathlib import Path

from mainspring.data.table import connect, n_rows
from mainspring.domain.signature import Signature
from mainspring.predictions.log import PredictionLog
from mainspring.predictions.segments import features_of

__all__ = ["export_labelled"]


def export_labelled(
    log: PredictionLog, signature: Signature, model: str, home: Path, now: datetime, *, time: str = ""
) -> Path | None:
    """Write all labelled rows up to `now` to a Parquet file in the workspace and return it; None when there are none.

    The target column has the model's own name for it and the class labels as text (a regression's as numbers); `time`
    names a column to hold when each row happened.
    """
    rows = log.labelled(model, labelled_from=datetime(1970, 1, 1, tzinfo=UTC), labelled_until=now, chosen=True)
    if not n_rows(rows):
        return None
    labels = rows["label"].astype(float) if signature.task == "regression" else rows["label"]
    table = {**features_of(rows), signature.target: labels}
    if time:
        table[time] = rows["at"]
    folder = home / "labelled"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{model}.parquet"
    hidden = path.with_suffix(".part")
    with connect() as connection:
        connection.register("labelled", table)
        quoted = str(hidden).replace("'", "''")
        connection.execute(f"COPY (SELECT * FROM labelled) TO '{quoted}' (FORMAT parquet)").fetchall()
    hidden.replace(path)
    return path
