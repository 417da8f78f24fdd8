"""LightGBM in bundles: its text is checked before it is loaded, and its trees are served without it, to the bit."""

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from mainspring.bundle.certificate import certify, edge_rows
from mainspring.bundle.format import read_member, verify, write_bundle
from mainspring.bundle.lightgbm_text import parse_lightgbm
from mainspring.bundle.predictor import load_bundle, load_original
from mainspring.bundle.tree_plan import TREES_NAME
from mainspring.bundle.tree_predictor import TreePredictor
from mainspring.bundle.tree_thresholds import threshold_rows
from mainspring.data.table import columns_of
from mainspring.domain.signature import Column, Signature, Task
from mainspring.errors import Refused
from mainspring.train.features import infer_signature

from . import test_trees as trees

lightgbm = pytest.importorskip("lightgbm", reason="its models are tested: pip install 'mainspring[lightgbm]'")

from lightgbm import LGBMClassifier, LGBMRegressor  # noqa: E402  # behind the check above
from sklearn.preprocessing import OrdinalEncoder  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    "ignore:X does not have valid feature names",
    "ignore:Found unknown categories",
    "ignore:categorical_feature keyword",
)
ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


def classifier(**options: Any) -> Any:
    return LGBMClassifier(**{"n_estimators": 25, "verbose": -1, "n_jobs": 1, "random_state": 0} | options)


def regressor(**options: Any) -> Any:
    return LGBMRegressor(**{"n_estimators": 25, "verbose": -1, "n_jobs": 1, "random_state": 0} | options)


MODELS: list[Any] = [
    pytest.param("binary", trees.BARE, classifier, id="binary"),
    pytest.param("multiclass", trees.BARE, classifier, id="3 classes"),
    pytest.param("multiclass", trees.BARE, lambda: classifier(objective="multiclassova"), id="one against all"),
    pytest.param("regression", trees.BARE, regressor, id="values"),
    pytest.param("regression", trees.BARE, lambda: regressor(objective="poisson"), id="counts"),
    pytest.param("regression", trees.BARE, lambda: regressor(objective="quantile"), id="quantile"),
    pytest.param("binary", trees.BARE, lambda: classifier(num_leaves=120, min_child_samples=1), id="large trees"),
    pytest.param("binary", trees.BARE, lambda: classifier(use_missing=False), id="missing is zero"),
    pytest.param("binary", trees.BARE, lambda: classifier(zero_as_missing=True), id="zero is missing"),
    pytest.param("binary", trees.BARE, lambda: classifier(sigmoid=0.7), id="another slope"),
    pytest.param("binary", trees.BARE, lambda: classifier(boosting_type="dart"), id="dart"),
    pytest.param(
        "binary",
        trees.BARE,
        lambda: classifier(boosting_type="rf", subsample=0.6, subsample_freq=1),
        id="averaged",
    ),
    pytest.param("binary", trees.BARE, lambda: classifier(min_child_samples=600), id="trees of one leaf"),
    pytest.param("binary", trees.MIXED, lambda: trees.encoded(classifier(), numbers=trees.imputed), id="encoded"),
]
CATEGORIES = {"lgbmclassifier__categorical_feature": [4, 5]}
MODELS += [
    pytest.param(
        "binary",
        trees.MIXED,
        lambda: trees.encoded(classifier(min_data_per_group=5, cat_smooth=1), texts=ordinal),
        id="sets of categories",
    )
]


