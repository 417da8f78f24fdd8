"""Values at rest: what comes back is what was kept, equal values have equal bytes, and nothing runs code."""

import datetime as dt
import decimal
import enum
import json
import math
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.artifacts.local import LocalArtifactStore
from mainspring.domain.metric import MetricValue
from mainspring.errors import Corrupt, Invalid
from mainspring.pipeline.documents import Stored, classes_in, objects_in, packages_in, part_of, summary_of
from mainspring.pipeline.values import decode, encode


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Point(NamedTuple):
    x: int
    label: str = ""


@dataclass(frozen=True, slots=True)
class Inner:
    numbers: tuple[float, ...]


@dataclass
class Outer:
    inner: Inner
    points: list[Point]
    colour: Colour = Colour.RED
    made: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.made.append("made")  # would show twice if loading called it


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> LocalArtifactStore:
    return LocalArtifactStore(tmp_path_factory.mktemp("artifacts"))


@pytest.fixture
def back(artifacts: LocalArtifactStore, tmp_path: Path) -> Any:
    """Keep a value and bring it back from the text of its document."""

    def back(value: object) -> Any:
        stored = encode(value, artifacts)
        assert encode(value, artifacts).text == stored.text
        assert all(artifacts.exists(each) for each in objects_in(stored.document))
        json.dumps(summary_of(stored.document))
        return decode(Stored(json.loads(stored.text)), artifacts, lambda: tmp_path)

    return back


_PLAIN = [
    None,
    True,
    0,
    -(10**40),
    1.5,
    -0.0,
    "",
    "é\ud800\n",
    b"",
    b"x" * 5000,
    bytearray(b"ab"),
    1 + 2j,
    [],
    [1, [2, (3, {"a": 1})]],
    {},
    {"a": 1, "b": [None]},
    {1: "a", (1, 2): "b"},
    {"$": "frame"},
    {"b": 1, "a": 2},
    {1, 2, 3},
    frozenset({"a"}),
    dt.date(2020, 2, 29),
    dt.time(1, 2, 3, 4),
    dt.timedelta(days=-1, microseconds=5),
    dt.datetime(2020, 1, 1, 5),  # noqa: DTZ001  # a moment without a zone must come back too
    dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
    dt.datetime(2020, 1, 1, tzinfo=ZoneInfo("Europe/Paris")),
    dt.datetime(2020, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Paris"), fold=1),
    decimal.Decimal("1.10"),
    uuid.UUID(int=5),
    Colour.BLUE,
    Point(1, "a"),
    Inner((1.0, 2.0)),
    MetricValue("roc_auc", 0.7, 0.6, 0.8, 100),
    math.inf,
    -math.inf,
    np.float64(0.1),
    np.int8(3),
    np.datetime64("2020-01-01"),
]


@pytest.mark.parametrize("value", _PLAIN, ids=lambda value: f"{type(value).__name__} {value!r}"[:40])
def test_plain_value_comes_back(back: Any, value: object) -> None:
    made = back(value)
    assert type(made) is type(value)
    assert repr(made) == repr(value)
    assert made == value


def test_nan_comes_back(back: Any) -> None:
    assert math.isnan(back(math.nan))
    assert math.isnan(back(MetricValue("auc", math.nan, 0, 1, 0)).value)


def test_record_comes_back_without_its_constructor(back: Any) -> None:
    value = Outer(Inner((1.0,)), [Point(1), Point(2, "b")], Colour.BLUE)
    made = back(value)
    assert made == value
    assert made.made == ["made"]


def _json_like() -> st.SearchStrategy[object]:
    leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(max_size=9)
    keys = st.text() | st.integers() | st.tuples(st.integers())
    return st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(keys, inner) | st.tuples(inner, inner))


@given(value=_json_like())
def test_any_plain_value_comes_back(artifacts: LocalArtifactStore, value: object) -> None:
    made = decode(Stored(json.loads(encode(value, artifacts).text)), artifacts, Path)
    assert repr(made) == repr(value)


_N = 4


def _moments(texts: list[str | None], *, utc: bool = False) -> pd.Series:
    return pd.Series(pd.to_datetime(texts, format="ISO8601", utc=utc))


