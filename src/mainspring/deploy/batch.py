"""Batch prediction of files larger than memory: scored part by part on any executor, picked up again after a kill.

The parts lie in a hidden folder beside the target until all are there; the same call goes on from those that are. One
row that does not fit ends the whole call, and nothing is written. Each part goes through the code that answers online:
the bundle's predictor in its certified form.
"""

import functools
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mainspring.bundle.conform import conform
from mainspring.bundle.predictor import Predictor, load_bundle
from mainspring.data.parts import (
    READING_ROW,
    copied,
    count_rows,
    form_of,
    part_form,
    parts_folder,
    refuse_reading_row,
    rows_sql,
    unite,
)
from mainspring.data.table import (
    connect,
    fetch_columns,
    quoted_files,
    quoted_name,
    quoted_text,
    scan_sql,
    settled_scan,
)
from mainspring.data.watching import Tell, untold
from mainspring.deploy.obeying import RowRulesUse, answer_names, answers_of, gaps_set_aside, personal_columns, rules_for
from mainspring.domain.ids import new_id
from mainspring.domain.signature import Signature
from mainspring.errors import Invalid, MainspringError
from mainspring.pipeline.context import PipelineContext
from mainspring.pipeline.outcome import RunFailed, StepEvent
from mainspring.pipeline.step import pipeline, step

__all__ = ["PART_ROWS", "Scored", "score_file"]

#: Rows that are scored together.
PART_ROWS = 100_000
_MOST_WARNINGS = 20
_TRUTH = {"true": 1.0, "false": 0.0}


class Scored(NamedTuple):
    """What came of scoring a file: its rows, warnings about unusual values, and how many parts were there already.

    Of `rows`, `set_aside` were not scored, for rules of the model's schema.
    """

    rows: int
    warnings: list[str]
    resumed: int
    replaced: list[str]
    set_aside: int


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
    row_rules: RowRulesUse


@dataclass(frozen=True)
class _Part:
    """Rows of two files in one order: `typed` holds what the model eats, `given` what is passed on."""

    typed: str
    given: str
    first: int
    rows: int
    target: str
    ending: str
    row_rules: RowRulesUse


@dataclass
class _PartsDone:
    """Tells how many of the parts are there."""

    what: str
    done: int
    parts: int
    tell: Tell

    def on_step(self, event: StepEvent) -> None:
        if event.status == "finished":
            self.done += 1
        self.tell(self.what, self.done / self.parts)


def score_file(
    bundle: Path,
    digest: str,
    source: Path,
    target: Path,
    *,
    context: PipelineContext,
    part_rows: int = PART_ROWS,
    tell: Tell = untold,
    row_rules: RowRulesUse = "obey",
) -> Scored:
    """Score every row of `source` with the bundle and write its columns, with the answers behind them, to `target`.

    The steps of the run are the parts, so they go where the executor of `context` puts them; on a cluster the files and
    the bundle's folder have to lie at the same paths. Needs the space of the target twice.

    Raises:
        Conflict: another call is scoring into the same target.
        Invalid: a row does not fit the model or its schema (the message names it), or the source cannot be read.
        Unavailable: the target cannot be written.
    """
    ending = form_of(target)
    if target.exists() and target.samefile(source):
        raise Invalid(f"IN and OUT are both `{source}`", where="OUT", next_step="name another file")
    plan = _plan_of(source, digest, part_rows, ending, row_rules)
    with parts_folder(target) as folder:
        _begin(folder, plan)
        try:
            done = _score_rows(bundle, source, folder, context, plan, tell)
            if _plan_of(source, digest, part_rows, ending, row_rules) != plan:
                raise Invalid(
                    f"`{source.name}` was changed while it was scored", where=str(source), next_step="score it again"
                )
            (folder / f"whole.{ending}").replace(target)
        except Invalid:  # the source has to change first, and then nothing here is of use
            shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)
    return done


