"""Live quality and canaries on a real log: each label is counted once, whoever looks and however often."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mainspring.bundle.predictor import Columns
from mainspring.data.profile import profile
from mainspring.deploy.rollout import put_live, start_canary
from mainspring.domain.ids import Digest, new_id
from mainspring.domain.moments import to_iso
from mainspring.domain.policy import canary, monitor
from mainspring.domain.signature import Column, Signature
from mainspring.domain.version import ModelVersion
from mainspring.errors import Invalid
from mainspring.monitor.canary import judge_canary
from mainspring.monitor.decay import diagnose_decay
from mainspring.monitor.quality import (
    backtest_quality,
    baseline_of,
    block_name,
    quality_of,
    tell_verdict,
    watch_quality,
)
from mainspring.predictions.journal import JournalWriter
from mainspring.predictions.log import PredictionLog
from mainspring.predictions.records import LabelRecord, PredictionRecord, RouteRole, encode_record
from mainspring.predictions.segments import seal
from mainspring.registry.versions import register_version
from mainspring.store.sqlite import SqliteStore

START = datetime(2013, 4, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SIGNATURE = Signature((Column("x", "number"), Column("carrier", "string")), "late", "binary", ("no", "yes"))
RULE = monitor(every="1d", tolerance=0.1, alpha=0.01)
EVIDENCE = {
    "loss": {"kind": "brier", "mean": 0.04, "blocks": [0.04] * 20, "bound": None},
    "slices": [{"name": "carrier=AA", "rows": 500, "loss": 0.04, "metrics": {}}],
    "importances": {"x": 0.1, "carrier": -0.001},
}


class Ground:
    """Two versions in service, by hand: what was asked, answered and came true."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = SqliteStore(path / "store.sqlite")
        self.log = PredictionLog(self.store, path / "segments")
        self.versions = [self.register(digit) for digit in "ab"]

    def register(self, digit: str) -> ModelVersion:
        bundle = Digest(digit * 64)
        return register_version(
            self.store, "m", bundle=bundle, run_id=None, evidence=EVIDENCE, author="ada", at=START - timedelta(hours=5)
        )

    def serve(
        self,
        rows: int,
        *,
        at: datetime,
        error: float,
        version: int = 1,
        route: RouteRole = "champion",
        x: float = 0.0,
        is_labelled: bool = True,
    ) -> list[str]:
        """Answer rows that are all true, each off by `error`, and label them an hour later."""
        ids = [new_id() for _ in range(rows)]
        columns: dict[str, list[object]] = {"x": [x + row / rows for row in range(rows)], "carrier": ["AA"] * rows}
        asked = PredictionRecord(
            model="m", version=version, route=route, at=to_iso(at), received_at=to_iso(at), request_id=None, ids=ids,
            columns=columns, scores=[1 - error] * rows, latency_ms=1.0, warnings=0,
        )  # fmt: skip
        self.write(asked)
        if is_labelled:
            self.label(ids, "yes", at=at + timedelta(hours=1))
        return ids

    def label(self, ids: list[str], label: str, *, at: datetime) -> None:
        self.write(LabelRecord(model="m", at=to_iso(at), ids=ids, labels=[label] * len(ids), source=None))

    def write(self, record: PredictionRecord | LabelRecord) -> None:
        with JournalWriter(self.path / "journals", name="test") as journal:
            journal.append(encode_record(record))

    def seal(self) -> None:
        seal(self.store, self.path / "journals", self.path / "segments", lambda *_: SIGNATURE, at=START)

    def watch(self, days: float, version: int = 1) -> Any:
        self.seal()
        return watch_quality(self.store, self.log, self.versions[version - 1], SIGNATURE, RULE, now=START + days * DAY)

    def reopen(self) -> None:
        self.store.close()
        self.store = SqliteStore(self.path / "store.sqlite")
        self.log = PredictionLog(self.store, self.path / "segments")


@pytest.fixture
def ground(tmp_path: Path):
    made = Ground(tmp_path)
    yield made
    made.store.close()


def test_nothing_is_said_before_a_label_has_come(ground: Ground) -> None:
    assert ground.watch(1) is None
    assert quality_of(ground.store, ground.versions[0], RULE, now=START + DAY) is None


