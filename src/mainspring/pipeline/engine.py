"""A run: for each step call, find its kept result or make it, all that are ready at once as results come.

Look-up is by the fingerprint of the call and then by the files that were read. What a step needs from another is known
by its digest, so a value is only loaded when a step that really runs needs it, and a step whose input came out the same
is found although the step before it ran. A result is written down after its bytes are durable: a kill at any instant
costs the steps that had not finished, and the same command goes on from there.
"""

import contextlib
import dataclasses
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mainspring.domain.ids import Digest, RunId
from mainspring.domain.moments import to_iso
from mainspring.errors import Invalid, MainspringError, Unavailable
from mainspring.pipeline._agenda import Agenda
from mainspring.pipeline._jobs import Ended, Job, Jobs
from mainspring.pipeline._reasons import why_it_runs
from mainspring.pipeline._seeds import seed_for
from mainspring.pipeline._shelf import Shelf
from mainspring.pipeline._surroundings import surroundings
from mainspring.pipeline.content import Unhashable, content_digest
from mainspring.pipeline.documents import Stored, classes_in, objects_in, packages_in, summary_of
from mainspring.pipeline.fingerprint import ArgumentPart, Fingerprint, fingerprint
from mainspring.pipeline.graph import Call, Graph, recording
from mainspring.pipeline.lazy import Lazy, Reference, with_lazies
from mainspring.pipeline.ledger import Ledger, Result, StepRow
from mainspring.pipeline.outcome import RunFailed, RunOutcome, RunStatus, StepEvent
from mainspring.pipeline.provenance import ProvenanceRecorder
from mainspring.pipeline.reads import StampCache, first_changed
from mainspring.pipeline.recall import recall_of
from mainspring.pipeline.runner import ErrorElsewhere, place_in_project
from mainspring.tracking.runs import finish_run, start_run

if TYPE_CHECKING:
    from mainspring.pipeline.context import PipelineContext
    from mainspring.pipeline.step import Pipeline

__all__ = ["run_pipeline"]

R = TypeVar("R")


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
        tags={"pipeline": pipeline.name, **surroundings(Path.cwd()), **context.tags},
        at=context.clock.now(),
    )
    run = _Run(run_id, context)
    value: Any = None  # what the body returns, lazy values inside
    status: RunStatus = "killed"
    try:
        run.provenance.begin(pipeline, bound.arguments)
        with recording(run.graph), contextlib.suppress(_Reached):
            value = pipeline.function(*bound.args, **bound.kwargs)
        run.finish_calls()
        status = "finished"
    except Exception as error:  # the edge of the run: any error of the author's code ends it as failed
        status = "failed"
        raise run.failure(pipeline, error) from error
    finally:
        run.close(status)
    return run.outcome(pipeline.name, status, value)


class _Reached(BaseException):
    """The body has called the only step to make, and asks for a result. No `Exception`, so that no body swallows it."""


