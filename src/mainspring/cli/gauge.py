"""How far long work on one file is, told on standard error with its rate."""

import contextlib
import sys
import time
from pathlib import Path

import click
import duckdb

from mainspring.data.parts import count_rows
from mainspring.data.table import connect

__all__ = ["Gauge"]

#: How often a gauge renews its line, and how long it says nothing where it cannot.
_RENEWED_SECONDS = 0.5
_SILENT_SECONDS = 2.0


class Gauge:
    """Tells how far long work on a file is, and its rate: a line that renews itself on a terminal, else a few lines.

    Call it with what is being done and which share of it is done; what is done in no time tells nothing. Of a Parquet
    file, whose footer knows them, it tells the rows, of others the bytes. Use as a context manager.
    """

    def __init__(self, path: Path) -> None:
        self._whole, self._unit = _whole_of(path)
        self._renews = sys.stderr.isatty()
        self._what, self._began, self._told = "", 0.0, 0.0

    def __call__(self, what: str, share: float) -> None:
        """Take notice of how far something is."""
        now = time.monotonic()
        if what != self._what:
            self._what, self._began, self._told = what, now, now
        taken = now - self._began
        # a log wants a line now and then, and fewer the longer the work goes on
        if now - self._told < (_RENEWED_SECONDS if self._renews else max(_SILENT_SECONDS, taken / 5)):
            return
        self._told = now
        told = f"  {what}: {share:.0%}"
        if share > 0 and self._whole:
            told += f" of {self._whole:,.0f} {self._unit}, {self._whole * share / taken:,.0f} {self._unit} a second"
            told += f", {taken * (1 - share) / share:,.0f} s left"
        click.echo(f"\r\x1b[2K{told}" if self._renews else told, nl=not self._renews, err=True)

    def __enter__(self) -> "Gauge":
        return self

    def __exit__(self, *_: object) -> None:
        if self._renews:
            click.echo("\r\x1b[2K", nl=False, err=True)


def _whole_of(path: Path) -> tuple[float, str]:
    if not path.is_file():
        return 0, ""
    if path.suffix == ".parquet":
        with contextlib.suppress(duckdb.Error), connect() as connection:
            return count_rows(connection, path), "rows"
    return path.stat().st_size / 1e6, "MB"
