"""What an overview says, and its page: one file without scripts, to be opened, mailed and kept."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal

__all__ = ["STYLE", "ColumnOverview", "Group", "Kind", "Overview", "Relation", "overview_page"]

Kind = Literal["number", "boolean", "string", "timestamp"]
#: A column that explains this share of the target's variance by itself is more often a leak than a find.
_KNOWS = 0.9

STYLE = """
:root{color-scheme:light dark;font:15px/1.5 system-ui,sans-serif;
--bar:#3a7bc8;--soft:color-mix(in srgb,currentColor 12%,transparent)}
body{max-width:64rem;margin:2rem auto;padding:0 1rem}
h1{margin:0;font-size:1.6rem}h2{margin:2rem 0 .6rem;font-size:1.15rem}h3{margin:0;font-size:1rem;overflow-wrap:anywhere}
p.about,small{opacity:.75}
ul.notes li{margin:.2rem 0}
section{border:1px solid var(--soft);border-radius:.6rem;padding:.8rem 1rem;margin:.8rem 0;
display:grid;grid-template-columns:minmax(11rem,1fr) minmax(15rem,1.3fr) minmax(15rem,1.3fr);gap:1rem}
table{border-collapse:collapse;width:100%}td,th{padding:.1rem .6rem .1rem 0;text-align:left;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
td.bar{width:45%}td.bar i{display:block;height:.75rem;margin-top:.3rem;border-radius:.2rem;background:var(--bar)}
svg{width:100%;height:5.2rem;display:block}rect{fill:var(--bar)}
td.long{max-width:11rem;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
@media(max-width:50rem){section{grid-template-columns:1fr}}
"""


@dataclass(frozen=True, slots=True)
class Group:
    """Rows with one value, or in one range; `target` is the target's mean among them, where there is a target."""

    label: str
    rows: int
    target: float | None = None


@dataclass(frozen=True, slots=True)
class Relation:
    """How a column goes with the target: the share of the target's variance that its groups explain, 0 to 1."""

    explains: float
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class ColumnOverview:
    """One column. `bins` are rows by equal widths from `low` to `high`, the outer ones with all that is beyond.

    `low` and `high` are the first and the last percentile of a number; `drift` is the population stability index beside
    the table that was compared with.
    """

    name: str
    type: Kind
    engine_type: str
    missing: int
    distinct: int
    minimum: float | str | None = None
    maximum: float | str | None = None
    mean: float | None = None
    deviation: float | None = None
    zeros: int = 0
    quantiles: dict[str, float] = field(default_factory=dict)
    low: float | None = None
    high: float | None = None
    bins: tuple[int, ...] = ()
    top: tuple[Group, ...] = ()
    relation: Relation | None = None
    drift: float | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """A table. `target` and `classes` say what relations are to: a number, or the share of the last of `classes`."""

    name: str
    rows: int
    columns: tuple[ColumnOverview, ...]
    correlations: tuple[tuple[str, str, float], ...] = ()
    target: str = ""
    classes: tuple[str, ...] = ()
    against: str = ""

    @property
    def notes(self) -> list[str]:
        """What is worth a look, in words."""
        return [note for column in self.columns for note in _notes(column, self)]

    def _repr_html_(self) -> str:
        """Show as a page in a notebook."""
        return overview_page(self)


def overview_page(table: Overview) -> str:
    """Return the page as HTML."""
    about = f"{table.rows:,} rows, {len(table.columns):,} columns"
    if table.against:
        about += f", compared with {escape(table.against)}"
    notes = "".join(f"<li>{_marked(note)}</li>" for note in table.notes)
    parts = [
        f"<h1>{escape(table.name)}</h1><p class=about>{about}</p>",
        f"<h2>Worth a look</h2><ul class=notes>{notes or '<li>nothing stands out</li>'}</ul>",
        _strongest(table),
        "<h2>Columns</h2>",
        *(_section(column, table) for column in table.columns),
        _correlations(table.correlations),
    ]
    title = escape(table.name)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{STYLE}</style>{''.join(parts)}</html>\n"
    )


def _marked(note: str) -> str:
    pieces = escape(note).split("`")
    return "".join(f"<b>{piece}</b>" if at % 2 else piece for at, piece in enumerate(pieces))


def _strongest(table: Overview) -> str:
    related = sorted(
        (each for each in table.columns if each.relation is not None),
        key=lambda each: -(each.relation.explains if each.relation else 0.0),
    )
    if not related:
        return ""
    rows = [(each.name, each.relation.explains) for each in related[:12] if each.relation is not None]
    body = "".join(
        f"<tr><td>{escape(name)}</td><td class=n>{share:.1%}</td>"
        f"<td class=bar><i style='width:{100 * share:.1f}%'></i></td>"
        for name, share in rows
    )
    about = "the share of its variance that each column's groups explain alone"
    return f"<h2>What goes with {escape(table.target)}</h2><small>{about}</small><table>{body}</table>"


def _section(column: ColumnOverview, table: Overview) -> str:
    facts = [
        ("type", column.type),
        ("missing", _share(column.missing, table.rows)),
        ("distinct", f"{column.distinct:,}"),
    ]
    if column.minimum is not None:
        facts += [("least", _number(column.minimum)), ("most", _number(column.maximum))]
    if column.mean is not None:
        facts += [("mean", _number(column.mean)), ("deviation", _number(column.deviation))]
        facts += [("median", _number(column.quantiles.get("0.5"))), ("zeros", _share(column.zeros, table.rows))]
    if column.drift is not None:
        facts.append(("moved (PSI)", f"{column.drift:.3f}"))
    left = "".join(f"<tr><td><small>{name}</small></td><td class=n>{escape(text)}</td></tr>" for name, text in facts)
    middle = _histogram(column) if column.bins else _values(column, table.rows)
    right = ""
    if column.relation is not None:
        right = _by_target(column.relation.groups, column.relation.explains, _goal(table))
    head = f"<h3>{escape(column.name)}</h3><table>{left}</table>"
    return f"<section><div>{head}</div><div>{middle}</div><div>{right}</div></section>"


def _goal(table: Overview) -> str:
    return f"{table.target} = {table.classes[-1]}" if table.classes else table.target


def _histogram(column: ColumnOverview) -> str:
    most, width = max(column.bins) or 1, 100 / len(column.bins)
    bars = "".join(
        f"<rect x='{at * width:.2f}' y='{40 - 40 * count / most:.2f}' width='{0.86 * width:.2f}' "
        f"height='{40 * count / most:.2f}'><title>{count:,} rows</title></rect>"
        for at, count in enumerate(column.bins)
    )
    ends = f"{_number(column.low)} to {_number(column.high)}; the outer bars hold what is beyond"
    picture = f"<svg viewBox='0 0 100 40' preserveAspectRatio='none' role=img aria-label='{escape(ends)}'>{bars}</svg>"
    return f"{picture}<small>{escape(ends)}</small>"


def _values(column: ColumnOverview, rows: int) -> str:
    if not column.top:
        return ""
    most = max(group.rows for group in column.top) or 1
    others = rows - column.missing - sum(group.rows for group in column.top)
    body = "".join(_bar(group.label, group.rows, group.rows / most, _share(group.rows, rows)) for group in column.top)
    return f"<table>{body}</table>" + (f"<small>{others:,} rows with other values</small>" if others > 0 else "")


def _by_target(groups: Sequence[Group], explains: float, goal: str) -> str:
    values = [group.target for group in groups if group.target is not None]
    low, high = min([0.0, *values]), max([0.0, *values])
    span = (high - low) or 1.0
    body = "".join(
        _bar(group.label, group.rows, (group.target - low) / span, _number(group.target))
        for group in groups
        if group.target is not None
    )
    return f"<small>mean of {escape(goal)}; explains {explains:.1%}</small><table>{body}</table>"


def _bar(label: str, rows: int, share: float, text: str) -> str:
    shown = escape(label)
    return (
        f"<tr title='{rows:,} rows'><td class=long>{shown or '<i>empty</i>'}</td><td class=n>{escape(text)}</td>"
        f"<td class=bar><i style='width:{100 * min(1.0, share):.1f}%'></i></td></tr>"
    )


def _correlations(pairs: Iterable[tuple[str, str, float]]) -> str:
    body = "".join(
        f"<tr><td>{escape(one)}</td><td>{escape(other)}</td><td class=n>{value:+.3f}</td>"
        f"<td class=bar><i style='width:{100 * abs(value):.1f}%'></i></td></tr>"
        for one, other, value in list(pairs)[:15]
    )
    return f"<h2>Columns that go together</h2><small>Pearson's coefficient</small><table>{body}</table>" if body else ""


def _share(rows: int, of: int) -> str:
    return f"{rows:,} ({rows / of:.1%})" if rows else "0"


def _number(value: float | str | None) -> str:
    return value if isinstance(value, str) else "" if value is None else f"{value:,.6g}"


def _notes(column: ColumnOverview, table: Overview) -> Iterator[str]:
    present = table.rows - column.missing
    share = column.missing / table.rows
    if not present:
        yield f"`{column.name}` is missing in every row"
    elif column.distinct == 1:
        yield f"`{column.name}` has one value only"
    elif share > 0.2:
        yield f"`{column.name}` is missing in {share:.0%} of the rows"
    if column.type == "string" and present > 100 and column.distinct > 0.9 * present:
        yield f"`{column.name}` has nearly a value of its own for each row: an id?"
    if column.relation is not None and column.relation.explains > _KNOWS:
        yield f"`{column.name}` alone explains {column.relation.explains:.0%} of `{table.target}`: does it know it?"
    if column.drift is not None and column.drift > 0.2:
        yield f"`{column.name}` has moved from {table.against} (PSI {column.drift:.2f})"