_COLUMNS: dict[str, Any] = {
    "float64": pd.Series([1.5, np.nan, -np.inf, -0.0]),
    "float32": pd.Series([1.5, np.nan, 3.25, 0.1], dtype="float32"),
    "float16": pd.Series([1.5, np.nan, 3.25, 0.1], dtype="float16"),
    "int64": pd.Series([1, -(2**63), 2**63 - 1, 0]),
    "int32": pd.Series([1, -2, 3, 4], dtype="int32"),
    "uint64": pd.Series([1, 2**64 - 1, 3, 4], dtype="uint64"),
    "int8": pd.Series([1, -128, 127, 4], dtype="int8"),
    "bool": pd.Series([True, False, True, True]),
    "Int64": pd.Series([1, None, 2**53 + 1, 4], dtype="Int64"),
    "Int8": pd.Series([1, None, -3, 4], dtype="Int8"),
    "boolean": pd.Series([True, None, False, True], dtype="boolean"),
    "Float64": pd.Series([1.5, None, 2.5, 4], dtype="Float64"),
    "str": pd.Series(["a", None, "", "é'\n\0x"], dtype="str"),
    "string": pd.Series(["a", None, "", "z"], dtype="string"),
    "empty str": pd.Series([None] * _N, dtype="str"),
    "object": pd.Series(["a", None, "", "z"], dtype="object"),
    "object nan": pd.Series(["a", np.nan, "", "z"], dtype="object"),
    "object empty": pd.Series([None] * _N, dtype="object"),
    "datetime64[us]": _moments(["2020-01-01", None, "1900-01-01 00:00:00.000001", "2262-01-01"]).astype(
        "datetime64[us]"
    ),
    "datetime64[ns]": _moments(["2020-01-01 00:00:00.000000001", None, "2020", "2021"]).astype("datetime64[ns]"),
    "datetime64[s]": _moments(["2020-01-01", None, "2020", "2021"]).astype("datetime64[s]"),
    "tz": _moments(["2020-10-25 00:30", None, "2020", "2021"]).dt.tz_localize("UTC").dt.tz_convert("Europe/Paris"),
    "utc": _moments(["2020-10-25 00:30", None, "2020", "2021"], utc=True).astype("datetime64[us, UTC]"),
    "timedelta": pd.Series(pd.to_timedelta(["1s", None, "-3h", "4D"])),
    "category": pd.Series(["b", None, "a", "b"], dtype=pd.CategoricalDtype(["b", "a", "unused"], ordered=True)),
    "category of ints": pd.Series([10, 20, None, 10], dtype="category"),
    "category of moments": _moments(["2020", "2021", None, "2020"]).astype("category"),
}


@pytest.mark.parametrize("kind", _COLUMNS)
def test_column_comes_back_exactly(back: Any, kind: str) -> None:
    frame = pd.DataFrame({"x": _COLUMNS[kind], "other": range(_N)})
    made = back(frame)
    pd.testing.assert_frame_equal(made, frame, check_exact=True, check_freq=False)
    assert [str(each) for each in made.dtypes] == [str(each) for each in frame.dtypes]
    pd.testing.assert_frame_equal(back(frame.iloc[:0]), frame.iloc[:0])
    pd.testing.assert_series_equal(back(_COLUMNS[kind].rename("s")), _COLUMNS[kind].rename("s"))


@pytest.mark.parametrize(
    "columns",
    [["a", "A"], ["x y", 'q"uote'], [0, 1], [5, 3], ["", "b"], ["a", "a"], ["a", 1]],
    ids=str,
)
def test_column_labels_come_back(back: Any, columns: list[Any]) -> None:
    frame = pd.DataFrame([[1, 2.5], [3, 4.5]])
    frame.columns = pd.Index(columns)
    pd.testing.assert_frame_equal(back(frame), frame)


def test_frames_without_rows_or_columns_come_back(back: Any) -> None:
    for frame in (pd.DataFrame(), pd.DataFrame(index=pd.RangeIndex(3)), pd.DataFrame(np.zeros((2, 3)))):
        pd.testing.assert_frame_equal(back(frame), frame)
    offset = pd.DataFrame({"a": [1, 2]}, index=pd.RangeIndex(5, 9, 2, name="row"))
    pd.testing.assert_frame_equal(back(offset), offset)


@pytest.mark.parametrize("kind", sorted(_COLUMNS.keys() - {"float16"}))  # pandas has no index of half floats
def test_index_comes_back(back: Any, kind: str) -> None:
    frame = pd.DataFrame({"a": range(_N)}, index=pd.Index(_COLUMNS[kind].array, dtype=_COLUMNS[kind].dtype, name="row"))
    pd.testing.assert_frame_equal(back(frame), frame)
    filtered = pd.DataFrame({"a": range(_N)}).query("a > 1")
    pd.testing.assert_frame_equal(back(filtered), filtered, check_index_type="exact")


def test_loaded_table_can_be_changed(back: Any) -> None:
    made = back(pd.DataFrame(_COLUMNS))
    made.loc[0, "float64"] = 9.0
    made.loc[0, "Int64"] = 9
    made.loc[0, "str"] = "changed"
    made.loc[0, "int64"] = 9
    assert made.loc[0, ["float64", "Int64", "str", "int64"]].tolist() == [9.0, 9, "changed", 9]


