"""The process that makes a run again: imports the kept pipeline, runs it in an empty workspace, and says what came.

It has the kept code on its import path and the environment that was built for it; orders come as one JSON file, and
the answer goes into another. What decides whether the run held is in `reproduce`.
"""

import base64
import inspect
import json
import os
import pickle
import sys
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from mainspring.artifacts.local import LocalArtifactStore
from mainspring.artifacts.protocol import ArtifactStore
from mainspring.data.table import columns_of
from mainspring.pipeline._worker import die_with
from mainspring.pipeline.context import PipelineContext
from mainspring.pipeline.documents import Stored
from mainspring.pipeline.outcome import RunFailed
from mainspring.pipeline.provenance import Address, pipeline_at
from mainspring.pipeline.values import decode
from mainspring.registry.submit import pack
from mainspring.store.sqlite import SqliteStore
from mainspring.train.candidate import Candidate
from mainspring.train.steps import score_rows

__all__ = ["main"]


def main(orders: Path) -> None:
    """Do what the file `orders` says and write the answer beside it; end with the process that waits for it."""
    order = json.loads(orders.read_text())
    die_with(order["parent"])
    home = Path(order["home"])
    store = SqliteStore(home / "store.sqlite")
    try:
        answer = _answer(order, store, home)
    finally:
        store.close()
    Path(order["answer"]).write_text(json.dumps(answer))


def _answer(order: dict[str, Any], store: SqliteStore, home: Path) -> dict[str, Any]:
    # written by the process that started this one
    kept: ArtifactStore = pickle.loads(base64.b64decode(order["artifacts"]))  # noqa: S301
    sys.path[:0] = order["path"]
    os.chdir(order["folder"])
    pipeline = pipeline_at(Address(**order["entry"]))
    with tempfile.TemporaryDirectory(dir=home) as scratch:  # which is swept, should this process be killed
        arguments = {
            name: _given(document, kept, Path(order["tree"]), scratch) for name, document in order["arguments"].items()
        }
        call = inspect.BoundArguments(pipeline.signature, OrderedDict(arguments))
        seeds = {int(number): seed for number, seed in order["seeds"].items()}
        context = PipelineContext(store, LocalArtifactStore(home / "artifacts"), seeds=seeds)
        try:
            outcome = pipeline.run(context, *call.args, **call.kwargs)
        except RunFailed as error:
            return {"run_id": error.outcome.run_id if error.outcome else "", "error": str(error)}
        answer: dict[str, Any] = {"run_id": outcome.run_id, "error": ""}
        if order["candidate"] is not None and isinstance(outcome.value, Candidate):
            old: Any = decode(Stored(order["candidate"]), kept, lambda: Path(tempfile.mkdtemp(dir=scratch)))
            answer |= _compared(old, outcome.value)
            if order["bundle"] is not None:
                folder = Path(order["keep"] or Path(scratch) / "bundle")
                answer["bundle"] = _files_of(outcome.value, folder, order["bundle"])
        return answer


def _compared(old: Candidate, new: Candidate) -> dict[str, Any]:
    """Score the stored test rows with the new model, and set both sets of metrics side by side."""
    scores = score_rows(new.fitted.estimator, columns_of(old.test), new.fitted.signature)
    same = scores.shape == old.scores.shape
    return {
        "predictions": len(scores),
        "predictions_same": same and scores.tobytes() == np.asarray(old.scores).tobytes(),
        "largest_difference": float(np.max(np.abs(scores - old.scores))) if same and scores.size else None,
        "metrics": {name: [old.metrics.get(name), value] for name, value in new.metrics.items()},
    }


def _files_of(candidate: Candidate, folder: Path, bundle: dict[str, Any]) -> dict[str, str]:
    manifest = pack(folder, candidate, model=bundle["name"], facts=bundle["facts"])
    return {path: each.blake3 for path, each in manifest.files.items()}


def _given(document: Any, kept: ArtifactStore, tree: Path, scratch: str) -> object:
    """Bring back an argument; an absolute path leads into the tree where that has it."""
    (kind, value), *_ = document.items()
    match kind:
        case "path":
            return Path(_moved(value, tree))
        case "list":
            return [_given(each, kept, tree, scratch) for each in value]
        case "tuple":
            return tuple(_given(each, kept, tree, scratch) for each in value)
        case "dict":
            return {key: _given(each, kept, tree, scratch) for key, each in value.items()}
    found = decode(Stored(value), kept, lambda: Path(tempfile.mkdtemp(dir=scratch)))
    return _moved(found, tree) if isinstance(found, str) else found


def _moved(path: str, tree: Path) -> str:
    if os.path.isabs(path):
        inside = tree / Path(path).relative_to(Path(path).anchor)
        return str(inside) if inside.exists() else path
    return path


if __name__ == "__main__":
    main(Path(sys.argv[1]))
