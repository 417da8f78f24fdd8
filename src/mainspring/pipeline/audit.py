"""The audit of the cache: kept results that a run would find are made again, and the two are compared.

A result that comes out otherwise was made of something the key does not cover. The audit says which step it was, which
part of the value differs, and what was named as not covered: one of these is the likely cause.
"""

import inspect
import random
import tempfile
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mainspring.domain.ids import RunId
from mainspring.errors import MainspringError
from mainspring.pipeline._seeds import seed_for, seeded
from mainspring.pipeline.documents import Document
from mainspring.pipeline.fingerprint import fingerprint
from mainspring.pipeline.graph import suspended
from mainspring.pipeline.ledger import KeptResult, Ledger
from mainspring.pipeline.reads import StampCache, first_changed
from mainspring.pipeline.recall import CannotRecall, Recall, read_recall
from mainspring.pipeline.tracing import tracing
from mainspring.pipeline.values import encode

if TYPE_CHECKING:
    from mainspring.pipeline.context import PipelineContext

__all__ = ["Audit", "AuditedResult", "audit_cache", "first_difference"]

Finding = Literal["same", "differs", "failed", "not a hit", "cannot be called"]


@dataclass(frozen=True, slots=True)
class AuditedResult:
    """One kept result, looked at again. `detail` is the part that differs, or why it was not made again.

    `opaque` names what the key does not cover: where a result differs, the likely causes.
    """

    step: str
    run_id: RunId
    finding: Finding
    detail: str = ""
    opaque: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found. `kept` is how many results there are; `results` are those that were looked at."""

    kept: int
    results: tuple[AuditedResult, ...]

    @property
    def checked(self) -> int:
        """How many results were made again."""
        return sum(each.finding in ("same", "differs", "failed") for each in self.results)

    @property
    def is_sound(self) -> bool:
        """Whether everything that was made again came out as it was kept."""
        return not any(each.finding in ("differs", "failed") for each in self.results)


def audit_cache(context: "PipelineContext", *, sample: int = 10, rng: random.Random | None = None) -> Audit:
    """Make up to `sample` kept results again, chosen at random among those that a run would find today.

    Steps run in this process. Nothing is written but the objects of the new results.
    """
    ledger = Ledger(context.store, context.artifacts)
    kept = ledger.all_results()
    (rng or random.Random()).shuffle(kept)
    stamps = StampCache(ledger.stamp_of, time.time_ns)
    looked_at: list[AuditedResult] = []
    done = 0
    with tempfile.TemporaryDirectory(prefix="mainspring-") as scratch:
        for result in kept:
            if done == sample:
                break
            looked_at.append(_look_at(result, context, stamps, Path(scratch)))
            done += looked_at[-1].finding in ("same", "differs", "failed")
    return Audit(len(kept), tuple(looked_at))


def _look_at(result: KeptResult, context: "PipelineContext", stamps: StampCache, scratch: Path) -> AuditedResult:
    def folder() -> Path:
        return Path(tempfile.mkdtemp(dir=scratch))

    try:
        recall = read_recall(result.recall)
        arguments, held = recall.for_key(context.artifacts, folder)
        key = fingerprint(recall.function, arguments, stamps, held=held, step_name=result.step)
        changed = first_changed(result.reads, stamps)
        if changed is not None:
            return _found(result, "not a hit", f"{changed.kind} `{changed.path}` changed")
        if key.key != result.key:
            return _found(result, "not a hit", "its code, packages or arguments changed")
        given = recall.for_call(context.artifacts, folder)
    except CannotRecall as error:
        return _found(result, "cannot be called", str(error))
    except MainspringError as error:
        return _found(result, "cannot be called", error.what)
    return _compare(result, recall, given, context)


def _compare(result: KeptResult, recall: Recall, given: dict[str, object], context: "PipelineContext") -> AuditedResult:
    call = inspect.BoundArguments(inspect.signature(recall.function), OrderedDict(given))
    try:
        with suspended(), seeded(seed_for(result.key, result.step, 0)), tracing() as trace:
            value = recall.function(*call.args, **call.kwargs)
        made = encode(value, context.artifacts, f"result of {result.step}")
    except Exception as error:  # the author's code: that it fails now is what the audit found
        return _found(result, "failed", f"{type(error).__name__}: {error}")
    if made.digest == result.stored.digest:
        return _found(result, "same")
    return _found(result, "differs", first_difference(result.stored.document, made.document), tuple(trace.notes))


def _found(result: KeptResult, finding: Finding, detail: str = "", more: tuple[str, ...] = ()) -> AuditedResult:
    return AuditedResult(result.step, result.run_id, finding, detail, tuple(dict.fromkeys((*result.opaque, *more))))


def first_difference(old: Document, new: Document, path: str = "result") -> str:
    """Return the path of the first part in which two documents differ; empty when they are equal."""
    return next(_differences(old, new, path), "")


def _differences(old: Document, new: Document, path: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
        inner = "fields" if "fields" in old else "items" if "items" in old else None
        for key, each in old.items():
            yield from _differences(each, new[key], path if key == inner else f"{path}.{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (one, two) in enumerate(zip(old, new, strict=True)):
            yield from _differences(one, two, f"{path}[{number}]")
    elif old != new:
        yield path
