"""The audit of the cache: what would be found is made again, and what comes out otherwise is named."""

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mainspring.pipeline.audit import audit_cache, first_difference
from mainspring.pipeline.context import PipelineContext
from mainspring.pipeline.ledger import Ledger
from mainspring.pipeline.step import pipeline, step

_STEPS = """
import importlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import mainspring as ms
import hidden


class Parts(NamedTuple):
    one: pd.DataFrame
    two: int


@ms.step
def load(path: Path, n: int) -> pd.DataFrame:
    return pd.DataFrame({"x": np.arange(n) + len(path.read_text())})


@ms.step
def cut(table: pd.DataFrame, names: dict[str, list[int]]) -> Parts:
    return Parts(table.iloc[:2].reset_index(drop=True), len(names))


@ms.step
def look(parts: Parts, extra: list[object]) -> dict[str, object]:
    return {"sum": int(parts.one["x"].sum()), "secret": getattr(hidden, "".join(["va", "lue"]))()}


@ms.pipeline
def main(n: int = 3) -> dict[str, object]:
    parts = cut(load(Path("data.txt"), n), {"a": [1]})
    return look(parts, [parts.two, Path("data.txt")])
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    folder = tmp_path / "audited"
    folder.mkdir()
    (folder / "audited_steps.py").write_text(_STEPS)
    (folder / "hidden.py").write_text("def value():\n    return 1\n")
    (folder / "data.txt").write_text("abc")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    import audited_steps  # type: ignore[import-not-found]

    yield audited_steps
    for name in ("audited_steps", "hidden"):
        sys.modules.pop(name, None)


def _audit(context: PipelineContext, sample: int = 10) -> dict[str, Any]:
    found = audit_cache(context, sample=sample, rng=random.Random(1))
    return {each.step: each for each in found.results} | {"": found}


def test_everything_comes_out_the_same(project: Any, context: PipelineContext) -> None:
    project.main.run(context)
    found = _audit(context)
    assert {each.step: each.finding for each in found[""].results} == {"load": "same", "cut": "same", "look": "same"}
    assert (found[""].kept, found[""].checked, found[""].is_sound) == (3, 3, True)
    assert context.store.read("SELECT count(*) FROM step_results") == [(3,)]


def test_what_the_key_does_not_see_is_found_and_named(project: Any, context: PipelineContext) -> None:
    project.main.run(context)
    sys.modules["hidden"].value = lambda: 2  # type: ignore[attr-defined]
    found = _audit(context)
    assert (found["look"].finding, found["look"].detail) == ("differs", "result.secret")
    assert any("code by a computed name (getattr)" in each for each in found["look"].opaque)
    assert not found[""].is_sound


def test_a_sample_is_as_large_as_asked(project: Any, context: PipelineContext) -> None:
    project.main.run(context)
    project.main.run(context, n=5)
    assert _audit(context, sample=2)[""].checked == 2


def test_what_is_no_hit_any_more_is_not_made_again(project: Any, context: PipelineContext) -> None:
    project.main.run(context)
    Path("data.txt").write_text("abcdef")
    found = _audit(context)
    assert found["load"].finding == "not a hit"
    assert found["cut"].finding == "same"


def test_a_step_that_nobody_could_import_says_so(context: PipelineContext) -> None:
    @step
    def local() -> int:
        return 1

    @pipeline
    def main() -> int:
        return local()

    main.run(context)
    found = _audit(context)
    assert (found["local"].finding, found["local"].detail) == (
        "cannot be called",
        "`local` is defined inside a function",
    )
    assert found[""].is_sound


def test_the_first_part_that_differs_is_named() -> None:
    old = {"$": "record", "class": "m:C", "fields": {"a": [1, 2], "b": 3}}
    assert first_difference(old, old) == ""
    assert first_difference(old, {**old, "fields": {"a": [1, 5], "b": 3}}) == "result.a[1]"
    assert first_difference(old, 7) == "result"


def test_entries_are_listed_and_dropped_by_age(context: PipelineContext) -> None:
    @step
    def local(x: int) -> int:
        return x

    @pipeline
    def main(x: int) -> int:
        return local(x)

    main.run(context, 1)
    main.run(context, 2)
    ledger = Ledger(context.store, context.artifacts)
    assert [(each.step, each.results) for each in ledger.entries()] == [("local", 2)]
    assert ledger.forget_older("2000-01-01T00:00:00.000000Z") == 0
    assert ledger.count_older("2999-01-01T00:00:00.000000Z", "local") == 2
    assert ledger.forget_older("2999-01-01T00:00:00.000000Z", "another") == 0
    assert ledger.forget_older("2999-01-01T00:00:00.000000Z") == 2
    assert ledger.entries() == []
    assert [row[0] for row in context.store.read("SELECT verb FROM events")] == ["cache.cleared"]
