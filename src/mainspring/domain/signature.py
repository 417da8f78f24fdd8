"""What a model eats: named, typed columns with what was seen of them, the task, and the classes it tells apart.

The signature travels inside the bundle. The prediction server decodes by it, the checks are inferred from the same
facts, and a row that does not fit is refused with the place named.
"""

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Column", "ColumnType", "Signature", "Task"]

ColumnType = Literal["number", "integer", "string", "boolean", "timestamp"]
Task = Literal["binary", "multiclass", "regression"]


@dataclass(frozen=True, slots=True)
class Column:
    """One input column.

    `low` and `high` are the range seen in training (numbers and integers only); a value outside is served and counted.
    `missing_seen` is False where a value may be missing, because the model can live with it, but never was in training;
    a missing one is then served and counted. `categories` are the values seen (strings with at most 1,000 of them);
    another value is served and counted.
    """

    name: str
    type: ColumnType
    nullable: bool = False
    low: float | None = None
    high: float | None = None
    categories: tuple[str, ...] | None = None
    missing_seen: bool = True


@dataclass(frozen=True, slots=True)
class Signature:
    """The columns in model order, the target's name, the task, and for classifiers the class labels in score order.

    A binary model scores the probability of ``classes[1]``. `example` is one row as JSON-able values.
    """

    columns: tuple[Column, ...]
    target: str
    task: Task
    classes: tuple[str, ...] = ()
    example: dict[str, object] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The column names in model order."""
        return tuple(column.name for column in self.columns)
