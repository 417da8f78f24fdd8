"""Tree plans: equal to the bit to every forest and boosted tree, at every threshold and on every kind of row."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.bundle.certificate import edge_rows
from mainspring.bundle.format import read_member, verify, write_bundle
from mainspring.bundle.predictor import load_bundle, load_original
from mainspring.bundle.tree_plan import TREES_NAME, tree_plan_from_bytes, tree_plan_to_bytes
from mainspring.bundle.tree_predictor import TreePredictor
from mainspring.bundle.tree_thresholds import threshold_rows
from mainspring.bundle.tree_walk import Masks, Steps, leaf_sums
from mainspring.data.table import columns_of
from mainspring.domain.signature import Column, Signature, Task
from mainspring.errors import Corrupt, Invalid
from mainspring.train.features import infer_signature

pd = pytest.importorskip("pandas", reason="models are fitted on frames: pip install 'mainspring[ml]'")
sklearn = pytest.importorskip("sklearn", reason="models are scikit-learn's: pip install 'mainspring[ml]'")

from sklearn.compose import ColumnTransformer  # noqa: E402  # behind the check above
from sklearn.decomposition import PCA  # noqa: E402
from sklearn.ensemble import (  # noqa: E402
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import (  # noqa: E402
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    StandardScaler,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor  # noqa: E402
from threadpoolctl import threadpool_limits  # noqa: E402

ROWS = 700
NUMBERS, TEXTS = ["n0", "n1", "big", "count"], ["c0", "c1"]


def frame(seed: int = 0, rows: int = ROWS) -> Any:  # a pandas frame
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({f"n{each}": rng.normal(size=rows) * 10.0**each for each in range(2)})
    table["big"] = 1.7e9 + rng.integers(0, 4000, rows)  # seconds since 1970, of which float32 knows every 128th
    table["count"] = rng.integers(0, 50, rows)
    for each in range(2):
        table[f"c{each}"] = rng.choice(list("abcdefgh"), rows)
    table.loc[rng.random(rows) < 0.1, "n0"] = np.nan
    table.loc[rng.random(rows) < 0.1, "c0"] = None
    return table


def targets(table: Any) -> dict[Task, Any]:
    rng = np.random.default_rng(1)
    pull = table["n1"] / 10 + (table["c1"] == "a") + (table["big"] % 600 > 300) + table["n0"].isna()
    pull += rng.normal(size=len(table)) / 2
    return {
        "binary": np.where(pull > 1, "yes", "no"),
        "multiclass": np.array(["x", "y", "z"])[np.digitize(pull, [0.3, 1.2])],
        "regression": np.abs(pull),
    }


def encoded(model: Any, *, numbers: Any = "passthrough", texts: Any = None) -> Any:
    texts = texts or OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_pipeline(ColumnTransformer([("n", numbers, NUMBERS), ("c", texts, TEXTS)], sparse_threshold=1.0), model)


def written(
    folder: Path, model: Any, task: Task, columns: list[str], **fitting: Any
) -> tuple[Signature, dict[str, Any]]:
    given = frame()
    target = targets(given)[task]
    given = given[columns]
    table = columns_of(given.assign(y=target))
    signature = infer_signature(table, "y", task=task)
    model.fit(given, target, **fitting)
    sample = {name: table[name] for name in signature.names}
    write_bundle(folder, model, signature, name="m", sample=sample)
    return signature, sample


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Small batches in many threads are threads that wait for each other."""
    with threadpool_limits(1):
        yield


