"""The page of suspects: the rows to look at with their values and reasons, one file without scripts."""

from collections.abc import Iterator, Sequence
from html import escape

from mainspring.data.overview_page import STYLE
from mainspring.data.table import Columns
from mainspring.train.row_suspects import RowSuspect, SuspectKind, Suspects

__all__ = ["HEADINGS", "suspects_page"]

HEADINGS: dict[SuspectKind, str] = {
    "label": "Likely label errors",
    "outlier": "Values far out",
    "duplicate": "Repeated rows",
}


def suspects_page(found: Suspects, columns: Columns, *, name: str, top: int) -> str:
    """Return the page: what the trials came to, and the first `top` rows of each kind with all of their values."""
    title = escape(f"Suspects of {name}")
    parts = [f"<h1>{title}</h1><p class=about>{found.rows:,} rows, {found.held_out:,} of them held out; target"]
    parts.append(f" {escape(found.target)}</p><ul class=notes>")
    parts += [f"<li>{escape(str(each))}</li>" for each in found.trials]
    parts.append("</ul>")
    for kind, heading in HEADINGS.items():
        of_kind = found.of(kind)
        parts.append(f"<h2>{heading}: {len(of_kind):,}</h2>")
        parts += _table(of_kind[:top], columns)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{STYLE}body{{max-width:none}}</style>{''.join(parts)}</html>\n"
    )


def _table(shown: Sequence[RowSuspect], columns: Columns) -> Iterator[str]:
    if not shown:
        return
    names = "".join(f"<th>{escape(name)}</th>" for name in columns)
    yield f"<table><tr><th class=n>row</th><th>reason</th><th class=n>score</th>{names}</tr>"
    for each in shown:
        cells = "".join(f"<td class=long>{escape(_shown(columns[name][each.row]))}</td>" for name in columns)
        said = f"<td class=n>{each.row}</td><td>{escape(each.reason)}</td><td class=n>{each.score:.3f}</td>"
        yield f"<tr>{said}{cells}</tr>"
    yield "</table>"


def _shown(value: object) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.10g}" if isinstance(value, float) else str(value)