@pytest.mark.parametrize(("task", "columns", "model"), MODELS)
def test_a_tree_plan_is_equal_to_the_bit(
    tmp_path: Path, task: Task, columns: list[str], model: Callable[[], Any]
) -> None:
    fitted = model()
    fitting = CATEGORIES if "ordinal" in str(fitted).lower() else {}
    signature, sample = trees.written(tmp_path / "b", fitted, task, columns, **fitting)
    if fitting:
        assert "cat_threshold" in fitted[-1].booster_.model_to_string()
    loaded, original = load_bundle(tmp_path / "b"), load_original(tmp_path / "b")
    assert isinstance(loaded, TreePredictor), trees.certificate(tmp_path / "b")["why"]
    assert trees.certificate(tmp_path / "b")["largest_difference"] == 0
    new = columns_of(trees.frame(seed=9))
    plan, arrays = trees.plan_of(tmp_path / "b")
    near = threshold_rows(signature, plan, arrays, loaded.states(sample), sample)
    for rows in ({name: new[name] for name in signature.names}, edge_rows(signature, sample), near):
        if len(rows["n1"]):  # LightGBM takes no empty table
            assert np.array_equal(loaded.predict(rows), original.predict(rows))
    for row in range(20):
        one = {name: array[row : row + 1] for name, array in new.items()}
        assert np.array_equal(loaded.predict(one), original.predict(one))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, Any]]:
    """Plans and originals that treat missing values and zero in each of LightGBM's ways."""
    found = []
    for options in ({}, {"use_missing": False}, {"zero_as_missing": True}):
        folder = tmp_path_factory.mktemp("model") / "b"
        given = trees.frame()[trees.BARE]
        given.loc[::5, "n1"] = 0.0
        target = trees.targets(trees.frame())["binary"]
        table = columns_of(given.assign(y=target))
        signature = infer_signature(table, "y", task="binary")
        sample = {name: table[name] for name in signature.names}
        write_bundle(folder, classifier(**options).fit(given, target), signature, name="m", sample=sample)
        found.append((load_bundle(folder), load_original(folder)))
    return found


TINY = float(np.float32(1e-35))
EDGES = [0.0, -0.0, TINY, -TINY, np.nextafter(TINY, 1), -np.nextafter(TINY, 1), 1e-36, 5e-324, 1.7e9 + 1, 1.8e308 / 2]
NUMBERS = st.one_of(st.sampled_from(EDGES), st.floats(-50, 50), st.floats(1.7e9, 1.7e9 + 4000))


@given(st.lists(st.tuples(NUMBERS | st.just(np.nan), NUMBERS, NUMBERS, st.integers(-5, 60)), max_size=25))
@settings(deadline=None, max_examples=80)
def test_any_rows_are_scored_as_the_original_scores_them(pairs: list[tuple[Any, Any]], rows: list[Any]) -> None:
    table = np.array(rows, dtype=np.float64).reshape(-1, len(trees.BARE))
    columns = {name: np.ascontiguousarray(table[:, at]) for at, name in enumerate(trees.BARE)}
    for plan, original in pairs:
        assert isinstance(plan, TreePredictor)
        expected = original.predict(columns) if rows else np.zeros(0)
        assert np.array_equal(plan.predict(columns), expected)


def test_categories_of_a_number_that_no_validation_row_has_are_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    code, n = rng.integers(0, 200, 3000).astype(float), rng.normal(size=3000)
    given = trees.pd.DataFrame({"code": code, "n": n})
    target = np.where(rng.normal(size=200)[code.astype(int)] + n > 0, "yes", "no")
    model = classifier(min_data_per_group=3, cat_smooth=1).fit(given, target, categorical_feature=["code"])
    columns = (
        Column("code", "number", nullable=True, low=0.0, high=199.0),
        Column("n", "number", low=-4.0, high=4.0),
    )
    signature = Signature(columns, "y", "binary", ("no", "yes"))
    write_bundle(tmp_path / "b", model, signature, name="m", sample={"code": code[:40], "n": n[:40]})
    loaded, original = load_bundle(tmp_path / "b"), load_original(tmp_path / "b")
    assert isinstance(loaded, TreePredictor), trees.certificate(tmp_path / "b")["why"]
    asked = np.concatenate([np.arange(-3, 205), np.arange(-3, 205) + 0.5, [np.nan, 1e9, -1e9, 3e9, -0.3, -0.99]])
    for value in (-1.0, 0.0, 1.0):
        rows = {"code": asked, "n": np.full(len(asked), value)}
        assert np.array_equal(loaded.predict(rows), original.predict(rows))


