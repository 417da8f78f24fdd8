"""Batch prediction of files larger than memory: scored part by part on any executor, picked up again after a kill.

The parts lie in a hidden folder beside the target until all are there; the same call goes on from those that are. One
row that does not fit ends the whole call, and nothing is written. Each part goes through the code that answers online:
the bundle's predictor in its certified form.
"""

import contextlib
import fcntl
import functools
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np

from mainspring.bundle.conform import conform
from mainspring.bundle.predictor import Predictor, load_bundle
from mainspring.data.table import (
    Columns,
    connect,
    fetch_columns,
    quoted_files,
    quoted_name,
    quoted_text,
    scan_sql,
    settled_scan,
    unreadable,
)
from mainspring.domain.ids import new_id
from mainspring.domain.signature import Signature
from mainspring.errors import Conflict, Invalid, MainspringError
from mainspring.evaluate.measure import predict_labels
from mainspring.pipeline.context import PipelineContext
from mainspring.pipeline.outcome import RunFailed
from mainspring.pipeline.step import pipeline, step

__all__ = ["FORMATS", "PART_ROWS", "Scored", "answers_of", "score_file"]

#: How DuckDB writes a file, by its ending.
FORMATS = {"csv": "(FORMAT csv, HEADER)", "parquet": "(FORMAT parquet)", "jsonl": "(FORMAT json)"}
#: Rows that are scored together.
PART_ROWS = 100_000
_MOST_WARNINGS = 20
_TRUTH = {"true": 1.0, "false": 0.0}
_READING_ROW = "file_row_number"


class Scored(NamedTuple):
    """What came of scoring a file: its rows, warnings about unusual values, and how many parts were there already."""

    rows: int
    warnings: list[str]
    resumed: int
    replaced: list[str]


@dataclass(frozen=True)
class _Plan:
    """What the parts in a folder are parts of; other parts are of no use and are made anew."""

    source: str
    size_bytes: int
    modified_ns: int
    inode: int
    bundle: str
    part_rows: int
    ending: str


@dataclass(frozen=True)
class _Part:
    """Rows of two files in one order: `typed` holds what the model eats, `given` what is passed on."""

    typed: str
    given: str
    first: int
    rows: int
    target: str
    ending: str


def answers_of(predictor: Predictor, features: Columns) -> Columns:
    """Return the columns that scoring adds: `score`, for a classifier `label`, with more classes a score for each."""
    scores = predictor.predict(features)
    signature = predictor.signature
    answers = list(scores.T) if scores.ndim > 1 else [scores]
    if signature.task != "regression":
        threshold = predictor.manifest.threshold
        numbers = predict_labels(scores, 0.5 if threshold is None else threshold)
        answers.append(np.array([signature.classes[number] for number in numbers], dtype=object))
    return dict(zip(_answer_names(signature), answers, strict=True))


def score_file(
    bundle: Path,
    digest: str,
    source: Path,
    target: Path,
    *,
    context: PipelineContext,
    part_rows: int = PART_ROWS,
) -> Scored:
    """Score every row of `source` with the bundle and write its columns, with the answers behind them, to `target`.

    The steps of the run are the parts, so they go where the executor of `context` puts them; on a cluster the files and
    the bundle's folder have to lie at the same paths. Needs the space of the target twice.

    Raises:
        Conflict: another call is scoring into the same target.
        Invalid: a row does not fit the model (the message names it), or the source cannot be read.
        Unavailable: the target cannot be written.
    """
    ending = target.suffix.removeprefix(".").lower().replace("ndjson", "jsonl")
    if target.exists() and target.samefile(source):
        raise Invalid(f"IN and OUT are both `{source}`", where="OUT", next_step="name another file")
    plan = _plan_of(source, digest, part_rows, ending)
    folder = target.with_name(f".{target.name}.parts")
    with _alone(folder, target):
        _begin(folder, plan)
        try:
            done = _score_rows(bundle, digest, source, folder, ending, context, part_rows)
            if _plan_of(source, digest, part_rows, ending) != plan:
                raise Invalid(
                    f"`{source.name}` was changed while it was scored", where=str(source), next_step="score it again"
                )
            (folder / f"whole.{ending}").replace(target)
        except Invalid:  # the source has to change first, and then nothing here is of use
            shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)
    return done


