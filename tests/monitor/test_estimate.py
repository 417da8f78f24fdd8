"""The outlook on a real log: what waits for labels is estimated, what has them is compared with what was said."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.monitor.test_quality import DAY, RULE, SIGNATURE, START, Ground

from mainspring.domain.ids import new_id
from mainspring.domain.moments import to_iso
from mainspring.domain.signature import Signature
from mainspring.domain.version import ModelVersion
from mainspring.evaluate.estimation import Estimation, fit_estimation
from mainspring.monitor.estimate import Outlook, outlook
from mainspring.predictions.records import LabelRecord, PredictionRecord


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    made = Ground(tmp_path)
    yield made
    made.store.close()


def _version(ground: Ground) -> ModelVersion:
    """The first version, with an estimation learnt on days whose scores were right."""
    rng = np.random.default_rng(7)
    scores = rng.uniform(0.5, 1, size=4000)
    y = (rng.uniform(size=scores.size) < scores).astype(int)
    learnt = fit_estimation("binary", y, scores, np.repeat(np.arange(20), 200))
    assert learnt is not None
    version = ground.versions[0]
    return replace(version, evidence={**version.evidence, "estimation": json.loads(json.dumps(learnt.to_json()))})


def _look(ground: Ground, days: float, **choices: int) -> Outlook | None:
    ground.seal()
    return outlook(ground.log, _version(ground), SIGNATURE, RULE, now=START + days * DAY, **choices)


def _serve(ground: Ground, day: int, error: float, *, labelled: bool) -> None:
    if labelled:
        ground.serve(20, at=START + day * DAY, error=error)
        return
    label, ground.label = ground.label, lambda *_, **__: None  # type: ignore[method-assign]
    ground.serve(20, at=START + day * DAY, error=error)
    ground.label = label  # type: ignore[method-assign]


def test_a_version_without_an_estimation_is_not_estimated(ground: Ground) -> None:
    assert outlook(ground.log, ground.versions[0], SIGNATURE, RULE, now=START + DAY) is None


def test_nothing_waits_when_every_block_has_its_labels(ground: Ground) -> None:
    _serve(ground, 0, 0.1, labelled=True)
    assert _look(ground, 1) is None


def test_blocks_behind_the_last_labelled_one_are_estimated(ground: Ground) -> None:
    for day in range(8):
        _serve(ground, day, 0.1, labelled=day < 6)
    found = _look(ground, 8.5)
    assert found is not None
    assert (found.status, found.since) == ("quiet", "2013-04-07")
    assert (found.estimate.rows, found.estimate.blocks) == (40, 2)
    assert found.record.blocks == 6
    assert found.estimate.value == pytest.approx(0.9 * 0.1, abs=0.02)
    assert "40 requests since 2013-04-07" in str(found)
    assert json.dumps(found.to_json())


def test_the_block_under_way_is_not_judged(ground: Ground) -> None:
    _serve(ground, 0, 0.1, labelled=False)
    assert _look(ground, 0.9) is None


def test_three_blocks_expected_over_the_limit_are_told(ground: Ground) -> None:
    for day in range(5):
        _serve(ground, day, 0.1 if day < 2 else 0.45, labelled=day < 2)
        found = _look(ground, day + 1, at_least=3)
        assert (found is not None and found.status == "over") == (day == 4)


def test_an_estimation_is_read_back_as_it_was(ground: Ground) -> None:
    kept = _version(ground).evidence["estimation"]
    assert Estimation.from_json(kept).to_json()["errors"] == tuple(kept["errors"])  # type: ignore[arg-type,index]


def test_a_regression_is_estimated_by_the_curve_of_its_errors(ground: Ground) -> None:
    """All that is predicted should be 1, so what is predicted lower errs more, on the hold-out as in production."""
    signature = Signature(SIGNATURE.columns, "delay", "regression")
    predicted = np.random.default_rng(8).uniform(0, 1, size=4000)
    learnt = fit_estimation("regression", np.ones(4000), predicted, np.repeat(np.arange(20), 200), bound=1.0)
    assert learnt is not None
    version = ground.versions[0]
    measured = {"kind": "absolute", "mean": 0.04, "blocks": [0.04] * 20, "bound": 1.0}
    kept = {**version.evidence, "loss": measured, "estimation": json.loads(json.dumps(learnt.to_json()))}
    version = replace(version, evidence=kept)
    label = ground.label
    ground.label = lambda ids, _, at: label(ids, "1.0", at=at)  # type: ignore[method-assign]
    for day in range(8):
        _serve(ground, day, 0.05 if day < 5 else 0.4, labelled=day < 5)
    ground.seal()
    found = outlook(ground.log, version, signature, RULE, now=START + 8 * DAY)
    assert found is not None
    assert (found.status, found.record.blocks, found.estimate.blocks) == ("over", 5, 3)
    assert found.estimate.value == pytest.approx(0.4, abs=0.03)
    assert found.record.errors == pytest.approx([0.0] * 5, abs=0.03)


def test_where_the_inputs_have_moved_labelled_rows_count_for_as_many_as_they_have_become(ground: Ground) -> None:
    """The score is right of AA and wrong of UA, of which there are many more when labels stop coming."""
    pytest.importorskip("sklearn", reason="pip install 'mainspring[ml]'")
    rng, rows, waits_from = np.random.default_rng(3), 300, 5
    losses: list[float] = []
    for day in range(8):
        is_other = rng.random(rows) < (0.1 if day < waits_from else 0.6)
        is_true = rng.random(rows) < np.where(is_other, 0.4, 0.9)
        ids, at = [new_id() for _ in range(rows)], to_iso(START + day * DAY)
        columns: dict[str, list[object]] = {
            "x": rng.random(rows).tolist(),
            "carrier": np.where(is_other, "UA", "AA").tolist(),
        }
        ground.write(
            PredictionRecord(
                model="m", version=1, route="champion", at=at, received_at=at, request_id=None, ids=ids,
                columns=columns, scores=[0.9] * rows, latency_ms=1.0, warnings=0,
            )
        )  # fmt: skip
        if day < waits_from:
            labels: list[str | float] = np.where(is_true, "yes", "no").tolist()
            ground.write(LabelRecord(model="m", at=at, ids=ids, labels=labels, source=None))
        else:
            losses.append(float(np.mean((is_true - 0.9) ** 2)))
    found = _look(ground, 8)
    assert found is not None
    assert found.moved == pytest.approx(0.75, abs=0.05)
    assert found.estimate.value == pytest.approx(np.mean(losses), abs=0.04)
    assert "labelled rows count for as many as they have become" in str(found)
