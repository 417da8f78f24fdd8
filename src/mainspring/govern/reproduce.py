"""Can a run be made again? Its kept code and data are laid out, its environment is built, and its pipeline runs.

Then it is compared, and one of three levels holds: **bytes** (every step's output and the model file), else
**predictions** (on the stored test rows), else **metrics** within a tolerance. The first step that came out otherwise
is named, with what its result was made of now and then. The old workspace is only read.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mainspring.artifacts.local import LocalArtifactStore
from mainspring.artifacts.protocol import ArtifactStore
from mainspring.artifacts.scratch import scratch_folder
from mainspring.artifacts.trees import parse_tree
from mainspring.bundle.format import MODEL_NAME
from mainspring.bundle.manifest import MANIFEST_NAME, BundleManifest, manifest_from_json
from mainspring.domain.ids import RunId
from mainspring.domain.version import ModelVersion
from mainspring.errors import Invalid, MainspringError, NotFound
from mainspring.govern._clean_environment import build_environment
from mainspring.govern._layout import Layout, lay_out
from mainspring.govern._second_run import cores, run_again
from mainspring.pipeline._environment import machine, own_code
from mainspring.pipeline.difference import Divergence, figures_of, first_divergence, is_same
from mainspring.pipeline.ledger import Ledger, StepRow, steps_of
from mainspring.pipeline.provenance import Provenance, provenance_of
from mainspring.registry.versions import find_version, list_versions
from mainspring.store.protocol import Store
from mainspring.store.sqlite import SqliteStore
from mainspring.tracking.runs import Run, find_run

__all__ = ["Level", "Prepare", "Reproduction", "reproduce"]

Level = Literal["bytes", "predictions", "metrics", "none"]

#: Gives the Python that makes a run again, and what could not be as it was; given the folder for its environment,
#: what was kept, and the texts of the lock files.
Prepare = Callable[[Path, Provenance, Mapping[str, str]], tuple[Path, list[str]]]
_CANDIDATE = "mainspring.train.candidate:Candidate"


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What making a run again came to. `same` and `steps` count its steps; `diverged` is the first that came out
    otherwise. `model_files` says of each file of the bundle whether its bytes are the same; `figures` has old and new
    values where the level is not bytes. `remarks` are what could not be as it was."""

    run_id: RunId
    model_version: str
    level: Level
    steps: int
    same: int
    diverged: Divergence | None
    environment: Literal["clean", "present"]
    seconds: float
    predictions: int = 0
    largest_difference: float | None = None
    figures: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    model_files: Mapping[str, bool] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    error: str = ""

    @property
    def holds(self) -> bool:
        """Whether the model answers as it did: at the level of bytes or of predictions."""
        return self.level in ("bytes", "predictions")


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is to be made again."""

    run: Run
    rows: list[StepRow]
    ledger: Ledger
    provenance: Provenance
    version: ModelVersion | None
    manifest: BundleManifest | None


def reproduce(
    store: Store,
    artifacts: ArtifactStore,
    what: str,
    *,
    here: bool = False,
    folder: Path | None = None,
    tolerance: float = 1e-3,
    say: Callable[[str], None] = lambda text: None,
    prepare: Prepare | None = None,
    keep: Path | None = None,
) -> Reproduction:
    """Make the run `what` (a run's id, or a model version) again and compare.

    `here` takes the present environment instead of building the kept one; `prepare` builds another. `folder` is where
    everything is laid out and stays; files that are there already are used as they are. `tolerance` is how far a metric
    may be off, as a share of its value or as it is, whichever is more. The new bundle stays in the folder `keep`.

    Raises:
        NotFound: there is no such run or version, or something that is needed was not kept.
        Invalid: the run did not finish, or its pipeline is defined where no file is.
        Unavailable: the environment cannot be built.
    """
    started = time.monotonic()
    subject = _find(store, artifacts, what)
    with _place(folder) as place:
        layout = lay_out(subject.provenance, artifacts, place / "tree")
        say(f"laid out {len(subject.provenance.code)} files of code and {len(subject.provenance.inputs)} inputs")
        remarks = [*_differences_of_machines(subject.provenance), *_remarks_on(layout)]
        remarks += _other_threads(subject, store, artifacts)
        python = Path(sys.executable)
        if not here:
            locks = {
                path: artifacts.read_bytes(digest).decode(errors="replace")
                for path, digest in subject.provenance.locks.items()
            }
            build = prepare or partial(build_environment, say=say)
            python, more = build(place / "environment", subject.provenance, locks)
            remarks += more
        say(f"running {len(subject.rows)} steps again")
        home = Path(tempfile.mkdtemp(dir=place, prefix="workspace-"))
        answer = run_again(
            subject.provenance,
            subject.rows,
            artifacts,
            layout,
            python,
            home,
            candidate=_candidate_of(subject),
            manifest=subject.manifest,
            keep=keep,
        )
        with closing(SqliteStore(home / "store.sqlite")) as again:
            ledger = Ledger(again, LocalArtifactStore(home / "artifacts"))
            rows = steps_of(again, RunId(answer["run_id"])) if answer["run_id"] else []
            verdict = _judged(subject, answer, ledger, rows, tolerance)
            return Reproduction(
                run_id=subject.run.run_id,
                model_version=subject.version.reference if subject.version is not None else "",
                level=verdict.level,
                steps=len(subject.rows),
                same=sum(is_same(*pair) for pair in zip(subject.rows, rows, strict=False)),
                diverged=first_divergence(subject.rows, rows, subject.ledger, ledger),
                environment="present" if here else "clean",
                seconds=time.monotonic() - started,
                predictions=answer.get("predictions", 0),
                largest_difference=answer.get("largest_difference"),
                figures={} if verdict.level == "bytes" else verdict.figures,
                model_files=verdict.files,
                remarks=tuple(remarks),
                error=answer["error"],
            )


def _find(store: Store, artifacts: ArtifactStore, what: str) -> _Subject:
    """Find a model version, or else a run, by what the user wrote."""
    version = None
    try:
        version = find_version(store, what)
    except MainspringError:
        if "/" in what or "@" in what:
            raise
    if version is None:
        run = find_run(store, what)
        version = next((each for each in list_versions(store) if each.run_id == run.run_id), None)
    elif version.run_id is None:
        raise Invalid(
            f"`{version.reference}` was submitted by {version.created_by} without a run",
            next_step="only what a pipeline made can be made again",
        )
    else:
        run = find_run(store, version.run_id)
    if run.status != "finished":
        raise Invalid(f"The run `{run.run_id[-8:]}` is {run.status}", next_step="only a finished run can be compared")
    provenance = provenance_of(store, artifacts, run.run_id)
    if provenance.entry is None:
        raise Invalid(
            f"The run `{run.run_id[-8:]}` cannot be made again: {provenance.not_again}",
            next_step="define the pipeline in a file and run it from there",
        )
    if provenance.lost:
        name, why = next(iter(provenance.lost.items()))
        raise NotFound(
            f"The argument `{name}` of the run could not be kept: {why}",
            next_step="hand pipelines plain values, paths and tables",
        )
    manifest = _manifest_of(artifacts, version) if version is not None else None
    return _Subject(run, steps_of(store, run.run_id), Ledger(store, artifacts), provenance, version, manifest)


def _manifest_of(artifacts: ArtifactStore, version: ModelVersion) -> BundleManifest:
    files = parse_tree(artifacts.read_bytes(version.kept_bundle), version.kept_bundle)
    digest = next(each.digest for each in files if each.path == MANIFEST_NAME)
    return manifest_from_json(artifacts.read_bytes(digest), where=version.reference)


@contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder.resolve()
        return
    # not in the workspace: what looks for settings above a folder must not find those of the project as it is now
    with scratch_folder([Path(tempfile.gettempdir())]) as scratch:
        yield scratch.resolve()


class _Verdict(NamedTuple):
    """The level that holds; old and new figures; which files of the bundle are the same."""

    level: Level
    figures: dict[str, tuple[float | None, float | None]]
    files: dict[str, bool]


def _judged(
    subject: _Subject, answer: Mapping[str, Any], ledger: Ledger, rows: list[StepRow], tolerance: float
) -> _Verdict:
    files = {}
    if subject.manifest is not None:
        made: Mapping[str, str] = answer.get("bundle", {})
        files = {path: made.get(path) == each.blake3 for path, each in subject.manifest.files.items()}
    if answer.get("metrics"):
        figures = {name: (old, new) for name, (old, new) in answer["metrics"].items()}
    else:
        then, now = figures_of(subject.rows, subject.ledger), figures_of(rows, ledger)
        figures = {name: (then.get(name), now.get(name)) for name in then | now}
    if answer["error"]:
        return _Verdict("none", figures, files)
    steps_same = len(rows) == len(subject.rows) and all(is_same(*pair) for pair in zip(subject.rows, rows, strict=True))
    if steps_same and (subject.manifest is None or files.get(MODEL_NAME, False)):
        return _Verdict("bytes", figures, files)
    if answer.get("predictions_same"):
        return _Verdict("predictions", figures, files)
    is_near = bool(figures) and all(_is_near(old, new, tolerance) for old, new in figures.values())
    return _Verdict("metrics" if is_near else "none", figures, files)


def _is_near(old: float | None, new: float | None, tolerance: float) -> bool:
    return old is not None and new is not None and abs(new - old) <= tolerance * max(1.0, abs(old))


def _candidate_of(subject: _Subject) -> Any:  # a JSON document
    """Return the document of the candidate that the run came to, the last there is among its results; else None."""
    for row in reversed(subject.rows):
        result = subject.ledger.result_of(row)
        document = result.stored.document if result is not None else None
        if isinstance(document, dict) and document.get("class") == _CANDIDATE:
            return document
    return None


def _differences_of_machines(provenance: Provenance) -> Iterator[str]:
    now, then = machine(), provenance.machine
    for name, word in {"cpu": "CPU", "system": "system", "libc": "C library"}.items():
        if then.get(name) and then[name] != now[name]:
            yield f"the {word} is {now[name]}, and was {then[name]} then: the last bits of sums may differ"
    if "own_code" in then and then["own_code"] != own_code():
        yield "Mainspring itself was installed from a folder, and its code is another than it was then"
    if then.get("cores") != cores():
        yield f"{cores()} cores, and {then.get('cores')} then: as many threads are started as then"


def _other_threads(subject: _Subject, store: Store, artifacts: ArtifactStore) -> Iterator[str]:
    """Name the steps whose results were found, and made by a run with other threads than this one had."""
    own = _threads_of(subject.provenance)
    for row in subject.rows:
        made_by = subject.ledger.first_made(row) if row.cached else None
        if made_by is None:
            continue
        try:
            theirs = _threads_of(provenance_of(store, artifacts, made_by.run_id))
        except NotFound:  # a run from before there was provenance
            continue
        if theirs != own:
            yield f"`{row.name}` was made by the run {made_by.run_id[-8:]} with other threads, whose sums may differ"


def _threads_of(provenance: Provenance) -> tuple[object, object]:
    return provenance.machine.get("threads"), provenance.machine.get("cores")


def _remarks_on(layout: Layout) -> Iterator[str]:
    for path in layout.changed:
        yield f"`{Path(path).name}` is not the kept file: the one in {layout.place_of(path).parent} was used"
    for path in layout.in_place:
        yield f"`{path}` was too large to be kept, and was read where it lies, unchanged"
