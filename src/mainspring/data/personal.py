"""Which columns of a file hold personal data? One pass of patterns with checksums over its texts, and a look at names.

A value never leaves the engine: examples are made there into their form (letters to `a`, digits to `9`). What no
pattern can tell is not found: the name of a person in a text, for one.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import duckdb

from mainspring.data.national_ids import national_ids
from mainspring.data.personal_kinds import PATTERNS, Pattern, named_kind
from mainspring.data.table import connect, quoted_name, quoted_text, settled_scan, unreadable_unseen
from mainspring.errors import Invalid

__all__ = ["Finding", "Personal", "personal_data"]

_EXAMPLES = 3
_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
#: More passes of a checksum than this many standard deviations above chance are none of chance's.
_SURE = 4.0


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
    with connect() as connection:
        try:
            source, described = settled_scan(connection, path)
        except Invalid as error:
            if isinstance(error.__cause__, duckdb.Error):
                raise unreadable_unseen(path, error.__cause__) from None
            raise
        if sample is not None:
            source = f"(SELECT * FROM {source} USING SAMPLE reservoir({int(sample)} ROWS) REPEATABLE (0))"
        asked = [(name, pattern) for name, kind in described for pattern in _patterns(kind)]
        try:
            rows, present, answers = _ask(connection, source, [name for name, _ in described], asked)
            ids = list(national_ids(connection, source, [(n, k) for n, k in described if _is_text(k) or k in _WHOLE]))
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


def _ask(
    connection: "duckdb.DuckDBPyConnection", source: str, names: Sequence[str], asked: Sequence[tuple[str, Pattern]]
) -> tuple[int, dict[str, int], list[tuple[int, int, int, list[str]]]]:
    """Return the rows, the values of each column, and for each question: cells, passes, forms seen, examples."""
    inner = [f"{quoted_name(name)} IS NOT NULL AS p{number}" for number, name in enumerate(names)]
    outer = ["count(*)", *(f"count_if(p{number})" for number in range(len(names)))]
    for number, (name, pattern) in enumerate(asked):
        text = f"CAST({quoted_name(name)} AS VARCHAR)"
        gate = f"regexp_matches({text}, {quoted_text(pattern.gate)})"
        inner.append(f"CASE WHEN {gate} THEN regexp_extract_all({text}, {quoted_text(pattern.form)}) END AS f{number}")
        hits = f"list_filter(f{number}, lambda x: {pattern.valid('x')})" if pattern.valid else f"f{number}"
        shape = f"regexp_replace(regexp_replace(({hits})[1], '\\pL', 'a', 'g'), '\\pN', '9', 'g')"
        outer += [
            f"count_if(len({hits}) > 0)",
            f"coalesce(sum(len({hits})), 0)",
            f"coalesce(sum(len(f{number})), 0)",
            f"approx_top_k({shape}, {_EXAMPLES}) FILTER (WHERE len({hits}) > 0)",
        ]
    query = f"SELECT {', '.join(outer)} FROM (SELECT {', '.join(inner) or '1'} FROM {source})"
    (answer,) = connection.execute(query).fetchall()
    figures = list(answer[1 + len(names) :])
    told = [(a, int(b), int(c), list(d or ())) for a, b, c, d in _fours(figures)]
    return answer[0], dict(zip(names, answer[1:], strict=False)), told


def _fours(figures: Sequence[object]) -> Iterator[tuple[int, int, int, list[str]]]:
    for start in range(0, len(figures), 4):
        yield tuple(figures[start : start + 4])  # type: ignore[misc]  # four figures a question, as they were asked