def _score_rows(bundle: Path, source: Path, folder: Path, context: PipelineContext, plan: _Plan, tell: Tell) -> Scored:
    """Score all rows into the file `whole` of the folder."""
    predictor, ending, part_rows = load_bundle(bundle), plan.ending, plan.part_rows
    added = answer_names(predictor, rules_for(bundle, predictor, plan.row_rules))
    typed, given, names = _row_files(source, folder, predictor.signature, ending, tell)
    with connect() as connection:
        rows = count_rows(connection, typed)
    if not rows:
        raise Invalid(f"`{source.name}` holds no rows", where=str(source), next_step="give at least one row")
    parts = [
        _Part(
            str(typed),
            str(given),
            first,
            min(part_rows, rows - first),
            str(folder / f"{number:06d}.{ending}"),
            ending,
            plan.row_rules,
        )
        for number, first in enumerate(range(0, rows, part_rows))
    ]
    missing = [part for part in parts if not Path(part.target).exists()]
    done = _PartsDone(f"scoring {source.name}", len(parts) - len(missing), len(parts), tell)
    _score(missing, bundle, plan.bundle, replace(context, progress=done))
    told = [json.loads(_told(part).read_text(encoding="utf-8")) for part in parts]
    warnings = [line for each in told for line in each["warnings"]]
    unite([Path(part.target) for part in parts], ending, tell)
    replaced = [name for name in added if name in names]
    aside = sum(each["set_aside"] for each in told)
    return Scored(rows, warnings[:_MOST_WARNINGS], len(parts) - len(missing), replaced, aside)


def _plan_of(source: Path, digest: str, part_rows: int, ending: str, use: RowRulesUse) -> _Plan:
    stat = source.stat()
    return _Plan(str(source.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ino, digest, part_rows, ending, use)


def _begin(folder: Path, plan: _Plan) -> None:
    """Keep the parts that an earlier call with the same plan left; others go."""
    wanted = json.dumps(asdict(plan))
    file = folder / "plan.json"
    if not file.is_file() or file.read_text(encoding="utf-8") != wanted:
        for stale in folder.iterdir():
            stale.unlink()
        file.write_text(wanted, encoding="utf-8")


def _row_files(
    source: Path, folder: Path, signature: Signature, ending: str, tell: Tell
) -> tuple[Path, Path, list[str]]:
    """Return two Parquet files with the rows of `source`, its types settled and as they are written; and its columns.

    Parquet can be read from any row on; a text file is turned into it first, in one pass that needs no memory.
    """
    with connect() as connection:
        tell(f"reading the types of {source.name}", 0.0)
        scan, described = settled_scan(connection, source)
        names = [name for name, _ in described]
        # whatever is wrong with the columns themselves is told before a row is read
        conform({name: np.zeros(0, dtype=object) for name in names}, signature)
        refuse_reading_row(source, names)
        if source.suffix == ".parquet":
            return source, source, names
        typed = copied(connection, scan, folder / "typed.parquet", source, tell)
        written = scan_sql(source, as_written=ending == "csv")
        if written == scan_sql(source):
            return typed, typed, names
        return typed, copied(connection, written, folder / "given.parquet", source, tell), names


def _score(parts: Sequence[_Part], bundle: Path, digest: str, context: PipelineContext) -> None:
    try:
        # The parts are there or not, whatever is remembered of an earlier call: a new word makes every call a new one.
        score_parts.run(context, [asdict(part) for part in parts], str(bundle), digest, new_id())
    except RunFailed as error:
        cause = error.__cause__
        raise (cause if isinstance(cause, MainspringError) else error) from error


def _told(part: _Part) -> Path:
    """Return the file of what is to be told of a part, which is there before the part is."""
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
        personal = personal_columns(Path(bundle), predictor)
        rules = rules_for(Path(bundle), predictor, mine.row_rules)
        gaps = gaps_set_aside(rules)
        features, warnings = conform(table, signature, first=mine.first, personal=personal, gaps=gaps)
        done = answers_of(predictor, features, rules, first=mine.first, personal=personal)
        answers = done.columns
        described = connection.execute(f"DESCRIBE SELECT * FROM {quoted_files([Path(mine.given)])}").fetchall()
        shown = ", ".join(quoted_name(row[0]) for row in described if row[0] not in answers)
        connection.register("answers", answers)
        given = f"(SELECT {shown or 'NULL'} FROM {_rows_of(mine.given, mine)})"
        hidden = f"{mine.target}.{new_id()}"
        query = f"SELECT * FROM {given} POSITIONAL JOIN answers"
        form = part_form(mine.ending, first=mine.first == 0)
        connection.execute(f"COPY ({query}) TO {quoted_text(hidden)} {form}").fetchall()
    told = {"warnings": warnings + done.warnings, "set_aside": done.set_aside}
    _told(mine).write_text(json.dumps(told), encoding="utf-8")
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
    """Return the rows of a part as SQL, in order."""
    return f"(SELECT * FROM {rows_sql(Path(path), part.first, part.rows)} ORDER BY {READING_ROW})"