def test_equal_tables_have_equal_bytes(artifacts: LocalArtifactStore) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=300_000), "w": pd.Series(rng.integers(0, 99, 300_000)).astype(str)})
    digests = {encode(frame.copy(), artifacts).digest for _ in range(3)}
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pd.DataFrame({"a": [1]}, index=pd.MultiIndex.from_tuples([(1, 2)])), "MultiIndex"),
        (pd.DataFrame({"a": [1, "x"]}, dtype=object), "values of type int"),
        (pd.DataFrame({"a": [[1]]}), "values of type list"),
        (pd.DataFrame({"a": [1 + 2j]}), "complex128"),
        (pd.DataFrame({("a", "b"): [1]}), "labelled"),
        (pd.DataFrame({"a": pd.period_range("2020", periods=1, freq="D")}), "period"),
    ],
)
def test_table_that_would_not_come_back_is_refused(artifacts: LocalArtifactStore, frame: Any, words: str) -> None:
    with pytest.raises(Invalid, match=words) as caught:
        encode({"t": frame}, artifacts)
    assert "['t']" in caught.value.where
    assert caught.value.next_step


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array(5),
        np.array(["a", "bc"]),
        np.array(["2020", "NaT"], dtype="datetime64[D]"),
        np.zeros(2, dtype=[("a", "i4"), ("b", "f8")]),
        np.array([], dtype="float32"),
    ],
    ids=lambda array: f"{array.dtype}",
)
def test_array_comes_back(back: Any, array: Any) -> None:
    made = back(array)
    assert made.dtype == array.dtype
    assert np.array_equal(made, array, equal_nan=array.dtype.kind in "fM")


def test_files_and_folders_come_back(artifacts: LocalArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("1")
    folders = iter(tmp_path / str(number) for number in range(9))

    def scratch() -> Path:
        folder = next(folders)
        folder.mkdir()
        return folder

    stored = encode({"one": tmp_path / "in" / "a.csv", "all": tmp_path / "in"}, artifacts)
    made: Any = decode(stored, artifacts, scratch)
    assert (made["one"].name, made["one"].read_text()) == ("a.csv", "1")
    assert (made["all"] / "a.csv").read_text() == "1"
    with pytest.raises(Invalid, match="no such file"):
        encode(tmp_path / "absent", artifacts)


def test_estimator_comes_back(back: Any, artifacts: LocalArtifactStore) -> None:
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LinearRegression()).fit([[1.0], [2.0], [3.0]], [1.0, 2.0, 2.5])
    assert back(model).predict([[4.0]]) == model.predict([[4.0]])
    document = encode(model, artifacts).document
    assert packages_in(document) == ("scikit_learn",)


def test_parts_are_found_without_loading(artifacts: LocalArtifactStore) -> None:
    value = Outer(Inner((1.0, 2.0)), [Point(1, "a")])
    document = json.loads(encode({"k": value}, artifacts).text)["k"]
    assert Stored(part_of(document, ("inner", "numbers", 1))).text == "2.0"
    assert part_of(document, ("points", 0, "label")) == part_of(document, ("points", 0, 1)) == "a"
    assert part_of(document, ("points", -1, -2)) == 1
    for wrong in ((0, "nothing"), ("inner", "nothing"), ("points", 7), ("inner", "numbers", 0, "x")):
        with pytest.raises(Invalid):
            part_of(document, wrong)
    module = Outer.__module__
    assert classes_in(document) == tuple(f"{module}:{name}" for name in ("Colour", "Inner", "Outer", "Point"))


def test_class_that_nobody_could_import_is_refused(artifacts: LocalArtifactStore) -> None:
    @dataclass
    class Local:
        x: int

    with pytest.raises(Invalid, match="inside a function"):
        encode(Local(1), artifacts)


@pytest.mark.parametrize(
    "document",
    [
        {"$": "record", "class": "os:system", "fields": {}},
        {"$": "record", "class": "subprocess:Popen", "fields": {"args": "true"}},
        {"$": "record", "class": "builtins:dict", "fields": {}},
        {"$": "enum", "class": "decimal:Decimal", "name": "x"},
        {"$": "unheard of"},
        {"$": "moment", "value": "soon", "fold": 0, "zone": None},
        {"$": "array", "data": "../../etc/passwd"},
        {"$": "record", "class": "tests.nowhere:Gone", "fields": {}},
    ],
)
def test_forged_document_runs_nothing(artifacts: LocalArtifactStore, document: object) -> None:
    with pytest.raises((Corrupt, Invalid)):
        decode(Stored(document), artifacts, Path)