def test_each_label_is_counted_once_across_looks_and_restarts(ground: Ground) -> None:
    total = 0
    for day in range(6):
        ground.serve(10 + day, at=START + day * DAY, error=0.2)
        total += 10 + day
        for look in (1.0, 1.0, 1.4):  # a look in the middle of a day counts no half day
            found = ground.watch(day + look)
            assert (found.rows, found.n) == (total, day + 1)
        ground.reopen()
    assert found.live_mean == pytest.approx(0.04)
    assert found.status == "quiet"
    assert quality_of(ground.store, ground.versions[0], RULE, now=START + 30 * DAY) == found


def test_a_look_after_a_long_absence_counts_the_same(ground: Ground, tmp_path: Path) -> None:
    for day in range(6):
        ground.serve(10, at=START + day * DAY, error=0.1 * day)
        ground.watch(day + 1)
    other = Ground(tmp_path / "other")
    for day in range(6):
        other.serve(10, at=START + day * DAY, error=0.1 * day)
    assert other.watch(6) == ground.watch(6)
    other.store.close()


def test_a_label_that_is_corrected_later_is_not_counted_twice(ground: Ground) -> None:
    ids = ground.serve(10, at=START, error=0.2)
    assert ground.watch(1).rows == 10
    ground.label(ids, "no", at=START + 1.5 * DAY)
    assert ground.watch(3).rows == 10


@pytest.mark.parametrize("first", ["no", "yes"])
def test_a_corrected_label_is_judged_as_if_it_had_been_told_at_once(ground: Ground, first: str) -> None:
    last = "yes" if first == "no" else "no"
    told: dict[str, list[str]] = {}
    for day in range(15):
        told[first] = told.get(first, []) + ground.serve(10, at=START + day * DAY, error=0.1)
    ground.label(told[first], first, at=START + 14.5 * DAY)
    before = ground.watch(15)
    assert before.status == ("quiet" if first == "yes" else "decayed")
    ground.label(told[first][:75], last, at=START + 15.2 * DAY)
    ground.watch(16)
    ground.label(told[first][50:], last, at=START + 15.3 * DAY)  # some of them again
    after = ground.watch(16)
    assert after.rows == before.rows
    assert after.status == ("decayed" if first == "yes" else "quiet")
    assert after.live_mean == pytest.approx(0.81 if first == "yes" else 0.01)
    replayed = backtest_quality(ground.log, ground.versions[0], SIGNATURE, RULE, now=START + 16 * DAY)
    assert bool(replayed.alerts) == (first == "yes")
    assert ground.watch(16) == after  # and nothing is counted again


def test_no_label_is_known_before_its_prediction(ground: Ground) -> None:
    for day in (2, 3):
        ids = ground.serve(10, at=START + day * DAY, error=0.1, is_labelled=False)
        ground.label(ids, "yes", at=START - 5000 * DAY)
    assert ground.watch(5).n == 2  # each in the block of its prediction, and none in one of 1999


def test_only_labels_of_the_version_count(ground: Ground) -> None:
    ground.serve(10, at=START, error=0.2)
    ground.serve(10, at=START, error=0.9, version=2, route="canary")
    assert ground.watch(1).rows == 10
    assert ground.watch(1, version=2).rows == 10


def test_an_older_look_never_takes_the_place_of_a_newer_one(ground: Ground) -> None:
    for day in range(4):
        ground.serve(10, at=START + day * DAY, error=0.2)
    assert ground.watch(4).rows == 40
    assert ground.watch(2).rows == 20  # what was over by then
    assert ground.watch(4).rows == 40


def test_a_decay_is_proven_told_and_diagnosed(ground: Ground) -> None:
    for day in range(30):
        ground.serve(120, at=START + day * DAY, error=0.2 if day < 10 else 0.7, x=0.0 if day < 10 else 5.0)
    found = ground.watch(30)
    version = ground.versions[0]
    assert found.status == "decayed"
    assert "2013-04-09" <= found.since <= "2013-04-13"
    base = baseline_of(version)
    assert "proven above" in tell_verdict(found, base, RULE.tolerance)
    bundle = ground.path / "bundle"
    bundle.mkdir()
    reference = profile({"x": np.linspace(0, 1, 500), "carrier": np.array(["AA"] * 500, dtype=object)})
    (bundle / "profile.json").write_text(json.dumps(reference.to_json()))
    told = diagnose_decay(ground.store, ground.log, version, SIGNATURE, bundle, found, now=START + 30 * DAY)
    assert "`x`" in told.render() or "x" in told.render()


class Constant:
    """A predictor that says one thing."""

    manifest = None
    signature = SIGNATURE

    def __init__(self, score: float) -> None:
        self.score = score

    def predict(self, columns: Columns) -> np.ndarray:
        return np.full(len(columns["x"]), self.score)


