"""Typed values of other libraries: each comes back, equal ones have equal bytes, and a plugin adds its own."""

import importlib.metadata
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mainspring.artifacts.local import LocalArtifactStore
from mainspring.domain.ids import Digest
from mainspring.errors import Invalid, Unavailable
from mainspring.pipeline import _kinds, values
from mainspring.pipeline.context import PipelineContext
from mainspring.pipeline.documents import Stored, holds_pickle, packages_in, summary_of
from mainspring.pipeline.outcome import RunFailed
from mainspring.pipeline.step import pipeline, step
from mainspring.pipeline.values import decode, encode


@pytest.fixture
def artifacts(tmp_path: Path) -> LocalArtifactStore:
    return LocalArtifactStore(tmp_path / "artifacts")


def _back(value: object, artifacts: LocalArtifactStore, folder: Path) -> Any:
    stored = encode(value, artifacts)
    assert encode(value, artifacts).text == stored.text
    return decode(stored, artifacts, lambda: folder)


def test_polars_comes_back_by_memory_mapping(artifacts: LocalArtifactStore, tmp_path: Path) -> None:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"a": [1, None, 3], "b": ["x", "y", None], "c": [[1], [], [2, 3]]})
    made = _back({"t": frame}, artifacts, tmp_path)["t"]
    assert made.equals(frame)
    assert made.schema == frame.schema
    assert encode(frame.clone(), artifacts).digest == encode(frame, artifacts).digest
    assert _back(frame["b"], artifacts, tmp_path).to_list() == ["x", "y", None]
    assert packages_in(encode(frame, artifacts).document) == ("polars",)
    with pytest.raises(Invalid, match="LazyFrame"):
        encode(frame.lazy(), artifacts)


def test_arrow_comes_back(artifacts: LocalArtifactStore, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"a": [1, 2, None], "b": [{"x": 1}, None, {"x": 3}]})
    assert _back(table, artifacts, tmp_path).equals(table)
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    assert encode(chunked, artifacts).digest == encode(table, artifacts).digest
    assert summary_of(encode(table, artifacts).document) == {"pyarrow.table": {"rows": 3}}


def test_relation_is_computed_and_comes_back(artifacts: LocalArtifactStore, tmp_path: Path) -> None:
    import duckdb

    source = tmp_path / "numbers.csv"
    source.write_text("a,b\n1,x\n2,y\n")
    stored = encode(duckdb.sql(f"SELECT a * 2 AS a, b FROM '{source}'"), artifacts)
    source.unlink()
    made: Any = decode(stored, artifacts, lambda: tmp_path)
    assert (made.columns, made.fetchall()) == (["a", "b"], [(2, "x"), (4, "y")])


def test_figure_comes_back_as_its_pictures(artifacts: LocalArtifactStore, tmp_path: Path) -> None:
    figure_module = pytest.importorskip("matplotlib.figure")
    figure = figure_module.Figure()
    figure.subplots().plot([1, 2, 3])
    made = _back([figure], artifacts, tmp_path)[0]
    assert made.png.startswith(b"\x89PNG")
    assert "<svg" in made.svg
    made.save(tmp_path / "f.svg")
    made.save(tmp_path / "f.png")
    assert (tmp_path / "f.svg").read_text() == made.svg
    assert _back(made, artifacts, tmp_path) == made, "what a step hands on is kept the same way"


def test_large_array_is_mapped_and_may_be_changed(
    artifacts: LocalArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(values, "_MAPPED_BYTES", 100)
    stored = encode(np.arange(100), artifacts)
    made: Any = decode(stored, artifacts, lambda: tmp_path)
    assert isinstance(made, np.memmap)
    made[0] = 7
    again: Any = decode(stored, artifacts, lambda: tmp_path)
    assert (made[0], again[0], again[99]) == (7, 0, 99)


class Angle:
    """A type that nothing knows."""

    __slots__ = ("degrees",)

    def __init__(self, degrees: float) -> None:
        self.degrees = degrees


class _Angles:
    name = "geometry.angle"
    packages: tuple[str, ...] = ("geometry",)

    def recognises(self, value: object) -> bool:
        return isinstance(value, Angle)

    def keep(self, value: Angle, artifacts: Any, where: str) -> dict[str, Any]:
        return {"data": artifacts.put_bytes(str(value.degrees).encode())}

    def load(self, fields: dict[str, Any], artifacts: Any, folder: Path) -> Angle:
        return Angle(float(artifacts.read_bytes(Digest(fields["data"]))))


ANGLES = _Angles()


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Offer entry points as an installed package would."""

    def offer(*addresses: str) -> None:
        made = [importlib.metadata.EntryPoint(f"kind {each}", each, _kinds.ENTRY_POINTS) for each in addresses]
        monkeypatch.setattr(_kinds, "entry_points", lambda group: made if group == _kinds.ENTRY_POINTS else [])

    yield offer
    _kinds._plugin.cache_clear()


def test_a_type_adds_itself_by_entry_point(artifacts: LocalArtifactStore, tmp_path: Path, plugins: Any) -> None:
    with pytest.raises(Invalid, match="cannot be kept"):
        encode(Angle(1.5), artifacts)
    plugins(f"{__name__}:ANGLES")
    sys.modules.setdefault(__name__, sys.modules[Angle.__module__])
    stored = encode({"a": [Angle(1.5)]}, artifacts)
    made: Any = decode(Stored(stored.document), artifacts, lambda: tmp_path)
    assert made["a"][0].degrees == 1.5
    assert packages_in(stored.document) == ("geometry",)
    plugins()
    with pytest.raises(Unavailable, match=r"geometry\.angle"):
        decode(stored, artifacts, lambda: tmp_path)


def test_a_broken_plugin_is_named_and_left_out(artifacts: LocalArtifactStore, plugins: Any) -> None:
    plugins("nowhere_to_be_found:KIND", f"{__name__}:ANGLES")
    with pytest.warns(UserWarning, match="nowhere_to_be_found:KIND"):
        assert encode(Angle(1.0), artifacts)


class Odd:
    """Can be pickled, and nothing else."""

    __slots__ = ("n",)

    def __init__(self, n: int) -> None:
        self.n = n


def test_pickle_only_on_request_and_named(context: PipelineContext) -> None:
    @step
    def refused() -> Odd:
        return Odd(1)

    @step(pickle=True)
    def asked() -> Odd:
        return Odd(2)

    @step
    def use(odd: Odd) -> int:
        return odd.n

    @pipeline
    def careful() -> int:
        return use(refused())

    @pipeline
    def trusting() -> int:
        return use(asked())

    with pytest.raises(RunFailed, match=r"cannot be kept"):
        careful.run(context)
    out = trusting.run(context)
    assert out.value == 2
    again = trusting.run(context)
    assert [row.reason for row in again.steps if not row.cached] == []
    assert again.value == 2
    assert any("is a pickle" in each for each in again.steps[0].opaque)
    assert any("pickle" in each for each in trusting.plan(context).steps[0].opaque)


def test_a_pickle_is_told_by_its_document(artifacts: LocalArtifactStore) -> None:
    assert holds_pickle(encode(Odd(1), artifacts, allow_pickle=True).document)
    assert not holds_pickle(encode({"a": 1}, artifacts, allow_pickle=True).document)
    with pytest.raises(Invalid, match="cannot even be pickled"):
        encode(lambda: 1, artifacts, allow_pickle=True)
