"""`mainspring predict`: score a file with a model, all rows or none."""

import sys
import tempfile
from pathlib import Path

import click
import duckdb
import numpy as np

from mainspring.bundle.conform import conform
from mainspring.bundle.predictor import Predictor, load_bundle
from mainspring.data.table import Columns, read_columns
from mainspring.errors import Invalid
from mainspring.evaluate.measure import predict_labels
from mainspring.registry.versions import find_version
from mainspring.workspace import Workspace

__all__ = ["predict_command"]

_FORMATS = {"csv": "(FORMAT csv, HEADER)", "parquet": "(FORMAT parquet)", "jsonl": "(FORMAT json)"}


@click.command("predict")
@click.argument("model")
@click.argument("source", metavar="IN", type=click.Path(path_type=Path, allow_dash=True))
@click.argument(
    "target", metavar="[OUT]", required=False, default="-", type=click.Path(path_type=Path, allow_dash=True)
)
@click.option(
    "--format", "kind", type=click.Choice(sorted(_FORMATS)), help="Of standard input and output (default: csv)."
)
def predict_command(model: str, source: Path, target: Path, kind: str | None) -> None:
    """Score every row of IN with MODEL and write IN's columns with `score` and `label` to OUT.

    MODEL is name, name@alias, name/3 or a bundle's folder. `-` is standard input or output. A row that does not fit
    is named, and then nothing is written.

    \b
    Example:
      mainspring predict late-flights@champion tomorrow.csv scored.parquet
      cat tomorrow.csv | mainspring predict late-flights - - | head
    """
    with Workspace() as workspace:
        folder = Path(model)
        if (folder / "bundle.json").is_file():
            predictor = load_bundle(folder)
        else:
            predictor = load_bundle(workspace.bundle_folder(find_version(workspace.store, model).bundle))
    columns = _read(source, kind or "csv")
    features, warnings = conform(columns, predictor.signature)
    for warning in warnings:
        click.echo(f"Warning: {warning}", err=True)
    scored = {**columns, **_answers(predictor, features)}
    _write(scored, target, kind or "csv")
    if str(target) != "-":
        click.echo(
            f"{len(next(iter(scored.values()))):,} rows scored by {predictor.manifest.name} into {target}", err=True
        )


def _answers(predictor: Predictor, features: Columns) -> Columns:
    scores = predictor.predict(features)
    signature = predictor.signature
    if signature.task == "regression":
        return {"score": scores}
    threshold = predictor.manifest.threshold
    numbers = predict_labels(scores, 0.5 if threshold is None else threshold)
    labels = np.array([signature.classes[number] for number in numbers], dtype=object)
    if scores.ndim == 1:
        return {"score": scores, "label": labels}
    return {**{f"score_{name}": scores[:, i] for i, name in enumerate(signature.classes)}, "label": labels}


def _read(source: Path, kind: str) -> Columns:
    if str(source) != "-":
        return read_columns(source)
    data = sys.stdin.buffer.read()
    if not data.strip():
        raise Invalid("Standard input is empty", where="IN", next_step="pipe a table with a header into it")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"stdin.{kind}"
        path.write_bytes(data)
        return read_columns(path)


def _write(columns: Columns, target: Path, kind: str) -> None:
    """Write a table whole or not at all: to a hidden file beside the target, then renamed."""
    with tempfile.TemporaryDirectory() as scratch, duckdb.connect() as connection:
        connection.register("scored", columns)
        if str(target) == "-":
            path = Path(scratch) / "out"
            connection.execute(f"COPY (SELECT * FROM scored) TO '{path}' {_FORMATS[kind]}").fetchall()
            sys.stdout.flush()
            sys.stdout.buffer.write(path.read_bytes())
            sys.stdout.buffer.flush()
            return
        ending = target.suffix.removeprefix(".").replace("ndjson", "jsonl")
        if ending not in _FORMATS:
            known = ", ".join(f".{each}" for each in sorted(_FORMATS))
            raise Invalid(
                f"`{target.name}` has an ending Mainspring does not write", where="OUT", next_step=f"use {known}"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        hidden = target.with_name(f".{target.name}.part")
        quoted = str(hidden).replace("'", "''")
        try:
            connection.execute(f"COPY (SELECT * FROM scored) TO '{quoted}' {_FORMATS[ending]}").fetchall()
            hidden.replace(target)
        finally:
            hidden.unlink(missing_ok=True)
