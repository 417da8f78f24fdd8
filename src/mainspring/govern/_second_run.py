"""The second run: what the process that makes it is told, which environment variables it gets, and its answer."""

import base64
import json
import os
import pickle
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mainspring.artifacts.protocol import ArtifactStore
from mainspring.bundle.manifest import BundleManifest
from mainspring.config import value_of
from mainspring.errors import Unavailable
from mainspring.govern._layout import Layout
from mainspring.pipeline.ledger import StepRow
from mainspring.pipeline.provenance import Provenance

__all__ = ["THREADS", "cores", "run_again"]

#: What numerical libraries take the number of their threads from.
THREADS = frozenset({"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"})


def run_again(
    provenance: Provenance,
    rows: list[StepRow],
    artifacts: ArtifactStore,
    layout: Layout,
    python: Path,
    home: Path,
    *,
    candidate: Any,  # a JSON document
    manifest: BundleManifest | None,
    keep: Path | None = None,
) -> dict[str, Any]:  # the JSON of `_again`
    """Make a run again with `python` in the empty workspace `home`, and return the answer.

    `candidate` is the document of what the run came to, for a comparison of predictions, `manifest` that of its bundle;
    the new bundle stays in the folder `keep`.

    Raises:
        Unavailable: the process ended without an answer.
    """
    assert provenance.entry is not None, "found out before"
    orders, answer = home / "orders.json", home / "answer.json"
    entry = asdict(provenance.entry)
    inside = layout.place_of(entry["file"])
    order = {
        "path": [str(layout.place_of(each)) for each in provenance.path],
        "folder": str(layout.place_of(provenance.folder)),
        "entry": {**entry, "file": str(inside) if inside.exists() else entry["file"]},
        "arguments": dict(provenance.arguments),
        "artifacts": base64.b64encode(pickle.dumps(artifacts)).decode(),
        "home": str(home),
        "seeds": {row.number: row.seed for row in rows if row.seed is not None},
        "candidate": candidate,
        "bundle": None if manifest is None else {"name": manifest.name, "facts": manifest.facts},
        "tree": str(layout.tree),
        "keep": None if keep is None else str(keep),
        "answer": str(answer),
        "parent": os.getpid(),
    }
    orders.write_text(json.dumps(order))
    done = subprocess.run(
        [str(python), "-m", "mainspring.govern._again", str(orders)],
        cwd=order["folder"],
        env=_variables(provenance, home),
        stdin=subprocess.DEVNULL,
        # What the steps print is no answer of ours.
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if not answer.exists():
        said = "\n  ".join(done.stderr.strip().splitlines()[-6:])
        raise Unavailable(f"The run could not be made again:\n  {said}", where=str(entry["module"]))
    found: dict[str, Any] = json.loads(answer.read_text())
    return found


def _variables(provenance: Provenance, home: Path) -> dict[str, str]:
    """Return the environment variables of the run: as many threads as then, and nothing that leads elsewhere."""
    threads: dict[str, str] = dict(provenance.machine.get("threads", {}))
    left_out = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONHASHSEED"} | THREADS
    kept = {
        name: value for name, value in os.environ.items() if name not in left_out and not name.startswith("MAINSPRING_")
    }
    then = provenance.machine.get("cores")
    if then and then != cores():
        # Threads deal out the work, and with it the order of sums.
        threads = dict.fromkeys(THREADS, str(then)) | threads
    # what it reads of the store may be encrypted, and its steps may make pseudonyms
    places = {f"MAINSPRING_{name.upper()}": value_of(name) for name in ("keys", "decrypted") if value_of(name)}
    absolute = {name: str(Path(place).expanduser().absolute()) for name, place in places.items()}
    return kept | threads | absolute | {"MAINSPRING_HOME": str(home)}


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
