"""Files made to do harm are refused before any of their code, or anybody else's, is run."""

import io
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mainspring.bundle._canonical import SCHEMA_NAME, states_in, write_archive
from mainspring.bundle.estimators import dump_estimator, load_estimator
from mainspring.errors import Corrupt, Refused

STATE = dict[str, Any]


def archive(schema: STATE, **members: bytes) -> bytes:
    document = {"protocol": 2, "_skops_version": "0.16.0", **schema}
    return write_archive({SCHEMA_NAME: json.dumps(document).encode(), **members})


def state(name: str, loader: str, **more: Any) -> STATE:
    module, _, kind = name.rpartition(".")
    return {"__module__": module, "__class__": kind, "__loader__": loader, **more}


def text(value: object) -> STATE:
    return state("builtins.str", "JsonNode", content=json.dumps(value), is_json=True)


def items(*states: STATE) -> STATE:
    return state("builtins.tuple", "TupleNode", content=list(states))


def mapping(**states: STATE) -> STATE:
    keys = [state("builtins.str", "TypeNode") for _ in states]
    return state(
        "builtins.dict",
        "DictNode",
        content=states,
        key_types=state("builtins.list", "ListNode", content=keys),
    )


SYSTEM = state("os.system", "FunctionNode")
CODE = {
    "function": SYSTEM,
    "eval": state("builtins.eval", "FunctionNode"),
    "type": state("subprocess.Popen", "TypeNode"),
    "reduce": state("subprocess.Popen", "ConstructorFromReduceNode", content=items(text("touch owned"))),
    "object": state("subprocess.Popen", "ObjectNode", content=mapping(args=text("touch owned"))),
    "partial": state(
        "functools.partial",
        "PartialNode",
        content={
            "func": SYSTEM,
            "args": items(text("touch owned")),
            "kwds": mapping(),
            "namespace": text(None),
        },
    ),
    "method": state(
        "sklearn.linear_model._logistic.LogisticRegression",
        "MethodNode",
        content={
            "func": "fit",
            "obj": state("sklearn.linear_model._logistic.LogisticRegression", "ObjectNode", content=mapping()),
        },
    ),
    "operator": state("operator.methodcaller", "OperatorFuncNode", attrs=items(text("system"), text("touch owned"))),
    "key": state(
        "builtins.dict",
        "DictNode",
        content={"touch owned": text(1)},
        key_types=state("builtins.list", "ListNode", content=[state("os.system", "TypeNode")]),
    ),
    "list": state("os.system", "ListNode", content=[text("touch owned")]),
    "loss": state("os.system", "LossNode", __reduce__={"args": items(text("touch owned"))}, content=mapping()),
    "unknown module": state("booby_trap.Trap", "ObjectNode", content=mapping()),
    "module of ours": state("mainspring.bundle.estimators.load_estimator", "FunctionNode"),
    "attribute of a trusted module": state("sklearn.utils.validation.warnings", "FunctionNode"),
}


