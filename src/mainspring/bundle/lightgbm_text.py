"""LightGBM's model text, read strictly: what its own compiled reader would follow blindly is checked here first.

LightGBM keeps a model as text of sections: a head, one for each tree, and notes. Its reader trusts the sizes, counts
and places in it. So a text is taken only if every field is one we know, every array has its length, children come later
than their parent, and features and categories exist. The trees are what `tree_models` makes an ensemble of.

Source: LightGBM 4, ``src/io/tree.cpp`` and ``src/boosting/gbdt_model_text.cpp``.
"""

import re
from dataclasses import dataclass
from itertools import pairwise

from mainspring.bundle.tree_models import Ensemble, Node, Tree, without_tiny
from mainspring.bundle.tree_plan import Sums, TreeLink

__all__ = ["LightgbmModel", "ensemble_of", "parse_lightgbm"]

_HEAD_KEYS = {
    "version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx", "objective", "feature_names",
    "monotone_constraints", "feature_infos", "tree_sizes",
}  # fmt: skip
_SPLIT_KEYS = ("split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child")
_INNER_KEYS = ("internal_value", "internal_weight", "internal_count")
_LEAF_KEYS = ("leaf_value", "leaf_weight", "leaf_count")
_CATEGORY_KEYS = ("cat_boundaries", "cat_threshold")
_TREE_KEYS = {
    "num_leaves", "num_cat", *_SPLIT_KEYS, *_INNER_KEYS, *_LEAF_KEYS, *_CATEGORY_KEYS, "is_linear", "shrinkage",
}  # fmt: skip
_END = "end of trees"
_MOST = 1 << 24
_IS_CATEGORY, _DEFAULT_LEFT = 1, 2
_NAN_IS_MISSING, _ZERO_IS_MISSING = 2, 1
_INTEGER = re.compile(r"-?\d{1,10}\Z", re.ASCII)
#: Objectives whose scores are the sums, and those whose scores are their exponentials.
_PLAIN = {"regression", "regression_l1", "huber", "fair", "quantile", "mape"}
_EXPONENTIAL = {"poisson", "gamma", "tweedie"}


@dataclass(frozen=True, slots=True)
class LightgbmModel:
    """A model's trees in the order in which they are added, how many sums they make, and its objective as written."""

    n_features: int
    per_iteration: int
    is_average: bool
    objective: str
    trees: list[Tree]


def parse_lightgbm(text: str) -> LightgbmModel:
    """Read a model's text.

    Raises:
        ValueError: it is not one, or not of the form that LightGBM 4 writes; the message says where.
    """
    head, found, rest = text.partition("\n\nTree=0\n")
    trees_text = "Tree=0\n" + rest
    _must(bool(found), "there are no trees")
    fields, flags = _fields(head, _HEAD_KEYS, "head")
    _must(flags[:1] == ["tree"] and set(flags[1:]) <= {"average_output"}, "the head's first line")
    _must(fields.get("version") == "v4", "the version")
    features = _integer(fields["max_feature_idx"], 0, _MOST) + 1
    per_iteration = _integer(fields["num_tree_per_iteration"], 1, 10_000)
    _integer(fields["num_class"], 1, 10_000)
    _integer(fields["label_index"], 0, _MOST)
    for name in ("feature_names", "feature_infos"):
        _must(len(fields[name].split()) == features, f"the number of {name}")
    sizes = [_integer(each, 1, 1 << 30) for each in fields["tree_sizes"].split()]
    _must(len(sizes) % per_iteration == 0, "the number of trees")
    encoded = trees_text.encode()
    trees, at = [], 0
    for place, size in enumerate(sizes):  # LightGBM cuts the text at these sizes
        block = encoded[at : at + size].decode()
        at += size
        title, _, body = block.partition("\n")
        _must(title == f"Tree={place}" and body.endswith("\n\n"), f"the size of tree {place}")
        trees.append(_tree(body, features, f"tree {place}"))
    _must(encoded[at : at + len(_END)] == _END.encode(), "the sizes of the trees")
    return LightgbmModel(features, per_iteration, "average_output" in flags, fields.get("objective", ""), trees)


def ensemble_of(model: LightgbmModel) -> Ensemble | None:
    """Return the trees with the link of the model's objective; None where scores are made in another way."""
    words = model.objective.split()
    name, options = (words[0], dict(each.split(":", 1) for each in words[1:] if ":" in each)) if words else ("", {})
    link: TreeLink = "identity"
    slope = float(options.get("sigmoid", 1.0))
    if name in ("binary", "multiclassova", "cross_entropy"):
        link = "logistic"
    elif name == "multiclass":
        link = "softmax"
    elif name in _EXPONENTIAL:
        link = "exponential"
    elif name not in _PLAIN or "sqrt" in words:
        return None
    divisor = len(model.trees) / model.per_iteration if model.is_average else 1.0
    sums = Sums(1, model.per_iteration, divisor, slope if link == "logistic" else 1.0, link, by="c")
    return Ensemble(sums, model.trees, without_tiny)


