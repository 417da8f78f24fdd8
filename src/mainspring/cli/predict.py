"""`mainspring predict`: score a file with a model, all rows or none; a large one in parts (`deploy.batch`)."""

import contextlib
import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click
import duckdb

from mainspring.artifacts.scratch import scratch_folder
from mainspring.bundle.conform import conform
from mainspring.bundle.format import digest_of, read_manifest
from mainspring.bundle.manifest import MANIFEST_NAME
from mainspring.bundle.predictor import load_bundle
from mainspring.cli.gauge import Gauge
from mainspring.data.exact import parquet_sql
from mainspring.data.parts import FORMATS, form_of
from mainspring.data.table import Columns, connect, n_rows, read_columns, scan_sql
from mainspring.deploy.batch import PART_ROWS, Scored, score_file
from mainspring.deploy.obeying import RowRulesUse, answers_of, gaps_set_aside, personal_columns, rules_for
from mainspring.errors import Invalid, Unavailable
from mainspring.pipeline.executor import executor_named
from mainspring.registry.versions import find_version
from mainspring.workspace import Workspace

__all__ = ["predict_command"]

#: Files from which on the rows are scored in parts, on all cores, rather than at once in memory.
_LARGE_BYTES = 16 << 20


@click.command("predict")
@click.argument("model")
@click.argument("source", metavar="IN", type=click.Path(path_type=Path, allow_dash=True))
@click.argument(
    "target", metavar="[OUT]", required=False, default="-", type=click.Path(path_type=Path, allow_dash=True)
)
@click.option(
    "--format", "kind", type=click.Choice(sorted(FORMATS)), help="Of standard input and output (default: csv)."
)
@click.option(
    "--part-rows", type=click.IntRange(min=1), help=f"Rows scored together, of files scored in parts ({PART_ROWS:,})."
)
@click.option(
    "--row-rules",
    type=click.Choice(get_args(RowRulesUse)),
    default="obey",
    show_default=True,
    help="Rows that break the model's schema: as its rules say, scored and told, or not looked at.",
)
@click.option("--executor", help="Where parts are scored: processes:N, in-process, dask:ADDRESS, ray:ADDRESS.")
def predict_command(
    model: str,
    source: Path,
    target: Path,
    kind: str | None,
    part_rows: int | None,
    row_rules: RowRulesUse,
    executor: str | None,
) -> None:
    """Score every row of IN with MODEL and write IN's columns with `score` and `label` to OUT.

    MODEL is name, name@alias, name/3 or a bundle's folder. `-` is standard input or output. A row that does not fit
    is named, and then nothing is written. So is one that breaks a rule of the model's schema which stops; one that a
    rule sets aside gets no score, and the rule's name in the column `set_aside`.

    A file of 16 MB or more is scored in parts, on all cores or where --executor says; it may be larger than memory.
    When that is stopped, the same command goes on from the parts that are there.

    \b
    Example:
      mainspring predict late-flights@champion tomorrow.csv scored.parquet
      cat tomorrow.csv | mainspring predict late-flights - - | head
      mainspring predict late-flights year.parquet scored.parquet --executor dask:tcp://scheduler:8786
    """
    with contextlib.ExitStack() as stack:
        workspace = stack.enter_context(Workspace())
        folder = Path(model)
        if not (folder / MANIFEST_NAME).is_file():
            folder = workspace.served_bundle(find_version(workspace.store, model))
        path = stack.enter_context(_file_of(source, kind or "csv"))
        is_large = path.is_file() and path.stat().st_size >= _LARGE_BYTES
        if part_rows or executor or is_large:
            out = stack.enter_context(_out_of(target, kind or "csv"))
            done = _score_in_parts(workspace, folder, path, out, part_rows or PART_ROWS, executor, row_rules)
            again = f" ({done.resumed} parts were there already)" if done.resumed else ""
            said = f"{_account(done.rows, done.set_aside)} by {read_manifest(folder).name} into {target}{again}"
            click.echo(said, err=True)
            return
        predictor = load_bundle(folder)
        rules = rules_for(folder, predictor, row_rules)
        table = read_columns(path)
        personal = personal_columns(folder, predictor)
        features, warnings = conform(table, predictor.signature, personal=personal, gaps=gaps_set_aside(rules))
        answers = answers_of(predictor, features, rules, personal=personal)
        replaced = [name for name in answers.columns if name in table]
        _warn(warnings + answers.warnings, replaced)
        _write(path, answers.columns, replaced, target, kind or "csv")
    if str(target) != "-" or answers.set_aside:
        said = _account(n_rows(table), answers.set_aside)
        click.echo(f"{said} by {predictor.manifest.name} into {target}", err=True)


