"""XGBoost in bundles: its model is checked before it is loaded, and its trees are served without it."""

import contextlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from mainspring.bundle.certificate import edge_rows
from mainspring.bundle.estimators import dump_estimator, load_estimator
from mainspring.bundle.format import read_member, verify, write_bundle
from mainspring.bundle.predictor import load_bundle, load_original
from mainspring.bundle.tree_plan import TREES_NAME
from mainspring.bundle.tree_predictor import TreePredictor
from mainspring.bundle.tree_thresholds import threshold_rows
from mainspring.bundle.xgboost_model import parse_snapshot, parse_xgboost
from mainspring.data.table import columns_of
from mainspring.domain.signature import Task
from mainspring.errors import Refused
from mainspring.train.features import infer_signature

from . import test_trees as trees

xgboost = pytest.importorskip("xgboost", reason="its models are tested: pip install 'mainspring[xgboost]'")

from xgboost import XGBClassifier, XGBRegressor  # noqa: E402  # behind the check above


class Coded(XGBClassifier):
    """Only to be refused: a type that no bundle may hold."""


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


def classifier(**options: Any) -> Any:
    return XGBClassifier(**{"n_estimators": 25, "n_jobs": 1, "random_state": 0} | options)


def regressor(**options: Any) -> Any:
    return XGBRegressor(**{"n_estimators": 25, "n_jobs": 1, "random_state": 0} | options)


def written(folder: Path, model: Any, task: Task, columns: list[str]) -> Any:
    """Write a bundle; XGBoost knows numbers for classes only, so they are called by their names afterwards."""
    given = trees.frame()
    codes = np.unique(trees.targets(given)[task], return_inverse=True)[1]
    target = trees.targets(given)[task] if task == "regression" else codes
    model.fit(given[columns], target)
    table = columns_of(given[columns].assign(y=target if task == "regression" else codes.astype(str)))
    signature = infer_signature(table, "y", task=task)
    sample = {name: table[name] for name in signature.names}
    write_bundle(folder, model, signature, name="m", sample=sample)
    return signature, sample


#: One unit in the last place of a float32 just below 2.
UNIT = 2.0**-23
MODELS: list[Any] = [
    pytest.param("binary", trees.BARE, classifier, id="binary"),
    pytest.param("multiclass", trees.BARE, classifier, id="3 classes"),
    pytest.param("multiclass", trees.BARE, lambda: classifier(num_parallel_tree=3, subsample=0.7), id="forests"),
    pytest.param("regression", trees.BARE, regressor, id="values"),
    pytest.param("regression", trees.BARE, lambda: regressor(objective="count:poisson"), id="counts"),
    pytest.param("binary", trees.BARE, lambda: classifier(grow_policy="lossguide", max_leaves=9), id="by leaf"),
    pytest.param("binary", trees.BARE, lambda: classifier(base_score=0.3, max_depth=10), id="deep"),
    pytest.param("binary", trees.MIXED, lambda: trees.encoded(classifier(), numbers=trees.imputed), id="encoded"),
]


@pytest.mark.filterwarnings("ignore:Found unknown categories")
@pytest.mark.parametrize(("task", "columns", "model"), MODELS)
def test_a_tree_plan_answers_as_the_original(
    tmp_path: Path, task: Task, columns: list[str], model: Callable[[], Any]
) -> None:
    """The margin is equal to the bit; an exponential in float32 may be one unit in the last place off."""
    signature, sample = written(tmp_path / "b", model(), task, columns)
    loaded, original = load_bundle(tmp_path / "b"), load_original(tmp_path / "b")
    assert isinstance(loaded, TreePredictor), trees.certificate(tmp_path / "b")["why"]
    assert trees.certificate(tmp_path / "b")["largest_difference"] <= UNIT
    new = columns_of(trees.frame(seed=9))
    plan, arrays = trees.plan_of(tmp_path / "b")
    near = threshold_rows(signature, plan, arrays, loaded.states(sample), sample)
    for rows in ({name: new[name] for name in signature.names}, edge_rows(signature, sample), near):
        apart = np.abs(loaded.predict(rows) - original.predict(rows))
        assert (apart <= UNIT * np.maximum(1, original.predict(rows))).all()
        assert np.mean(apart == 0) > 0.98
    one = {name: array[:1] for name, array in new.items()}
    assert np.array_equal(loaded.predict(one)[0], loaded.predict(new)[0])


