"""Printing: tables for people, JSON for programs, and nothing but plain text where no terminal is."""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

__all__ = ["as_json", "json_option", "print_fields", "print_json", "print_table", "short", "when"]

#: The option every listing has.
json_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON."
)


def as_json(value: object) -> object:
    """Return `value` with dataclasses, tuples, paths and moments turned into what JSON holds; NaN becomes null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: as_json(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, str | bool | int | None):
        return value
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Iterable):
        return [as_json(item) for item in value]
    return str(value)


def print_json(value: object) -> None:
    """Print one JSON document, indented on a terminal, on one line elsewhere."""
    click.echo(json.dumps(as_json(value), indent=2 if sys.stdout.isatty() else None, allow_nan=False))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str = "Nothing yet.") -> None:
    """Print rows under headings: a drawn table on a terminal, aligned columns elsewhere."""
    if not rows:
        click.echo(empty)
        return
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for heading in headings:
            table.add_column(heading, overflow="fold")
        for row in texts:
            table.add_row(*[Text(cell) for cell in row])
        Console().print(table)
        return
    widths = [max(len(heading), *(len(row[i]) for row in texts)) for i, heading in enumerate(headings)]
    for row in [list(headings), *texts]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_fields(fields: Mapping[str, object]) -> None:
    """Print names and values, one a line; a nested mapping is indented."""
    width = max((len(name) for name in fields), default=0)
    for name, value in fields.items():
        if isinstance(value, Mapping):
            click.echo(f"{name}:")
            inner = max((len(str(key)) for key in value), default=0)
            for key, item in value.items():
                click.echo(f"  {str(key).ljust(inner)}  {item}")
        else:
            click.echo(f"{name.ljust(width)}  {'' if value is None else value}")


def short(identifier: str | None) -> str:
    """Return the end of an id, which tells neighbours in time apart."""
    return "" if identifier is None else identifier[-8:]


def when(moment: str | None) -> str:
    """Return a stored moment as people read it: ``2013-04-01 06:00``."""
    return "" if moment is None else moment[:16].replace("T", " ")
