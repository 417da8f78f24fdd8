"""Reads a skops archive with suspicion, before skops does: zip tricks, oversized arrays, trees that point outside.

skops checks which *types* a file holds. It does not check the zip around them, nor the numbers inside a tree, which
scikit-learn's compiled code follows without looking (scikit-learn pull request 34558). This module does both, on the
raw text and arrays, and builds no object of the model. `estimators` calls it; which types are fine is not decided here.
"""

import io
import json
import re
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainspring.bundle._canonical import SCHEMA_NAME, states_in
from mainspring.bundle.lightgbm_text import parse_lightgbm
from mainspring.bundle.xgboost_model import parse_snapshot
from mainspring.errors import Corrupt, Refused

__all__ = ["audit_archive", "audit_foreign", "check_feature_counts"]

_MEMBER = re.compile(r"[0-9a-f]{32}\.(npy|npz|bin)\Z")
#: How skops names members by itself; one of several arrays is an archive of its own, and is not opened.
_FOREIGN_MEMBER = re.compile(r"[0-9]{1,20}\.(npy|bin)\Z")
_INNER_MEMBER = re.compile(r"[a-z_]{1,32}\.npy\Z")
_TREE = ("sklearn.tree._tree", "Tree")
_LIGHTGBM, _XGBOOST = ("lightgbm.basic", "Booster"), ("xgboost.core", "Booster")
_PREDICTOR = ("sklearn.ensemble._hist_gradient_boosting.predictor", "TreePredictor")
# Older protocols are read by older code of skops, which a file could choose by claiming to be old.
_OLDEST_PROTOCOL = 2
_Members = dict[str, bytes]
_State = dict[str, Any]  # the state of an object as skops writes it: JSON of unknown depth


def audit_archive(data: bytes) -> None:
    """Check the archive's container, its arrays, and every tree in it.

    Raises:
        Corrupt: the bytes are not a readable archive.
        Refused: the archive is readable and built to do harm, or was not written by `dump_estimator`.
    """
    members = _members(data, _MEMBER, also=SCHEMA_NAME)
    for name, content in members.items():
        if name.endswith(".npy"):
            _check_array(name, content)
        elif name.endswith(".npz"):
            for inner, array in _members(content, _INNER_MEMBER).items():
                _check_array(f"{name}/{inner}", array)
    try:
        schema = json.loads(members[SCHEMA_NAME])
        _check_schema(schema, members)
    except KeyError as error:
        raise _harmful(f"it names {error} and does not hold it", SCHEMA_NAME) from error
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        raise Corrupt(f"The model's schema cannot be read: {error}", where=SCHEMA_NAME) from error
    except RecursionError as error:
        raise _harmful("its objects are nested too deep", SCHEMA_NAME) from error


def audit_foreign(data: bytes) -> None:
    """Check the container and the arrays of an archive that skops wrote by itself, so that it can be rewritten.

    Raises:
        Corrupt, Refused: as `audit_archive`, which is to look at the rewritten one.
    """
    for name, content in _members(data, _FOREIGN_MEMBER, also=SCHEMA_NAME).items():
        if name.endswith(".npy"):
            _check_array(name, content)


