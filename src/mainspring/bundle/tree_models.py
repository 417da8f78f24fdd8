"""What trees a fitted model holds: scikit-learn's forests and boosted trees, read into one flat form.

The form keeps what the model's own compiled code does to a value: the type it casts it to, the side a missing one goes
to, and the order in which leaves are added. A model that is not read here is not served by a tree plan.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainspring.bundle.frame import frame_of
from mainspring.bundle.tree_plan import Sums, TreeLink
from mainspring.domain.signature import Signature

__all__ = ["MOST_NODES", "Ensemble", "Node", "Tree", "as_single", "fed_by", "read_sklearn", "without_tiny"]

Columns = Mapping[str, NDArray[Any]]
_Floats = NDArray[np.float64]
#: More than these make a plan that is no smaller than the model.
MOST_NODES = 1_500_000


@dataclass(frozen=True, slots=True)
class Node:
    """What a node asks of a feature: is it at most `threshold`, or (`chosen`) is its whole part one of these.

    A missing value goes left if `missing_left`, and so does a negative whole part where these are asked for. With
    `zero_is_missing` zero is missing as well.
    """

    feature: int
    threshold: float
    missing_left: bool
    zero_is_missing: bool = False
    chosen: frozenset[int] | None = None


@dataclass(slots=True)
class Tree:
    """Nodes by place, the root first; `lefts` and `rights` are places, -1 in a leaf, whose `values` are its numbers."""

    nodes: list[Node | None]
    lefts: list[int]
    rights: list[int]
    values: list[tuple[float, ...]]

    @classmethod
    def constant(cls, *values: float) -> "Tree":
        """Return a tree that is one leaf: what a sum begins with."""
        return cls([None], [-1], [-1], [values])


@dataclass(slots=True)
class Ensemble:
    """All trees in the order in which they are added, how the sums become scores, and what is done to a value first."""

    sums: Sums
    trees: list[Tree] = field(default_factory=list)
    prepare: Callable[[_Floats], _Floats] = lambda values: values
    encode: Callable[[Any], Any] = lambda rows: rows  # Any: a frame or an array, as the model takes it


def as_single(values: _Floats) -> _Floats:
    """Return what a model sees that casts to float32; what fits none becomes infinite, and the model refuses it."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32).astype(np.float64)


def without_tiny(values: _Floats) -> _Floats:
    """Return what LightGBM sees: a value up to its ``kZeroThreshold``, which is float32's 1e-35, is zero."""
    return np.where(np.abs(values) <= float(np.float32(1e-35)), 0.0, values)


def read_sklearn(
    model: Any,  # any scikit-learn estimator
    task: str,
) -> Ensemble | None:
    """Return the trees of a scikit-learn estimator, or None where it is of another kind."""
    kind = type(model).__module__.partition(".")[0], type(model).__name__
    if kind[0] != "sklearn" or getattr(model, "n_outputs_", 1) != 1 or _n_nodes(model) > MOST_NODES:
        return None
    if kind[1] in ("RandomForestClassifier", "ExtraTreesClassifier", "RandomForestRegressor", "ExtraTreesRegressor"):
        return _forest(list(model.estimators_), float(len(model.estimators_)), task)
    if kind[1] in ("DecisionTreeClassifier", "ExtraTreeClassifier", "DecisionTreeRegressor", "ExtraTreeRegressor"):
        return _forest([model], 1.0, task)
    if kind[1] in ("GradientBoostingClassifier", "GradientBoostingRegressor"):
        return _boosted(model, task)
    if kind[1] in ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"):
        return _hist_boosted(model, task)
    return None


def fed_by(
    model: Any,  # any scikit-learn estimator
    ensemble: Ensemble,
    signature: Signature,
) -> Callable[[Columns], _Floats]:
    """Return what gives the numbers that the trees of `model` see of rows, (n, n_features)."""
    transform = model[:-1].transform if len(getattr(model, "steps", ())) > 1 else None

    def fed(columns: Columns) -> _Floats:
        rows: Any = frame_of(columns, signature)
        if transform is not None:
            rows = transform(rows)
        rows = ensemble.encode(rows)
        rows = rows.toarray() if hasattr(rows, "toarray") else rows  # an encoder's sparse matrix
        return ensemble.prepare(np.asarray(rows, dtype=np.float64))

    return fed


def _n_nodes(model: Any) -> int:
    members = np.ravel(getattr(model, "estimators_", [model]))
    boosted = [predictor for stage in getattr(model, "_predictors", ()) for predictor in stage]
    grown = [each.tree_.node_count for each in members if hasattr(each, "tree_")]
    return int(sum(grown) + sum(len(predictor.nodes) for predictor in boosted))


