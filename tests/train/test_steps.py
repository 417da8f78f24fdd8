"""Check, split, fit, evaluate: on every task, outside a pipeline, where steps are plain functions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="training needs scikit-learn: pip install 'mainspring[ml]'")
import pandas as pd
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from tests.loop.conftest import Production

import mainspring as ms
from mainspring.errors import CheckFailed, Invalid, NotFound
from mainspring.train.steps import score_rows


def frame(rows: int = 1200, *, task: str = "binary") -> pd.DataFrame:
    """Return rows over forty days whose target depends on `pull` and `kind`."""
    rng = np.random.default_rng(3)
    pull = rng.normal(size=rows)
    kind = rng.choice(["a", "b", "c"], rows)
    signal = 1.5 * pull + (kind == "a")
    target: Any
    if task == "binary":
        target = (rng.random(rows) < 1 / (1 + np.exp(-signal))).astype(int)
    elif task == "multiclass":
        target = np.array(["low", "mid", "high"])[np.digitize(signal + rng.normal(size=rows), [-0.5, 1.0])]
    else:
        target = 10 + 3 * signal + rng.normal(size=rows)
    at = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(rows) * 40 * 86400 // rows, unit="s")
    return pd.DataFrame({"at": at, "pull": pull, "kind": kind, "row": np.arange(rows), "y": target})


def parts(task: str = "binary", **words: Any) -> ms.Parts:
    return ms.split(frame(task=task), target="y", time="at", ignore=["row"], **words)


def test_check_hands_the_table_on_or_names_the_row(tmp_path: Path) -> None:
    schema = tmp_path / "s.yaml"
    schema.write_text("columns:\n  pull: {type: number, max: 2}\n")
    table = frame(50)
    table["pull"] = 1.0
    checked = ms.check(table, schema)
    pd.testing.assert_frame_equal(checked, table)
    assert not table.attrs
    assert ms.split(checked, target="y").schema == schema.read_text()
    table.loc[7, "pull"] = 3.5
    with pytest.raises(CheckFailed, match=r"rows\[7\].pull = 3.5"):
        ms.check(table, schema)
    with pytest.raises(NotFound, match="no schema"):
        ms.check(table, tmp_path / "nowhere.yaml")


def test_split_by_time_puts_the_newest_rows_into_the_test() -> None:
    dealt = parts()
    assert dealt.train["at"].max() < dealt.validation["at"].min()
    assert dealt.validation["at"].max() < dealt.test["at"].min()
    rows = pd.concat([dealt.train, dealt.validation, dealt.test])["row"]
    assert sorted(rows) == list(range(1200))


def test_split_names_a_missing_column() -> None:
    with pytest.raises(Invalid, match="no column `yy`"):
        ms.split(frame(50), target="yy")


def test_fit_keeps_a_candidate_that_surely_beats_every_baseline() -> None:
    fitted = ms.fit(None, _curved())
    assert fitted.chosen == "boosted_trees"
    assert {each.name for each in fitted.leaderboard} == {"boosted_trees", "dummy", "linear", "shallow_tree"}
    assert fitted.leaderboard[0].loss == min(each.loss for each in fitted.leaderboard)


def test_fit_keeps_the_simpler_model_when_the_candidate_is_no_better() -> None:
    fitted = ms.fit({"deep": make_pipeline(_by_kind(), DecisionTreeClassifier(random_state=0))}, parts())
    assert fitted.chosen == "linear"
    assert "not surely better than the simpler linear" in fitted.reason


def test_fit_leaves_out_target_time_and_ignored_columns() -> None:
    fitted = ms.fit(None, parts())
    assert fitted.signature.names == ("pull", "kind")
    assert fitted.signature.classes == ("0", "1")


def test_a_number_that_was_never_missing_may_be_so_if_the_model_can_live_with_it() -> None:
    fitted = ms.fit(None, parts())
    columns = {each.name: each for each in fitted.signature.columns}
    assert columns["pull"].nullable
    assert not columns["kind"].nullable


def test_fit_refuses_what_cannot_be_fitted() -> None:
    with pytest.raises(Invalid, match="cannot be fitted"):
        ms.fit({"text": "not an estimator"}, parts())


def test_evaluate_measures_what_scikit_learn_measures() -> None:
    dealt = parts()
    fitted = ms.fit(None, dealt)
    candidate = ms.evaluate(fitted, dealt, slices=["kind"])
    assert candidate.metrics["roc_auc"] == pytest.approx(roc_auc_score(dealt.test["y"], candidate.scores), abs=1e-12)
    assert sum(sum(row) for row in candidate.report.confusion["counts"]) == len(dealt.test)
    assert {each["name"] for each in candidate.report.slices} == {"kind=a", "kind=b", "kind=c"}
    assert sum(each["rows"] for each in candidate.report.slices) == len(dealt.test)
    assert len(candidate.report.loss_blocks) == dealt.test["at"].dt.date.nunique()
    assert candidate.report.importances["pull"] > candidate.report.importances["kind"] > -0.01


def test_evaluate_names_a_slice_that_is_not_there() -> None:
    dealt = parts()
    with pytest.raises(Invalid, match="Did you mean `kind`"):
        ms.evaluate(ms.fit(None, dealt), dealt, slices=["kinds"])


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_the_other_tasks_go_the_same_way(task: str) -> None:
    dealt = parts(task)
    fitted = ms.fit(None, dealt)
    candidate = ms.evaluate(fitted, dealt)
    assert fitted.signature.task == task
    if task == "multiclass":
        assert fitted.signature.classes == ("high", "low", "mid")
        assert candidate.scores.shape == (len(dealt.test), 3)
        assert candidate.metrics["accuracy"] > 0.5
    else:
        assert candidate.metrics["r2"] > 0.5
        assert (fitted.loss_bound or 0) > 0
        assert candidate.report.confusion == {}


@pytest.mark.parametrize(
    ("target", "told"),
    [
        (np.ones(1200, dtype=int), "one value only"),
        (np.where(np.arange(1200) == 5, np.nan, np.arange(1200) % 2), "1 rows have no target"),
    ],
)
def test_a_target_that_cannot_be_learnt_is_refused(target: Any, told: str) -> None:
    table = frame().assign(y=target)
    with pytest.raises(Invalid, match=told):
        ms.fit(None, ms.split(table, target="y", time="at"))


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_a_loop_of_another_task_serves_what_it_trained(production: Production, task: str) -> None:
    data = production.data.with_name("other.csv")
    frame(task=task).to_csv(data, index=False)
    goal = "accuracy >= 0.4" if task == "multiclass" else "r2 >= 0.3"
    loop = ms.Loop("other", data=data, target="y", time="at", goal=goal)
    done = loop.run(production.workspace)
    assert done.version.aliases == ("champion",)
    predictor = production.workspace.predictor(done.version)
    columns = {
        "pull": np.array([0.5, np.nan]),
        "kind": np.array(["a", "b"], dtype=object),
        "row": np.array([1.0, 2.0]),
    }
    assert predictor.predict(columns).shape == ((2, 3) if task == "multiclass" else (2,))


def test_a_bundle_scores_as_the_estimator_it_was_made_of(production: Production) -> None:
    loop = production.loop()
    done = loop.run(production.workspace)
    candidate = done.outcome.value
    test = {name: candidate.test[name].to_numpy() for name in candidate.fitted.signature.names}
    test["kind"] = test["kind"].astype(object)
    ours = production.workspace.predictor(done.version).predict(test)
    expected = score_rows(candidate.fitted.estimator, test, candidate.fitted.signature)
    assert ours == pytest.approx(expected, abs=1e-12)  # a folded plan adds in another order


def _by_kind() -> Any:
    from sklearn.compose import make_column_transformer
    from sklearn.preprocessing import OneHotEncoder

    return make_column_transformer((OneHotEncoder(), ["kind"]), (StandardScaler(), ["pull"]))


def _curved() -> ms.Parts:
    """Return rows whose target goes up and down with `pull` many times, which neither a line nor few cuts follow."""
    table = frame(8000)
    rng = np.random.default_rng(5)
    chance = 1 / (1 + np.exp(-3.0 * np.sin(8 * table["pull"])))
    table["y"] = (rng.random(len(table)) < chance).astype(int)
    return ms.split(table, target="y", time="at", ignore=["row"])