BARE = NUMBERS
MIXED = NUMBERS + TEXTS
imputed = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
bins = make_pipeline(SimpleImputer(), KBinsDiscretizer(6, quantile_method="averaged_inverted_cdf"))
curved = make_pipeline(SimpleImputer(), PowerTransformer())
MODELS: list[Any] = [
    pytest.param("binary", BARE, lambda: RandomForestClassifier(20, random_state=0), id="forest"),
    pytest.param("multiclass", BARE, lambda: RandomForestClassifier(20, random_state=0), id="forest of 3 classes"),
    pytest.param("regression", BARE, lambda: RandomForestRegressor(20, random_state=0), id="forest's values"),
    pytest.param("binary", BARE, lambda: ExtraTreesClassifier(20, max_depth=5, random_state=0), id="extra trees"),
    pytest.param("regression", BARE, lambda: ExtraTreesRegressor(20, max_depth=5, random_state=0), id="extra values"),
    pytest.param("binary", BARE, lambda: DecisionTreeClassifier(random_state=0), id="tree"),
    pytest.param("regression", BARE, lambda: DecisionTreeRegressor(max_depth=4, random_state=0), id="tree's values"),
    pytest.param("binary", BARE, lambda: HistGradientBoostingClassifier(max_iter=30), id="hist"),
    pytest.param("multiclass", BARE, lambda: HistGradientBoostingClassifier(max_iter=15), id="hist of 3 classes"),
    pytest.param("regression", BARE, lambda: HistGradientBoostingRegressor(max_iter=30), id="hist's values"),
    pytest.param(
        "regression", BARE, lambda: HistGradientBoostingRegressor(loss="poisson", max_iter=30), id="hist's counts"
    ),
    pytest.param(
        "binary",
        MIXED,
        lambda: encoded(
            HistGradientBoostingClassifier(max_iter=30, categorical_features=[4, 5]),
            texts=ordinal.set_params(encoded_missing_value=np.nan),
        ),
        id="hist of categories",
    ),
    pytest.param("binary", MIXED, lambda: encoded(GradientBoostingClassifier(), numbers=imputed), id="boosted"),
    pytest.param(
        "binary",
        MIXED,
        lambda: encoded(GradientBoostingClassifier(loss="exponential", n_estimators=30), numbers=imputed),
        id="boosted by the exponential loss",
    ),
    pytest.param(
        "multiclass",
        MIXED,
        lambda: encoded(GradientBoostingClassifier(n_estimators=20, init="zero"), numbers=imputed),
        id="boosted of 3 classes from nothing",
    ),
    pytest.param(
        "regression", MIXED, lambda: encoded(GradientBoostingRegressor(), numbers=imputed), id="boosted values"
    ),
    pytest.param("binary", MIXED, lambda: encoded(RandomForestClassifier(20, random_state=0)), id="one-hot"),
    pytest.param(
        "binary", MIXED, lambda: encoded(RandomForestClassifier(20, random_state=0), texts=ordinal), id="ordinal"
    ),
    pytest.param(
        "binary", MIXED, lambda: encoded(RandomForestClassifier(20, random_state=0), numbers=imputed), id="scaled"
    ),
    pytest.param(
        "multiclass",
        MIXED,
        lambda: encoded(
            RandomForestClassifier(20, random_state=0), numbers=imputed, texts=OneHotEncoder(handle_unknown="ignore")
        ),
        id="sparse",
    ),
    pytest.param(
        "binary", MIXED, lambda: encoded(RandomForestClassifier(20, random_state=0), numbers=curved), id="curved"
    ),
    pytest.param(
        "binary", MIXED, lambda: encoded(RandomForestClassifier(20, random_state=0), numbers=bins), id="binned"
    ),
]


@pytest.mark.filterwarnings("ignore:Found unknown categories", "ignore:Bins whose width")
@pytest.mark.parametrize(("task", "columns", "model"), MODELS)
def test_a_tree_plan_is_equal_to_the_bit(
    tmp_path: Path, task: Task, columns: list[str], model: Callable[[], Any]
) -> None:
    signature, sample = written(tmp_path / "b", model(), task, columns)
    loaded, original = load_bundle(tmp_path / "b"), load_original(tmp_path / "b")
    assert isinstance(loaded, TreePredictor), certificate(tmp_path / "b")["why"]
    assert certificate(tmp_path / "b")["largest_difference"] == 0
    new = columns_of(frame(seed=9))
    plan, arrays = plan_of(tmp_path / "b")
    near = threshold_rows(signature, plan, arrays, loaded.states(sample), sample)
    for rows in ({name: new[name] for name in signature.names}, edge_rows(signature, sample), near):
        assert np.array_equal(loaded.predict(rows), original.predict(rows))
    some = {name: array[:30] for name, array in new.items()}
    together = loaded.predict(some)
    for row in range(30):
        assert np.array_equal(
            loaded.predict({name: array[row : row + 1] for name, array in some.items()})[0], together[row]
        )
    assert loaded.predict({name: array[:0] for name, array in new.items()}).shape == (0, *together.shape[1:])