def _fields(text: str, known: set[str], where: str) -> tuple[dict[str, str], list[str]]:
    """Return a section's fields, and its lines that are none."""
    fields: dict[str, str] = {}
    flags = []
    for line in text.split("\n"):
        key, is_field, value = line.partition("=")
        if not is_field:
            flags.append(line)
            continue
        _must(key in known and key not in fields, f"the field `{key[:40]}` of the {where}")
        fields[key] = value
    missing = known - fields.keys() - {"monotone_constraints", "objective", *_CATEGORY_KEYS}
    _must(not missing, f"the {where}, which has no {', '.join(sorted(missing))}")
    return fields, [each for each in flags if each]


def _tree(body: str, features: int, where: str) -> Tree:
    fields, flags = _fields(body, _TREE_KEYS, where)
    _must(not flags and fields["is_linear"] == "0", f"{where}: it is linear in its leaves")
    leaves, sets = _integer(fields["num_leaves"], 1, _MOST), _integer(fields["num_cat"], 0, _MOST)
    inner = leaves - 1
    split: dict[str, list[str]] = {}
    for names, count in ((_SPLIT_KEYS, inner), (_INNER_KEYS, inner), (_LEAF_KEYS, leaves)):
        for name in names:
            split[name] = fields[name].split()
            # a tree that is one leaf has no counts
            _must(len(split[name]) == count or (leaves == 1 and name != "leaf_value"), f"{where}: {name}")
    for name in ("leaf_count", "internal_count"):
        for each in split[name]:
            _integer(each, 0, (1 << 31) - 1)
    values = [float(each) for each in split["leaf_value"]]
    _must(all(abs(each) < float("inf") for each in values), f"{where}: leaf_value")
    chosen = _sets(fields, sets, where)
    nodes: list[Node | None] = []
    children: list[list[int]] = [[], []]
    for at in range(inner):
        for side, name in enumerate(("left_child", "right_child")):
            child = _integer(split[name][at], -leaves, inner - 1)
            # a child that comes later than its parent can form no circle
            _must(child < 0 or child > at, f"{where}: {name}")
            children[side].append(child if child >= 0 else inner + ~child)
        nodes.append(_node(split, at, features, chosen, where))
    lefts, rights = (side + [-1] * leaves for side in children)
    numbers: list[tuple[float, ...]] = [(each,) for each in [0.0] * inner + values]
    return Tree([*nodes, *[None] * leaves], lefts, rights, numbers)


def _node(split: dict[str, list[str]], at: int, features: int, chosen: list[frozenset[int]], where: str) -> Node:
    feature = _integer(split["split_feature"][at], 0, features - 1)
    kind = _integer(split["decision_type"][at], 0, 15)
    threshold = float(split["threshold"][at])
    _must(threshold == threshold, f"{where}: threshold")
    if kind & _IS_CATEGORY:
        _must(threshold.is_integer() and 0 <= threshold < len(chosen), f"{where}: a set of categories")
        return Node(feature, 0.0, missing_left=False, chosen=chosen[int(threshold)])
    default, missing = bool(kind & _DEFAULT_LEFT), kind >> 2
    if missing == _NAN_IS_MISSING:
        return Node(feature, threshold, default)
    if missing == _ZERO_IS_MISSING:
        return Node(feature, threshold, default, zero_is_missing=True)
    _must(missing == 0, f"{where}: decision_type")
    return Node(feature, threshold, missing_left=threshold >= 0)  # a missing value is zero


def _sets(fields: dict[str, str], count: int, where: str) -> list[frozenset[int]]:
    """Return the sets of categories, which are kept as bits of 32-bit words."""
    _must(all((key in fields) == (count > 0) for key in _CATEGORY_KEYS), f"{where}: num_cat")
    if not count:
        return []
    words = [_integer(each, 0, (1 << 32) - 1) for each in fields["cat_threshold"].split()]
    ends = [_integer(each, 0, len(words)) for each in fields["cat_boundaries"].split()]
    _must(len(ends) == count + 1 and ends[0] == 0 and ends[-1] == len(words), f"{where}: cat_boundaries")
    _must(all(low <= high for low, high in pairwise(ends)), f"{where}: cat_boundaries")
    return [
        frozenset(
            32 * place + bit
            for place, word in enumerate(words[low:high])
            for bit in range(word.bit_length())
            if word >> bit & 1
        )
        for low, high in pairwise(ends)
    ]


def _integer(text: str, low: int, high: int) -> int:
    _must(bool(_INTEGER.match(text)) and low <= int(text) <= high, f"the number `{text[:20]}`")
    return int(text)


def _must(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"LightGBM's model text is not whole: {what}")
