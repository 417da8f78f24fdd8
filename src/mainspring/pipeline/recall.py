"""How a kept result can be made again: where its step is found, and its arguments as documents.

Kept beside each result, so that an audit can call the step once more. An argument that another step made stays the
document of that result; a path stays a path. A call that no other process could make says so instead.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from mainspring.artifacts.protocol import ArtifactStore
from mainspring.errors import MainspringError
from mainspring.pipeline._portable import Address, NotPortable, address_of, function_at
from mainspring.pipeline.documents import TAG, Document, Held, Stored, classes_in, packages_in
from mainspring.pipeline.fingerprint import ArgumentPart
from mainspring.pipeline.lazy import Lazy, with_lazies
from mainspring.pipeline.values import decode, encode

if TYPE_CHECKING:
    from mainspring.pipeline.step import Step

__all__ = ["CannotRecall", "Recall", "read_recall", "recall_of"]

_PART = f"{ArgumentPart.__module__}:{ArgumentPart.__qualname__}"


class CannotRecall(Exception):
    """A call cannot be made again from what was kept; the text says why."""


@dataclass(frozen=True, slots=True)
class Recall:
    """A call that can be made again."""

    function: Callable[..., Any]  # of any signature
    arguments: dict[str, Document]

    def for_key(
        self, artifacts: ArtifactStore, scratch: Callable[[], Path]
    ) -> tuple[dict[str, object], list[ArgumentPart]]:
        """Return the arguments as the cache key sees them: what other steps made by its digest, and a list of these."""
        parts: list[ArgumentPart] = []

        def stand_in(document: Document) -> Document:
            part = ArgumentPart(Stored(document).digest, classes_in(document), packages_in(document))
            parts.append(part)
            fields = {
                "digest": part.digest,
                "classes": {TAG: "tuple", "items": list(part.classes)},
                "packages": {TAG: "tuple", "items": list(part.packages)},
            }
            return {TAG: "record", "class": _PART, "fields": fields}

        return self._decoded(stand_in, artifacts, scratch), parts

    def for_call(self, artifacts: ArtifactStore, scratch: Callable[[], Path]) -> dict[str, object]:
        """Return the arguments themselves."""
        return self._decoded(lambda document: document, artifacts, scratch)

    def _decoded(
        self, held: Callable[[Document], Document], artifacts: ArtifactStore, scratch: Callable[[], Path]
    ) -> dict[str, object]:
        return {
            name: decode(Stored(_replace_held(document, held)), artifacts, scratch)
            for name, document in self.arguments.items()
        }


def recall_of(
    step: "Step[..., Any]",
    arguments: Mapping[str, object],
    document_of: Callable[[Lazy], Document],
    artifacts: ArtifactStore,
) -> str:
    """Return what to keep of a call, as text. Large arguments that the pipeline body made go to `artifacts`."""
    try:
        address = address_of(step)
        documents = {
            name: encode(_at_rest(with_lazies(value, lambda lazy: Held(document_of(lazy)))), artifacts, name).document
            for name, value in arguments.items()
        }
    except (NotPortable, MainspringError) as error:
        return json.dumps({"why_not": getattr(error, "what", str(error))})
    return json.dumps({"address": asdict(address), "arguments": documents}, separators=(",", ":"))


def read_recall(text: str) -> Recall:
    """Find the step and the arguments of a call that was kept.

    Raises:
        CannotRecall: the call could not be kept, or the step is not there any more.
    """
    # Any: JSON of our own
    kept: dict[str, Any] = json.loads(text) if text else {"why_not": "it was kept by an older version"}
    if "why_not" in kept:
        raise CannotRecall(kept["why_not"])
    address = Address(**kept["address"])
    try:
        return Recall(_function(address), kept["arguments"])
    except NotPortable as error:
        raise CannotRecall(str(error)) from error


def _function(address: Address) -> Callable[..., Any]:  # of any signature
    """Import a step's function, with the folder that its module was imported from on the path as it was then."""
    root = Path(address.file).parents[address.module.count(".")] if address.file else Path()
    sys.path.insert(0, str(root))
    try:
        return function_at(address)
    finally:
        sys.path.remove(str(root))


def _at_rest(value: object) -> object:
    """Let paths stay paths: keeping one as a result would keep the file."""
    if isinstance(value, PurePath):
        return Held({TAG: "path", "value": str(value)})
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        items = [_at_rest(each) for each in value]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, dict) and type(value) is dict:
        return {key: _at_rest(each) for key, each in value.items()}
    return value


def _replace_held(document: Document, held: Callable[[Document], Document]) -> Document:
    if isinstance(document, list):
        return [_replace_held(each, held) for each in document]
    if not isinstance(document, dict):
        return document
    if document.get(TAG) == "held":
        inner = document["document"]
        is_path = isinstance(inner, dict) and inner.get(TAG) == "path"
        return inner if is_path else held(inner)
    return {key: _replace_held(each, held) for key, each in document.items()}