def _forest(members: list[Any], divisor: float, task: str) -> Ensemble:
    classes = int(np.atleast_1d(getattr(members[0], "n_classes_", 1))[0])
    chosen = slice(1, 2) if task == "binary" else slice(0, classes)
    width = 1 if task != "multiclass" else classes
    trees = []
    for each in members:
        tree = each.tree_
        trees.append(_tree(tree, tree.value[:, 0, chosen]))
    return Ensemble(Sums(width, width, divisor, 1.0, "identity", by="numpy"), trees, as_single)


def _tree(tree: Any, values: _Floats) -> Tree:
    is_leaf = tree.children_left < 0
    missing = np.asarray(tree.missing_go_to_left, dtype=bool)
    nodes = [
        None if leaf else Node(feature, threshold, left)
        for leaf, feature, threshold, left in zip(
            is_leaf.tolist(), tree.feature.tolist(), tree.threshold.tolist(), missing.tolist(), strict=True
        )
    ]
    return Tree(nodes, tree.children_left.tolist(), tree.children_right.tolist(), list(map(tuple, values.tolist())))


def _link(model: Any, task: str) -> tuple[TreeLink, float] | None:
    """Return the link of a scikit-learn loss, and what its sums are multiplied by first."""
    name = type(model._loss).__name__
    if task == "multiclass":
        return ("softmax", 1.0) if name == "HalfMultinomialLoss" else None
    if task == "binary":
        return {"HalfBinomialLoss": ("logistic", 1.0), "ExponentialLoss": ("logistic", 2.0)}.get(name)  # type: ignore[return-value]  # a tuple of a literal
    return ("exponential", 1.0) if type(model._loss.link).__name__ == "LogLink" else ("identity", 1.0)


def _boosted(model: Any, task: str) -> Ensemble | None:
    stages = model.estimators_  # (n_stages, n_outputs)
    outputs = stages.shape[1]
    link = _link(model, task)
    if link is None:
        return None
    if task == "regression":
        link = ("identity", 1.0)  # its predictions are the sums themselves
    first = _first_sums(model, outputs)
    if first is None:
        return None
    ensemble = Ensemble(Sums(1, outputs, 1.0, link[1], link[0], by="numpy"), prepare=as_single)
    ensemble.trees = [Tree.constant(each) for each in first]
    for member in stages.ravel():
        tree = member.tree_
        ensemble.trees.append(_tree(tree, model.learning_rate * tree.value[:, 0, :]))
    return ensemble


def _first_sums(model: Any, outputs: int) -> list[float] | None:
    """Return what the sums begin with where that is the same for every row."""
    if isinstance(model.init_, str):  # "zero"
        return [0.0] * outputs
    if not type(model.init_).__name__.startswith("Dummy"):
        return None
    first: list[float] = model._raw_predict_init(np.zeros((1, model.n_features_in_), dtype=np.float32))[0].tolist()
    return first


def _hist_boosted(model: Any, task: str) -> Ensemble | None:
    link = _link(model, task)
    if link is None:
        return None
    outputs = model.n_trees_per_iteration_
    ensemble = Ensemble(Sums(1, outputs, 1.0, link[1], link[0], by="numpy"))
    ensemble.encode = partial(model._preprocess_X, reset=False)
    known, place_of = model._bin_mapper.make_known_categories_bitsets()
    ensemble.trees = [Tree.constant(each) for each in model._baseline_prediction.ravel().tolist()]
    for stage in model._predictors:
        for predictor in stage:
            nodes = predictor.nodes
            asked = [
                None if leaf else Node(feature, threshold, left)
                for leaf, feature, threshold, left in zip(
                    (nodes["is_leaf"] != 0).tolist(),
                    nodes["feature_idx"].tolist(),
                    nodes["num_threshold"].tolist(),
                    (nodes["missing_go_to_left"] != 0).tolist(),
                    strict=True,
                )
            ]
            for at in np.flatnonzero((nodes["is_categorical"] != 0) & (nodes["is_leaf"] == 0)).tolist():
                feature, left = int(nodes["feature_idx"][at]), bool(nodes["missing_go_to_left"][at])
                chosen = _members(predictor.raw_left_cat_bitsets[nodes["bitset_idx"][at]])
                if left:  # a category that was never seen counts as missing
                    chosen |= frozenset(range(256)) - _members(known[place_of[feature]])
                asked[at] = Node(feature, 0.0, left, chosen=chosen)
            values: list[tuple[float, ...]] = [(each,) for each in nodes["value"].tolist()]
            ensemble.trees.append(Tree(asked, nodes["left"].tolist(), nodes["right"].tolist(), values))
    return ensemble


def _members(bits: NDArray[np.uint32]) -> frozenset[int]:
    return frozenset(np.flatnonzero(np.unpackbits(bits.view(np.uint8), bitorder="little")).tolist())
