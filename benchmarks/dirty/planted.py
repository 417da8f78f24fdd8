"""What a fault is: a name, the table it is planted in, and the rule that must find it, written down before it is run.

A fault is a function that changes a good table and returns the numbers of the rows it changed, as they stand in the
changed table; None when the fault is in rows that are not there.
"""

import csv
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["FAULTS", "Fault", "Rows", "Table", "fault"]

Rows = set[int] | None
Plant = Callable[..., Any]  # what it is given differs by where the fault is planted


@dataclass(slots=True)
class Table:
    """A file of separated values as the texts of its cells; `earlier` is the good batch of the month before."""

    names: list[str]
    rows: list[list[str]]
    earlier: "Table | None" = None
    at: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.at = {name: number for number, name in enumerate(self.names)}

    @classmethod
    def read(cls, path: Path) -> "Table":
        """Read a file in UTF-8."""
        with path.open(encoding="utf-8", newline="") as file:
            names, *rows = csv.reader(file)
        return cls(names, rows)

    def copy(self) -> "Table":
        """Return the same table with rows that can be changed."""
        return Table(list(self.names), [list(row) for row in self.rows], self.earlier)

    def write(self, path: Path) -> None:
        """Write a file in UTF-8."""
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([self.names, *self.rows])

    def column(self, name: str) -> list[str]:
        """Return the texts of one column."""
        return [row[self.at[name]] for row in self.rows]

    def change(self, name: str, new: Callable[[str], str], rows: Iterable[int] | None = None) -> set[int]:
        """Put `new` of the old text in a column, of some rows or all; return the rows that are another now."""
        place = self.at[name]
        changed = set()
        for number in range(len(self.rows)) if rows is None else rows:
            row = self.rows[number]
            if row[place] not in ("", "NA") and (text := new(row[place])) != row[place]:
                row[place] = text
                changed.add(number)
        return changed

    def where(self, **values: str) -> list[int]:
        """Return the rows that hold these texts."""
        wanted = [(self.at[name], text) for name, text in values.items()]
        return [number for number, row in enumerate(self.rows) if all(row[place] == text for place, text in wanted)]

    def some(self, rng: random.Random, count: int, full: str = "") -> list[int]:
        """Return `count` rows by chance, of those where the column `full` is not missing if one is named."""
        rows = range(len(self.rows))
        known = [number for number in rows if self.rows[number][self.at[full]] not in ("", "NA")] if full else rows
        return sorted(rng.sample(known, count))


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of one kind: `where` it is planted, in which table (`of`), and the `rule` that must name it."""

    name: str
    says: str
    of: str
    rule: str
    where: str
    plant: Plant


FAULTS: list[Fault] = []


def fault(of: str, rule: str, where: str = "cells") -> Callable[[Plant], Plant]:
    """Register the decorated function as a fault that `rule` must find in the table `of`.

    `where` it is planted: in the `cells` of a table, the bytes of its `file`, the `sources` of a join, or the `joined`.
    """

    def register(plant: Plant) -> Plant:
        says = (plant.__doc__ or "").strip().rstrip(".")
        FAULTS.append(Fault(plant.__name__.replace("_", " "), says, of, rule, where, plant))
        return plant

    return register
