"""The review queue: predictions that a person should look at, and the labels that come of it. Owner of `reviews`.

A hash of its id deals each prediction to one of two halves. Of the first a sample is asked, in the hash's order: as
good as any other, so its labels count in every estimate. Of the second the most doubtful are asked, whose labels
teach most and say nothing of the others: monitors leave them out (`predictions.log`). What is answered in one half
moves nothing in the other, and the choice depends on the log alone, so two people see the same queue.
"""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from mainspring.bundle.format import read_manifest
from mainspring.bundle.labels import class_named
from mainspring.data.table import Columns, n_rows
from mainspring.domain.moments import to_iso
from mainspring.domain.signature import Signature
from mainspring.domain.version import ModelVersion
from mainspring.errors import Invalid
from mainspring.predictions.journal import JournalWriter
from mainspring.predictions.log import features_of, scores_of
from mainspring.predictions.records import LabelRecord, encode_record, source_of_review
from mainspring.registry.versions import find_version
from mainspring.store.events import Event
from mainspring.store.protocol import Transaction

if TYPE_CHECKING:
    from mainspring.workspace import Workspace

__all__ = ["Question", "Review", "answer_question", "answers_reviewed", "list_reviews", "questions"]

Kind = Literal["sampled", "uncertain", "asked"]
#: The newest predictions that the queue is chosen of.
_LOOKED_AT = 10_000
#: What is further down the queue than this was picked by somebody, who may have had a reason.
_MOST = 1000
_COLUMNS = "prediction_id, model, version, kind, label, reviewer, comment, answered_at"


@dataclass(frozen=True, slots=True)
class Question:
    """A prediction to look at: what was asked and answered.

    `margin` is how far the score is from another answer, None for a regression. `target` is the column that a person
    knows; `choices` are the labels that can be given for it, none where it is a number.
    """

    prediction_id: str
    kind: Kind
    model: str
    version: int
    at: str
    features: dict[str, object]
    score: float | list[float]
    margin: float | None
    target: str
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Review:
    """What somebody answered. `kind` says why it was asked: in the sample, for its doubt, or at the person's wish."""

    prediction_id: str
    model: str
    version: int
    kind: Kind
    label: str
    reviewer: str
    comment: str
    answered_at: str


