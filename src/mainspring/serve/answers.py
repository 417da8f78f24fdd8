"""Scores to the bodies of answers, and labels to the record of them: what a number means by the model's signature.

Pure functions; `service` runs the request around them.
"""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mainspring.bundle.labels import class_named
from mainspring.bundle.manifest import BundleManifest
from mainspring.domain.signature import Signature
from mainspring.errors import Invalid, nearest
from mainspring.predictions.records import LabelRecord
from mainspring.serve.decode import MOST_PLACES
from mainspring.serve.problems import InvalidRows, Place
from mainspring.serve.wire import Answer, Feedback, InferAnswer, Label, OutputTensor, Prediction, WantedOutput

if TYPE_CHECKING:
    from mainspring.serve.asking import Ask

__all__ = ["check_outputs", "infer_answer", "label_record", "labels_of", "predict_answer"]

_Scores = Sequence[float | list[float]]
#: A UUIDv7 in hex (`domain.ids`): what answers name their predictions by.
_ID = re.compile(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}")


def labels_of(manifest: BundleManifest, scores: _Scores) -> list[str] | None:
    """Return the class that each score says, by the bundle's threshold or the highest probability.

    None for a regression, whose score is its answer.
    """
    classes = manifest.signature.classes
    if manifest.signature.task == "regression":
        return None
    threshold = 0.5 if manifest.threshold is None else manifest.threshold
    return [
        classes[max(range(len(score)), key=score.__getitem__)]
        if isinstance(score, list)
        else classes[int(score >= threshold)]
        for score in scores
    ]


def predict_answer(ask: "Ask") -> Answer:
    """Return the body of a predict answer."""
    predictions = (
        list(map(Prediction, ask.ids, ask.scores))
        if ask.labels is None
        else list(map(Prediction, ask.ids, ask.scores, ask.labels))
    )
    return Answer(
        model=ask.received.model,
        version=ask.route.version,
        route=ask.route.role,
        predictions=predictions,
        trace_id=ask.trace_id,
        warnings=ask.warnings,
        id=ask.question.request_id,
    )


def infer_answer(ask: "Ask", wanted: Sequence[WantedOutput] | None) -> InferAnswer:
    """Return the body of an Open Inference answer, with the outputs that were asked for, or all."""
    scores = np.asarray(ask.scores)
    outputs = {"score": OutputTensor("score", "FP64", list(scores.shape), scores.ravel().tolist())}
    if ask.labels is not None:
        outputs["label"] = OutputTensor("label", "BYTES", [len(ask.labels)], list(ask.labels))
    return InferAnswer(
        model_name=ask.received.model,
        model_version=str(ask.route.version),
        outputs=list(outputs.values()) if wanted is None else [outputs[each.name] for each in wanted],
        parameters={
            "prediction_ids": ask.ids,
            "trace_id": ask.trace_id,
            "route": ask.route.role,
            "warnings": ask.warnings,
        },
        id=ask.question.request_id,
    )


def check_outputs(signature: Signature, wanted: Sequence[WantedOutput] | None) -> None:
    """Check that the model has every output that is asked for.

    Raises:
        Invalid: it has not.
    """
    known = ["score"] if signature.task == "regression" else ["score", "label"]
    for at, each in enumerate(wanted or ()):
        if each.name not in known:
            raise Invalid(
                f"The model has no output `{each.name}`",
                where=f"outputs[{at}].name",
                next_step=nearest(each.name, known),
            )


def label_record(feedback: Feedback, signature: Signature, at: str) -> LabelRecord:
    """Return the record of labels, each as the name of its class or as a number.

    Raises:
        InvalidRows: there is no label, or one does not fit the model's task; every place is listed, up to 20.
    """
    places: list[Place] = [] if feedback.labels else [Place("labels", "there are no labels")]
    values: list[str | float] = []
    told: dict[str, str | float] = {}
    for position, each in enumerate(feedback.labels):
        if not _ID.fullmatch(each.id):
            places.append(Place(f"labels[{position}].id", "this is not the id of a prediction"))
        value = _label(each, signature)
        if value is None:
            places.append(Place(f"labels[{position}].label", _misfit(each, signature)))
        elif told.setdefault(each.id, value) != value:
            places.append(Place(f"labels[{position}].label", "the same prediction has another label in this request"))
        else:
            values.append(value)
    if places:
        shown = tuple(places[:MOST_PLACES])
        raise InvalidRows(
            shown[0].what,
            where=shown[0].where,
            next_step=f"labels are values of `{signature.target}`",
            places=shown,
        )
    return LabelRecord(
        model=feedback.model, at=at, ids=[each.id for each in feedback.labels], labels=values, source=feedback.source
    )


def _label(each: Label, signature: Signature) -> str | float | None:
    if signature.task != "regression":
        return class_named(each.label, signature.classes)
    number = isinstance(each.label, (int, float)) and not isinstance(each.label, bool)
    return float(each.label) if number and math.isfinite(float(each.label)) else None


def _misfit(each: Label, signature: Signature) -> str:
    if signature.task == "regression":
        return f"{each.label!r} is not a number"
    return f"{each.label!r} is no class of the model. {nearest(str(each.label), signature.classes)}"
