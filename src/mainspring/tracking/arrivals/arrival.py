"""A run on its way in, and how it is kept: under its own id, a piece at a time, and once.

Every piece may be written again without harm, and a tag is set when all of them are there. So an import that was cut
off goes on where it stopped, and one that is repeated adds the runs that have come since.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from mainspring.artifacts.protocol import ArtifactStore
from mainspring.domain.ids import RunId
from mainspring.errors import Invalid
from mainspring.store.protocol import Store, Transaction
from mainspring.tracking.experiments import Stage, find_experiment, named_experiment, set_experiment_tag
from mainspring.tracking.files import LoggedFile, put_file, root_of
from mainspring.tracking.inputs import Input, ModelUse, log_inputs, log_models
from mainspring.tracking.limits import check_path
from mainspring.tracking.logged_models import LoggedModel, put_logged_model
from mainspring.tracking.metrics import Point
from mainspring.tracking.runs import NAME_TAG, RunStatus, create_run, log_batch, move_run, update_run

__all__ = [
    "ORIGIN_TAG",
    "Arrival",
    "ArrivingExperiment",
    "ArrivingModel",
    "ArrivingRegistered",
    "ArrivingVersion",
    "keep_arrival",
    "keep_experiment",
    "keep_model",
    "open_file",
    "source_here",
]

T = TypeVar("T")
#: Set when a run is here as a whole: where it came from.
ORIGIN_TAG = "mainspring.imported_from"
_POINTS = 5_000
_PIECE_BYTES = 1 << 20


def _nothing() -> Iterator[tuple[str, Callable[[], BinaryIO]]]:
    return iter(())


@dataclass(frozen=True)
class Arrival:
    """One run as its source tells it. Points and files are read when they are kept, and never all at once."""

    run_id: str
    experiment: str
    name: str
    status: RunStatus
    started_ms: int
    ended_ms: int | None = None
    stage: Stage = "active"
    author: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    inputs: Sequence[Input] = ()
    #: The logged models that it made.
    made: Sequence[ModelUse] = ()
    points: Callable[[], Iterable[Point]] = tuple
    #: Paths relative to the run's root, with what opens each.
    files: Callable[[], Iterable[tuple[str, Callable[[], BinaryIO]]]] = _nothing


class ArrivingExperiment(NamedTuple):
    """An experiment as its source tells it."""

    name: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class ArrivingModel:
    """A logged model as its source tells it; its experiment comes by name, and its address is made here."""

    model: LoggedModel
    experiment: str
    files: Callable[[], Iterable[tuple[str, Callable[[], BinaryIO]]]] = _nothing


@dataclass(frozen=True)
class ArrivingVersion:
    """One version of a registered model as its source tells it."""

    number: int
    source: str
    run_id: str = ""
    description: str = ""
    stage: str = "None"
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ArrivingRegistered:
    """A registered model as its source tells it: its versions in order, and what its aliases point at."""

    name: str
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    versions: Sequence[ArrivingVersion] = ()
    aliases: Mapping[str, int] = field(default_factory=dict)


def keep_experiment(store: Store, arriving: ArrivingExperiment) -> bool:
    """Keep an experiment's tags, but for those that it has here already; return whether there was anything to do."""

    def write(transaction: Transaction) -> bool:
        number = named_experiment(transaction, arriving.name, at=datetime.now(UTC))
        known = {
            key for (key,) in transaction.execute("SELECT key FROM experiment_tags WHERE experiment_id = ?", (number,))
        }
        new = {key: value for key, value in arriving.tags.items() if key not in known}
        for key, value in new.items():
            set_experiment_tag(transaction, number, key, value)
        return bool(new)

    try:
        return store.record(write)
    except Invalid:  # it was deleted here: it stays as it was then
        return False


