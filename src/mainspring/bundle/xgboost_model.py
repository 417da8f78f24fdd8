"""XGBoost's models, read strictly: what its own compiled reader would follow blindly is checked here first.

XGBoost keeps a model as an object of JSON's kind, in a bundle as UBJSON. A model is taken only if every array has its
length, children come later than their parent, and features and classes exist; trees with sets of categories or with
leaves of many numbers are not. The trees are what `tree_models` makes an ensemble of.

Source: XGBoost 3, ``src/tree/tree_model.cc``, ``src/gbm/gbtree_model.cc``; UBJSON draft 12.
"""

import json
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainspring.bundle.tree_models import Ensemble, Node, Tree, as_single
from mainspring.bundle.tree_plan import Sums, TreeLink

__all__ = ["XgboostModel", "parse_snapshot", "parse_xgboost", "xgboost_ensemble"]

_NUMBERS = {b"i": ">i1", b"U": ">u1", b"I": ">i2", b"l": ">i4", b"L": ">i8", b"d": ">f4", b"D": ">f8"}
_CONSTANTS: dict[bytes, object] = {b"Z": None, b"T": True, b"F": False}
_DEEPEST = 64
_MOST = 1 << 26
_PLAIN = {
    "reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "reg:squaredlogerror", "reg:quantileerror",
}  # fmt: skip
_LINKS: dict[str, TreeLink] = {
    "binary:logistic": "logistic",
    "reg:logistic": "logistic",
    "multi:softprob": "softmax",
    "count:poisson": "exponential",
    "reg:gamma": "exponential",
    "reg:tweedie": "exponential",
}
_BY_NODE = ("left_children", "right_children", "split_indices", "split_conditions", "default_left", "split_type")


@dataclass(frozen=True, slots=True)
class XgboostModel:
    """A model's trees, the sum to which each adds, where its iterations begin, and what the sums begin with."""

    n_features: int
    outputs: int
    trees: list[Tree]
    sums: list[int]
    iterations: list[int]
    first: list[float]
    objective: str


def parse_snapshot(data: bytes) -> XgboostModel:
    """Read what XGBoost pickles: the model and its configuration as UBJSON.

    Raises:
        ValueError: it is not one, or not whole; the message says where.
    """
    try:
        reader = _Ubjson(data)
        whole = reader.value(reader.take(1), 0)
        _must(
            reader.at == len(data) and isinstance(whole, dict) and whole.keys() == {"Model", "Config"}, "the snapshot"
        )
        booster = whole["Config"]["learner"]["gradient_booster"]
        _must(booster["name"] == "gbtree", "a booster of another kind than gbtree")
        return parse_xgboost(whole["Model"])
    except (KeyError, TypeError, AttributeError, struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"XGBoost's model is not whole: {type(error).__name__}: {error}") from error


def parse_xgboost(model: dict[str, Any]) -> XgboostModel:  # Any: JSON
    """Read a model as XGBoost writes it in JSON.

    Raises:
        ValueError: it is not whole; the message says where.
        KeyError: a part is missing.
    """
    learner = model["learner"]
    told, booster = learner["learner_model_param"], learner["gradient_booster"]
    features, classes = _integer(told["num_feature"], 1), _integer(told["num_class"], 0)
    outputs = max(classes, 1)
    _must(_integer(told["num_target"], 1) == 1 and booster["name"] == "gbtree", "several targets, or no gbtree")
    for name in ("feature_names", "feature_types"):
        _must(len(learner[name]) in (0, features), name)
    forest = booster["model"]
    _must(not any(len(part) for part in forest.get("cats", {}).values()), "categories")
    count = _integer(forest["gbtree_model_param"]["num_trees"], 0)
    _must(_integer(forest["gbtree_model_param"]["num_parallel_tree"], 0) >= 1, "num_parallel_tree")
    sums, iterations = _list(forest["tree_info"]), _list(forest["iteration_indptr"])
    _must(len(forest["trees"]) == len(sums) == count and all(0 <= each < outputs for each in sums), "tree_info")
    _must(bool(iterations) and iterations[0] == 0 and iterations[-1] == count, "iteration_indptr")
    _must(all(low <= high for low, high in pairwise(iterations)), "iteration_indptr")
    trees = [_tree(tree, features, f"tree {at}") for at, tree in enumerate(forest["trees"])]
    given = told["base_score"]
    first = [float(each) for each in (json.loads(given) if given.startswith("[") else [given])]
    _must(len(first) in (1, outputs) and all(map(math.isfinite, first)), "base_score")
    first = first * outputs if len(first) == 1 else first
    return XgboostModel(features, outputs, trees, sums, iterations, first, learner["objective"]["name"])