def _members(data: bytes, pattern: re.Pattern[str], also: str = "") -> _Members:
    """Return the content of every member; sizes are checked before anything is read."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            for entry in entries:
                if entry.filename != also and not pattern.match(entry.filename):
                    raise _harmful("a member has a name we never write", entry.filename)
                if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                    raise _harmful("a member is compressed, and we never compress", entry.filename)
            # Members that overlap share their bytes, so that a small file could unpack to a large one.
            if len(set(names)) != len(names) or sum(entry.file_size for entry in entries) > len(data):
                raise _harmful("members repeat or overlap", names[-1])
            if also and also not in names:
                raise Corrupt(f"The model has no {also}", where=also, next_step="write the bundle anew")
            return {entry.filename: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, OSError) as error:
        raise Corrupt(f"The model is not a readable archive: {error}", next_step="write the bundle anew") from error


def _check_array(name: str, content: bytes) -> None:
    """Check that a ``.npy`` holds exactly the bytes its header announces, so that no header can ask for a terabyte."""
    buffer = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(buffer)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(buffer)
        expected = dtype.itemsize
        for length in shape:
            expected *= length
        if dtype.hasobject or any(length < 0 for length in shape) or expected != len(content) - buffer.tell():
            raise _harmful("an array's header does not fit its bytes", name)
    except (ValueError, TypeError, SyntaxError, OverflowError) as error:
        raise Corrupt(f"An array of the model cannot be read: {error}", where=name) from error


def _check_schema(schema: _State, members: _Members) -> None:
    protocol = schema["protocol"]
    if type(protocol) is not int or protocol < _OLDEST_PROTOCOL:
        raise _harmful(f"it claims skops protocol {protocol!r}", SCHEMA_NAME)
    first: dict[object, _State] = {}
    for state in states_in(schema):
        # skops takes the first object of that mark and never looks at the others: they must not tell another story.
        if state.get("__id__") is not None and first.setdefault(state["__id__"], state) != state:
            raise _harmful("one mark stands for two objects", f"{state['__module__']}.{state['__class__']}")
        kind = (state["__module__"], state["__class__"])
        if (kind == _TREE) != (state["__loader__"] == "TreeNode"):
            raise _harmful("a tree is built by a loader that is not for trees", SCHEMA_NAME)
        if kind == _PREDICTOR and state["__loader__"] != "ObjectNode":
            raise _harmful("a boosted tree is built by a loader that is not for it", SCHEMA_NAME)
        if kind in (_LIGHTGBM, _XGBOOST):
            _check_booster(state, members)
        if kind == _TREE:
            _check_tree(state, members)
        if kind == _PREDICTOR:
            _check_predictor(state, members)


def _check_tree(state: _State, members: _Members) -> None:
    """Check the indices of a decision tree: children come later than their parent, features exist, shapes agree."""
    arguments = state["__reduce__"]["args"]
    if arguments["__loader__"] != "TupleNode":
        raise _harmful("a tree's arguments are not a tuple", "Tree")
    features, classes, outputs = arguments["content"]
    n_features, n_outputs = _integer(features), _integer(outputs)
    n_classes = _array(classes, members)
    content = _entries(state["content"])
    nodes, values = _array(content["nodes"], members), _array(content["values"], members)
    count = _integer(content["node_count"])
    if n_classes.shape != (n_outputs,) or n_outputs < 1 or n_classes.min() < 1:
        raise _harmful("a tree's outputs and classes disagree", "Tree.n_classes")
    if nodes.shape != (count,) or count < 1 or values.shape != (count, n_outputs, int(n_classes.max())):
        raise _harmful("a tree's counts and arrays disagree", "Tree.nodes")
    split = nodes["left_child"] != -1
    _check_links(nodes["left_child"], nodes["right_child"], nodes["feature"], split, n_features)


def _check_predictor(state: _State, members: _Members) -> None:
    """Check the indices of one boosted tree; how many features there are is compared once the model stands."""
    content = _entries(state["content"])
    nodes = _array(content["nodes"], members)
    if nodes.ndim != 1 or not nodes.size:
        raise _harmful("a tree has no nodes", "TreePredictor.nodes")
    split = nodes["is_leaf"] == 0
    _check_links(nodes["left"], nodes["right"], nodes["feature_idx"], split, None)
    categorical = split & (nodes["is_categorical"] != 0)
    for name in ("raw_left_cat_bitsets", "binned_left_cat_bitsets"):
        bitsets = _array(content[name], members)
        wide = bitsets.ndim == 2 and bitsets.shape[1] == 8
        if categorical.any() and not (wide and nodes["bitset_idx"][categorical].max() < bitsets.shape[0]):
            raise _harmful("a tree's categories point outside their table", f"TreePredictor.{name}")


def _check_booster(state: _State, members: _Members) -> None:
    """Check the model inside a booster of LightGBM or XGBoost, and that nothing but it is loaded."""
    if state["__loader__"] != "ObjectNode":
        raise _harmful("a booster is built by a loader that is not for it", "Booster")
    content = _entries(state["content"])
    try:
        if state["__module__"] == _XGBOOST[0]:
            _must_be(content["handle"], "BytearrayNode")
            parse_snapshot(members[content["handle"]["file"]])
            return
        _must_be(content["_handle"], "JsonNode")
        text = json.loads(content["_handle"]["content"])
        if not isinstance(text, str) or "handle" in content:
            raise _harmful("a booster's model is no text", "Booster")
        parse_lightgbm(text)
    except (ValueError, KeyError, IndexError) as error:
        raise _harmful(str(error), "Booster") from error


def _must_be(state: _State, loader: str) -> None:
    if state["__loader__"] != loader:
        raise _harmful("a booster's model is built by a loader that is not for it", "Booster")


def _check_links(
    left: NDArray[Any], right: NDArray[Any], feature: NDArray[Any], split: NDArray[Any], n_features: int | None
) -> None:
    place = np.arange(left.size)
    for child in (left, right):
        # A child that comes after its parent can form no cycle, so the walk down the tree ends.
        if not np.all((child > place)[split] & (child < left.size)[split]):
            raise _harmful("a node's child lies outside its tree, or above it", "nodes")
    if np.any(feature[split] < 0) or (n_features is not None and np.any(feature[split] >= n_features)):
        raise _harmful("a node splits on a feature that does not exist", "nodes")


def check_feature_counts(model: object) -> None:
    """Check that no tree inside the loaded `model` reads more columns than its estimator lets through.

    Raises:
        Refused: a tree was fitted on more features than the estimator that feeds it.
    """
    for part in _parts(model, set()):
        limit = getattr(part, "n_features_in_", None)
        if limit is None:
            continue
        subsets = getattr(part, "estimators_features_", None)
        for at, member in enumerate(_flat(getattr(part, "estimators_", []))):
            _check_fed(getattr(member, "tree_", None), part, limit if subsets is None else len(subsets[at]))
        _check_fed(getattr(part, "tree_", None), part, limit)
        for predictor in _flat(getattr(part, "_predictors", [])):
            if type(predictor).__name__ == "TreePredictor":
                _check_boosted(predictor.nodes, part, limit)


def _check_fed(tree: Any, estimator: object, limit: int) -> None:
    if type(tree).__name__ == "Tree" and tree.n_features > limit:
        raise _harmful("a tree reads more features than it is given", type(estimator).__name__)


def _check_boosted(nodes: NDArray[Any], estimator: object, limit: int) -> None:
    split = nodes["is_leaf"] == 0
    features = nodes["feature_idx"][split]
    if np.any(features >= limit):
        raise _harmful("a tree reads more features than it is given", type(estimator).__name__)
    mapper = getattr(estimator, "_bin_mapper", None)
    categorical = np.asarray(getattr(mapper, "is_categorical_", np.zeros(limit, dtype=np.uint8)))
    chosen = features[nodes["is_categorical"][split] != 0]
    if categorical.shape != (limit,) or not np.all(categorical[chosen]):
        raise _harmful("a tree splits a number as a category", type(estimator).__name__)


def _parts(value: object, seen: set[int]) -> list[object]:
    """Return `value` and every object reachable from it through attributes, lists, tuples, dicts and object arrays."""
    found: list[object] = []
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, (str, bytes, int, float, type)):
            continue
        seen.add(id(each))
        if isinstance(each, dict):
            waiting.extend(each.values())
        elif isinstance(each, (list, tuple, set)):
            waiting.extend(each)
        elif isinstance(each, np.ndarray):
            waiting.extend(each.ravel().tolist() if each.dtype == object else [])
        else:
            found.append(each)
            waiting.extend(getattr(each, "__dict__", {}).values())
    return found


def _flat(value: object) -> list[Any]:
    """Return the items of a list, of a list of lists, or of an array of any shape."""
    if isinstance(value, np.ndarray):
        return list(value.ravel())
    if isinstance(value, (list, tuple)):
        return [inner for each in value for inner in _flat(each)]
    return [value]


def _entries(state: _State) -> _State:
    content = state["content"]
    if state["__loader__"] != "DictNode" or not isinstance(content, dict):
        raise _harmful("a tree's state is not a dictionary", "Tree")
    return content


def _integer(state: _State) -> int:
    number = json.loads(state["content"]) if state["__loader__"] == "JsonNode" else None
    if type(number) is not int:
        raise _harmful("a tree's count is not an integer", "Tree")
    return number


def _array(state: _State, members: _Members) -> NDArray[Any]:
    if state["__loader__"] != "NdArrayNode" or state["__class__"] != "ndarray" or state["type"] != "numpy":
        raise _harmful("a tree's array is something else", "Tree")
    array: NDArray[Any] = np.load(io.BytesIO(members[state["file"]]), allow_pickle=False)
    return array


def _harmful(reason: str, where: str) -> Refused:
    return Refused(
        f"The model file is refused: {reason}",
        where=where,
        next_step="do not use this file; write the bundle anew from the model, or ask who made it",
    )
