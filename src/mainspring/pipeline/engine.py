"""A run: for each step call, find its kept result or make it, in the order the pipeline body makes the calls.

Look-up is by the fingerprint of the call and then by the files that were read. What a step needs from another is known
by its digest, so a value is only loaded when a step that really runs needs it, and a step whose input came out the same
is found although the step before it ran. A result is written down after its bytes are durable: a kill at any instant
costs the steps that had not finished, and the same command goes on from there.
"""

import contextlib
import dataclasses
import itertools
import shutil
import tempfile
import time
import traceback
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mainspring.domain.ids import Digest, RunId
from mainspring.domain.moments import to_iso
from mainspring.errors import Corrupt, Invalid, MainspringError, NotFound
from mainspring.pipeline._origin import origin_of_file
from mainspring.pipeline._reasons import why_it_runs
from mainspring.pipeline._surroundings import surroundings
from mainspring.pipeline.content import Unhashable, content_digest
from mainspring.pipeline.documents import (
    Stored,
    classes_in,
    holds_files,
    objects_in,
    packages_in,
    part_of,
    summary_of,
)
from mainspring.pipeline.fingerprint import ArgumentPart, Fingerprint, fingerprint
from mainspring.pipeline.graph import Call, Graph, recording
from mainspring.pipeline.lazy import Lazy, Reference, project, with_lazies
from mainspring.pipeline.ledger import Ledger, Result, StepRow
from mainspring.pipeline.outcome import RunFailed, RunOutcome, RunStatus, StepEvent
from mainspring.pipeline.reads import StampCache, first_changed
from mainspring.pipeline.runner import Done, StepError, Task
from mainspring.pipeline.values import decode
from mainspring.tracking.runs import finish_run, start_run

if TYPE_CHECKING:
    from mainspring.pipeline.context import PipelineContext
    from mainspring.pipeline.step import Pipeline

__all__ = ["run_pipeline"]

R = TypeVar("R")
_UNSET = object()


def run_pipeline(
    pipeline: "Pipeline[..., R]", context: "PipelineContext", args: Sequence[object], kwargs: Mapping[str, object]
) -> RunOutcome[R]:
    """Run `pipeline` once; see `Pipeline.run`."""
    try:
        bound = pipeline.signature.bind(*args, **kwargs)
    except TypeError as error:
        raise Invalid(
            f"The arguments do not fit `{pipeline.name}{pipeline.signature}`: {error}", where=pipeline.where
        ) from error
    bound.apply_defaults()
    run_id = start_run(
        context.store,
        experiment=context.experiment or pipeline.name,
        name=pipeline.name,
        parameters={name: str(value)[:500] for name, value in bound.arguments.items()},
        tags={"pipeline": pipeline.name, **surroundings(Path.cwd())},
        at=context.clock.now(),
    )
    run = _Run(run_id, context)
    value: Any = None  # what the body returns, lazy values inside
    status: RunStatus = "killed"
    try:
        with recording(run.graph):
            value = pipeline.function(*bound.args, **bound.kwargs)
        run.finish_calls()
        status = "finished"
    except Exception as error:  # the edge of the run: any error of the author's code ends it as failed
        status = "failed"
        raise run.failure(pipeline, error) from error
    finally:
        run.close(status)
    return run.outcome(pipeline.name, status, value)


@dataclass(slots=True)
class _State:
    """What became of a call: its value at rest, and the value itself while it is at hand."""

    stored: Stored | None
    value: object = _UNSET
    result_id: str = ""


