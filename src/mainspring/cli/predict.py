"""`mainspring predict`: score a file with a model, all rows or none."""

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import duckdb
import numpy as np

from mainspring.bundle.conform import conform
from mainspring.bundle.predictor import Predictor, load_bundle
from mainspring.data.table import Columns, connect, n_rows, read_columns, scan_sql
from mainspring.errors import Invalid, Unavailable
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
            predictor = workspace.predictor(find_version(workspace.store, model))
    with _file_of(source, kind or "csv") as path:
        table = read_columns(path)
        features, warnings = conform(table, predictor.signature)
        answers = _answers(predictor, features)
        replaced = [name for name in answers if name in table]
        if replaced:
            warnings.append(f"IN has columns named {', '.join(replaced)}; OUT holds the answers in their place")
        for warning in warnings:
            click.echo(f"Warning: {warning}", err=True)
        _write(path, answers, replaced, target, kind or "csv")
    if str(target) != "-":
        click.echo(f"{n_rows(table):,} rows scored by {predictor.manifest.name} into {target}", err=True)


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


@contextlib.contextmanager
def _file_of(source: Path, kind: str) -> Iterator[Path]:
    """Give the file to read; standard input is put into one."""
    if str(source) != "-":
        yield source
        return
    data = sys.stdin.buffer.read() if sys.stdin is not None else b""
    if not data.strip():
        raise Invalid("Standard input is empty", where="IN", next_step="pipe a table with a header into it")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"stdin.{kind}"
        path.write_bytes(data)
        yield path


def _write(source: Path, answers: Columns, replaced: list[str], target: Path, kind: str) -> None:
    """Write IN's columns as they are with the answers behind them, whole or not at all.

    To a hidden file beside the target, which is then renamed; IN is read again by the engine, so that what the model
    does not eat (ids, dates, notes) is passed on and not through the types of the model.
    """
    ending = kind if str(target) == "-" else target.suffix.removeprefix(".").lower().replace("ndjson", "jsonl")
    if ending not in _FORMATS:
        known = ", ".join(f".{each}" for each in sorted(_FORMATS))
        raise Invalid(f"`{target.name}` has an ending Mainspring does not write", where="OUT", next_step=f"use {known}")
    left_out = f" EXCLUDE ({', '.join(replaced)})" if replaced else ""
    with tempfile.TemporaryDirectory() as scratch, connect() as connection:
        connection.register("answers", answers)
        scan = scan_sql(source, as_written=ending == "csv")
        query = f"SELECT given.*{left_out}, answers.* FROM {scan} given POSITIONAL JOIN answers"
        hidden = Path(scratch) / "out" if str(target) == "-" else target.with_name(f".{target.name}.part")
        quoted = str(hidden).replace("'", "''")
        try:
            connection.execute(f"COPY ({query}) TO '{quoted}' {_FORMATS[ending]}").fetchall()
            if str(target) == "-":
                sys.stdout.flush()
                sys.stdout.buffer.write(hidden.read_bytes())
                sys.stdout.buffer.flush()
            else:
                hidden.replace(target)
        except duckdb.IOException as error:
            told = str(error).splitlines()[0]
            raise Unavailable(
                f"`{target}` cannot be written: {told}", where="OUT", next_step="check its folder"
            ) from error
        finally:
            hidden.unlink(missing_ok=True)
