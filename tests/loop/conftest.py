"""A production in small: a model trained on a file, and days of traffic written as a prediction server writes them."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

import mainspring as ms
from mainspring.deploy.rollout import active_canary
from mainspring.domain.ids import new_id
from mainspring.domain.moments import SimulatedClock, to_iso
from mainspring.loop.definition import Loop
from mainspring.predictions.journal import JournalWriter
from mainspring.predictions.records import LabelRecord, PredictionRecord, encode_record
from mainspring.registry.versions import find_champion, find_version
from mainspring.workspace import Workspace

pytest.importorskip("sklearn", reason="training needs scikit-learn: pip install 'mainspring[ml]'")

START = datetime(2024, 3, 1, tzinfo=UTC)


def table(rows: int, seed: int, *, flipped: bool = False) -> dict[str, np.ndarray]:
    """Return rows whose target follows `pull`; `flipped` turns the relation round, as a world that changed does."""
    rng = np.random.default_rng(seed)
    pull, size = rng.normal(size=rows), rng.gamma(2.0, 2.0, rows)
    chance = 1 / (1 + np.exp(-(-2.0 if flipped else 2.0) * pull))
    kind = rng.choice(np.array(["a", "b"], dtype=object), rows)
    return {"pull": pull, "size": size, "kind": kind, "hit": (rng.random(rows) < chance).astype(float)}


def write_csv(path: Path, rows: int, seed: int, *, flipped: bool = False) -> None:
    """Write such rows, spread over the 40 days before `START`."""
    columns = table(rows, seed, flipped=flipped)
    lines = ["at,pull,size,kind,hit"]
    for i in range(rows):
        at = START - timedelta(days=40) + timedelta(days=40) * i / rows
        values = (columns[name][i] for name in ("pull", "size", "kind"))
        lines.append(",".join([f"{at:%Y-%m-%dT%H:%M:%S}", *map(str, values), str(int(columns["hit"][i]))]))
    path.write_text("\n".join([*lines, ""]))


class Production:
    """One workspace with a loop, and days that can be lived."""

    def __init__(self, workspace: Workspace, clock: SimulatedClock, data: Path) -> None:
        self.workspace, self.clock, self.data = workspace, clock, data
        self.day = START
        self._seed = 100
        self._kept_back: list[LabelRecord] = []

    def loop(self, **choices: object) -> Loop:
        """Return a loop on the file, with other choices than the defaults."""
        given = {"data": self.data, "target": "hit", "time": "at", "goal": "roc_auc >= 0.6", **choices}
        return ms.Loop("hits", **given)  # type: ignore[arg-type]

    def live(
        self,
        loop: Loop,
        days: int,
        *,
        rows: int = 120,
        flipped: bool = False,
        broken: bool = False,
        labelled: bool = True,
        units: float = 1.0,
        copies: int = 1,
    ) -> list[str]:
        """Live some days: traffic, labels, one tick each; return what the loop did."""
        done: list[str] = []
        for _ in range(days):
            self.traffic(loop, rows=rows, flipped=flipped, broken=broken, labelled=labelled, units=units, copies=copies)
            self.day += timedelta(days=1)
            self.clock.advance_to(self.day)
            done += [action.text for action in loop.tick(self.workspace)]
        return done

    def traffic(
        self,
        loop: Loop,
        *,
        rows: int,
        flipped: bool = False,
        broken: bool = False,
        labelled: bool = True,
        units: float = 1.0,
        copies: int = 1,
    ) -> None:
        """Write one day of answers and their labels into a journal, split between champion and canary as routed.

        `broken` loses the values of `pull` on the way, as a failed sensor does, and `size` comes in other `units`. Each
        request is sent in so many `copies`. Without `labelled` the labels of the day are kept back until `tell`.
        """
        store = self.workspace.store
        champion = find_champion(store, loop.name)
        assert champion is not None
        canary = active_canary(store, loop.name)
        self._seed += 1
        columns = table(rows, self._seed, flipped=flipped)
        if broken:
            columns["pull"] = np.full(rows, np.nan)
        columns["size"] = columns["size"] * units
        share = 0 if canary is None else max(1, round(rows * canary.weight / 100))
        with JournalWriter(self.workspace.journals, name="predictions") as journal:
            for version, route, part in (
                (champion.version, "champion", slice(share, rows)),
                (0 if canary is None else canary.version, "canary", slice(0, share)),
            ):
                asked = {name: columns[name][part] for name in ("pull", "size", "kind")}
                if not len(asked["pull"]):
                    continue
                model = find_version(store, f"{loop.name}/{version}")
                scores = self.workspace.predictor(model).predict(asked).tolist()
                request_id = None if copies == 1 else new_id()
                for _ in range(copies):
                    ids = [new_id() for _ in scores]
                    at = to_iso(self.day + timedelta(hours=12))
                    journal.append(
                        encode_record(
                            PredictionRecord(
                                model=loop.name,
                                version=version,
                                route=route,
                                at=at,
                                received_at=at,
                                request_id=request_id,
                                ids=ids,
                                columns={name: _json(values) for name, values in asked.items()},
                                scores=scores,
                                latency_ms=1.0,
                                warnings=0,
                            )
                        )
                    )
                    labels = [str(int(value)) for value in columns["hit"][part]]
                    told = to_iso(self.day + timedelta(hours=20))
                    record = LabelRecord(model=loop.name, at=told, ids=ids, labels=labels, source="t")
                    if labelled:
                        journal.append(encode_record(record))
                    else:
                        self._kept_back.append(record)

    def tell(self) -> None:
        """Tell the labels that were kept back."""
        with JournalWriter(self.workspace.journals, name="predictions") as journal:
            for record in self._kept_back:
                journal.append(encode_record(record))
        self._kept_back.clear()


def _json(values: np.ndarray) -> list[object]:
    return [None if value != value else value for value in values.tolist()]


@pytest.fixture
def production(tmp_path: Path) -> Iterator[Production]:
    """A production on a file of 3,000 rows, at its first moment."""
    data = tmp_path / "hits.csv"
    write_csv(data, 3000, seed=1)
    clock = SimulatedClock(START)
    with Workspace(tmp_path / "home", clock=clock, actor="ada") as workspace:
        yield Production(workspace, clock, data)


Live = Callable[..., list[str]]
