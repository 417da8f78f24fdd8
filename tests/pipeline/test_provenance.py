"""What a run keeps of itself: code, arguments, inputs, environment and machine."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import pytest

from mainspring.artifacts.digests import digest_of_bytes
from mainspring.cli.loading import load_file
from mainspring.domain.ids import RunId
from mainspring.errors import NotFound
from mainspring.pipeline import provenance
from mainspring.pipeline.context import PipelineContext
from mainspring.pipeline.executor import InProcessExecutor
from mainspring.pipeline.provenance import Provenance, pipeline_at, provenance_of
from mainspring.pipeline.step import Pipeline

FLOW = """
from pathlib import Path

import mainspring as ms
from provpack import near


@ms.step
def count(path: Path) -> int:
    import provlate

    return provlate.length(path.read_text()) + near.ONE


@ms.pipeline
def flow(path: Path, at: object = None, many: object = ()) -> int:
    return count(path)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    made = tmp_path / "project"
    (made / "provpack").mkdir(parents=True)
    (made / "provflow.py").write_text(FLOW)
    (made / "provpack" / "__init__.py").write_text("")
    (made / "provpack" / "near.py").write_text("from provpack import far\nONE = far.ONE\n")
    (made / "provpack" / "far.py").write_text("ONE = 1\n")
    (made / "provlate.py").write_text("def length(text):\n    return len(text)\n")
    (made / "unused.py").write_text("")
    (made / "input.txt").write_text("four")
    (made / "requirements.txt").write_text("blake3==1.0.8\n")
    monkeypatch.chdir(made)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield made
    for name in [name for name in sys.modules if name.startswith("prov") and name != "provenance"]:
        del sys.modules[name]


def ran(context: PipelineContext, folder: Path, *args: object, **kwargs: object) -> tuple[Provenance, RunId]:
    flow = load_file(folder / "provflow.py")["flow"]
    outcome = flow.run(context, *args, **kwargs)
    return provenance_of(context.store, context.artifacts, outcome.run_id), outcome.run_id


def test_all_code_that_is_reached_is_kept(context: PipelineContext, folder: Path) -> None:
    kept, _ = ran(context, folder, Path("input.txt"))
    names = {Path(each).relative_to(folder).as_posix() for each in kept.code}
    assert names == {"provflow.py", "provpack/__init__.py", "provpack/near.py", "provpack/far.py", "provlate.py"}
    digest = kept.code[str(folder / "provlate.py")]
    assert context.artifacts.read_bytes(digest) == (folder / "provlate.py").read_bytes()


def test_entry_leads_back_to_the_pipeline(context: PipelineContext, folder: Path) -> None:
    kept, _ = ran(context, folder, Path("input.txt"))
    assert kept.entry is not None
    found = pipeline_at(kept.entry)
    assert isinstance(found, Pipeline)
    assert (found.name, kept.folder, str(folder) in kept.path) == ("flow", str(folder), True)


def test_arguments_are_kept_by_value_and_paths_by_name(context: PipelineContext, folder: Path) -> None:
    moment = datetime(2013, 4, 1, tzinfo=UTC)
    kept, _ = ran(context, folder, Path("input.txt"), at=moment, many=[Path("a"), {"b": 1}])
    assert kept.arguments["path"] == {"path": "input.txt"}
    assert kept.arguments["at"]["value"]["value"] == moment.isoformat()
    assert kept.arguments["many"] == {"list": [{"path": "a"}, {"dict": {"b": {"value": 1}}}]}
    assert not kept.lost


def test_argument_that_cannot_be_kept_is_named(context: PipelineContext, folder: Path) -> None:
    kept, _ = ran(context, folder, Path("input.txt"), at=object())
    assert list(kept.lost) == ["at"]


def test_inputs_are_kept_of_made_and_of_found_steps(context: PipelineContext, folder: Path) -> None:
    for _ in range(2):
        kept, _run = ran(context, folder, Path("input.txt"))
        (read,) = kept.inputs
        assert (read.path, read.digest) == ("input.txt", digest_of_bytes(b"four"))
        assert context.artifacts.exists(read.digest)


def test_large_input_is_known_by_its_digest_only(
    context: PipelineContext, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "_MOST_FILE_BYTES", 3)
    kept, _ = ran(context, folder, Path("input.txt"))
    assert not context.artifacts.exists(kept.inputs[0].digest)


def test_every_distribution_and_the_lock_are_kept(context: PipelineContext, folder: Path) -> None:
    kept, _ = ran(context, folder, Path("input.txt"))
    versions = {each.name: each.version for each in kept.installed}
    assert versions["blake3"] == metadata.version("blake3")
    assert "mainspring" in versions
    assert list(kept.locks) == [str(folder / "requirements.txt")]


def test_machine_and_loaded_libraries_are_kept(
    context: PipelineContext, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    import numpy as np

    assert np.ones(1).sum() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    kept, _ = ran(dataclasses.replace(context, executor=InProcessExecutor()), folder, Path("input.txt"))
    assert kept.machine["threads"]["OMP_NUM_THREADS"] == "3"
    assert {"cpu", "cores", "python", "system"} <= set(kept.machine)
    assert any("BLAS" in each for each in kept.libraries)


def test_unknown_run_has_no_provenance(context: PipelineContext) -> None:
    with pytest.raises(NotFound):
        provenance_of(context.store, context.artifacts, RunId("nobody"))