def certificate(folder: Path) -> dict[str, Any]:
    kept: dict[str, Any] = json.loads(read_member(folder, verify(folder), "certificate.json"))
    return kept


def plan_of(folder: Path) -> Any:
    return tree_plan_from_bytes(read_member(folder, verify(folder), TREES_NAME), where=TREES_NAME)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, Any]]:
    """Plans and their originals: of float32 and float64, of small and large trees."""
    found = []
    for name, model in {
        "forest": RandomForestClassifier(10, random_state=0),
        "small": ExtraTreesClassifier(10, max_leaf_nodes=40, random_state=0),
        "hist": HistGradientBoostingClassifier(max_iter=20),
    }.items():
        folder = tmp_path_factory.mktemp(name) / "b"
        written(folder, model, "binary", BARE)
        found.append((load_bundle(folder), load_original(folder)))
    return found


def _numbers() -> st.SearchStrategy[float]:
    """Return numbers of the whole range of float32, where float32 rounds to either side too."""
    edges = [0.0, -0.0, 5e-324, -1e-40, 2.0**24 + 1, 1_700_000_001.0, 1_700_000_064.0, 3.4028234e38]
    near = st.floats(1.7e9, 1.7e9 + 4000)
    return st.one_of(st.sampled_from(edges), near, st.floats(-3.4e38, 3.4e38), st.floats(-50, 50))


@given(st.lists(st.tuples(*[_numbers() | st.just(np.nan)] + [_numbers()] * 2, st.integers(-5, 60)), max_size=25))
@settings(deadline=None, max_examples=80)
def test_any_rows_are_scored_as_the_original_scores_them(pairs: list[tuple[Any, Any]], rows: list[Any]) -> None:
    table = np.array(rows, dtype=np.float64).reshape(-1, len(BARE))
    columns = {name: np.ascontiguousarray(table[:, at]) for at, name in enumerate(BARE)}
    for plan, original in pairs:
        with np.errstate(over="ignore"):  # it adds its values up to see whether they are finite
            expected = original.predict(columns) if rows else np.zeros(0)
        assert np.array_equal(plan.predict(columns), expected)
        alone = [plan.predict({name: each[at : at + 1] for name, each in columns.items()}) for at in range(len(rows))]
        assert np.array_equal(np.array(alone).reshape(-1), expected)


def test_both_walks_come_to_the_same_leaves(pairs: list[tuple[Any, Any]]) -> None:
    _, (plan, _), _ = pairs
    steps, masks = sorted(plan.walks, key=lambda walk: isinstance(walk, Masks))
    assert isinstance(steps, Steps)
    new = columns_of(frame(seed=3))
    states = plan.states(new)
    assert np.array_equal(steps.leaves(states), masks.leaves(states))
    for row in states[:20].tolist():
        assert np.array_equal(steps.leaves_of_one(row), masks.leaves_of_one(row))


def test_sums_are_made_leaf_after_leaf() -> None:
    rng = np.random.default_rng(0)
    leaves = rng.normal(size=(3, 1000, 1)) * 10.0 ** rng.integers(-8, 8, (3, 1000, 1))
    expected = np.zeros(3)
    for tree in range(1000):
        expected += leaves[:, tree, 0]
    assert np.array_equal(leaf_sums(leaves, 1)[:, 0], expected)
    assert leaf_sums(leaves[:1], 1)[0, 0] == expected[0]


