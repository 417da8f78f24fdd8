"""Which columns of a file hold personal data? A pass of patterns over its texts, one more with checksums over those in
which something was seen, and a look at names.

A value never leaves the engine: examples are made there into their form (letters to `a`, digits to `9`). What no
pattern can tell is not found: the name of a person in a text, for one.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import duckdb

from mainspring.artifacts.scratch import scratch_folder
from mainspring.data.national_ids import national_ids
from mainspring.data.personal_kinds import PATTERNS, Pattern, named_kind
from mainspring.data.table import connect, quoted_name, quoted_text, settled_scan, unreadable_unseen
from mainspring.data.wide import narrowed
from mainspring.errors import Invalid

__all__ = ["Finding", "Personal", "personal_data"]

_EXAMPLES = 3
#: Columns, and questions that were answered with yes, that one query asks of: the engine plans wide ones slowly.
_COLUMNS, _QUESTIONS = 50, 16
_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
#: More passes of a checksum than this many standard deviations above chance are none of chance's.
_SURE = 4.0

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Finding:
    """Personal data of one kind in a column: in how many cells, told `by` their form or by the column's name.

    `examples` are forms of what was found, the commonest first, never values.
    """

    column: str
    kind: str
    by: Literal["form", "name"]
    cells: int
    share: float
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Personal:
    """What was found in `rows` rows of a file; `sampled` when these were not all."""

    rows: int
    sampled: bool
    columns: int
    findings: tuple[Finding, ...]


def personal_data(path: Path, *, sample: int | None = None) -> Personal:
    """Look for personal data in every column of a file, which may be larger than memory.

    Texts (and whole numbers, for cards) are searched for each pattern; a kind with a checksum is told when more texts
    pass it than chance would let through. A column whose name tells of personal data is told by it, when it is not
    empty. Ids of single countries are looked for in a sample, where python-stdnum is installed. `sample` looks at as
    many rows, drawn from the whole file, the same ones each time.

    Raises:
        NotFound, Invalid: the file is missing or cannot be read.
    """
    with connect() as connection, scratch_folder() as scratch:
        try:
            source, described = settled_scan(connection, path)
            source = narrowed(connection, path, source, len(described), scratch).scan
            if sample is not None:
                drawn = f"SELECT * FROM {source} USING SAMPLE reservoir({int(sample)} ROWS) REPEATABLE (0)"
                connection.execute(f"CREATE TEMP TABLE drawn AS {drawn}").fetchall()
                source = "drawn"
            rows, present, asked = _look(connection, source, described)
            answers = list(_measure(connection, source, asked))
            ids = list(national_ids(connection, source, [(n, k) for n, k in described if _is_text(k) or k in _WHOLE]))
        except Invalid as error:
            if isinstance(error.__cause__, duckdb.Error):
                raise unreadable_unseen(path, error.__cause__) from None
            raise
        except duckdb.Error as error:
            raise unreadable_unseen(path, error) from None
    found = [
        Finding(name, pattern.kind, "form", cells, cells / max(1, present[name]), tuple(examples))
        for (name, pattern), (cells, passed, tried, examples) in zip(asked, answers, strict=True)
        if cells and _is_sure(pattern, passed, tried)
    ]
    found += [Finding(name, kind, "form", cells, cells / max(1, present[name])) for name, kind, cells in ids]
    told = {each.column for each in found}
    for name, _ in described:
        kind = named_kind(name)
        if kind and present[name] and name not in told:
            found.append(Finding(name, kind, "name", present[name], 1.0))
    place = {name: number for number, (name, _) in enumerate(described)}
    found.sort(key=lambda each: (place[each.column], -each.cells))
    return Personal(rows, sample is not None, len(described), tuple(found))


def _is_text(kind: str) -> bool:
    return kind == "VARCHAR" or kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "JSON", "UNION"))


def _patterns(kind: str) -> Sequence[Pattern]:
    if _is_text(kind):
        return PATTERNS
    return [each for each in PATTERNS if each.kind == "card"] if kind in _WHOLE else []


def _is_sure(pattern: Pattern, passed: int, tried: int) -> bool:
    expected = tried * pattern.chance
    return passed > expected + _SURE * math.sqrt(expected * (1 - pattern.chance))


def _look(
    connection: "duckdb.DuckDBPyConnection", source: str, described: Sequence[tuple[str, str]]
) -> tuple[int, dict[str, int], list[tuple[str, Pattern]]]:
    """Return the rows, the values of each column, and which forms stand in which columns at all."""
    rows = 0
    present: dict[str, int] = {}
    seen: list[tuple[str, Pattern]] = []
    for columns in _batches(described, _COLUMNS):
        asked = [(name, pattern) for name, kind in columns for pattern in _patterns(kind)]
        figures = ["count(*)", *(f"count({quoted_name(name)})" for name, _ in columns)]
        for name, pattern in asked:
            both = (pattern.gate, pattern.form)
            gate, form = (f"regexp_matches({_text(name)}, {quoted_text(each)})" for each in both)
            figures.append(f"count_if(CASE WHEN {gate} THEN {form} END)")
        (answer,) = connection.execute(f"SELECT {', '.join(figures)} FROM {source}").fetchall()
        rows = answer[0]
        present |= dict(zip((name for name, _ in columns), answer[1:], strict=False))
        counts = answer[1 + len(columns) :]
        seen += [each for each, count in zip(asked, counts, strict=True) if count]
    return rows, present, seen


def _measure(
    connection: "duckdb.DuckDBPyConnection", source: str, asked: Sequence[tuple[str, Pattern]]
) -> Iterator[tuple[int, int, int, list[str]]]:
    """Yield for each question how many cells, texts that pass, texts of the form, and the commonest forms."""
    for batch in _batches(asked, _QUESTIONS):
        inner, outer = [], []
        for number, (name, pattern) in enumerate(batch):
            inner.append(f"regexp_extract_all({_text(name)}, {quoted_text(pattern.form)}) AS f{number}")
            hits = f"list_filter(f{number}, lambda x: {pattern.valid('x')})" if pattern.valid else f"f{number}"
            outer.append(f"{hits} AS h{number}, len(f{number}) AS n{number}")
        figures = []
        for n in range(len(batch)):
            shape = f"regexp_replace(regexp_replace(h{n}[1], '\\pL', 'a', 'g'), '\\pN', '9', 'g')"
            top = f"approx_top_k({shape}, {_EXAMPLES}) FILTER (WHERE len(h{n}) > 0)"
            figures.append(f"[count_if(len(h{n}) > 0), coalesce(sum(len(h{n})), 0), coalesce(sum(n{n}), 0)], {top}")
        extracted = f"(SELECT {', '.join(inner)} FROM {source})"
        (answer,) = connection.execute(
            f"SELECT {', '.join(figures)} FROM (SELECT {', '.join(outer)} FROM {extracted})"
        ).fetchall()
        for counts, forms in zip(answer[::2], answer[1::2], strict=True):
            yield int(counts[0]), int(counts[1]), int(counts[2]), list(forms or ())


def _text(name: str) -> str:
    return f"CAST({quoted_name(name)} AS VARCHAR)"


def _batches(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
