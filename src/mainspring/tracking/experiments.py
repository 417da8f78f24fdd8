"""Experiments: names that group runs. Owner of the tables `experiments` and `experiment_tags`.

What writes takes a transaction, so that a server can queue it and a larger change can contain it. An experiment that
was deleted keeps its name and its runs until the garbage collector takes them; it can be restored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mainspring.domain.moments import to_milliseconds
from mainspring.errors import Conflict, Invalid, NotFound
from mainspring.store.protocol import Row, Store, Transaction

__all__ = [
    "DEFAULT",
    "Experiment",
    "Stage",
    "active_experiment",
    "create_experiment",
    "experiment_number",
    "experiments_named",
    "experiments_numbered",
    "experiments_of",
    "find_experiment",
    "find_experiment_named",
    "move_experiment",
    "named_experiment",
    "place_default",
    "rename_experiment",
    "set_experiment_tag",
    "unset_experiment_tag",
]

#: active: to be worked with; deleted: out of sight, and restorable until it is collected.
Stage = Literal["active", "deleted"]
#: The experiment of runs that name none; every store has it.
DEFAULT = 0

#: The address of the tree of files that the server keeps.
_OWN_TREE = "mlflow-artifacts:"
_COLUMNS = "experiment_id, name, stage, artifact_location, created_ms, updated_ms"


@dataclass(frozen=True, slots=True)
class Experiment:
    """One experiment; times are Unix milliseconds."""

    experiment_id: int
    name: str
    stage: Stage
    artifact_location: str
    created_ms: int
    updated_ms: int
    tags: dict[str, str]


def create_experiment(
    transaction: Transaction,
    name: str,
    *,
    at: datetime,
    tags: Mapping[str, str] | None = None,
    artifact_location: str = "",
    root: str = _OWN_TREE,
) -> int:
    """Make an experiment and return its id; where no location is given, its files are kept below `root`.

    Raises:
        Conflict: the name is taken, perhaps by one that was deleted.
    """
    taken = transaction.execute("SELECT experiment_id, stage FROM experiments WHERE name = ?", (name,))
    if taken:
        number, stage = taken[0]
        what = "" if stage == "active" else " in deleted state. You can restore it, or delete it for good"
        raise Conflict(
            f"Experiment(name={name}) already exists{what}",
            where=f"experiment {number}",
            next_step="choose another name",
        )
    moment = to_milliseconds(at)
    number = transaction.execute("SELECT coalesce(max(experiment_id), 0) + 1 FROM experiments")[0][0]
    transaction.execute(
        f"INSERT INTO experiments ({_COLUMNS}) VALUES (?, ?, 'active', ?, ?, ?)",
        (number, name, artifact_location or f"{root}/{number}", moment, moment),
    )
    for key, value in (tags or {}).items():
        _put_tag(transaction, number, key, value)
    return int(number)


def named_experiment(transaction: Transaction, name: str, *, at: datetime) -> int:
    """Return the id of the experiment `name`, made if there is none."""
    found = transaction.execute("SELECT experiment_id FROM experiments WHERE name = ?", (name,))
    return int(found[0][0]) if found else create_experiment(transaction, name, at=at)


def place_default(transaction: Transaction, root: str) -> None:
    """Let the default experiment keep its files below `root`, unless it has kept something already."""
    transaction.execute(
        "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ? AND artifact_location = ?"
        " AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.experiment_id = experiments.experiment_id)"
        " AND NOT EXISTS (SELECT 1 FROM logged_models l WHERE l.experiment_id = experiments.experiment_id)",
        (f"{root}/{DEFAULT}", DEFAULT, f"{_OWN_TREE}/{DEFAULT}"),
    )


def rename_experiment(transaction: Transaction, experiment_id: int, name: str, *, at: datetime) -> None:
    """Give an experiment that is active another name."""
    active_experiment(transaction, experiment_id)
    taken = transaction.execute(
        "SELECT 1 FROM experiments WHERE name = ? AND experiment_id != ?", (name, experiment_id)
    )
    if taken:
        raise Conflict(f"Experiment(name={name}) already exists", next_step="choose another name")
    transaction.execute(
        "UPDATE experiments SET name = ?, updated_ms = ? WHERE experiment_id = ?",
        (name, to_milliseconds(at), experiment_id),
    )


def move_experiment(transaction: Transaction, experiment_id: int, stage: Stage, *, at: datetime) -> None:
    """Delete an active experiment or restore a deleted one, with all its runs.

    Raises:
        NotFound: there is none with this id in the other stage.
    """
    before = "active" if stage == "deleted" else "deleted"
    moment = to_milliseconds(at)
    changed = transaction.execute(
        "UPDATE experiments SET stage = ?, updated_ms = ? WHERE experiment_id = ? AND stage = ? RETURNING 1",
        (stage, moment, experiment_id, before),
    )
    if not changed:
        raise NotFound(f"No Experiment with id={experiment_id} exists", next_step=f"name one that is {before}")
    transaction.execute(
        "UPDATE runs SET stage = ?, deleted_ms = ? WHERE experiment_id = ? AND stage = ?",
        (stage, moment if stage == "deleted" else None, experiment_id, before),
    )


def set_experiment_tag(transaction: Transaction, experiment_id: int, key: str, value: str) -> None:
    """Set a tag of an experiment that is active."""
    active_experiment(transaction, experiment_id)
    _put_tag(transaction, experiment_id, key, value)


def unset_experiment_tag(transaction: Transaction, experiment_id: int, key: str) -> None:
    """Take a tag away.

    Raises:
        NotFound: there is no such tag.
    """
    active_experiment(transaction, experiment_id)
    gone = transaction.execute(
        "DELETE FROM experiment_tags WHERE experiment_id = ? AND key = ? RETURNING 1", (experiment_id, key)
    )
    if not gone:
        raise NotFound(f"No tag with name: {key} in experiment with id {experiment_id}", where="key")


def find_experiment(store: Store, experiment_id: int) -> Experiment:
    """Return an experiment of either stage by its id.

    Raises:
        NotFound: there is none.
    """
    rows = store.read(f"SELECT {_COLUMNS} FROM experiments WHERE experiment_id = ?", (experiment_id,))
    if not rows:
        raise NotFound(f"No Experiment with id={experiment_id} exists", next_step="list them by experiments/search")
    return experiments_of(store, rows)[0]


def find_experiment_named(store: Store, name: str) -> Experiment:
    """Return an experiment of either stage by its name.

    Raises:
        NotFound: there is none.
    """
    found = experiments_named(store, name)
    if not found:
        raise NotFound(f"Could not find experiment with name '{name}'", next_step="create it")
    return found[0]


def experiments_named(store: Store, name: str) -> list[Experiment]:
    """Return the experiment of that name, if there is one."""
    rows = store.read(f"SELECT {_COLUMNS} FROM experiments WHERE name = ?", (name,))
    return experiments_of(store, rows) if rows else []


def experiment_number(text: str) -> int:
    """Return an experiment's id, which travels as text, as the number it is here.

    Raises:
        Invalid: it is no number.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        shown = text if len(text) <= 80 else text[:77] + "..."
        raise Invalid(f"Invalid experiment ID '{shown}'. Experiment ID must be a valid integer.", where="experiment_id")
    return int(text)