def test_trees_behind_the_best_iteration_do_not_count(tmp_path: Path) -> None:
    model = classifier(n_estimators=300, learning_rate=0.7, early_stopping_rounds=2)
    table = trees.frame()
    target = (trees.targets(table)["binary"] == "yes").astype(int)
    given = table[trees.BARE]
    model.fit(given[:400], target[:400], eval_set=[(given[400:], target[400:])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    columns = columns_of(given.assign(y=target.astype(str)))
    signature = infer_signature(columns, "y", task="binary")
    sample = {name: columns[name] for name in signature.names}
    write_bundle(tmp_path / "b", model, signature, name="m", sample=sample)
    loaded = load_bundle(tmp_path / "b")
    assert isinstance(loaded, TreePredictor)
    assert np.abs(loaded.predict(sample) - model.predict_proba(given)[:, 1]).max() < 1e-7


def test_the_bundle_asks_for_xgboost(tmp_path: Path) -> None:
    written(tmp_path / "b", classifier(), "binary", trees.BARE)
    assert f"xgboost=={xgboost.__version__}" in verify(tmp_path / "b").requirements
    assert trees.certificate(tmp_path / "b")["versions"]["xgboost"] == xgboost.__version__


def test_another_objective_serves_as_it_is(tmp_path: Path) -> None:
    written(tmp_path / "b", regressor(objective="reg:quantileerror", quantile_alpha=0.5, booster="gbtree", missing=0.0),
            "regression", ["n1", "big"])  # fmt: skip
    assert TREES_NAME not in verify(tmp_path / "b").files


@pytest.fixture(scope="module")
def model() -> Any:
    table = trees.frame()
    return classifier(n_estimators=3, max_depth=3).fit(table[trees.BARE], trees.targets(table)["binary"] == "yes")


def changed(model: Any, change: Callable[[Any, Any], None]) -> Any:
    whole = json.loads(model.get_booster().save_raw("json"))
    change(whole["learner"], whole["learner"]["gradient_booster"]["model"]["trees"][1])
    return whole


def _set(place: str, at: int, value: Any) -> Callable[[Any, Any], None]:
    return lambda _, tree: tree[place].__setitem__(at, value)


HARM: list[Callable[[Any, Any], None]] = [
    _set("left_children", 0, 0),
    _set("left_children", 0, 10**6),
    _set("right_children", 0, -1),
    _set("split_indices", 0, 4),
    _set("split_indices", 0, -1),
    _set("split_type", 0, 1),
    _set("split_conditions", 0, float("nan")),
    lambda _, tree: tree["default_left"].pop(),
    lambda _, tree: tree["base_weights"].pop(),
    lambda _, tree: tree["tree_param"].__setitem__("num_nodes", "1000000"),
    lambda _, tree: tree["tree_param"].__setitem__("num_nodes", "-1"),
    lambda _, tree: tree["tree_param"].__setitem__("size_leaf_vector", "3"),
    lambda told, _: told["learner_model_param"].__setitem__("num_feature", "2"),
    lambda told, _: told["learner_model_param"].__setitem__("num_target", "2"),
    lambda told, _: told["gradient_booster"].__setitem__("name", "dart"),
    lambda told, _: told["gradient_booster"]["model"].__setitem__("tree_info", [0, 0, 7]),
    lambda told, _: told["gradient_booster"]["model"].__setitem__("iteration_indptr", [0, 9, 3]),
    lambda told, _: told["gradient_booster"]["model"]["trees"].pop(),
]


@pytest.mark.parametrize("harm", HARM)
def test_a_model_whose_parts_do_not_fit_is_refused(model: Any, harm: Callable[[Any, Any], None]) -> None:
    assert len(parse_xgboost(changed(model, lambda *_: None)).trees) == 3
    with pytest.raises((ValueError, KeyError)):
        parse_xgboost(changed(model, harm))


@given(st.data())
@settings(deadline=None, max_examples=200)
def test_a_snapshot_that_was_scratched_is_read_or_refused(model: Any, data: st.DataObject) -> None:
    snapshot = bytes(model.get_booster().__getstate__()["handle"])
    assert len(parse_snapshot(snapshot).trees) == 3
    at = data.draw(st.integers(0, len(snapshot)))
    scratched = snapshot[:at] + data.draw(st.binary(max_size=3)) + snapshot[at + data.draw(st.integers(0, 3)) :]
    with contextlib.suppress(ValueError):
        parse_snapshot(scratched)


def test_a_booster_in_a_file_is_checked_before_it_is_loaded(model: Any, tmp_path: Path) -> None:
    data = dump_estimator(model)

    def harmed(change: Callable[[bytes], bytes]) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
            for name in old.namelist():
                content = old.read(name)
                new.writestr(name, change(content) if name.endswith(".bin") else content)
        return out.getvalue()

    assert load_estimator(harmed(lambda content: content)) is not None
    outside = re.compile(rb"(left_children\[\$l#L.{8}).{4}", re.DOTALL)
    with pytest.raises(Refused, match="a node's children"):
        load_estimator(harmed(lambda content: outside.sub(lambda found: found[1] + b"\x7f\0\0\0", content, count=1)))
    with pytest.raises(Refused, match="not whole"):
        load_estimator(harmed(lambda content: content[:-5]))


def test_what_could_not_be_loaded_again_is_refused_when_it_is_saved() -> None:
    table = trees.frame()
    linear = classifier(booster="gblinear", n_estimators=2, updater="coord_descent")
    fitted = linear.fit(table[["n1", "big"]], trees.targets(table)["binary"] == "yes")
    with pytest.raises(Refused, match="another kind than gbtree"):
        dump_estimator(fitted)
    plain = Coded(n_estimators=1).fit(table[["n1", "big"]], trees.targets(table)["binary"] == "yes")
    with pytest.raises(Refused, match="may not hold"):
        dump_estimator(plain)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        written(tmp_path / name, classifier(n_estimators=3), "binary", trees.BARE)
    first, second = (read_member(tmp_path / name, verify(tmp_path / name), TREES_NAME) for name in ("a", "b"))
    assert first == second
    assert verify(tmp_path / "a") == verify(tmp_path / "b")
