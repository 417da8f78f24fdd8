"""Live answers of a faster form are scored again by the original, beside the server and not in it."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import psutil
import pytest
from blake3 import blake3
from sklearn.ensemble import RandomForestClassifier

from mainspring.bundle.format import read_manifest, write_bundle
from mainspring.bundle.manifest import MANIFEST_NAME, BundleFile, manifest_to_json
from mainspring.bundle.predictor import load_original
from mainspring.bundle.tree_plan import TREES_NAME, tree_plan_from_bytes, tree_plan_to_bytes
from mainspring.domain.signature import Column, Signature
from mainspring.serve.client import PredictionClient
from mainspring.serve.process import ServerProcess

from .conftest import wait_for

ROWS = [{"a": float(at), "b": 1.0 - at} for at in range(-3, 4)]


@pytest.fixture(scope="module")
def forest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=300), "b": rng.normal(size=300)})
    model = RandomForestClassifier(5, random_state=0).fit(frame, frame.a > frame.b)
    columns = tuple(Column(name, "number", low=-3.0, high=3.0) for name in frame)
    signature = Signature(columns, "y", "binary", ("false", "true"), {"a": 1.0, "b": 0.0})
    model.classes_ = np.array(["false", "true"])
    folder = tmp_path_factory.mktemp("forest") / "b"
    write_bundle(folder, model, signature, name="m", sample={name: frame[name].to_numpy() for name in frame})
    return folder


def changed(folder: Path, to: Path, *, plan: Callable[[Any], Any] | None = None, **manifest: Any) -> Path:
    """Return a copy of a bundle in which the plan or the manifest says something else, and every hash is right."""
    shutil.copytree(folder, to)
    told = read_manifest(to)
    if plan is not None:
        whole, _ = tree_plan_from_bytes((to / TREES_NAME).read_bytes(), where=TREES_NAME)
        text = tree_plan_to_bytes(plan(whole))
        (to / TREES_NAME).write_bytes(text)
        manifest["files"] = told.files | {TREES_NAME: BundleFile(blake3(text).hexdigest(), len(text))}
    (to / MANIFEST_NAME).write_bytes(manifest_to_json(replace(told, **manifest)))
    return to


def serve(bundle: Path, journals: Path, *options: str) -> ServerProcess:
    return ServerProcess.start(None, journals, bundles=[bundle], options=options)


def asked(client: PredictionClient) -> dict[str, float]:
    client.predict("m", ROWS)
    found: dict[str, float] = client.metadata("m")["serving"]["recheck"]
    return found


def test_answers_are_scored_again_and_found_equal(forest: Path, tmp_path: Path) -> None:
    with serve(forest, tmp_path, "--recheck", "1") as server, PredictionClient(server.url) as client:
        assert client.metadata("m")["serving"]["routes"][0]["form"] == "trees"
        wait_for(lambda: asked(client)["rows"] >= 2 * len(ROWS))
        assert asked(client) | {"rows": 0} == {"rows": 0, "flips": 0, "failures": 0}
        scores = [each.score for each in client.predict("m", ROWS).predictions]
        columns = {name: np.array([row[name] for row in ROWS]) for name in ("a", "b")}
        assert scores == load_original(forest).predict(columns).tolist()
        text = client.metrics()
        assert 'recheck_difference_bucket{model="m",version="1",le="0.0"}' in text
        (helper,) = psutil.Process(server.pid).children()
        assert helper.nice() == 19
        server.stop()
        assert not helper.is_running() or helper.status() == psutil.STATUS_ZOMBIE


def test_a_form_that_answers_another_class_is_counted_and_told(forest: Path, tmp_path: Path) -> None:
    def reversed_leaves(plan: Any) -> Any:
        leaves = 1 - np.frombuffer(plan.leaves, "<f8")
        return msgspec.structs.replace(plan, leaves=leaves.tobytes())

    bundle = changed(forest, tmp_path / "b", plan=reversed_leaves)
    with serve(bundle, tmp_path / "j", "--recheck", "1") as server, PredictionClient(server.url) as client:
        wait_for(lambda: asked(client)["flips"] > 0)
        assert "answers another class than its original" in server.tail()


def test_an_original_that_cannot_be_loaded_stops_no_answer(forest: Path, tmp_path: Path) -> None:
    bundle = changed(forest, tmp_path / "b", requirements=("scikit-learn==0.1",))
    with serve(bundle, tmp_path / "j", "--recheck", "1") as server, PredictionClient(server.url) as client:
        wait_for(lambda: asked(client)["failures"] >= 2)
        assert asked(client)["rows"] == 0
        assert server.tail().count("cannot be scored again") == 1


def test_the_process_may_die_without_harm(forest: Path, tmp_path: Path) -> None:
    with serve(forest, tmp_path, "--recheck", "1") as server, PredictionClient(server.url) as client:
        wait_for(lambda: asked(client)["rows"] > 0)
        (helper,) = psutil.Process(server.pid).children()
        helper.kill()
        wait_for(lambda: "is gone" in server.tail())
        assert len(client.predict("m", ROWS).predictions) == len(ROWS)


def test_of_several_workers_one_has_its_answers_scored_again(forest: Path, tmp_path: Path) -> None:
    with serve(forest, tmp_path, "--recheck", "1", "--workers", "2") as server:
        workers = psutil.Process(server.pid).children()
        assert len(workers) == 2

        def helpers() -> list[int]:
            with PredictionClient(server.url) as client:  # a new connection may be another worker's
                client.predict("m", ROWS)
            return [len(worker.children()) for worker in workers]

        wait_for(lambda: sum(helpers()) == 1)
        assert all(sum(helpers()) == 1 for _ in range(30))


def test_none_is_started_when_nothing_is_to_be_scored_again(forest: Path, tmp_path: Path) -> None:
    with serve(forest, tmp_path, "--recheck", "0") as server, PredictionClient(server.url) as client:
        for _ in range(5):
            assert asked(client) == {"rows": 0, "flips": 0, "failures": 0}
        assert not psutil.Process(server.pid).children()