def test_a_number_that_fits_no_float32_is_refused_as_the_original_refuses_it(pairs: list[tuple[Any, Any]]) -> None:
    (forest, original), _, (hist, hist_original) = pairs
    rows = {name: np.array([1.0, 2.0, 3.0]) for name in BARE}
    for value in (3.4028235677973366e38, 1e300, -1e39):
        rows["n1"] = np.array([1.0, value, 3.0])
        with np.errstate(over="ignore"), pytest.raises(ValueError, match="infinity"):
            original.predict(rows)
        with pytest.raises(Invalid, match="beyond what the model takes") as refused:
            forest.predict(rows)
        assert refused.value.where == "n1[1]"
        with pytest.raises(Invalid, match="beyond what the model takes"):
            forest.predict({name: array[1:2] for name, array in rows.items()})
        assert np.array_equal(hist.predict(rows), hist_original.predict(rows))  # it counts in float64


@pytest.mark.parametrize("rows", [1, 5])
def test_a_value_that_may_not_be_missing_is_named(tmp_path: Path, rows: int) -> None:
    _, sample = written(tmp_path / "b", encoded(RandomForestClassifier(3, random_state=0)), "binary", MIXED)
    plan = load_bundle(tmp_path / "b")
    for column, value in (("count", np.nan), ("c1", None)):
        asked = {name: array[:rows].copy() for name, array in sample.items()}
        asked[column][0] = value
        with pytest.raises(Invalid, match=f"`{column}` has a missing value"):
            plan.predict(asked)
        del asked[column]
        with pytest.raises(Invalid, match=f"`{column}` is missing"):
            plan.predict(asked)


def test_the_certificate_says_what_was_compared(tmp_path: Path) -> None:
    written(tmp_path / "b", RandomForestClassifier(5, random_state=0), "binary", ["n1", "big", "count"])
    kept, manifest = certificate(tmp_path / "b"), verify(tmp_path / "b")
    assert (kept["kind"], kept["rows"], kept["alone"], kept["flips"], kept["why"]) == ("trees", ROWS, 50, 0, "")
    _, trees = plan_of(tmp_path / "b")
    assert kept["thresholds"] == 3 * np.count_nonzero(trees.lefts)  # each node, and one unit to either side
    assert kept["form"] == manifest.files[TREES_NAME].blake3
    assert kept["original"] == manifest.files["model.skops"].blake3
    assert kept["versions"].keys() == {"numpy", "scikit-learn"}


ORIGINAL_SERVES = [
    pytest.param(
        lambda: make_pipeline(
            ColumnTransformer([("o", ordinal, ["n1", "big"])]), RandomForestClassifier(5, random_state=0)
        ),
        ["n1", "big"],
        "at single numbers",
        id="single numbers that are told apart from all others",
    ),
    pytest.param(
        lambda: make_pipeline(SimpleImputer(), PCA(2), RandomForestClassifier(5, random_state=0)),
        BARE,
        "two columns together",
        id="columns that act together",
    ),
    pytest.param(
        lambda: encoded(RandomForestClassifier(5, random_state=0), numbers=imputed, texts=OneHotEncoder()),
        MIXED,
        "the original refuses",
        id="an original that refuses what it has not seen",
    ),
    pytest.param(
        lambda: make_pipeline(
            SimpleImputer(), StandardScaler(), GradientBoostingClassifier(init=LogisticRegression(), n_estimators=5)
        ),
        BARE,
        "no trees that are known",
        id="a first guess that depends on the row",
    ),
]


@pytest.mark.parametrize(("model", "columns", "why"), ORIGINAL_SERVES)
def test_the_original_serves_and_the_certificate_says_why(
    tmp_path: Path, model: Callable[[], Any], columns: list[str], why: str
) -> None:
    _, sample = written(tmp_path / "b", model(), "binary", columns)
    assert TREES_NAME not in verify(tmp_path / "b").files
    assert why in certificate(tmp_path / "b")["why"]
    one = {name: array[:5] for name, array in sample.items()}
    assert np.array_equal(load_bundle(tmp_path / "b").predict(one), load_original(tmp_path / "b").predict(one))


def test_the_same_model_gives_the_same_bundle(tmp_path: Path) -> None:
    for name in ("a", "b"):
        written(tmp_path / name, RandomForestClassifier(5, random_state=0), "binary", BARE)
    assert verify(tmp_path / "a") == verify(tmp_path / "b")