@pytest.mark.parametrize(("champion", "error", "verdict"), [(0.9, 0.8, "worse"), (0.2, 0.1, "no worse")])
def test_a_canary_is_judged_by_the_rows_it_answered(
    ground: Ground, champion: float, error: float, verdict: str
) -> None:
    put_live(ground.store, ground.versions[0], reason="", at=START)
    deployment = start_canary(ground.store, ground.versions[1], canary(5, 100), reason="", at=START)
    judge = lambda: judge_canary(ground.log, Constant(champion), deployment, until=START + 9 * DAY)  # type: ignore[arg-type]  # noqa: E731
    assert (judge().status, judge().rows, str(judge())) == ("undecided", 0, "no labelled rows yet")
    ground.serve(500, at=START, error=0.5)  # the champion's own rows say nothing of the canary
    ground.serve(500, at=START + DAY, error=error, version=2, route="canary")
    ground.seal()
    found = judge()
    assert (found.status, found.rows) == (verdict, 500)
    assert found.canary_loss == pytest.approx(error**2)
    assert found.champion_loss == pytest.approx((1 - champion) ** 2)
    assert json.dumps(found.to_json())


def test_a_label_told_late_with_the_moment_it_came_true_counts(ground: Ground) -> None:
    ground.serve(10, at=START, error=0.2)
    ground.serve(10, at=START + 3 * DAY, error=0.2)
    assert ground.watch(5).rows == 20
    # told after that look, and dated before it
    ground.serve(10, at=START + DAY, error=0.2)
    assert ground.watch(6).rows == 30
    assert ground.watch(6).rows == 30


def test_a_canary_that_is_not_asked_for_a_column_of_the_champions_cannot_be_judged(ground: Ground) -> None:
    put_live(ground.store, ground.versions[0], reason="", at=START)
    deployment = start_canary(ground.store, ground.versions[1], canary(5, 100), reason="", at=START)
    ground.serve(50, at=START + DAY, error=0.1, version=2, route="canary")
    ground.seal()
    champion = Constant(0.5)
    champion.signature = replace(SIGNATURE, columns=(*SIGNATURE.columns, Column("gate", "string")))
    with pytest.raises(Invalid, match="not asked for `gate`"):
        judge_canary(ground.log, champion, deployment, until=START + 9 * DAY)  # type: ignore[arg-type]


def test_a_rule_replayed_over_history_alerts_when_it_would_have(ground: Ground) -> None:
    for day in range(12):
        ground.serve(20, at=START + day * DAY, error=0.2 if day < 4 else 0.6)
    ground.seal()
    now = START + 12 * DAY
    told = [
        backtest_quality(ground.log, ground.versions[0], SIGNATURE, replace(RULE, tolerance=tolerance), now=now)
        for tolerance in (0.1, 20.0)
    ]
    assert [each.windows for each in told] == [12, 12]
    assert [each.episodes for each in told] == [1, 0]
    live = [ground.watch(day).status for day in range(1, 13)]
    # the live rule, had it been asked each day with all labels known, alerts on the very days of the replay
    assert told[0].alerts == tuple(f"2013-04-{day + 1:02d}" for day in range(12) if live[day] == "decayed")
    assert told[0].began == told[0].alerts[:1]
    assert json.loads(json.dumps(told[0].to_json()))["windows"] == 12


def test_a_replay_may_use_other_blocks_and_writes_nothing(ground: Ground) -> None:
    ground.serve(20, at=START, error=0.2)
    ground.serve(20, at=START + timedelta(hours=5), error=0.2)
    ground.seal()
    hourly = replace(RULE, every=timedelta(hours=1))
    found = backtest_quality(ground.log, ground.versions[0], SIGNATURE, hourly, now=START + DAY)
    assert (found.windows, found.alerts) == (2, ())
    assert ground.store.read("SELECT * FROM monitors") == []
    nothing = backtest_quality(ground.log, ground.versions[1], SIGNATURE, RULE, now=START + DAY)
    assert nothing.windows == 0


@pytest.mark.parametrize("every", [timedelta(milliseconds=1), timedelta(seconds=1.5), timedelta(hours=36)])
def test_no_two_blocks_have_one_name(every: timedelta) -> None:
    starts = np.datetime64("2026-01-01", "us") + np.arange(20) * np.timedelta64(every)
    names = block_name(starts, every)
    assert len(set(names)) == 20
    assert sorted(names) == list(names)