def test_only_the_trees_up_to_the_best_iteration_count(tmp_path: Path) -> None:
    table = trees.frame()
    target = trees.targets(table)["binary"]
    given = table[trees.BARE]
    model = classifier(n_estimators=30).fit(given, target)
    model.booster_.best_iteration = 7  # as early stopping leaves it
    columns = columns_of(given.assign(y=target))
    signature = infer_signature(columns, "y", task="binary")
    sample = {name: columns[name] for name in signature.names}
    write_bundle(tmp_path / "b", model, signature, name="m", sample=sample)
    loaded = load_bundle(tmp_path / "b")
    assert isinstance(loaded, TreePredictor)
    assert np.array_equal(loaded.predict(sample), model.predict_proba(given)[:, 1])
    assert trees.plan_of(tmp_path / "b")[1].n_trees == 7


def test_a_form_in_float32_that_meets_unix_times_is_refused(tmp_path: Path) -> None:
    """What converters make: thresholds and values rounded to float32."""
    signature, sample = trees.written(tmp_path / "b", classifier(), "binary", ["big"])
    plan, arrays = trees.plan_of(tmp_path / "b")
    exact, original = load_bundle(tmp_path / "b"), load_original(tmp_path / "b")
    assert isinstance(exact, TreePredictor)
    cuts = np.frombuffer(plan.columns[0].cuts, "<f8")
    near = threshold_rows(signature, plan, arrays, exact.states(sample), sample)

    def single(columns: Any) -> Any:
        states = np.searchsorted(np.nextafter(cuts, -np.inf).astype(np.float32), columns["big"].astype(np.float32))
        return exact.predict({"big": np.concatenate([[0.0], cuts])})[states]

    assert np.mean(single(sample) != original.predict(sample)) > 0.3
    given: dict[str, Any] = {"threshold": 0.5, "hashes": ("", ""), "versions": {}, "near": near}
    found = certify("float32", original.predict, single, signature, sample, **given)
    assert not found.holds
    assert found.flips > 50
    assert "flip their class" in found.why
    assert certify("trees", original.predict, exact.predict, signature, sample, **given).holds