def keep_model(store: Store, artifacts: ArtifactStore, arriving: ArrivingModel) -> bool:
    """Keep a logged model with its files, and return whether there was anything to do."""
    model, at = arriving.model, datetime.now(UTC)
    if store.read("SELECT 1 FROM logged_models WHERE model_id = ?", (model.model_id,)):
        return False
    number = store.record(lambda transaction: named_experiment(transaction, arriving.experiment, at=at))
    location = find_experiment(store, number).artifact_location.rstrip("/")
    uri = f"{location}/models/{check_path(model.model_id)}/artifacts"
    _keep_files(store, artifacts, arriving.files(), root_of(uri))
    here = replace(model, experiment_id=number, artifact_uri=uri)
    store.record(lambda transaction: put_logged_model(transaction, here))
    return True


def source_here(store: Store, version: ArrivingVersion) -> str:
    """Return where a version's files lie now: below its run, where its address was one of the run's."""
    _, cut, rest = version.source.partition(f"/{version.run_id}/artifacts")
    found = store.read("SELECT artifact_uri FROM runs WHERE run_id = ?", (version.run_id,)) if cut else []
    return f"{found[0][0]}{rest}" if found else version.source


def keep_arrival(store: Store, artifacts: ArtifactStore, run: Arrival, *, origin: str) -> bool:
    """Keep a run, and return whether there was anything to do: one that is here as a whole is left alone.

    Raises:
        Conflict, Invalid: the run is here already and differs: it was logged to since, or has another parameter.
    """
    known = store.read(
        "SELECT r.stage, t.value FROM runs r LEFT JOIN run_tags t ON t.run = r.number AND t.key = ? WHERE r.run_id = ?",
        (ORIGIN_TAG, run.run_id),
    )
    if known and (known[0][1] is not None or known[0][0] == "deleted"):
        return False
    uri = store.record(lambda transaction: _begin(transaction, run))
    for points in _pieces(run.points(), _POINTS):
        store.record(partial(log_batch, run_id=run.run_id, points=points))
    at = datetime.now(UTC)
    _keep_files(store, artifacts, run.files(), root_of(uri))

    def finish(transaction: Transaction) -> None:
        update_run(transaction, run.run_id, status=run.status, ended_ms=run.ended_ms, name=None)
        log_inputs(transaction, run.run_id, run.inputs)
        log_models(transaction, run.run_id, "output", run.made)
        log_batch(transaction, run.run_id, tags=[(ORIGIN_TAG, origin)])
        if run.stage == "deleted":
            move_run(transaction, run.run_id, "deleted", at=at)

    store.record(finish)
    return True


def _begin(transaction: Transaction, run: Arrival) -> str:
    """Make the run if it is not here, and return where its files belong."""
    found = transaction.execute("SELECT artifact_uri FROM runs WHERE run_id = ?", (run.run_id,))
    if not found:
        at = datetime.now(UTC)
        made = create_run(
            transaction,
            run_id=RunId(run.run_id),
            experiment_id=named_experiment(transaction, run.experiment, at=at),
            name=run.name,
            started_ms=run.started_ms,
            author=run.author,
            tags={**run.tags, NAME_TAG: run.name},
        )
        found = [(made.artifact_uri,)]
    log_batch(transaction, run.run_id, parameters=list(run.parameters.items()), tags=list(run.tags.items()))
    return str(found[0][0])


def open_file(path: Path) -> BinaryIO:
    """Open a file of this machine for reading."""
    return path.open("rb")


def _keep_files(
    store: Store, artifacts: ArtifactStore, files: Iterable[tuple[str, Callable[[], BinaryIO]]], root: str
) -> None:
    for path, opened in files:
        file = _copied(artifacts, opened)
        store.record(partial(put_file, path=f"{root}/{check_path(path)}", file=file, at=datetime.now(UTC)))


def _copied(artifacts: ArtifactStore, opened: Callable[[], BinaryIO]) -> LoggedFile:
    incoming = artifacts.incoming()
    size = 0
    try:
        with opened() as stream:
            while piece := stream.read(_PIECE_BYTES):
                incoming.write(piece)
                size += len(piece)
        return LoggedFile(incoming.keep(), size)
    finally:
        incoming.discard()


def _pieces(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while piece := list(islice(rest, size)):
        yield piece