def xgboost_ensemble(model: XgboostModel, iterations: int | None = None) -> Ensemble | None:
    """Return the trees of the first `iterations`, or of all; None where scores are made in another way."""
    link: TreeLink | None = "identity" if model.objective in _PLAIN else _LINKS.get(model.objective)
    if link is None:
        return None
    single = np.float32
    with np.errstate(all="ignore"):
        base = np.array(model.first, dtype=single)
        if link == "logistic":
            base = -_log(single(1) / base - single(1))
        elif link == "exponential":
            base = _log(base)
    if not np.isfinite(base).all():
        return None
    used = model.iterations[-1 if iterations is None else iterations]
    by_sum = [
        [tree for tree, place in zip(model.trees[:used], model.sums, strict=False) if place == each]
        for each in range(model.outputs)
    ]
    if len(set(map(len, by_sum))) != 1:
        return None
    trees = [Tree.constant(each) for each in base.tolist()]
    trees += [tree for together in zip(*by_sum, strict=True) for tree in together]
    return Ensemble(Sums(1, model.outputs, 1.0, 1.0, link, "float32"), trees, as_single)


def _log(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return logarithms as the C library rounds them; NumPy's own of float32 are less exact."""
    return np.log(values.astype(np.float64)).astype(np.float32)


def _tree(tree: dict[str, Any], features: int, where: str) -> Tree:  # Any: JSON
    count = _integer(tree["tree_param"]["num_nodes"], 1)
    _must(_integer(tree["tree_param"]["size_leaf_vector"], 0) <= 1, f"{where}: leaves of many numbers")
    _must(_integer(tree["tree_param"]["num_feature"], 1) == features, f"{where}: num_feature")
    parts = {name: _list(tree[name]) for name in _BY_NODE}
    for name in (*_BY_NODE, "base_weights", "loss_changes", "sum_hessian", "parents"):
        _must(len(tree[name]) == count, f"{where}: {name}")
    _must(not any(parts["split_type"]) and not len(tree["categories"]), f"{where}: categories")
    lefts, rights = parts["left_children"], parts["right_children"]
    conditions = np.array(parts["split_conditions"], dtype=np.float32)
    below = np.nextafter(conditions, np.float32(-np.inf)).astype(np.float64).tolist()
    nodes: list[Node | None] = []
    for at in range(count):
        if lefts[at] == -1:
            _must(rights[at] == -1 and bool(np.isfinite(conditions[at])), f"{where}: a leaf")
            nodes.append(None)
            continue
        # a child that comes later than its parent can form no circle
        _must(at < lefts[at] < count and at < rights[at] < count, f"{where}: a node's children")
        _must(0 <= parts["split_indices"][at] < features and conditions[at] == conditions[at], f"{where}: a split")
        # it asks for less than; the number before is the largest that is
        nodes.append(Node(parts["split_indices"][at], below[at], bool(parts["default_left"][at])))
    return Tree(nodes, lefts, rights, [(each,) for each in conditions.astype(np.float64).tolist()])


class _Ubjson:
    """Reads the UBJSON that XGBoost writes; every length is checked against what is left."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        _must(0 <= count <= len(self._data) - self.at, "a length")
        self.at += count
        return bytes(self._data[self.at - count : self.at])

    def value(self, kind: bytes, depth: int) -> Any:  # Any: JSON
        """Return the value of a kind that comes next."""
        _must(depth < _DEEPEST, "its depth")
        if kind in _CONSTANTS:
            return _CONSTANTS[kind]
        if kind in _NUMBERS:
            return self._numbers(kind, 1)[0]
        if kind == b"S":
            return self._text()
        if kind == b"[":
            return self._array(depth)
        _must(kind == b"{", f"a value of kind {kind!r}")
        found: dict[str, Any] = {}
        self._until(b"}", lambda mark: self._entry(found, mark, depth))
        return found

    def _entry(self, found: dict[str, Any], mark: bytes, depth: int) -> None:
        length = int(self.value(mark, depth))
        key = self.take(length).decode()
        _must(key not in found, f"`{key[:40]}`, which comes twice")
        found[key] = self.value(self.take(1), depth + 1)

    def _until(self, end: bytes, each: Callable[[bytes], None]) -> None:
        while (mark := self.take(1)) != end:
            each(mark)

    def _array(self, depth: int) -> list[Any]:
        mark = self.take(1)
        kind = None
        if mark == b"$":
            kind, mark = self.take(1), self.take(1)
        if mark == b"#":
            count = int(self.value(self.take(1), depth))
            _must(0 <= count <= _MOST, "a count")
            if kind is not None:
                _must(kind in _NUMBERS, f"an array of kind {kind!r}")
                return self._numbers(kind, count)
            return [self.value(self.take(1), depth + 1) for _ in range(count)]
        _must(kind is None, "an array without a count")
        found: list[Any] = []
        while mark != b"]":
            found.append(self.value(mark, depth + 1))
            mark = self.take(1)
        return found

    def _numbers(self, kind: bytes, count: int) -> list[Any]:
        form = np.dtype(_NUMBERS[kind])
        found: list[Any] = np.frombuffer(self.take(count * form.itemsize), form).tolist()
        return found

    def _text(self) -> str:
        return self.take(int(self.value(self.take(1), 0))).decode()


def _list(value: object) -> list[Any]:
    _must(isinstance(value, list), "an array")
    assert isinstance(value, list)
    return value


def _integer(text: object, low: int) -> int:
    _must(isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 10, f"the number {text!r:.30}")
    assert isinstance(text, str)
    _must(low <= int(text) <= _MOST, f"the number {text}")
    return int(text)


def _must(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"XGBoost's model is not whole: {what}")