def test_the_bundle_asks_for_lightgbm_and_serves_without_it(tmp_path: Path) -> None:
    trees.written(tmp_path / "b", classifier(), "binary", trees.BARE)
    manifest = verify(tmp_path / "b")
    assert f"lightgbm=={lightgbm.__version__}" in manifest.requirements
    assert trees.certificate(tmp_path / "b")["versions"]["lightgbm"] == lightgbm.__version__
    program = (
        "import sys, numpy as np; from pathlib import Path; from mainspring.bundle.predictor import load_bundle\n"
        f"p = load_bundle(Path({str(tmp_path / 'b')!r}))\n"
        "assert 0 < p.predict({name: np.array([1.0]) for name in p.signature.names})[0] < 1\n"
        "loaded = {'lightgbm', 'pandas', 'sklearn', 'scipy', 'skops'} & set(sys.modules); assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_objective_of_ones_own_serves_as_it_is(tmp_path: Path) -> None:
    trees.written(tmp_path / "b", regressor(reg_sqrt=True), "regression", trees.BARE)
    assert TREES_NAME not in verify(tmp_path / "b").files
    assert "no trees that are known" in trees.certificate(tmp_path / "b")["why"]


@pytest.fixture(scope="module")
def text() -> str:
    table = trees.frame()
    options = {"n_estimators": 3, "num_leaves": 6, "min_data_per_group": 5, "cat_smooth": 1}
    given, target = table[trees.BARE], trees.targets(table)["binary"]
    model = classifier(**options).fit(given, target, categorical_feature=["count"])
    written: str = model.booster_.model_to_string()
    assert "cat_threshold" in written
    return written


def edited(text: str, pattern: str, replacement: str) -> str:
    """Return the text with one field changed and the sizes of its trees mended."""
    changed, count = re.subn(pattern, replacement, text, count=1, flags=re.MULTILINE)
    assert count == 1
    head, _, rest = changed.partition("\n\nTree=0\n")
    blocks = re.split(r"(?=^Tree=\d+$)", "Tree=0\n" + rest.partition("end of trees")[0], flags=re.MULTILINE)
    sizes = " ".join(str(len(block)) for block in blocks if block)
    return re.sub(r"^tree_sizes=.*$", f"tree_sizes={sizes}", head, flags=re.MULTILINE) + changed[len(head) :]


HARM = [
    (r"^split_feature=\d+", "split_feature=4"),
    (r"^split_feature=\d+", "split_feature=-1"),
    (r"^split_feature=\d+ ", "split_feature="),
    (r"^left_child=-?\d+", "left_child=0"),
    (r"^left_child=-?\d+", "left_child=5"),
    (r"^right_child=-?\d+", "right_child=-7"),
    (r"^num_leaves=6", "num_leaves=6000000"),
    (r"^num_leaves=6", "num_leaves=5"),
    (r"^num_leaves=6", "num_leaves=0"),
    (r"^num_cat=\d+", "num_cat=0"),
    (r"^cat_boundaries=0 \d+", "cat_boundaries=0 4000"),
    (r"^cat_boundaries=0", "cat_boundaries=-3"),
    (r"^leaf_value=\S+", "leaf_value=nan"),
    (r"^leaf_value=\S+ ", "leaf_value="),
    (r"^is_linear=0", "is_linear=1"),
    (r"^decision_type=\d+", "decision_type=12"),
    (r"^shrinkage=1", "shrinkage=1\nextra=1"),
    (r"^shrinkage=1", "shrinkage=1\nshrinkage=1"),
    (r"^max_feature_idx=3", "max_feature_idx=2"),
    (r"^version=v4", "version=v2"),
    (r"^num_tree_per_iteration=1", "num_tree_per_iteration=2"),
    (r"^tree$", "shrub"),
]


@pytest.mark.parametrize(("pattern", "replacement"), HARM)
def test_a_text_whose_parts_do_not_fit_is_refused(text: str, pattern: str, replacement: str) -> None:
    assert len(parse_lightgbm(edited(text, r"^tree$", "tree")).trees) == 3
    with pytest.raises((ValueError, KeyError)):
        parse_lightgbm(edited(text, pattern, replacement))


def test_sizes_that_cut_the_text_elsewhere_are_refused(text: str) -> None:
    first = re.search(r"^tree_sizes=(\d+)", text, re.MULTILINE)
    assert first is not None
    for size in (int(first[1]) + 1, 1 << 40, 0):
        with pytest.raises(ValueError, match=r"tree 0|the number"):
            parse_lightgbm(text.replace(first[0], f"tree_sizes={size}", 1))


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_a_text_that_was_scratched_is_read_or_refused(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, text.index("end of trees")))
    put = data.draw(st.text(st.sampled_from("0123456789-=. \nTeé"), max_size=3))
    with contextlib.suppress(ValueError, KeyError):
        parse_lightgbm(text[:at] + put + text[at + data.draw(st.integers(0, 4)) :])


def test_a_booster_in_a_file_is_checked_before_it_is_loaded(tmp_path: Path) -> None:
    import io
    import zipfile

    from mainspring.bundle.estimators import load_estimator

    trees.written(tmp_path / "b", classifier(n_estimators=2), "binary", trees.BARE)
    data = read_member(tmp_path / "b", verify(tmp_path / "b"), "model.skops")

    def harmed(change: Callable[[str], str]) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
            for name in old.namelist():
                content = old.read(name)
                new.writestr(name, change(content.decode()) if name == "schema.json" else content)
        return out.getvalue()

    assert load_estimator(harmed(lambda schema: schema)) is not None
    with pytest.raises(Refused, match="model text is not whole"):
        load_estimator(harmed(lambda schema: re.sub(r"left_child=-?\d+", "left_child=0", schema, count=1)))

    def by_another_loader(schema: str) -> str:
        whole = json.loads(schema)
        whole["content"]["content"]["_Booster"] = {
            "__class__": "Booster", "__module__": "lightgbm.basic", "__loader__": "TypeNode", "__id__": 1,
        }  # fmt: skip
        return json.dumps(whole)

    with pytest.raises(Refused, match="a loader that is not for it"):
        load_estimator(harmed(by_another_loader))