@contextlib.contextmanager
def _alone(folder: Path, target: Path) -> Iterator[None]:
    """Hold the folder of the parts; the lock ends with the process, however it ends.

    Raises:
        Conflict: another call scores into the same target.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Conflict(
            f"Another call is scoring into `{target}`", where="OUT", next_step="wait for it, or name another file"
        ) from error
    else:
        yield
    finally:
        os.close(handle)


def _score_rows(
    bundle: Path,
    digest: str,
    source: Path,
    folder: Path,
    ending: str,
    context: PipelineContext,
    part_rows: int,
) -> Scored:
    """Score all rows into the file `whole` of the folder."""
    signature = load_bundle(bundle).signature
    typed, given, names = _row_files(source, folder, signature, ending)
    with connect() as connection:
        (rows,) = connection.execute(f"SELECT count(*) FROM {quoted_files([typed])}").fetchall()[0]
    if not rows:
        raise Invalid(f"`{source.name}` holds no rows", where=str(source), next_step="give at least one row")
    parts = [
        _Part(
            str(typed), str(given), first, min(part_rows, rows - first), str(folder / f"{number:06d}.{ending}"), ending
        )
        for number, first in enumerate(range(0, rows, part_rows))
    ]
    missing = [part for part in parts if not Path(part.target).exists()]
    _score(missing, bundle, digest, context)
    warnings = [line for part in parts for line in json.loads(_told(part).read_text(encoding="utf-8"))]
    _join([Path(part.target) for part in parts], ending)
    replaced = [name for name in _answer_names(signature) if name in names]
    return Scored(rows, warnings[:_MOST_WARNINGS], len(parts) - len(missing), replaced)


def _plan_of(source: Path, digest: str, part_rows: int, ending: str) -> _Plan:
    stat = source.stat()
    return _Plan(str(source.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ino, digest, part_rows, ending)


def _begin(folder: Path, plan: _Plan) -> None:
    """Keep the parts that an earlier call with the same plan left; others go."""
    wanted = json.dumps(asdict(plan))
    file = folder / "plan.json"
    if not file.is_file() or file.read_text(encoding="utf-8") != wanted:
        for stale in folder.iterdir():
            stale.unlink()
        file.write_text(wanted, encoding="utf-8")


def _row_files(source: Path, folder: Path, signature: Signature, ending: str) -> tuple[Path, Path, list[str]]:
    """Return two Parquet files with the rows of `source`, its types settled and as they are written; and its columns.

    Parquet can be read from any row on; a text file is turned into it first, in one pass that needs no memory.
    """
    with connect() as connection:
        scan, described = settled_scan(connection, source)
        names = [name for name, _ in described]
        # whatever is wrong with the columns themselves is told before a row is read
        conform({name: np.zeros(0, dtype=object) for name in names}, signature)
        if _READING_ROW in names:
            raise Invalid(
                f"A column is called `{_READING_ROW}`, as the table engine calls the numbers it reads parts by",
                where=str(source),
                next_step="give the column another name",
            )
        if source.suffix == ".parquet":
            return source, source, names
        typed = _copied(connection, scan, folder / "typed.parquet", source)
        written = scan_sql(source, as_written=ending == "csv")
        if written == scan_sql(source):
            return typed, typed, names
        return typed, _copied(connection, written, folder / "given.parquet", source), names


def _copied(connection: duckdb.DuckDBPyConnection, scan: str, file: Path, source: Path) -> Path:
    if not file.exists():
        hidden = file.with_name(f"{file.name}.{new_id()}")
        try:
            connection.execute(f"COPY (SELECT * FROM {scan}) TO {quoted_text(str(hidden))} (FORMAT parquet)").fetchall()
        except duckdb.Error as error:
            hidden.unlink(missing_ok=True)
            raise unreadable(source, error) from error
        hidden.rename(file)
    return file


def _score(parts: Sequence[_Part], bundle: Path, digest: str, context: PipelineContext) -> None:
    try:
        # The parts are there or not, whatever is remembered of an earlier call: a new word makes every call a new one.
        score_parts.run(context, [asdict(part) for part in parts], str(bundle), digest, new_id())
    except RunFailed as error:
        cause = error.__cause__
        raise (cause if isinstance(cause, MainspringError) else error) from error


def _told(part: _Part) -> Path:
    """Return the file of a part's warnings, which is there before the part is."""
    return Path(part.target).with_suffix(".json")