def questions(workspace: "Workspace", model: str, *, most: int = 20) -> list[Question]:
    """Return what waits for a person: half a sample, half the most doubtful, of the newest predictions without label.

    Raises:
        NotFound: there is no such model, or no version of it serves.
    """
    champion = find_version(workspace.store, model)
    signature, threshold = _asked_of(workspace, champion)
    rows = workspace.log.recent(champion.model, until=workspace.clock.now(), most=_LOOKED_AT)
    if not n_rows(rows):
        return []
    done = {row[0] for row in workspace.store.read("SELECT prediction_id FROM reviews WHERE model = ?", (model,))}
    waiting = np.array(
        [label is None and each not in done for label, each in zip(rows["label"], rows["id"], strict=True)], dtype=bool
    )
    rows = {name: values[waiting] for name, values in rows.items()}
    if not n_rows(rows):
        return []
    margins = _margins(scores_of(rows), signature, threshold)
    hashes = [hashlib.blake2b(str(each).encode(), digest_size=8).digest() for each in rows["id"]]
    halves: tuple[list[int], list[int]] = [], []
    for place, each in enumerate(hashes):
        halves[each[-1] & 1].append(place)
    chosen: dict[int, Kind] = {}
    if margins is None:
        chosen |= dict.fromkeys(sorted(halves[0], key=hashes.__getitem__)[:most], "sampled")
    else:
        chosen |= dict.fromkeys(sorted(halves[0], key=hashes.__getitem__)[: (most + 1) // 2], "sampled")
        doubtful = sorted(halves[1], key=lambda place: (margins[place], hashes[place]))
        chosen |= dict.fromkeys(doubtful[: most // 2], "uncertain")
    return [_question(champion.model, rows, place, kind, margins, signature) for place, kind in chosen.items()]


def answer_question(
    workspace: "Workspace", model: str, prediction_id: str, label: object, *, reviewer: str, comment: str = ""
) -> Review:
    """Keep what a person says came true, as a label of the prediction and with who said it.

    The label takes the way of all feedback: into the journal, and with the next sealing into the log. An answer again
    stands in place of the one before.

    Raises:
        NotFound: the log holds no such prediction.
        Invalid: it is of another model, or the label is none of the model's.
    """
    found = workspace.log.find(prediction_id)
    if found.model != model:
        raise Invalid(f"The prediction is one of `{found.model}`", where="prediction_id", next_step="name that model")
    version = find_version(workspace.store, f"{model}/{found.version}")
    meant = _meant(label, _asked_of(workspace, version)[0])
    kinds = {each.prediction_id: each.kind for each in questions(workspace, model, most=_MOST)}
    before = workspace.store.read("SELECT kind FROM reviews WHERE prediction_id = ?", (prediction_id,))
    kind: Kind = before[0][0] if before else kinds.get(prediction_id, "asked")
    review = Review(
        prediction_id, model, found.version, kind, str(meant), reviewer, comment, to_iso(workspace.clock.now())
    )
    record = LabelRecord(
        model=model,
        at=review.answered_at,
        ids=[prediction_id],
        labels=[meant],
        source=source_of_review(kind, reviewer),
    )
    # first the label, then the row that takes the question off the queue: what dies in between is asked again
    with JournalWriter(workspace.journals, name="reviews", durable=True) as journal:
        journal.append(encode_record(record))

    def write(transaction: Transaction) -> None:
        transaction.execute("DELETE FROM reviews WHERE prediction_id = ?", (prediction_id,))
        transaction.execute(
            f"INSERT INTO reviews ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                review.prediction_id, review.model, review.version, review.kind, review.label, review.reviewer,
                review.comment, review.answered_at,
            ),
        )  # fmt: skip

    details = {"prediction_id": prediction_id, "kind": kind}
    workspace.store.change(Event("prediction.reviewed", f"models/{version.reference}", details, reviewer), write)
    return review


def list_reviews(workspace: "Workspace", model: str) -> list[Review]:
    """Return what was answered, newest first."""
    sql = f"SELECT {_COLUMNS} FROM reviews WHERE model = ? ORDER BY answered_at DESC, prediction_id"
    return [Review(*row) for row in workspace.store.read(sql, (model,))]


def answers_reviewed(workspace: "Workspace", version: ModelVersion) -> int:
    """Return of how many answers of a version, given or computed as a shadow, a person has said what came true."""
    rows = workspace.store.read("SELECT prediction_id FROM reviews WHERE model = ?", (version.model,))
    return workspace.log.answered_among(version.model, version.version, [row[0] for row in rows])


def _asked_of(workspace: "Workspace", version: ModelVersion) -> tuple[Signature, float]:
    manifest = read_manifest(workspace.served_bundle(version))
    return manifest.signature, 0.5 if manifest.threshold is None else manifest.threshold


def _margins(scores: NDArray[np.float64], signature: Signature, threshold: float) -> NDArray[np.float64] | None:
    """Return how far each score is from another answer; None where every number is an answer of its own."""
    if signature.task == "regression":
        return None
    if signature.task == "binary":
        margins: NDArray[np.float64] = np.abs(scores - threshold)
        return margins
    best = np.sort(scores, axis=1)[:, -2:]
    return best[:, 1] - best[:, 0]


def _question(
    model: str,
    rows: Columns,
    place: int,
    kind: Kind,
    margins: NDArray[np.float64] | None,
    signature: Signature,
) -> Question:
    score = scores_of(rows)[place]
    return Question(
        str(rows["id"][place]),
        kind,
        model,
        int(rows["version"][place]),
        f"{np.datetime_as_string(rows['at'][place], unit='s')}Z",
        {name: _plain(values[place]) for name, values in features_of(rows).items()},
        [float(each) for each in score] if np.ndim(score) else float(score),
        None if margins is None else float(margins[place]),
        signature.target,
        signature.classes,
    )


def _plain(value: object) -> object:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else f"{np.datetime_as_string(value, unit='s')}Z"
    number = float(str(value))
    return None if number != number else int(number) if number.is_integer() else number


def _meant(label: object, signature: Signature) -> str | float:
    if signature.task != "regression":
        named = class_named(label, signature.classes)
        if named is None:
            listed = ", ".join(f"`{each}`" for each in signature.classes[:20])
            raise Invalid(f"`{label}` is no label of the model", where="label", next_step=f"give one of {listed}")
        return named
    try:
        number = float(str(label))
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise Invalid(f"`{label}` is not a number", where="label", next_step=f"give the value of {signature.target}")
    return number