@pytest.mark.parametrize("name", CODE)
def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "booby_trap.py").write_text("import pathlib; pathlib.Path('owned').touch()\nclass Trap: ...\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(Refused, match="may not hold"):
        load_estimator(archive(CODE[name]))
    assert not (tmp_path / "owned").exists()
    assert "booby_trap" not in sys.modules


def zipped(*members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as opened:
        for name, content in members:
            opened.writestr(name, content)
    return buffer.getvalue()


GOOD = json.dumps({"protocol": 2, **text(1)}).encode()


@pytest.mark.parametrize(
    "name", ["../evil.npy", "/etc/evil.npy", "a/b.npy", "evil.pkl", "C:\\evil.npy", "schema.json/x"]
)
def test_a_member_with_another_name_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="name we never write"):
        load_estimator(zipped((SCHEMA_NAME, GOOD), (name, b"")))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_comes_twice_is_refused() -> None:
    with pytest.raises(Refused, match="repeat or overlap"):
        load_estimator(zipped((SCHEMA_NAME, GOOD), (SCHEMA_NAME, GOOD)))


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = zipped((SCHEMA_NAME, GOOD), ("0" * 32 + ".bin", bytes(50 << 20)), compression=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 1 << 20
    with pytest.raises(Refused, match="compressed"):
        load_estimator(bomb)


def test_a_bomb_inside_a_sparse_matrix_is_refused() -> None:
    inner = zipped(("data.npy", bytes(50 << 20)), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(Refused, match="compressed"):
        load_estimator(zipped((SCHEMA_NAME, GOOD), ("0" * 32 + ".npz", inner)))


def test_overlapping_members_are_refused() -> None:
    data = bytearray(zipped((SCHEMA_NAME, GOOD), ("0" * 32 + ".bin", b"x" * 400)))
    entry = data.rindex(b"PK\x01\x02")
    for field in (20, 24):  # both sizes in the central directory
        data[entry + field : entry + field + 4] = (1 << 20).to_bytes(4, "little")
    with pytest.raises(Refused, match="overlap"):
        load_estimator(bytes(data))


def test_an_array_that_claims_a_terabyte_is_refused() -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": (1 << 37,)})
    with pytest.raises(Refused, match="does not fit its bytes"):
        load_estimator(zipped((SCHEMA_NAME, GOOD), ("0" * 32 + ".npy", buffer.getvalue())))


def test_a_pickle_inside_an_array_is_refused() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(Refused, match="does not fit its bytes"):
        load_estimator(zipped((SCHEMA_NAME, GOOD), ("0" * 32 + ".npy", buffer.getvalue())))


@pytest.mark.parametrize("protocol", [0, 1, -1, True, None, "2"])
def test_an_older_protocol_is_refused(protocol: object) -> None:
    with pytest.raises(Refused, match="protocol"):
        load_estimator(archive({**text(1), "protocol": protocol}))


def test_a_schema_without_end_is_refused() -> None:
    deep = '{"protocol": 2, "x": ' + '{"x": ' * 100_000 + "1" + "}" * 100_001
    with pytest.raises(Refused, match="nested"):
        load_estimator(write_archive({SCHEMA_NAME: deep.encode()}))


@pytest.mark.parametrize("schema", [b"", b"[]", b"null", b"{", b"{}", b'{"protocol": 2}', b"\xff"])
def test_a_schema_that_is_none_is_refused(schema: bytes) -> None:
    with pytest.raises((Corrupt, Refused)):
        load_estimator(write_archive({SCHEMA_NAME: schema}))


# --- trees: compiled code follows their numbers without looking ---


def tampered(model: object, change: Callable[[STATE, dict[str, bytes]], None]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(dump_estimator(model))) as opened:
        members = {name: opened.read(name) for name in opened.namelist()}
    schema = json.loads(members.pop(SCHEMA_NAME))
    change(schema, members)
    return write_archive({SCHEMA_NAME: json.dumps(schema).encode(), **members})


def first(schema: STATE, loader: str, kind: str = "") -> STATE:
    return next(each for each in states_in(schema) if each["__loader__"] == loader and kind in each["__class__"])


def set_nodes(tree: STATE, members: dict[str, bytes], field: str, at: int, value: int) -> None:
    place = tree["content"]["content"]["nodes"]
    nodes = np.load(io.BytesIO(members[place["file"]]))
    nodes[field][at] = value
    buffer = io.BytesIO()
    np.save(buffer, nodes)
    place["file"] = "f" * 32 + ".npy"
    members[place["file"]] = buffer.getvalue()


@pytest.mark.parametrize(
    ("field", "value"),
    [("left_child", 10**6), ("right_child", -5), ("left_child", 0), ("feature", 10**6), ("feature", -1)],
)
def test_a_tree_that_points_outside_itself_is_refused(forest: Any, field: str, value: int) -> None:
    def change(schema: STATE, members: dict[str, bytes]) -> None:
        set_nodes(first(schema, "TreeNode"), members, field, 0, value)

    with pytest.raises(Refused, match=r"outside its tree|does not exist"):
        load_estimator(tampered(forest, change))


@pytest.mark.parametrize(("field", "value"), [("left", 10**6), ("right", 0), ("feature_idx", -3), ("feature_idx", 999)])
def test_a_boosted_tree_that_points_outside_itself_is_refused(boosted: Any, field: str, value: int) -> None:
    def change(schema: STATE, members: dict[str, bytes]) -> None:
        set_nodes(first(schema, "ObjectNode", "TreePredictor"), members, field, 0, value)

    with pytest.raises(Refused, match=r"outside its tree|does not exist|reads more features"):
        load_estimator(tampered(boosted, change))


def test_a_boosted_tree_that_takes_a_number_for_a_category_is_refused(boosted: Any) -> None:
    def change(schema: STATE, members: dict[str, bytes]) -> None:
        set_nodes(first(schema, "ObjectNode", "TreePredictor"), members, "is_categorical", 0, 1)

    with pytest.raises(Refused, match="categor"):
        load_estimator(tampered(boosted, change))


@pytest.mark.parametrize(("argument", "value"), [(0, 10**6), (2, 50), (2, 0)])
def test_a_tree_with_counts_that_disagree_is_refused(forest: Any, argument: int, value: int) -> None:
    def change(schema: STATE, members: dict[str, bytes]) -> None:
        first(schema, "TreeNode")["__reduce__"]["args"]["content"][argument] = text(value)

    with pytest.raises(Refused, match=r"disagree|reads more features"):
        load_estimator(tampered(forest, change))


def test_a_tree_with_more_nodes_than_it_holds_is_refused(forest: Any) -> None:
    def change(schema: STATE, members: dict[str, bytes]) -> None:
        first(schema, "TreeNode")["content"]["content"]["node_count"] = text(10**6)

    with pytest.raises(Refused, match="disagree"):
        load_estimator(tampered(forest, change))


def test_a_forest_that_lets_fewer_columns_through_than_its_trees_read_is_refused(forest: Any) -> None:
    def change(schema: STATE, members: dict[str, bytes]) -> None:
        first(schema, "ObjectNode", "RandomForestClassifier")["content"]["content"]["n_features_in_"] = text(1)

    with pytest.raises(Refused, match="reads more features"):
        load_estimator(tampered(forest, change))


@pytest.mark.parametrize("loader", ["ObjectNode", "ConstructorFromReduceNode", "LossNode", "TypeNode", "ListNode"])
def test_a_tree_built_by_another_loader_is_refused(forest: Any, loader: str) -> None:
    def change(schema: STATE, members: dict[str, bytes]) -> None:
        first(schema, "TreeNode")["__loader__"] = loader

    with pytest.raises(Refused, match="not for trees"):
        load_estimator(tampered(forest, change))


def test_one_mark_for_two_objects_is_refused(forest: Any) -> None:
    # skops would take the first for both, so that what was checked is not what is built.
    def change(schema: STATE, members: dict[str, bytes]) -> None:
        found = [each for each in states_in(schema) if each["__loader__"] == "TreeNode"]
        for tree in found[:2]:
            tree["content"]["content"]["nodes"]["__id__"] = 7

    with pytest.raises(Refused, match="one mark"):
        load_estimator(tampered(forest, change))