def _account(rows: int, set_aside: int) -> str:
    if not set_aside:
        return f"{rows:,} rows scored"
    return f"{rows:,} rows = {rows - set_aside:,} scored + {set_aside:,} set aside"


def _score_in_parts(
    workspace: Workspace,
    bundle: Path,
    source: Path,
    target: Path,
    part_rows: int,
    executor: str | None,
    row_rules: RowRulesUse,
) -> Scored:
    form_of(target)
    scan_sql(source)  # whether it is there and can be read, before anything is begun
    context = workspace.pipeline_context
    if executor is not None:
        context = dataclasses.replace(context, executor=executor_named(executor))
    try:
        with Gauge(source) as gauge:
            done = score_file(
                bundle,
                digest_of(bundle),
                source,
                target,
                context=context,
                part_rows=part_rows,
                tell=gauge,
                row_rules=row_rules,
            )
    except (OSError, duckdb.IOException) as error:
        told = str(error).splitlines()[0]
        raise Unavailable(
            f"`{target}` cannot be written: {told}",
            where="OUT",
            next_step="check its folder and the space there; the same command goes on from the parts that are done",
        ) from error
    _warn(done.warnings, done.replaced)
    return done


def _warn(warnings: list[str], replaced: list[str]) -> None:
    for warning in warnings:
        click.echo(f"Warning: {warning}", err=True)
    if replaced:
        listed = ", ".join(replaced)
        click.echo(f"Warning: IN has columns named {listed}; OUT holds the answers in their place", err=True)


@contextlib.contextmanager
def _file_of(source: Path, kind: str) -> Iterator[Path]:
    """Give the file to read; standard input is put into one."""
    if str(source) != "-":
        yield source
        return
    with scratch_folder() as scratch:
        path = scratch / f"stdin.{kind}"
        with path.open("wb") as file:
            if sys.stdin is not None:
                shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
        with path.open("rb") as file:
            if not file.read(1 << 20).strip():
                raise Invalid("Standard input is empty", where="IN", next_step="pipe a table with a header into it")
        yield path


@contextlib.contextmanager
def _out_of(target: Path, kind: str) -> Iterator[Path]:
    """Give the file to write; what is for standard output is put into one, and goes there when it is whole."""
    if str(target) != "-":
        yield target
        return
    with scratch_folder() as scratch:
        path = scratch / f"stdout.{kind}"
        yield path
        sys.stdout.flush()
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer, 1 << 20)
        sys.stdout.buffer.flush()


def _write(source: Path, answers: Columns, replaced: list[str], target: Path, kind: str) -> None:
    """Write IN's columns as they are with the answers behind them, whole or not at all.

    To a hidden file beside the target, which is then renamed; IN is read again by the engine, so that what the model
    does not eat (ids, dates, notes) is passed on and not through the types of the model.
    """
    ending = kind if str(target) == "-" else form_of(target)
    left_out = f" EXCLUDE ({', '.join(replaced)})" if replaced else ""
    with tempfile.TemporaryDirectory() as scratch, connect() as connection:
        connection.register("answers", answers)
        scan = scan_sql(source, as_written=ending == "csv")
        query = f"SELECT given.*{left_out}, answers.* FROM {scan} given POSITIONAL JOIN answers"
        hidden = Path(scratch) / "out" if str(target) == "-" else target.with_name(f".{target.name}.part")
        quoted = str(hidden).replace("'", "''")
        try:
            rows = parquet_sql(connection, query) if ending == "parquet" else query
            connection.execute(f"COPY ({rows}) TO '{quoted}' {FORMATS[ending]}").fetchall()
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
