"""The document of a kept value: a small JSON object that says what the value is and which artifacts hold its bulk.

What is plain in JSON stands for itself; anything else is an object with a tag (``"$": "frame"``). Everything here works
on the document alone, so a run that is found whole never loads a table or a model.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mainspring.artifacts.digests import digest_of_bytes
from mainspring.domain.ids import Digest
from mainspring.errors import Invalid
from mainspring.pipeline.lazy import PathItem

__all__ = [
    "TAG",
    "Document",
    "Held",
    "Stored",
    "classes_in",
    "holds_files",
    "holds_pickle",
    "objects_in",
    "packages_in",
    "part_of",
    "summary_of",
]

#: A JSON document; `Any` because its shape depends on the kind of value it describes.
Document = Any
#: Marks a document that is more than plain JSON.
TAG = "$"


@dataclass(frozen=True, slots=True)
class Stored:
    """A value at rest. `text` is the document in its one spelling."""

    document: Document

    @property
    def text(self) -> str:
        """The document as JSON; equal values have equal text."""
        return json.dumps(self.document, separators=(",", ":"), allow_nan=False)

    @property
    def digest(self) -> Digest:
        """What the content of the value is known by."""
        return digest_of_bytes(self.text.encode())


@dataclass(frozen=True, slots=True)
class Held:
    """A document that stands inside a value which is being kept: it goes in as it is."""

    document: Document


def part_of(document: Document, path: tuple[PathItem, ...]) -> Document:
    """Return the document of the part of a value that `path` leads to, without loading anything.

    Raises:
        Invalid: there is no such part.
    """
    for item in path:
        tag = document.get(TAG) if isinstance(document, dict) else None
        try:
            if tag == "record" and isinstance(item, str):
                document = document["fields"][item]
            elif tag == "record":
                document = list(document["fields"].values())[int(item)]
            elif tag == "tuple" or isinstance(document, list):
                document = (document["items"] if tag else document)[int(item)]
            else:
                raise KeyError(item)
        except (KeyError, IndexError, ValueError) as error:
            raise Invalid(
                f"The result has no part {item!r}", next_step="make the step return what its annotation says"
            ) from error
    return document


def objects_in(document: Document) -> Iterator[Digest]:
    """Yield the digests of the objects that a document needs."""
    for each in _tagged(document):
        if "data" in each:
            yield Digest(each["data"])


def holds_files(document: Document) -> bool:
    """Whether a part of the value lives in a file, or comes back as another object than went in: it is then loaded."""
    return any(each[TAG] in ("file", "folder", "kind", "pickle") for each in _tagged(document))


def holds_pickle(document: Document) -> bool:
    """Whether a part of the value is a pickle, which can run any code when it is loaded."""
    return any(each[TAG] == "pickle" for each in _tagged(document))


def classes_in(document: Document) -> tuple[str, ...]:
    """Return the classes that a document's value is made of, as ``module:Name``; estimators count by their package."""
    names = {each["class"] for each in _tagged(document) if "class" in each and "packages" not in each}
    names |= {name for each in _tagged(document) for name in each.get("classes", ())}
    return tuple(sorted(names))


def packages_in(document: Document) -> tuple[str, ...]:
    """Return the distributions whose code a document's value brings along."""
    found: set[str] = set()
    for each in _tagged(document):
        found |= {"frame": {"pandas"}, "series": {"pandas"}, "array": {"numpy"}, "scalar": {"numpy"}}.get(
            each[TAG], set()
        )
        found |= set(each.get("packages", ()))
    return tuple(sorted(found))


def summary_of(document: Document) -> object:
    """Return what JSON can show of a value without loading it: records as objects, tables by their size."""
    if isinstance(document, list):
        return [summary_of(each) for each in document]
    if not isinstance(document, dict):
        return document
    match document.get(TAG):
        case None:
            return {key: summary_of(each) for key, each in document.items()}
        case "record":
            return {key: summary_of(each) for key, each in document["fields"].items()}
        case "tuple" | "set" | "frozenset":
            return [summary_of(each) for each in document["items"]]
        case "dict":
            return {str(summary_of(key)): summary_of(each) for key, each in document["items"]}
        case "float":
            return None  # JSON has no NaN and no infinity
        case "frame":
            return {"table": {"rows": document["rows"], "columns": [each["label"] for each in document["columns"]]}}
        case "moment" | "date" | "time" | "decimal" | "uuid" | "enum":
            return document.get("value", document.get("name"))
        case "kind":
            return {document["kind"]: {key: each for key, each in document.items() if key in ("rows", "columns")}}
        case tag:
            return {tag: document.get("name") or document.get("class") or document.get("data") or ""}


def _tagged(document: Document) -> Iterator[dict[str, Any]]:
    """Yield every tagged document inside, outer before inner."""
    if isinstance(document, dict):
        if TAG in document:
            yield document
        for each in document.values():
            yield from _tagged(each)
    elif isinstance(document, list):
        for each in document:
            yield from _tagged(each)
