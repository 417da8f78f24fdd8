"""A workspace for the log: a store, a folder of journals, a folder of segments, and servers that write by hand."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mainspring.data.profile import Profile
from mainspring.domain.ids import new_id
from mainspring.domain.moments import to_iso
from mainspring.domain.signature import Column, Signature
from mainspring.predictions.journal import JournalWriter
from mainspring.predictions.log import PredictionLog
from mainspring.predictions.records import LabelRecord, PredictionRecord, Record, RouteRole, encode_record
from mainspring.predictions.segments import seal
from mainspring.store.opening import open_store
from mainspring.store.protocol import Store

START = datetime(2013, 4, 1, tzinfo=UTC)
SIGNATURE = Signature(
    (
        Column("distance", "number", nullable=True),
        Column("carrier", "string", nullable=True),
        Column("seats", "integer", nullable=True),
        Column("night", "boolean", nullable=True),
        Column("sold_at", "timestamp", nullable=True),
    ),
    target="late",
    task="binary",
    classes=("no", "yes"),
)


@dataclass
class Ground:
    """Where the tests of the log stand."""

    home: Path
    store: Store
    signature: Signature = SIGNATURE
    profile: Profile | None = None

    @property
    def log(self) -> PredictionLog:
        return PredictionLog(self.store, self.home / "segments")

    def seal(self, at: datetime = START) -> int:
        journals, segments = self.home / "journals", self.home / "segments"
        return seal(
            self.store,
            journals,
            segments,
            lambda model, version: self.signature,
            at=at,
            profile_of=lambda model, version: self.profile,
        )

    def write(self, *records: Record) -> None:
        with JournalWriter(self.home / "journals", name="test") as journal:
            for record in records:
                journal.append(encode_record(record))

    def files(self) -> list[str]:
        return sorted(each.name for each in (self.home / "segments").glob("*.parquet"))

    def named(self) -> list[str]:
        return sorted(row[0] for row in self.store.read("SELECT path FROM log_segments"))

    @staticmethod
    def asked(
        rows: int = 1,
        *,
        at: datetime = START,
        model: str = "m",
        version: int = 1,
        route: RouteRole = "champion",
        request_id: str | None = None,
        ids: Sequence[str] | None = None,
        columns: Mapping[str, list[object]] | None = None,
        scores: Sequence[float | list[float]] | None = None,
    ) -> PredictionRecord:
        return PredictionRecord(
            model=model,
            version=version,
            route=route,
            at=to_iso(at),
            received_at=to_iso(at + timedelta(seconds=1)),
            request_id=request_id,
            ids=list(ids or [new_id() for _ in range(rows)]),
            columns=dict(columns if columns is not None else {"distance": [float(row) for row in range(rows)]}),
            scores=list(scores if scores is not None else [0.5] * rows),
            latency_ms=1.5,
            warnings=0,
        )

    @staticmethod
    def labels(ids: Sequence[str], values: Sequence[str | float], *, at: datetime, model: str = "m") -> LabelRecord:
        return LabelRecord(model=model, at=to_iso(at), ids=list(ids), labels=list(values), source=None)


@pytest.fixture
def ground(store_address: str, tmp_path: Path) -> Iterator[Ground]:
    made = Ground(tmp_path, open_store(store_address))
    yield made
    made.store.close()