@step(name="score part")
def score_part(part: dict[str, Any], bundle: str, digest: str, call: str) -> str:
    """Score the rows of one part into its file and return its path. The file is there whole or not at all."""
    mine = _Part(**part)
    predictor = _loaded(bundle, digest)
    signature = predictor.signature
    with connect() as connection:
        wanted = ", ".join(quoted_name(name) for name in signature.names)
        table = fetch_columns(connection, f"SELECT {wanted} FROM {_rows_of(mine.typed, mine)}")
        for column in signature.columns:
            if column.type == "boolean" and table[column.name].dtype == object:
                table[column.name] = np.array(
                    [None if each is None else _TRUTH.get(each.lower(), each) for each in table[column.name]], object
                )
        features, warnings = conform(table, signature, first=mine.first)
        answers = answers_of(predictor, features)
        described = connection.execute(f"DESCRIBE SELECT * FROM {quoted_files([Path(mine.given)])}").fetchall()
        shown = ", ".join(quoted_name(row[0]) for row in described if row[0] not in answers)
        connection.register("answers", answers)
        given = f"(SELECT {shown or 'NULL'} FROM {_rows_of(mine.given, mine)})"
        hidden = f"{mine.target}.{new_id()}"
        query = f"SELECT * FROM {given} POSITIONAL JOIN answers"
        form = FORMATS[mine.ending] if mine.first == 0 else FORMATS[mine.ending].replace("HEADER", "HEADER false")
        connection.execute(f"COPY ({query}) TO {quoted_text(hidden)} {form}").fetchall()
    _told(mine).write_text(json.dumps(warnings), encoding="utf-8")
    Path(hidden).rename(mine.target)
    return mine.target


@pipeline(name="predict")
def score_parts(parts: list[dict[str, Any]], bundle: str, digest: str, call: str) -> list[str]:
    """Score each part; they do not need each other."""
    return [score_part(part, bundle, digest, call) for part in parts]


@functools.lru_cache(maxsize=1)
def _loaded(bundle: str, digest: str) -> Predictor:
    return load_bundle(Path(bundle))


def _rows_of(path: str, part: _Part) -> str:
    """Return the rows of a part as SQL, in order; the engine skips the others without reading them."""
    scan = quoted_files([Path(path)]).removesuffix(")") + f", {_READING_ROW}=true)"
    between = f"{_READING_ROW} >= {part.first} AND {_READING_ROW} < {part.first + part.rows}"
    return f"(SELECT * FROM {scan} WHERE {between} ORDER BY {_READING_ROW})"


def _answer_names(signature: Signature) -> list[str]:
    if signature.task == "multiclass":
        return [*(f"score_{name}" for name in signature.classes), "label"]
    return ["score"] if signature.task == "regression" else ["score", "label"]


def _join(parts: Sequence[Path], ending: str) -> None:
    """Put the parts' rows into one file beside them, in order."""
    whole = parts[0].with_name(f"whole.{ending}")  # what a killed call left of it is written over
    if ending == "parquet":
        with connect() as connection:
            query = f"SELECT * FROM {quoted_files(parts)}"
            connection.execute(f"COPY ({query}) TO {quoted_text(str(whole))} {FORMATS[ending]}").fetchall()
    else:
        with whole.open("wb") as file:
            for part in parts:
                with part.open("rb") as piece:
                    shutil.copyfileobj(piece, file, 1 << 20)
