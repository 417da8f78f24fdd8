"""Review: what is asked of people, that everybody is asked the same, and what becomes of the answers."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.loop.conftest import START, Production, write_csv

import mainspring as ms
from mainspring.deploy.rollout import active_canary
from mainspring.domain.moments import SimulatedClock
from mainspring.domain.signature import Signature
from mainspring.errors import Invalid, NotFound
from mainspring.loop.review import _margins, answer_question, answers_reviewed, list_reviews, questions
from mainspring.monitor.quality import watch_quality
from mainspring.registry.labelled import export_labelled
from mainspring.registry.versions import find_version
from mainspring.store.events import events
from mainspring.workspace import Workspace

FOREVER = {"labelled_from": datetime(1970, 1, 1, tzinfo=UTC), "labelled_until": START + timedelta(days=99)}


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that serves, and a day of its answers whose labels are outstanding; tests work on copies."""
    folder = tmp_path_factory.mktemp("lived")
    write_csv(folder / "hits.csv", 3000, seed=1)
    clock = SimulatedClock(START)
    with Workspace(folder / "home", clock=clock, actor="ada") as workspace:
        production = Production(workspace, clock, folder / "hits.csv")
        production.loop().run(workspace)
        production.live(production.loop(), 1, labelled=False)
    return folder / "home"


@pytest.fixture
def asked(lived: Path, tmp_path: Path) -> Iterator[Workspace]:
    """A copy of it, on the day after."""
    shutil.copytree(lived, tmp_path / "home")
    with Workspace(tmp_path / "home", clock=SimulatedClock(START + timedelta(days=1)), actor="ada") as workspace:
        yield workspace


def test_a_sample_and_the_most_doubtful_are_asked_and_everybody_sees_the_same(asked: Workspace) -> None:
    found = questions(asked, "hits", most=20)
    assert [each.kind for each in found] == ["sampled"] * 10 + ["uncertain"] * 10
    assert len({each.prediction_id for each in found}) == 20
    every = questions(asked, "hits", most=1000)
    assert len(every) == 120
    doubt = {each.prediction_id: each.margin for each in every}
    half = {each.prediction_id for each in every if each.kind == "uncertain"}
    assert 30 < len(half) < 90
    least = sorted((doubt[name], name) for name in half)[:10]
    assert {each.prediction_id for each in found[10:]} == {name for _, name in least}
    margins = [each.margin for each in found[10:]]
    assert margins == sorted(margins)
    assert {*found[0].features} == {"pull", "size", "kind"}
    assert found[0].choices == ("0", "1")
    with Workspace(asked.home, clock=asked.clock, actor="bob") as other:
        assert questions(other, "hits", most=20) == found


def test_an_answer_is_a_label_with_the_name_of_who_gave_it(asked: Workspace) -> None:
    first, second, *_ = questions(asked, "hits")
    review = answer_question(asked, "hits", first.prediction_id, 1, reviewer="bob", comment="seen")
    assert (review.kind, review.label, review.reviewer) == ("sampled", "1", "bob")
    assert first.prediction_id not in {each.prediction_id for each in questions(asked, "hits")}
    assert asked.seal() == 1
    assert asked.log.find(first.prediction_id).label == "1"
    answer_question(asked, "hits", first.prediction_id, "0", reviewer="ada")  # on second thoughts
    asked.seal()
    assert asked.log.find(first.prediction_id).label == "0"
    assert [(each.label, each.reviewer, each.kind) for each in list_reviews(asked, "hits")] == [("0", "ada", "sampled")]
    assert [each.actor for each in events(asked.store, verb="prediction.reviewed")] == ["bob", "ada"]
    with pytest.raises(Invalid, match="no label"):
        answer_question(asked, "hits", second.prediction_id, "maybe", reviewer="bob")
    with pytest.raises(NotFound, match="no prediction"):
        answer_question(asked, "hits", "0" * 32, "1", reviewer="bob")
    with pytest.raises(Invalid, match="one of `hits`"):
        answer_question(asked, "other", second.prediction_id, "1", reviewer="bob")


def test_only_the_sample_is_measured_by_and_all_answers_are_trained_on(asked: Workspace) -> None:
    found = questions(asked, "hits")
    for each in found:
        answer_question(asked, "hits", each.prediction_id, "1", reviewer="bob")
    asked.seal()
    sampled = {each.prediction_id for each in found if each.kind == "sampled"}
    assert set(asked.log.labelled("hits", **FOREVER)["id"]) == sampled
    assert set(asked.log.newly_labelled("hits", version=1, after="")["id"]) == sampled
    recent = asked.log.recent("hits", until=FOREVER["labelled_until"], most=1000)
    assert {name for name, label in zip(recent["id"], recent["label"], strict=True) if label} == sampled
    assert len(asked.log.labelled("hits", **FOREVER, chosen=True)["id"]) == 20
    signature = asked.signature_of("hits", 1)
    assert export_labelled(asked.log, signature, "hits", asked.home, FOREVER["labelled_until"]) is not None
    champion = find_version(asked.store, "hits")
    watch_quality(asked.store, asked.log, champion, signature, ms.monitor(), now=asked.clock.now())


def test_doubt_is_how_near_another_answer_is() -> None:
    def signature(task: Any) -> Signature:
        return Signature((), "y", task, ("a", "b", "c"))

    assert _margins(np.array([0.2, 0.35]), signature("binary"), 0.3) == pytest.approx([0.1, 0.05])
    many = np.array([[0.5, 0.3, 0.2], [0.1, 0.45, 0.45]])
    assert _margins(many, signature("multiclass"), 0.5) == pytest.approx([0.2, 0.0])
    assert _margins(np.array([1.0, 2.0]), signature("regression"), 0.5) is None


def test_a_canary_soaks_until_people_reviewed_its_answers_or_the_time_is_over(production: Production) -> None:
    workspace = production.workspace
    loop = production.loop(rollout=ms.canary(30, 60, 100, bake="1d", min_rows=10), soak=ms.soak(3, period="60d"))
    loop.run(workspace)
    write_csv(production.data, 3000, seed=3)
    replace(loop, gates=()).run(workspace)
    candidate = find_version(workspace.store, "hits/2")
    assert active_canary(workspace.store, "hits") is not None
    assert production.live(loop, 3) == []
    production.traffic(loop, rows=120, labelled=False)
    production.clock.advance_to(production.day + timedelta(hours=13))
    workspace.seal()
    own = [each for each in questions(workspace, "hits", most=1000) if each.version == 2][:3]
    for each in own:
        assert answers_reviewed(workspace, candidate) < 3
        answer_question(workspace, "hits", each.prediction_id, each.choices[0], reviewer="bob")
    assert answers_reviewed(workspace, candidate) == 3
    assert answers_reviewed(workspace, find_version(workspace.store, "hits/1")) == 0
    (done,) = production.live(loop, 1)
    assert "gave hits/2 60 %" in done
    longer = replace(loop, soak=ms.soak(10**6, period="5d"))
    assert any("promoted hits/2" in each for each in production.live(longer, 3))