def test_a_forest_of_many_threads_gives_the_same_bundle_and_keeps_its_threads(tmp_path: Path) -> None:
    for name in ("a", "b"):
        model = RandomForestClassifier(30, random_state=0, n_jobs=2)
        written(tmp_path / name, model, "binary", BARE)
        assert model.n_jobs == 2
        assert certificate(tmp_path / name)["largest_difference"] == 0
    assert verify(tmp_path / "a") == verify(tmp_path / "b")


def test_truths_and_whole_numbers_that_may_be_missing_are_states_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"flag": rng.random(ROWS) < 0.4, "stops": rng.integers(-3, 4, ROWS).astype(float)})
    table["n"] = rng.normal(size=ROWS)
    table.loc[::9, "stops"] = np.nan
    target = np.where(table.n + table.flag + table.stops.fillna(2) > 1, "yes", "no")
    columns = (
        Column("flag", "boolean"),
        Column("stops", "integer", nullable=True, low=-3.0, high=3.0),
        Column("n", "number", low=-3.0, high=3.0),
    )
    signature = Signature(columns, "y", "binary", ("no", "yes"))
    sample = {name: table[name].to_numpy(float) for name in table}
    for at, model in enumerate((RandomForestClassifier(10, random_state=0), HistGradientBoostingClassifier())):
        write_bundle(tmp_path / str(at), model.fit(table, target), signature, name="m", sample=sample)
        loaded, original = load_bundle(tmp_path / str(at)), load_original(tmp_path / str(at))
        assert isinstance(loaded, TreePredictor), certificate(tmp_path / str(at))["why"]
        for flag in (0.0, 1.0):
            for stops in (-9.0, -3.0, 0.0, 2.0, 3.0, 1e9, np.nan):
                row = {"flag": np.array([flag]), "stops": np.array([stops]), "n": np.array([0.3])}
                assert np.array_equal(loaded.predict(row), original.predict(row))


def test_a_plan_that_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "b", ExtraTreesClassifier(3, max_depth=3, random_state=0), "binary", BARE)
    plan, trees = plan_of(tmp_path / "b")

    def changed(name: str, at: int, value: int) -> dict[str, bytes]:
        array = np.frombuffer(getattr(plan, name), "<i4").copy()
        array[at] = value
        return {name: array.tobytes()}

    import msgspec

    leaf = int(np.flatnonzero(trees.lefts == 0)[0])
    for harm in (
        changed("lefts", 0, -1),
        changed("lefts", 1, 1),  # a node that is its own child
        changed("lefts", 0, len(trees.lefts) - 1),
        changed("lefts", 1, int(trees.lefts[0])),  # two parents
        changed("lenses", 0, 99),
        changed("owners", 0, 4),
        changed("cuts", leaf, len(trees.leaves)),
        {"ranks": plan.ranks[4:]},
        {"leaves": plan.leaves[:-3]},
        {"n_trees": 0},
        {"columns": plan.columns[1:]},
        {"sums": msgspec.structs.replace(plan.sums, divisor=0.0)},
        {"sums": msgspec.structs.replace(plan.sums, outputs=2)},
    ):
        with pytest.raises(Corrupt):
            tree_plan_from_bytes(tree_plan_to_bytes(msgspec.structs.replace(plan, **harm)), where="x")
    with pytest.raises(Corrupt, match="cannot be read"):
        tree_plan_from_bytes(b"\x00", where="x")
    other = load_original(tmp_path / "b").manifest
    with pytest.raises(Corrupt, match="states of each column"):
        TreePredictor(other, msgspec.structs.replace(plan, columns=plan.columns[:2]), trees)


def test_a_forest_is_scored_without_any_ml_library(tmp_path: Path) -> None:
    written(tmp_path / "b", RandomForestClassifier(5, random_state=0), "binary", BARE)
    program = (
        "import sys, numpy as np; from pathlib import Path; from mainspring.bundle.predictor import load_bundle\n"
        f"p = load_bundle(Path({str(tmp_path / 'b')!r}))\n"
        "assert 0 <= p.predict({name: np.array([1.0]) for name in p.signature.names})[0] <= 1\n"
        "loaded = {'pandas', 'sklearn', 'scipy', 'skops', 'duckdb'} & set(sys.modules); assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