def experiments_numbered(store: Store, numbers: Sequence[int]) -> list[Experiment]:
    """Return the experiments with these ids, in this order."""
    found: dict[int, Experiment] = {}
    for start in range(0, len(numbers), 500):
        some = numbers[start : start + 500]
        marks = ",".join("?" * len(some))
        rows = store.read(f"SELECT {_COLUMNS} FROM experiments WHERE experiment_id IN ({marks})", some)
        found |= {each.experiment_id: each for each in experiments_of(store, rows)}
    return [found[each] for each in numbers]


def experiments_of(store: Store, rows: Sequence[Row]) -> list[Experiment]:
    """Return the experiments of rows that hold their columns in order, with their tags."""
    tags: dict[int, dict[str, str]] = {row[0]: {} for row in rows}
    marks = ",".join("?" * len(rows))
    found = store.read(
        f"SELECT experiment_id, key, value FROM experiment_tags WHERE experiment_id IN ({marks})", list(tags)
    )
    for number, key, value in found:
        tags[number][key] = value
    return [
        Experiment(number, name, stage, location, created, updated, tags[number])
        for number, name, stage, location, created, updated in rows
    ]


def active_experiment(transaction: Transaction, experiment_id: int) -> tuple[str, str]:
    """Return the name of an active experiment, and where it keeps its artifacts.

    Raises:
        NotFound: there is no such experiment.
        Invalid: it is deleted.
    """
    rows = transaction.execute(
        "SELECT stage, name, artifact_location FROM experiments WHERE experiment_id = ?", (experiment_id,)
    )
    if not rows:
        raise NotFound(f"No Experiment with id={experiment_id} exists", next_step="list them by experiments/search")
    stage, name, location = rows[0]
    if stage != "active":
        raise Invalid(
            f"The experiment {experiment_id} must be in the 'active' state. Current state is {stage}.",
            where="experiment_id",
        )
    return str(name), str(location).rstrip("/")


def _put_tag(transaction: Transaction, experiment_id: int, key: str, value: str) -> None:
    transaction.execute(
        "INSERT INTO experiment_tags (experiment_id, key, value) VALUES (?, ?, ?)"
        " ON CONFLICT (experiment_id, key) DO UPDATE SET value = excluded.value",
        (experiment_id, key, value),
    )