class _Run:
    """The state of one run. Everything here happens in the thread of the pipeline body; only tasks run elsewhere."""

    def __init__(self, run_id: RunId, context: "PipelineContext") -> None:
        self.run_id = run_id
        self.graph = Graph(self._resolve)
        self.provenance = ProvenanceRecorder(context.store, context.artifacts, run_id)
        self._context = context
        self._ledger = Ledger(context.store, context.artifacts)
        self._stamps = StampCache(self._ledger.stamp_of, time.time_ns)
        self._shelf = Shelf(context.artifacts, self._make_anew)
        self._jobs = Jobs(
            context, run_id, self._shelf, self._stamps, self._ledger.seconds_of, self._on_start, self._on_retry
        )
        self._failed: dict[int, BaseException] = {}
        self._places: dict[int, str] = {}
        self._rows: dict[int, StepRow] = {}
        self._unwritten: list[StepRow] = []
        self._body_values: dict[int, tuple[object, Digest | None]] = {}
        self._finishing = False

    def finish_calls(self) -> None:
        """Make every call that nothing has asked for yet: a step may be there for what it does."""
        wanted = [call.index for call in self.graph.calls if call.index not in self._failed]
        if self._context.only is not None:
            wanted = [number for number in wanted if number == self._context.only]
        self._shelf.expect(call for call in self.graph.calls if call.index not in self._shelf.made)
        self._finishing = True
        self._make(wanted)

    def close(self, status: RunStatus) -> None:
        """End what still runs, write down what is left and end the run."""
        self._jobs.close()
        self._ledger.put_steps(self._unwritten)
        self._unwritten.clear()
        self.provenance.end(self._stamps)
        self._ledger.put_stamps(self._stamps.learned)
        finish_run(self._context.store, self.run_id, status, self._context.clock.now())

    def outcome(self, name: str, status: RunStatus, value: Any) -> RunOutcome[Any]:
        """Return what the run came to, with `value` still lazy."""
        rows = tuple(self._rows[number] for number in sorted(self._rows))
        return RunOutcome(
            self.run_id,
            name,
            status,
            rows,
            lambda: with_lazies(value, self._shelf.value_of),
            lambda: self._summary(value),
        )

    def failure(self, pipeline: "Pipeline[..., Any]", error: Exception) -> RunFailed:
        """Return the error to raise for a run that failed, with the step and the line it failed in."""
        number = next((number for number, each in self._failed.items() if each is error), -1)
        step = self.graph.calls[number].step if number >= 0 else None
        who = f"The step `{step.name}`" if step is not None else f"The body of `{pipeline.name}`"
        if isinstance(error, MainspringError):
            what, place, advice = error.what, error.where, error.next_step
        else:
            text = "".join(traceback.format_exception_only(error)).strip().partition("\n\nIn the process")[0]
            what = str(error) if isinstance(error, ErrorElsewhere) else text
            place, advice = self._places.get(number) or place_in_project(error), ""
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
        if self._context.only is not None and self._context.only < len(self.graph.calls):
            raise _Reached
        if number not in self._body_values:
            self._make([number])
            value = self._shelf.load(number)
            self._body_values[number] = (value, _content_of(value))
        return self._body_values[number][0]

    def _make(self, wanted: Sequence[int]) -> None:
        """Make these calls and all they need, as many at once as the crew takes.

        The first failure ends it: what has not started is left, what runs is let finish and kept.
        """
        agenda = Agenda(self.graph.calls, wanted, self._shelf.made)
        self._raise_first_failure(agenda)
        while agenda.ready or self._jobs.is_busy:
            while agenda.ready and self._jobs.is_hungry:
                self._look_up(agenda)
            for ended in self._jobs.advance([self.graph.calls[number].step.name for number in agenda.ready[:64]]):
                self._settle(ended)
                number = ended.job.call.index
                if number not in self._failed:
                    self._made(agenda, ended.job.call)
            if self._failed.keys() & set(agenda):
                agenda.clear()
                self._jobs.cancel()
        self._raise_first_failure(agenda)

    def _raise_first_failure(self, agenda: Agenda) -> None:
        failed = min((number for number in agenda if number in self._failed), default=None)
        if failed is not None:
            raise self._failed[failed]

    def _made(self, agenda: Agenda, call: Call) -> None:
        agenda.made(call.index)
        # While the body still runs it may ask for more with any value it has.
        if self._finishing:
            self._shelf.let_go(call)

    def _look_up(self, agenda: Agenda) -> None:
        """Find the result of the next call, or make a job of it."""
        call = self.graph.calls[agenda.take()]
        try:
            job = self._find(call)
            if job is not None and self._context.only not in (None, call.index):
                raise Unavailable(
                    f"its result is not kept yet, and only step {self._context.only} is made here",
                    where=call.step.where,
                    next_step="make it first, or wait for it with --wait",
                )
        except Exception as error:  # remembered, so that the run knows which step its error came from
            self._failed[call.index] = error
            return
        if job is None:
            self._made(agenda, call)
            return
        twin = None if job.key is None else self._jobs.number_with(job.key)
        if twin is not None:
            agenda.wait(call.index, twin)
        else:
            self._jobs.add(job)

    def _find(self, call: Call) -> Job | None:
        """Use a kept result of a call; where there is none, return the job of making it."""
        step = call.step
        for needed in call.needs:
            self._require_untouched(needed)
        if not step.options.cache:
            return Job(call, None, "its results are not kept")
        held: list[ArgumentPart] = []
        arguments = {
            name: with_lazies(value, lambda lazy: self._part_for(lazy, held)) for name, value in call.arguments.items()
        }
        key = fingerprint(step.function, arguments, self._stamps, held=held, step_name=step.name)
        self.provenance.saw(files=(span.file for span in key.spans.values()))
        changed = ""
        for result in self._ledger.results_for(key.key):
            changed = self._why_not(result)
            if not changed:
                self._take(call, key, result)
                return None
        return Job(call, key, changed or why_it_runs(key.parts, self._ledger.recent_parts(step.name)))

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

    def _part_for(self, lazy: Lazy, held: list[ArgumentPart]) -> object:
        """Return what stands for another step's result in the key; a result that is not kept stands for itself."""
        if self._shelf.stored_of(Reference.of(lazy).call) is None:
            return self._shelf.value_of(lazy)
        document = self._shelf.document_of(lazy)
        part = ArgumentPart(Stored(document).digest, classes_in(document), packages_in(document))
        held.append(part)
        return part

    def _why_not(self, result: Result) -> str:
        """Say why a kept result cannot be used; empty when it can."""
        changed = first_changed(result.reads, self._stamps)
        if changed is not None:
            return f"{changed.kind} `{changed.path}` changed"
        if not all(self._context.artifacts.claim(each) for each in objects_in(result.stored.document)):
            return "the kept result is gone from the artifact store"
        return ""

    def _take(self, call: Call, key: Fingerprint, result: Result) -> None:
        """Use a kept result. The row is written with the next one: losing it in a kill costs nothing."""
        self._shelf.put(call.index, result.stored, result_id=result.result_id)
        self.provenance.saw(reads=result.reads)
        now = to_iso(self._context.clock.now())
        row = StepRow(
            self.run_id, call.index, call.step.name, key.key, "finished", True, f"hit from run {result.run_id}",
            result.stored.digest, result.opaque, 0, "", now, now, 0.0, needs=call.needs,
            seed=seed_for(key.key, call.step.name, call.index),
        )  # fmt: skip
        self._rows[call.index] = row
        self._unwritten.append(row)
        self._tell(call, "cached", row.reason)

    def _on_start(self, job: Job) -> None:
        call, key = job.call, job.key
        row = StepRow(
            self.run_id, call.index, call.step.name, key.key if key else "", "running", False, job.said, None,
            key.opaque if key else (), 1, "", to_iso(self._context.clock.now()), needs=call.needs,
            seed=self._jobs.seed_of(job),
        )  # fmt: skip
        self._ledger.put_steps([*self._unwritten, row])
        self._unwritten.clear()
        self._rows[call.index] = row
        self._tell(call, "running", job.said)

    def _on_retry(self, job: Job, text: str) -> None:
        self._tell(job.call, "retrying", text)

    def _settle(self, ended: Ended) -> None:
        """Write down what came of a job, its result where it may be found again."""
        job, done = ended.job, ended.done
        call, seconds = job.call, time.monotonic() - job.started
        now = to_iso(self._context.clock.now())
        row = dataclasses.replace(
            self._rows[call.index], reason=job.said, attempts=job.tries, ended_at=now, seconds=seconds,
            log=job.log.keep(self._context.artifacts),
        )  # fmt: skip
        if done is None:
            assert ended.error is not None, "a job ends with a result or an error"
            self._failed[call.index] = ended.error
            self._places[call.index] = ended.place
            text = str(ended.error)
            row = self._rows[call.index] = dataclasses.replace(row, status="failed", error=text)
            self._ledger.put_steps([row])
            self._tell(call, "failed", text, seconds)
            return
        unsteady = [f"`{path}`, which changed while it was read" for path in done.unsteady]
        row = dataclasses.replace(
            row, status="finished", output_digest=done.stored.digest if done.stored else None,
            opaque=(*row.opaque, *done.notes, *unsteady), cpu_seconds=done.cpu_seconds,
            peak_memory_bytes=done.peak_memory_bytes,
        )  # fmt: skip
        self.provenance.saw(reads=done.reads, libraries=done.libraries)
        if job.key is not None and done.stored is not None and not unsteady:
            recall = recall_of(call.step, call.arguments, self._shelf.document_of, self._context.artifacts)
            self._ledger.put_result(row, job.key, done.reads, done.stored, at=now, recall=recall)
        else:
            self._ledger.put_steps([row])
        self._rows[call.index] = row
        self._shelf.put(call.index, done.stored, value=ended.value)
        self._tell(call, "finished", row.reason, seconds)

    def _make_anew(self, number: int, result_id: str, error: MainspringError) -> None:
        """Make a call again whose kept result turned out damaged or gone when it was needed."""
        self._ledger.forget_result(result_id)
        job = self._find(self.graph.calls[number])
        if job is not None:
            self._settle(self._jobs.run_now(job))
        if number in self._failed:
            raise self._failed[number]

    def _summary(self, value: object) -> object:
        if type(value) is Lazy:
            stored = self._shelf.stored_of(Reference.of(value).call)
            return None if stored is None else summary_of(self._shelf.document_of(value))
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
