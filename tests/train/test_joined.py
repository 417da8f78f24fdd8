"""The step that joins features: cached, and never stale."""

from pathlib import Path

import pandas as pd
import pytest

import mainspring as ms
from mainspring.artifacts.local import LocalArtifactStore
from mainspring.bundle.format import read_manifest
from mainspring.data.table import read_columns
from mainspring.pipeline.context import PipelineContext
from mainspring.store.opening import open_store


@ms.step
def first_fare(path: Path) -> float:
    return float(read_columns(path)["fare_now"][0])


@ms.pipeline
def to_file(entities: Path, views: list[ms.FeatureView]) -> float:
    return first_fare(ms.join_features(entities, views, time="at"))


def view(source: Path, expression: str = "fare") -> ms.FeatureView:
    return ms.FeatureView("stats", source=source, keys="id", time="at", features={"fare_now": expression})


def test_the_step_runs_anew_when_a_source_or_an_expression_changes_and_only_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("MAINSPRING_HOME", str(home))
    monkeypatch.setattr("mainspring.data.table._spills", {})
    monkeypatch.setattr("mainspring.data.table._engines", {})  # made anew in the step, with a place for what spills
    source, entities = tmp_path / "trips.csv", tmp_path / "asked.csv"
    source.write_text("id,at,fare\n1,2026-01-01 10:00:00,5\n")
    entities.write_text("id,at\n1,2026-01-01 12:00:00\n")
    store = open_store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    context = PipelineContext(store, LocalArtifactStore(tmp_path / "artifacts"))

    def run(expression: str = "fare") -> tuple[object, bool]:
        done = to_file.run(context, entities, [view(source, expression)])
        return done.result, done.steps[0].cached

    assert run() == (5.0, False)
    (home / "news").write_text("a workspace is never the same for long")
    assert run() == (5.0, True)
    assert run("fare * 2") == (10.0, False)
    source.write_text("id,at,fare\n1,2026-01-01 10:00:00,7\n")
    assert run() == (7.0, False)
    assert run() == (7.0, True)
    assert run("fare * 2") == (14.0, False)
    store.close()


def test_outside_a_pipeline_it_is_a_function_of_frames(tmp_path: Path) -> None:
    source = tmp_path / "trips.csv"
    source.write_text("id,at,fare\n1,2026-01-01 10:00:00,5\n")
    asked = pd.DataFrame({"id": [1, 2], "at": pd.to_datetime(["2026-01-01 12:00:00"] * 2), "late": [0, 1]})
    found = ms.join_features(asked, [view(source)], time="at")
    assert list(found.columns) == ["id", "at", "late", "fare_now"]
    assert found["fare_now"].fillna(-1).tolist() == [5, -1]


@ms.pipeline
def trained(asked: pd.DataFrame, views: list[ms.FeatureView], schema: Path) -> ms.Candidate:
    parts = ms.split(ms.check(ms.join_features(asked, views, time="at"), schema), target="late", ignore=["id", "at"])
    return ms.evaluate(ms.fit(None, parts), parts)


def test_a_bundle_names_the_versions_of_the_views_it_was_trained_on(tmp_path: Path) -> None:
    source, schema = tmp_path / "trips.csv", tmp_path / "s.yaml"
    source.write_text("id,at,fare\n" + "".join(f"{n},2026-01-01 10:00:00,{n % 7}\n" for n in range(300)))
    schema.write_text("columns:\n  fare_now: {type: number}\n")
    at = pd.to_datetime(["2026-01-01 12:00:00"] * 300)
    asked = pd.DataFrame({"id": range(300), "at": at, "late": [n % 7 > 3 for n in range(300)]})
    made = view(source)
    loop = ms.Loop("late", train=trained, goal="roc_auc >= 0.5")
    with ms.Workspace(tmp_path / "home") as workspace:
        done = trained.run(workspace.pipeline_context, asked, [made], schema)
        candidate = done.value
        assert isinstance(candidate, ms.Candidate)
        assert candidate.views == {"stats": made.version}
        version, _ = loop.submit(workspace, candidate, run_id=done.run_id)
        assert read_manifest(workspace.served_bundle(version)).facts["views"] == {"stats": made.version}
