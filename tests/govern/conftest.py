"""A small life: a loop over a table of customers, trained and served twice, with traffic and labels between."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

import mainspring as ms
from mainspring.domain.ids import new_id
from mainspring.domain.moments import SimulatedClock, to_iso
from mainspring.domain.version import ModelVersion
from mainspring.predictions.journal import JournalWriter
from mainspring.predictions.records import LabelRecord, PredictionRecord, encode_record
from mainspring.workspace import Workspace

START = datetime(2013, 4, 1, tzinfo=UTC)


@dataclass
class Life:
    """What the tests look at."""

    workspace: Workspace
    clock: SimulatedClock
    loop: ms.Loop
    version: ModelVersion
    asked: list[str]


def customers(path: Path, rows: int = 400, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    age, plan = rng.integers(18, 80, rows), rng.choice(["basic", "plus"], rows)
    churned = rng.random(rows) < np.where(plan == "basic", 0.8, 0.1)
    lines = [f"{a},{p},{'yes' if c else 'no'}" for a, p, c in zip(age, plan, churned, strict=True)]
    path.write_text("\n".join(["age,plan,churned", *lines]) + "\n")


def serve(workspace: Workspace, version: ModelVersion, at: datetime) -> list[str]:
    """Answer three rows in one request as a prediction server would write it down; label the first."""
    columns: dict[str, list[object]] = {"age": [30, 40, None], "plan": ["basic", "plus", "basic"]}
    rows = {"age": np.array([30, 40, np.nan]), "plan": np.array(columns["plan"], dtype=object)}
    scores = workspace.predictor(version).predict(rows).tolist()
    ids = [new_id() for _ in scores]
    asked = PredictionRecord(
        model=version.model, version=version.version, route="champion", at=to_iso(at), received_at=to_iso(at),
        request_id="r-1", ids=ids, columns=columns, scores=scores, latency_ms=2.5, warnings=0,
    )  # fmt: skip
    label = LabelRecord(model=version.model, at=to_iso(at), ids=ids[:1], labels=["yes"], source=None)
    with JournalWriter(workspace.journals, name="test") as journal:
        journal.append(encode_record(asked))
        journal.append(encode_record(label))
    workspace.seal()
    return ids


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    folder = tmp_path_factory.mktemp("life")
    customers(folder / "customers.csv")
    clock = SimulatedClock(START)
    loop = ms.Loop(
        "churn",
        data=folder / "customers.csv",
        target="churned",
        goal="roc_auc >= 0.6",
        approve=ms.by("reviewer"),
        retrain=ms.retrain("suggest"),
    )
    with Workspace(folder / "home", clock=clock, actor="ada") as workspace:
        version = loop.run(workspace).version
        clock.advance_to(START + timedelta(days=1))
        from mainspring.registry.approvals import approve

        approve(workspace.store, version, approver="eve", role="reviewer", comment="fine", at=clock.now())
        loop.start_waiting(workspace)
        clock.advance_to(START + timedelta(days=2))
        asked = serve(workspace, version, clock.now())
        clock.advance_to(START + timedelta(days=3))
        customers(folder / "customers.csv", seed=1)
        loop.run(workspace)
        yield Life(workspace, clock, loop, version, asked)