class _Run:
    """The state of one run. Not shared between threads."""

    def __init__(self, run_id: RunId, context: "PipelineContext") -> None:
        self.run_id = run_id
        self.graph = Graph(self._resolve)
        self._context = context
        self._ledger = Ledger(context.store, context.artifacts)
        self._stamps = StampCache(self._ledger.stamp_of, time.time_ns)
        self._states: dict[int, _State] = {}
        self._failed: dict[int, BaseException] = {}
        self._rows: dict[int, StepRow] = {}
        self._unwritten: list[StepRow] = []
        self._body_values: dict[int, tuple[object, Digest | None]] = {}
        self._scratch: Path | None = None

    def finish_calls(self) -> None:
        """Make every call that nothing has asked for yet, in order: a step may be there for what it does."""
        for number in itertools.count():
            if number >= len(self.graph.calls):
                return
            if number not in self._failed:
                self._make(number)
                self._let_go(number)

    def close(self, status: RunStatus) -> None:
        """Write down what is left and end the run."""
        self._ledger.put_steps(self._unwritten)
        self._unwritten.clear()
        self._ledger.put_stamps(self._stamps.learned)
        finish_run(self._context.store, self.run_id, status, self._context.clock.now())

    def outcome(self, name: str, status: RunStatus, value: Any) -> RunOutcome[Any]:
        """Return what the run came to, with `value` still lazy."""
        rows = tuple(self._rows[number] for number in sorted(self._rows))
        return RunOutcome(
            self.run_id, name, status, rows, lambda: with_lazies(value, self._value_of), lambda: self._summary(value)
        )

    def failure(self, pipeline: "Pipeline[..., Any]", error: Exception) -> RunFailed:
        """Return the error to raise for a run that failed, with the step and the line it failed in."""
        step = next((self.graph.calls[number].step for number, each in self._failed.items() if each is error), None)
        who = f"The step `{step.name}`" if step is not None else f"The body of `{pipeline.name}`"
        if isinstance(error, MainspringError):
            what, place, advice = error.what, error.where, error.next_step
        else:
            what = "".join(traceback.format_exception_only(error)).strip()
            place, advice = _place_in_project(error), ""
        failed = RunFailed(
            f"{who} failed: {what}",
            where=place or (step or pipeline).where,
            next_step=advice or "fix it and run the same command again: the steps that finished are kept",
            outcome=self.outcome(pipeline.name, "failed", None),
        )
        failed.code = getattr(error, "code", failed.code) if isinstance(error, MainspringError) else failed.code
        return failed

    def _resolve(self, number: int) -> object:
        """Make a call and all it needs, because the body asks for its value. The body gets one copy of its own."""
        if number not in self._body_values:
            self._make(number)
            value = self._load(number, ())
            self._body_values[number] = (value, _content_of(value))
        return self._body_values[number][0]

    def _require_untouched(self, number: int) -> None:
        """Refuse a result that the body changed in place: the step that gets it would not see the change."""
        value, before = self._body_values.get(number, (None, None))
        if before is not None and _content_of(value) != before:
            name = self.graph.calls[number].step.name
            raise Invalid(
                f"The result of the step `{name}` was changed in place in the pipeline body",
                where=f"step {name}",
                next_step="make the change inside a step, or on a copy, and pass that on",
            )

    def _make(self, number: int) -> None:
        """Make what a call needs and then the call itself, unless it is made already."""
        if number in self._failed:
            raise self._failed[number]
        if number in self._states:
            return
        call = self.graph.calls[number]
        for needed in call.needs:
            self._make(needed)
        try:
            self._find_or_run(call)
        except Exception as error:  # remembered, so that the run knows which step its error came from
            self._failed[number] = error
            raise

    def _find_or_run(self, call: Call) -> None:
        step = call.step
        for needed in call.needs:
            self._require_untouched(needed)
        if not step.options.cache:
            self._run(call, None, "its results are not kept")
            return
        held: list[ArgumentPart] = []
        arguments = {
            name: with_lazies(value, lambda lazy: self._part_for(lazy, held)) for name, value in call.arguments.items()
        }
        key = fingerprint(step.function, arguments, self._stamps, held=held, step_name=step.name)
        changed = ""
        for result in self._ledger.results_for(key.key):
            changed = self._why_not(result)
            if not changed:
                self._take(call, key, result)
                return
        self._run(call, key, changed or why_it_runs(key.parts, self._ledger.recent_parts(step.name)))

    def _part_for(self, lazy: Lazy, held: list[ArgumentPart]) -> object:
        """Return what stands for another step's result in the key; a result that is not kept stands for itself."""
        reference = Reference.of(lazy)
        stored = self._states[reference.call].stored
        if stored is None:
            return self._value_of(lazy)
        document = part_of(stored.document, reference.path)
        part = ArgumentPart(Stored(document).digest, classes_in(document), packages_in(document))
        held.append(part)
        return part

    def _why_not(self, result: Result) -> str:
        """Say why a kept result cannot be used; empty when it can."""
        changed = first_changed(result.reads, self._stamps)
        if changed is not None:
            return f"{changed.kind} `{changed.path}` changed"
        if not all(self._context.artifacts.exists(each) for each in objects_in(result.stored.document)):
            return "the kept result is gone from the artifact store"
        return ""

    def _take(self, call: Call, key: Fingerprint, result: Result) -> None:
        """Use a kept result. The row is written with the next one: losing it in a kill costs nothing."""
        self._states[call.index] = _State(result.stored, result_id=result.result_id)
        now = to_iso(self._context.clock.now())
        row = StepRow(
            self.run_id, call.index, call.step.name, key.key, "finished", True, f"hit from run {result.run_id}",
            result.stored.digest, result.opaque, 0, "", now, now, 0.0,
        )  # fmt: skip
        self._rows[call.index] = row
        self._unwritten.append(row)
        self._tell(call, "cached", row.reason)

    def _run(self, call: Call, key: Fingerprint | None, reason: str) -> None:
        started = time.monotonic()
        row = StepRow(
            self.run_id, call.index, call.step.name, key.key if key else "", "running", False, reason, None,
            key.opaque if key else (), 1, "", to_iso(self._context.clock.now()),
        )  # fmt: skip
        self._ledger.put_steps([*self._unwritten, row])
        self._unwritten.clear()
        self._rows[call.index] = row
        self._tell(call, "running", reason)
        task = Task(
            call.step,
            {name: with_lazies(value, self._value_of) for name, value in call.arguments.items()},
            self._context.artifacts,
            self._stamps,
            self._context.sleep,
            lambda attempt, error: self._tell(call, "retrying", f"try {attempt} failed: {error}"),
        )
        try:
            done = self._context.executor.submit(task).result()
        except StepError as error:
            cause = error.__cause__ or error
            ended = to_iso(self._context.clock.now())
            row = dataclasses.replace(row, status="failed", attempts=error.attempts, error=str(cause), ended_at=ended)
            self._rows[call.index] = row
            self._ledger.put_steps([row])
            self._tell(call, "failed", row.error, time.monotonic() - started)
            raise cause from None
        self._keep(call, key, row, done)
        self._tell(call, "finished", reason, time.monotonic() - started)

    def _keep(self, call: Call, key: Fingerprint | None, row: StepRow, done: Done) -> None:
        """Write down a finished step, and its result where it may be found again."""
        now = to_iso(self._context.clock.now())
        unsteady = [f"`{path}`, which changed while it was read" for path in done.unsteady]
        row = dataclasses.replace(
            row, status="finished", output_digest=done.stored.digest if done.stored else None,
            opaque=(*row.opaque, *done.notes, *unsteady), attempts=done.attempts, ended_at=now,
            cpu_seconds=done.cpu_seconds, peak_memory_bytes=done.peak_memory_bytes,
        )  # fmt: skip
        if key is not None and done.stored is not None and not unsteady:
            self._ledger.put_result(row, key, done.reads, done.stored, at=now)
        else:
            self._ledger.put_steps([row])
        self._rows[call.index] = row
        # A result that is a file must be read from where it was kept: the original may be changed by the next step.
        is_file = done.stored is not None and holds_files(done.stored.document)
        self._states[call.index] = _State(done.stored, _UNSET if is_file else done.value)

    def _value_of(self, lazy: Lazy) -> object:
        """Return a private copy of the value a lazy one stands for; its call has been made."""
        reference = Reference.of(lazy)
        return self._load(reference.call, reference.path, reference)

    def _load(self, number: int, path: tuple[str | int, ...], reference: Reference | None = None) -> object:
        state = self._states[number]
        if state.value is not _UNSET:
            value = state.value if reference is None else project(state.value, reference)
            return with_lazies(value, lambda lazy: lazy)
        assert state.stored is not None, "a result that is not kept stays at hand"
        try:
            return decode(Stored(part_of(state.stored.document, path)), self._context.artifacts, self._new_scratch)
        except (Corrupt, NotFound) as error:
            self._make_anew(number, error)
            return self._load(number, path, reference)

    def _make_anew(self, number: int, error: MainspringError) -> None:
        """Make a call again whose kept result turned out damaged or gone when it was needed."""
        state = self._states.pop(number)
        if not state.result_id:
            raise error
        self._ledger.forget_result(state.result_id)
        call = self.graph.calls[number]
        self._find_or_run(call)
        made = self._states[number].stored
        if state.stored is None or made is None or made.digest != state.stored.digest:
            # Calls may have been found by the old content already: this run cannot be made whole, the next one can.
            error.next_step = f"run the same command again: `{call.step.name}` was made anew and came out differently"
            raise error

    def _let_go(self, number: int) -> None:
        """Drop the values that no call still waits for; what is needed after all is loaded again."""
        wanted = {need for call in self.graph.calls[number + 1 :] for need in call.needs}
        for needed in (*self.graph.calls[number].needs, number):
            state = self._states.get(needed)
            if state is not None and state.stored is not None and needed not in wanted:
                state.value = _UNSET

    def _new_scratch(self) -> Path:
        """Return a new empty folder that lives as long as the run's outcome."""
        if self._scratch is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="mainspring-"))
            weakref.finalize(self, shutil.rmtree, self._scratch, ignore_errors=True)
        return Path(tempfile.mkdtemp(dir=self._scratch))

    def _summary(self, value: object) -> object:
        if type(value) is Lazy:
            reference = Reference.of(value)
            stored = self._states[reference.call].stored
            return None if stored is None else summary_of(part_of(stored.document, reference.path))
        if value is None or isinstance(value, str | int | float | bool):
            return value
        if isinstance(value, Mapping):
            return {str(key): self._summary(each) for key, each in value.items()}
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return {name: self._summary(getattr(value, name)) for name in value._fields}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._summary(each) for each in value]
        if dataclasses.is_dataclass(value):
            return {field.name: self._summary(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"type": f"{type(value).__module__}.{type(value).__qualname__}"}

    def _tell(self, call: Call, status: Any, reason: str, seconds: float = 0.0) -> None:  # one of StepEvent's words
        if self._context.progress is not None:
            event = StepEvent(self.run_id, call.index, call.step.name, status, reason, seconds)
            self._context.progress.on_step(event)


def _content_of(value: object) -> Digest | None:
    """Return the content of a value the body holds, to notice a change; None where it cannot be told."""
    try:
        return content_digest(value, identify=lambda code: getattr(code, "__qualname__", "").encode())
    except Unhashable:
        return None


def _place_in_project(error: BaseException) -> str:
    """Return the innermost line of the project's own code that an error went through."""
    place = ""
    with contextlib.suppress(AttributeError):
        for frame in _frames(error):
            if origin_of_file(frame.filename) == "project" and not frame.filename.startswith("<"):
                place = f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}"
    return place


def _frames(error: BaseException) -> Iterator[traceback.FrameSummary]:
    yield from traceback.extract_tb(error.__traceback__)
