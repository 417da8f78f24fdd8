"""What went into a run and came out of it: datasets by name and digest, and logged models.

Owner of the tables `input_datasets`, `run_inputs` and `run_models`. A dataset is kept once for each experiment; the
edge from it to a run carries the tags of that use, such as ``training`` as its context.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, NamedTuple

from mainspring.errors import Invalid
from mainspring.store.protocol import Store, Transaction
from mainspring.tracking.runs import run_numbered

__all__ = [
    "Input",
    "InputDataset",
    "ModelUse",
    "Role",
    "datasets_of_experiments",
    "inputs_of",
    "log_inputs",
    "log_models",
    "models_of",
]

#: The tag of an input that says what it was used for.
CONTEXT_TAG = "mlflow.data.context"
Role = Literal["input", "output"]
_MOST_SUMMARIES = 1_000
_LIMITS = {"name": 500, "digest": 36, "source": 65_535, "schema": 1_048_575, "profile": 16_777_215}


class InputDataset(NamedTuple):
    """A dataset as its user described it; schema and profile are their documents as text."""

    name: str
    digest: str
    source_type: str
    source: str
    schema: str | None = None
    profile: str | None = None


class Input(NamedTuple):
    """One use of a dataset by a run."""

    dataset: InputDataset
    tags: tuple[tuple[str, str], ...] = ()


class ModelUse(NamedTuple):
    """A logged model that a run read or made; `step` is when it was made."""

    model_id: str
    step: int | None = None


def log_inputs(transaction: Transaction, run_id: str, inputs: Sequence[Input]) -> None:
    """Note which datasets a run used; a use that is known already stays as it is.

    Raises:
        NotFound: there is no such run.
        Invalid: the run is deleted, or a text is too long.
    """
    number, experiment_id = run_numbered(transaction, run_id)
    for dataset, tags in inputs:
        _check(dataset, tags)
        # an update that changes nothing gives the number of the row that was there
        found = transaction.execute(
            "INSERT INTO input_datasets (experiment_id, name, digest, source_type, source, schema, profile)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (experiment_id, name, digest)"
            " DO UPDATE SET source_type = input_datasets.source_type RETURNING number",
            (experiment_id, *dataset),
        )
        transaction.execute(
            "INSERT INTO run_inputs (run, dataset, tags, context) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (run, dataset) DO NOTHING",
            (number, found[0][0], json.dumps(sorted(tags)), dict(tags).get(CONTEXT_TAG)),
        )


def log_models(transaction: Transaction, run_id: str, role: Role, models: Sequence[ModelUse]) -> None:
    """Note which logged models a run read or made.

    Raises:
        NotFound: there is no such run.
        Invalid: the run is deleted.
    """
    number, _ = run_numbered(transaction, run_id)
    transaction.execute_many(
        "INSERT INTO run_models (run, role, model_id, step) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (run, role, model_id) DO UPDATE SET step = excluded.step",
        [(number, role, each.model_id, each.step) for each in models],
    )


def inputs_of(store: Store, run_ids: Sequence[str]) -> dict[str, list[Input]]:
    """Return the datasets that each run used, in the order of their first use."""
    grouped: dict[str, list[Input]] = defaultdict(list)
    for some in _pieces(run_ids):
        rows = store.read(
            "SELECT r.run_id, i.tags, d.name, d.digest, d.source_type, d.source, d.schema, d.profile FROM runs r"
            " JOIN run_inputs i ON i.run = r.number JOIN input_datasets d ON d.number = i.dataset"
            f" WHERE r.run_id IN ({','.join('?' * len(some))}) ORDER BY d.number",
            some,
        )
        for run_id, tags, *dataset in rows:
            grouped[run_id].append(
                Input(InputDataset(*dataset), tuple((key, value) for key, value in json.loads(tags)))
            )
    return grouped


def models_of(store: Store, run_ids: Sequence[str], role: Role) -> dict[str, list[ModelUse]]:
    """Return the logged models that each run read or made."""
    grouped: dict[str, list[ModelUse]] = defaultdict(list)
    for some in _pieces(run_ids):
        rows = store.read(
            "SELECT r.run_id, m.model_id, m.step FROM runs r JOIN run_models m ON m.run = r.number"
            f" WHERE m.role = ? AND r.run_id IN ({','.join('?' * len(some))}) ORDER BY m.model_id",
            (role, *some),
        )
        for run_id, model_id, step in rows:
            grouped[run_id].append(ModelUse(model_id, step))
    return grouped


def datasets_of_experiments(store: Store, experiment_ids: Sequence[int]) -> list[tuple[int, str, str, str | None]]:
    """Return (experiment, name, digest, context) of the datasets that runs of some experiments used."""
    rows = store.read(
        "SELECT DISTINCT d.experiment_id, d.name, d.digest, i.context FROM input_datasets d"
        f" JOIN run_inputs i ON i.dataset = d.number WHERE d.experiment_id IN ({','.join('?' * len(experiment_ids))})"
        " ORDER BY d.experiment_id, d.name, d.digest, i.context LIMIT ?",
        (*experiment_ids, _MOST_SUMMARIES),
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]


def _pieces(run_ids: Sequence[str]) -> list[Sequence[str]]:
    return [run_ids[start : start + 500] for start in range(0, len(run_ids), 500)]


def _check(dataset: InputDataset, tags: Sequence[tuple[str, str]]) -> None:
    for name, most in _LIMITS.items():
        if len(getattr(dataset, name) or "") > most:
            raise Invalid(f"'{name}' exceeds the maximum length of {most} characters", where=f"dataset.{name}")
    for key, value in tags:
        for name, text, most in (("key", key, 255), ("value", value, 500)):
            if len(text) > most:
                raise Invalid(f"'{name}' exceeds the maximum length of {most} characters", where=f"tags.{name}")
